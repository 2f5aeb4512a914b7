"""Words each of Tocsin's own errors in one line on stderr."""

import sys
from collections.abc import Iterator

from app.cli.database import through
from app.cli.remote.errors import FAILED, UNREACHABLE, CommandFailed
from app.db.errors import said_by_postgres
from app.descriptors import is_shortage, limit
from app.errors import AppError, DatabaseUnavailable
from app.telemetry.lines import lines_to


def report(error: Exception, *, command: str | None) -> int:
    """Write what an error says to stderr, in one line for each error that it is made of.

    Returns the exit code: that of a database that does not answer, where all of them say so.

    `command`: what to write for `tocsin` in commands that an error names, or None.

    Raises:
        Exception: the error itself, if it is a bug of Tocsin.
    """
    messages = {sentence(one) for one in leaves(error)}  # usually one, in a task group
    if None in messages:
        raise error
    if any(map(is_shortage, leaves(error))):
        sys.unraisablehook = ignore  # a half-made event loop raises in its finalizer
    is_away = all(type(one) is DatabaseUnavailable for one in leaves(error))
    exit_code = UNREACHABLE if is_away else FAILED
    for message in sorted(filter(None, messages)):
        failure = CommandFailed(through(command, message), exit_code=exit_code)
        # Not with click.echo: a reader that does not read must not delay the exit.
        lines_to(sys.stderr).write(f"{failure.line()}\n")
    return exit_code


def ignore(unraisable: object) -> None:
    """Ignore an error in a finalizer."""


def sentence(error: Exception) -> str | None:
    """Word an error that is no bug of Tocsin; None for any other error."""
    match error:
        case _ if is_shortage(error):
            return (
                f"no file descriptor is left: this process may have {limit()} files open; "
                "raise the limit (`ulimit -n`, LimitNOFILE)"
            )
        case DatabaseUnavailable(remedy=str(remedy)) if (
            type(error) is DatabaseUnavailable and remedy
        ):
            return f"{error}. {remedy}"
        case AppError():
            return str(error)
        case OSError(strerror=str(reason), filename=str(name)):
            return f"{name}: {reason}"
        case _:
            return said_by_postgres(error)


def leaves(error: Exception) -> Iterator[Exception]:
    """Yield the errors inside a group, at any depth, or the error itself if it is no group."""
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error
