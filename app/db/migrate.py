"""Migrates a database to the schema of this version, with the scripts that psql could apply too."""

import asyncio
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import takewhile
from time import monotonic
from typing import Any

import asyncpg

from app.db.connecting import connect
from app.db.database import Row, Runner
from app.db.errors import translate_errors
from app.db.queries import query
from app.errors import LockedByOthers, RightMissing, SchemaOutdated, SchemaTooNew

MIGRATION = re.compile(r"(\d{4})_\w+\.sql")

PATIENCE_SECONDS = 20.0
"""How long the migration is tried again while another session holds a lock that it needs."""
PAUSE_SECONDS = 1.0
"""The pause between two tries, on average."""


def migrations() -> dict[int, Traversable]:
    """Return the files of `db/migrations` by their version, in order."""
    found = [
        (int(match[1]), path)
        for path in files("db").joinpath("migrations").iterdir()
        if (match := MIGRATION.fullmatch(path.name))
    ]
    return dict(sorted(found, key=lambda one: one[0]))


async def migrate(url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> Sequence[int]:
    """Apply the missing migrations and return their versions.

    A fresh database gets `schema.sql`, which is the sum of the migrations. `triggers.sql` is
    applied if the functions and triggers in the database are not those of this version. All of
    that is one transaction, which waits for each lock for a tenth of a second. If a lock is not
    free, the transaction is rolled back and tried again, so that no other session queues behind
    its locks. Only migrations that build indexes concurrently run outside of a transaction, between
    one for those before and one for those after. Where nothing has to be changed, no lock is taken.

    Raises:
        SchemaOutdated: the schema or its functions are of a newer Tocsin, or not of Tocsin at all.
        LockedByOthers: a lock was not free for `patience_seconds`; names the holder.
        RightMissing: the role may not change the schema.
        DatabaseUnavailable: no server answers at `url`.
    """
    until = monotonic() + patience_seconds
    applied: list[int] = []
    with translate_errors():
        connection = await connect(url)
        try:
            with translate_migration_errors():
                while await is_outdated(connection):
                    try:
                        versions = await apply_next(connection, patience_seconds)
                    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                        if monotonic() > until:
                            message = await describe_holders(connection, applied)
                            raise LockedByOthers(message) from error
                        versions = None
                    if versions is None:
                        await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
                    else:
                        applied += versions
                        until = monotonic() + patience_seconds
        finally:
            await connection.close()
    return applied


async def read_script(url: str) -> str | None:
    """Return the SQL that `migrate` would apply now; None if nothing is missing.

    Raises:
        SchemaOutdated: the schema or its functions are of a newer Tocsin, or not of Tocsin at all.
        DatabaseUnavailable: no server answers at `url`.
    """
    with translate_errors():
        connection = await connect(url)
        try:
            if not await is_outdated(connection):
                return None
            missing = await list_missing(connection)
        finally:
            await connection.close()
    scripts = migrations()
    new = missing == list(scripts)
    files_of = [files("db") / "schema.sql"] if new else [scripts[one] for one in missing]
    return "\n".join([*(one.read_text("utf-8") for one in files_of), triggers()])


async def is_outdated(connection: asyncpg.Connection) -> bool:
    """Return whether a migration is missing, or functions and triggers are of another version.

    Raises:
        SchemaOutdated: the database is of a newer Tocsin.
    """
    if await list_missing(connection):
        return True
    [row] = await ask(connection, "migrate.functions_exist")
    rows = await ask(connection, "migrate.functions") if row["functions_exist"] else []
    if not rows:
        return True
    [applied] = rows
    ours = version("tocsin")
    if numbers(applied["release"]) > numbers(ours):
        message = (
            f"the functions in the database are of Tocsin {applied['release']}, this is {ours}: "
            "nothing was changed; migrate with the newest Tocsin that uses this database"
        )
        raise SchemaOutdated(message)
    [found] = await ask(connection, "migrate.catalog")
    return (applied["source"], applied["catalog"]) != (triggers_digest(), found["catalog"])


async def apply_next(
    connection: asyncpg.Connection, patience_seconds: float
) -> Sequence[int] | None:
    """Apply the next missing migrations that go together, and return their versions.

    Returns None if another process is migrating: its lock is never waited for in a statement, since
    an index that is built concurrently waits for the end of every statement.
    """
    missing = await list_missing(connection)
    if missing == list(migrations()):
        return await apply_together(connection, missing, [files("db") / "schema.sql"])
    scripts = migrations()
    together = list(takewhile(lambda version: is_transaction(scripts[version]), missing))
    if together or not missing:
        return await apply_together(connection, together, [scripts[one] for one in together])
    return await apply_alone(connection, missing[0], patience_seconds)


async def apply_together(
    connection: asyncpg.Connection, versions: Sequence[int], scripts: Sequence[Traversable]
) -> Sequence[int] | None:
    """Apply scripts in one transaction, after the last of all also functions and triggers.

    Returns None if another process is migrating.
    """
    async with connection.transaction():
        if not (await ask(connection, "migrate.lock"))[0]["locked"]:
            return None
        if not await is_outdated(connection):  # another process has migrated meanwhile
            return []
        missing = await list_missing(connection)
        if missing[: len(versions)] != list(versions):
            return []
        await ask(connection, "migrate.wait_briefly")
        for script in scripts:
            await connection.execute(without_transaction(script.read_text("utf-8")))
        if missing == list(versions):
            await apply_triggers(connection)
    return versions


async def apply_triggers(connection: asyncpg.Connection) -> None:
    """Apply functions and triggers, and record their digests."""
    await connection.execute(triggers())
    [found] = await ask(connection, "migrate.catalog")
    await ask(
        connection,
        "migrate.functions_applied",
        source=triggers_digest(),
        catalog=found["catalog"],
        release=version("tocsin"),
    )


async def apply_alone(
    connection: asyncpg.Connection, number: int, patience_seconds: float
) -> Sequence[int] | None:
    """Apply a migration that builds indexes concurrently, statement by statement.

    Each statement may wait for `patience_seconds` for the transactions that began before; no other
    session waits for that. The lock against other processes that migrate lasts until `connection`
    is closed. Returns None if another process is migrating.
    """
    if not (await ask(connection, "migrate.lock_session"))[0]["locked"]:
        return None
    if number not in await list_missing(connection):  # another process has migrated meanwhile
        return []
    await ask(connection, "migrate.wait_patiently", milliseconds=round(patience_seconds * 1000) + 1)
    for statement in statements(migrations()[number].read_text("utf-8")):
        await connection.execute(statement)
    return [number]


async def list_missing(connection: asyncpg.Connection) -> list[int]:
    """Return the versions of the schema that the database does not have yet.

    Raises:
        SchemaOutdated: the database has a version that this Tocsin does not know.
    """
    if not (await ask(connection, "upkeep.schema_exists"))[0]["schema_exists"]:
        return list(migrations())
    rows = await ask(connection, "upkeep.schema_versions")
    found, known = {row["version"] for row in rows}, set(migrations())
    if newer := found - known:
        message = (
            f"the database has schema version {max(newer)}, and this Tocsin knows {max(known)}: "
            "nothing was changed; migrate with the newest Tocsin that uses this database"
        )
        raise SchemaOutdated(message)
    return sorted(known - found)


async def ask(connection: asyncpg.Connection, name: str, **arguments: Any) -> list[Row]:  # noqa: ANN401
    """Run the query called `group.name` and return its rows."""
    statement = query(name)
    rows: list[Row] = await connection.fetch(statement.sql, *statement.arguments(arguments))
    return rows


async def describe_holders(connection: asyncpg.Connection, applied: Sequence[int]) -> str:
    """Word the refusal of a migration, naming the sessions that hold the locks.

    `applied` are the versions that were committed before.
    """
    missing = await list_missing(connection)
    waits_for_all = bool(missing) and not is_transaction(migrations()[missing[0]])
    holders = "; ".join(
        f"process {row['pid']} ({row['application_name'] or 'nameless'}, role {row['usename']}) "
        f"holds {', '.join(row['tables']) or 'a transaction open'} for {row['seconds'] or 0:.0f} s"
        for row in await ask(connection, "migrate.holders", open=waits_for_all)
    )
    changed = f"nothing after schema version {applied[-1]}" if applied else "nothing"
    return (
        f"tables that have to be changed are in use, so {changed} was changed, and nobody was kept "
        f"waiting: {holders or 'by whom is not to be seen'}. Run `tocsin migrate` again when that "
        "has ended, or end it with pg_terminate_backend"
    )


@contextmanager
def translate_migration_errors() -> Iterator[None]:
    """Translate errors that mean something else in a migration than in other statements.

    Raises:
        RightMissing: the role may not create a table, function or trigger.
        SchemaOutdated: the schema `tocsin` has a table or function that is not of Tocsin's making.
    """
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        message = (
            f"{error}: migrate as a role that owns the schema tocsin, or may create it in the "
            "database; nothing was changed"
        )
        raise RightMissing(message) from error
    except (
        asyncpg.DuplicateTableError,
        asyncpg.DuplicateFunctionError,
        asyncpg.DuplicateObjectError,
    ) as error:
        message = (
            f"{error}, although schema tocsin is not one of Tocsin's making: empty it, or use "
            "another database; nothing was changed"
        )
        raise SchemaOutdated(message) from error


def numbers(release: str) -> list[int]:
    """Return the numbers of a release such as 0.10.1, by which releases are compared."""
    return [int(number) for number in re.findall(r"\d+", release)]


def triggers() -> str:
    """Return `triggers.sql`, the script of functions and triggers."""
    return (files("db") / "triggers.sql").read_text("utf-8")


def triggers_digest() -> str:
    """Return a digest of `triggers.sql`, by which its versions are told apart."""
    return sha256(triggers().encode()).hexdigest()


def without_transaction(script: str) -> str:
    """Drop a script's own begin and commit, which are for psql: here one transaction holds all."""
    return re.sub(r"^(begin|commit);$", "", script, flags=re.MULTILINE)


def is_transaction(script: Traversable) -> bool:
    """Tell whether a migration is one transaction; one that is not builds indexes concurrently."""
    return re.search(r"^begin;$", script.read_text("utf-8"), re.MULTILINE) is not None


def statements(script: str) -> list[str]:
    """Split a script into its statements, each of which ends with a semicolon at a line's end."""
    return [one for one in re.split(r"(?<=;)\n", script) if one.strip()]


async def check(db: Runner) -> None:
    """Make sure that the database has a schema that this version can work with.

    Raises:
        SchemaOutdated: the database lacks a migration.
        SchemaTooNew: the database has a breaking migration that this version does not know.
        DatabaseUnavailable: the database does not answer.
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
        raise SchemaTooNew(message)
