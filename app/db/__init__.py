"""The only importer of asyncpg: one typed function per named query, Structs in and out."""

from app.db.database import Database, Runner

__all__ = ["Database", "Runner"]
