"""What handlers of pages take."""

from litestar.di import NamedDependency

from app.db.database import Database

ON_A_PAGE = 50
"""Rows of a list."""

Reader = NamedDependency[Database]
"""The pool of the pages, whose statements are cancelled after seconds."""
