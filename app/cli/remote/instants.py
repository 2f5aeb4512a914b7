"""Instants as people write them on a command line."""

import re
from datetime import UTC, datetime, timedelta

from app.cli.remote.errors import USAGE, CommandFailed

EXAMPLE = "2026-12-24T18:00:00Z"
DAY = re.compile(r"\d{4}-\d\d-\d\d")
AGO = re.compile(r"(\d{1,6})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def instant_of(text: str, option: str) -> datetime:
    """Read an instant.

    Raises:
        CommandFailed: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        message = f"{option}: {text!r} is no instant with a zone: write it such as {EXAMPLE}"
        raise CommandFailed(message, exit_code=USAGE)
    return found


def instant_given(text: str | None, option: str) -> str | None:
    """Read an instant that may be left out.

    Raises:
        CommandFailed: it is none.
    """
    return None if text is None else instant_of(text, option).isoformat()


def past_range(since: str | None, until: str | None) -> dict[str, str]:
    """Read --from and --to, either of which may be left out, as parameters of the API.

    Raises:
        CommandFailed: one of them is no instant.
    """
    given = {"from": since, "to": until}
    return {name: past_instant(one, f"--{name}") for name, one in given.items() if one is not None}


def past_instant(text: str, option: str) -> str:
    """Read an instant of the past, such as 12h, which is 12 hours ago, or a day's begin here.

    Raises:
        CommandFailed: it is none.
    """
    try:
        if found := AGO.fullmatch(text):
            ago = timedelta(**{UNITS[found[2]]: int(found[1])})
            return (datetime.now(UTC) - ago).isoformat()
        if DAY.fullmatch(text):
            return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        pass  # as of the 31st of a month that has none
    try:
        return instant_of(text, option).isoformat()
    except CommandFailed as failure:
        message = f"{failure}, {EXAMPLE[:10]}, or 12h for 12 hours ago"
        raise CommandFailed(message, exit_code=USAGE) from failure
