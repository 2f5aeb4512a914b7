"""Translates the errors that asyncpg raises into Tocsin's own; other packages see only these."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from app.db.connections import NEEDED
from app.errors import (
    WHOLE,
    AppError,
    ConstraintViolated,
    DatabaseRefused,
    DatabaseUnavailable,
    Deadlocked,
    FieldError,
    InvalidInput,
    KeyLimitError,
    KeyNameTaken,
    LockedByOthers,
    NameTaken,
    PoolerInTheWay,
    RightMissing,
    SchemaOutdated,
    StatementCancelled,
    TriggerRefused,
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
    asyncpg.IdleInTransactionSessionTimeoutError,  # this process was frozen in a transaction
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until it is promoted
    asyncpg.SequenceGeneratorLimitExceededError,  # a sequence that a person set to its end
    asyncpg.InvalidCachedStatementError,  # the schema changed under a prepared statement
)
"""Errors that pass by themselves: the statement may be tried again, on a new connection."""

UNKNOWN_TO_THE_SCHEMA: tuple[type[BaseException], ...] = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)
"""Errors of Tocsin's statements in a database that was not, or not yet, migrated."""

LACKING: tuple[type[BaseException], ...] = (
    *UNKNOWN_TO_THE_SCHEMA,
    asyncpg.InsufficientPrivilegeError,
)

OTHERS_FUNCTION = re.compile(r"\bfunction (?!tocsin\.)")
"""Found in the context of an error that a function outside the schema `tocsin` raised."""

OTHERS_NAME = re.compile(OTHERS_FUNCTION.pattern + r"[^\s(]{1,130}")
"""`OTHERS_FUNCTION` with the name of the function."""

MIXED_SESSIONS: tuple[type[BaseException], ...] = (
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InvalidSQLStatementNameError,
)
"""Errors about prepared statements that only a session shared by several clients can meet."""

POOLER = (
    "TOCSIN_DATABASE_URL leads through a pooler that does not keep a session for its client, such "
    "as PgBouncer in transaction mode: notifications are lost there. Give Tocsin an address of "
    f"Postgres itself; it needs up to {NEEDED}"
)

CAUGHT = "a function of users caught the cancellation of a statement"

MAX_SAID_LENGTH = 300
"""How many characters of a server's message an error repeats."""

TAKEN: dict[str, tuple[type[AppError], str]] = {
    "jobs_name": (NameTaken, "another job already has this name"),
    "api_keys_name": (KeyNameTaken, "another key already has this name: revoke it first"),
}
"""The errors for violations of unique indexes, by the name of the index."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise Tocsin's errors for asyncpg's; errors that are bugs pass unchanged.

    Raises:
        NameTaken, KeyNameTaken: the name belongs to another job, or to another key.
        InvalidInput: a constraint or trigger refused a row; names the column and the remedy.
        SchemaOutdated: the database lacks a table, column or function of the statement.
        RightMissing: Tocsin's role may not do what the statement does.
        PoolerInTheWay: a pooler shares the session between clients.
        LockedByOthers, Deadlocked, StatementCancelled, DatabaseUnavailable: one of `TRANSIENT`.
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
        if error.schema_name not in (None, "tocsin"):  # a row of a table that a trigger writes to
            raise
        raise InvalidInput(refused(error)) from error
    except LACKING as error:
        if raised_by_others(error):
            raise
        raise refusal(error) from error
    except MIXED_SESSIONS as error:
        raise PoolerInTheWay(POOLER) from error
    except TRANSIENT as error:
        raise unavailable(error) from error


def said_by_postgres(error: Exception) -> str | None:
    """Word an error of Postgres that was not translated; None for any other error."""
    if isinstance(error, asyncpg.PostgresError):
        return f"Postgres refused a statement: {in_one_line(error)}"
    return None


def refused_by_others(error: Exception) -> AppError | None:
    """Translate the refusal of a constraint or trigger of users; None for any other error.

    The API does so with what `translate_errors` passed on; instances tell such errors apart by row.
    """
    if not isinstance(error, asyncpg.PostgresError):
        return None
    state = error.sqlstate or ""
    if state[:2] == "23":
        table = ".".join(name for name in (error.schema_name, error.table_name) if name)
        named = [f"constraint {error.constraint_name}"] if error.constraint_name else []
        named += [f"table {table}"] if table else []
        where = f" ({', '.join(named)})" if named else ""
        return ConstraintViolated(f"Postgres refused the change: {in_one_line(error)}{where}")
    context = error.context or ""
    if state != "P0001" and not raised_by_others(error):
        return None
    said = in_one_line(error)
    if not (state == "P0001" or state[:2] == "42" or " at RAISE" in context.partition("\n")[0]):
        # Messages about values quote them, and one of the values may be a secret of the target.
        said = f"SQLSTATE {state}, of which the log of Postgres says more"
    function = OTHERS_NAME.search(context)
    by = function.group() if function else "a trigger"
    return TriggerRefused(f"{by} in the database refused the change: {said}")


def unavailable(error: BaseException) -> DatabaseUnavailable:
    """Translate an error of `TRANSIENT`."""
    said = "no answer in time" if isinstance(error, TimeoutError) else in_one_line(error)
    message = f"Postgres is not available: {said}"
    if isinstance(error, asyncpg.LockNotAvailableError):
        return LockedByOthers(message)
    if isinstance(error, asyncpg.DeadlockDetectedError):
        return Deadlocked(message)
    if isinstance(error, asyncpg.QueryCanceledError):
        return StatementCancelled(message)
    return DatabaseUnavailable(message)


def refusal(error: BaseException) -> DatabaseRefused:
    """Translate an error of `LACKING`: a right or a part of the schema is missing."""
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return RightMissing(
            f"Tocsin's role lacks a right, which has to be granted: {in_one_line(error)}"
        )
    return SchemaOutdated(
        "the database's schema is not the one this version needs: run `tocsin migrate`"
    )


def raised_by_others(error: BaseException) -> bool:
    """Return whether a function outside the schema `tocsin`, such as a user's trigger, raised."""
    context = error.context if isinstance(error, asyncpg.PostgresError) else None
    return OTHERS_FUNCTION.search(context or "") is not None


def function_of_others(error: BaseException) -> str:
    """Return " in" and the function outside the schema `tocsin` that was running; "" for none."""
    cause = error.__cause__
    context = cause.context if isinstance(cause, asyncpg.PostgresError) else None
    found = OTHERS_NAME.search(context or "")
    return f" in {found.group()}" if found else ""


def in_one_line(error: BaseException) -> str:
    """Return an error's message in one line of bounded length, without what asyncpg adds."""
    said = getattr(error, "message", None) or str(error)
    return " ".join(said.split())[:MAX_SAID_LENGTH].rstrip(".") or type(error).__name__


def refused(error: asyncpg.PostgresError) -> FieldError:
    """Name the column that a row was refused for: a trigger of Tocsin or the constraint tells."""
    if (error.table_name, error.column_name) == ("api_keys", "max_jobs"):  # tocsin.note_key_jobs
        return KeyLimitError(field=WHOLE, message=f"{error.message}. {error.hint}")
    column = error.column_name or (error.constraint_name or "").removeprefix("jobs_")
    message = error.message.removeprefix(f"{column} ")
    return FieldError(field=column, message=f"{message}. {error.hint}" if error.hint else message)
