"""What one can do with jobs: create, edit, pause, run now, delete.

Whoever lets people do that (the API, the command line, web pages) calls these functions. They
import no web framework.
"""
