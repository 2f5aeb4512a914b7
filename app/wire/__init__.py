"""What is sent and received: requests and responses as Structs, pages, and strict reading of JSON.

No web framework and no database driver is imported here, so that a client can share the Structs. A
job itself, which rules of the core read too, is in `app.core.jobs.job`.
"""
