"""Translates what asyncpg raises into our own errors, at the one edge that meets it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from app.errors import (
    AppError,
    DatabaseRefused,
    DatabaseUnavailable,
    FieldError,
    InvalidInput,
    KeyNameTaken,
    LockedByOthers,
    NameTaken,
    PoolerInTheWay,
    RightMissing,
    SchemaOutdated,
)

TRANSIENT: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in mid-answer and lost its place
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.TransactionRollbackError,  # class 40: deadlock, serialization
    asyncpg.InsufficientResourcesError,  # class 53: disk full, too many connections
    asyncpg.OperatorInterventionError,  # class 57: shutdown, cancelled statement
    asyncpg.PostgresSystemError,  # class 58: the disk, or a file that is not there
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until it is promoted
    asyncpg.InvalidCachedStatementError,  # the schema changed under a prepared statement
)
"""Faults that pass by themselves: the statement may be tried again, on a new connection."""

UNKNOWN_TO_THE_SCHEMA: tuple[type[BaseException], ...] = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)
"""What our own statements meet only in a database that was never, or not yet, migrated."""

LACKING: tuple[type[BaseException], ...] = (
    *UNKNOWN_TO_THE_SCHEMA,
    asyncpg.InsufficientPrivilegeError,
)

OTHERS_FUNCTION = re.compile(r"\bfunction (?!tocsin\.)")
"""What the context of an error has where a function that is not ours raised it."""

MIXED_SESSIONS: tuple[type[BaseException], ...] = (
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InvalidSQLStatementNameError,
)
"""What a session meets only where others share it: a statement that is not its own, or is gone."""

POOLER = (
    "TOCSIN_DATABASE_URL leads through a pooler that does not keep a session for its client, such "
    "as PgBouncer in transaction mode: notifications are lost there. Give Tocsin an address of "
    "Postgres itself; it needs eleven connections for each instance"
)

MAX_SAID_LENGTH = 300
"""Characters of a server's own words."""

TAKEN: dict[str, tuple[type[AppError], str]] = {
    "jobs_name": (NameTaken, "another job already has this name"),
    "api_keys_name": (KeyNameTaken, "another key already has this name: revoke it first"),
}
"""What a unique index that people can run into stands for."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise our errors for asyncpg's.

    Raises:
        NameTaken, KeyNameTaken: the name belongs to another job, or to another key.
        InvalidInput: a constraint or trigger refused a row; names the column and the remedy.
        SchemaOutdated: the database lacks what the statement needs.
        RightMissing: our role may not do what the statement does.
        PoolerInTheWay: this is no session of Postgres's.
        LockedByOthers, DatabaseUnavailable: one of `PASSING`.
    """
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        taken = TAKEN.get(error.constraint_name or "")
        if taken is None:
            raise
        kind, message = taken
        raise kind(message) from error
    except (asyncpg.CheckViolationError, asyncpg.NotNullViolationError) as error:
        raise InvalidInput(refused(error)) from error
    except LACKING as error:
        if raised_by_others(error):
            raise
        raise refusal(error) from error
    except MIXED_SESSIONS as error:
        raise PoolerInTheWay(POOLER) from error
    except TRANSIENT as error:
        message = f"Postgres is not available: {in_one_line(error)}"
        locked = isinstance(error, asyncpg.LockNotAvailableError)
        raise (LockedByOthers if locked else DatabaseUnavailable)(message) from error


def said_by_postgres(error: Exception) -> str | None:
    """Return in one sentence what Postgres refused and nobody translated; None: that was not it."""
    if isinstance(error, asyncpg.PostgresError):
        return f"Postgres refused a statement: {in_one_line(error)}"
    return None


def refusal(error: BaseException) -> DatabaseRefused:
    """Say what a database lacks for our statements, whatever is in their rows."""
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return RightMissing(
            f"Tocsin's role lacks a right, which has to be granted: {in_one_line(error)}"
        )
    return SchemaOutdated(
        "the database's schema is not the one this version needs: run `tocsin migrate`"
    )


def raised_by_others(error: BaseException) -> bool:
    """Whether a function that is not ours raised the error, such as a user's trigger."""
    context = error.context if isinstance(error, asyncpg.PostgresError) else None
    return OTHERS_FUNCTION.search(context or "") is not None


def in_one_line(error: BaseException) -> str:
    """Return what an error says, in one line of some length; asyncpg adds more."""
    said = getattr(error, "message", None) or str(error)
    return " ".join(said.split())[:MAX_SAID_LENGTH].rstrip(".") or type(error).__name__


def refused(error: asyncpg.PostgresError) -> FieldError:
    """Say which column a row was refused for: our trigger names it, else the constraint does."""
    column = error.column_name or (error.constraint_name or "").removeprefix("jobs_")
    message = error.message.removeprefix(f"{column} ")
    return FieldError(field=column, message=f"{message}. {error.hint}" if error.hint else message)
