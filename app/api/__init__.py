"""The REST API: handlers call a function of `app.db` and answer with a Struct."""
