"""What one can do with jobs: create, edit, pause, run now, delete.

The API, the command line and web pages call these functions, which import no web framework.
"""
