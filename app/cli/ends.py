"""What each command line begins and ends with, whether or not click reads it."""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import pairwise

from app.cli.remote.errors import CommandFailed

ASCII = {"ascii", "us-ascii", "ansi_x3.4-1968", "646"}
"""What Python calls the encoding of a stream in a shell without a locale."""


def keep_standard_streams() -> None:
    """Open each standard stream that is closed on /dev/null, and let all text be written.

    Otherwise a socket would get the number of the stream, and output would go into the socket. An
    ASCII stream is that of a shell without a locale: what it shows is UTF-8. What the encoding of
    another one lacks is written as an escape.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            is_ascii = stream.encoding.lower() in ASCII
            stream.reconfigure(encoding="utf-8" if is_ascii else None, errors="backslashreplace")


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
