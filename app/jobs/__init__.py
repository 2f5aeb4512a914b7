"""The operations on jobs: create, edit, pause, run now, replay, delete.

The API, the command line and web pages call these functions, which import no web framework.
"""
