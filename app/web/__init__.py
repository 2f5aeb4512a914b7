"""The dashboard: pages made on the server, which read without JavaScript.

`router` has their addresses, `rendering` makes HTML of templates, `live` keeps open pages fresh.
"""
