"""Brings a database to the schema that this version needs; plain psql does exactly the same."""

import re
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from app.db.connecting import connect
from app.db.database import Runner
from app.db.errors import translated
from app.errors import SchemaOutdated

MIGRATION = re.compile(r"(\d{4})_\w+\.sql")


def migrations() -> dict[int, Traversable]:
    """Return the files of `db/migrations` by their version, in order."""
    found = [
        (int(match[1]), path)
        for path in files("db").joinpath("migrations").iterdir()
        if (match := MIGRATION.fullmatch(path.name))
    ]
    return dict(sorted(found, key=lambda one: one[0]))


async def migrate(url: str) -> Sequence[int]:
    """Apply what is missing and return the versions applied; triggers are always applied anew.

    A fresh database gets `schema.sql`, which is the sum of the migrations. Each file is one
    transaction; of two that run at once the second waits and finds nothing left to do.

    Raises:
        DatabaseUnavailable: nobody answers at `url`.
    """
    with translated():
        connection = await connect(url)
        try:
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock(hashtext('tocsin.migrate'))")
                applied = await missing(connection)
                fresh = applied == list(migrations())
                for path in (
                    [files("db") / "schema.sql"]
                    if fresh
                    else [migrations()[version] for version in applied]
                ):
                    await connection.execute(without_transaction(path.read_text("utf-8")))
                await connection.execute((files("db") / "triggers.sql").read_text("utf-8"))
        finally:
            await connection.close()
    return applied


async def missing(connection: asyncpg.Connection) -> list[int]:
    """Return the versions that the database does not have yet."""
    if await connection.fetchval("select to_regclass('tocsin.schema_migrations')") is None:
        return list(migrations())
    rows = await connection.fetch("select version from tocsin.schema_migrations")
    return sorted(set(migrations()) - {row["version"] for row in rows})


def without_transaction(script: str) -> str:
    """Drop the script's own begin and commit: they are psql's, here one transaction holds all."""
    return re.sub(r"^(begin|commit);$", "", script, flags=re.MULTILINE)


async def check(db: Runner) -> None:
    """Make sure that this version can work on the database.

    Raises:
        SchemaOutdated: it lacks a migration, or has a breaking one that this version does not know.
        DatabaseUnavailable: it does not answer.
    """
    exists = (await db.fetch("upkeep.schema_exists"))[0]["schema_exists"]
    versions = await db.fetch("upkeep.schema_versions") if exists else []
    known = set(migrations())
    if absent := known - {row["version"] for row in versions}:
        message = f"the database lacks schema version {max(absent)}: run `tocsin migrate`"
        raise SchemaOutdated(message)
    newer = {row["version"] for row in versions if row["breaking"]} - known
    if newer:
        message = f"the database has schema version {max(newer)}: it needs a newer Tocsin than this"
        raise SchemaOutdated(message)
