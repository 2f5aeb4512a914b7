"""What each command line begins and ends with, whether or not click reads it."""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import pairwise

from app.cli.remote.errors import CommandFailed


def keep_standard_streams() -> None:
    """Open each standard stream that is closed on /dev/null, and let all text be written.

    Otherwise a socket would get the number of the stream, and output would go into the socket. What
    the encoding of a stream lacks is written as an escape.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, be the rest of it right or wrong."""
    pairs = [*pairwise(arguments), *(one.partition("=")[::2] for one in arguments)]
    return any(
        option == "--json"
        or option.startswith("-ojson")
        or (option in {"-o", "--output"} and value in {"json", "jsonl"})
        for option, value in pairs
    )


def told(error: Exception, *, command: str | None) -> int:
    """Write on stderr why a command failed, and return its exit code.

    `command`: what to write for `tocsin` in commands that the error names, or None.

    Raises:
        Exception: the error itself, if it is a bug of Tocsin.
    """
    if isinstance(error, CommandFailed):
        error.write()
        return error.exit_code
    from app.cli.failures import report

    return report(error, command=command)
