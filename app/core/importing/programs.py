"""What stands before and after the command of a line: comments, and programs that run another."""

import re
from collections.abc import Collection, Sequence
from typing import Any

QUOTED = re.compile(r"('[^']*'|\"(?:\\.|[^\"\\])*\")")
COMMENT = re.compile(r"(?<!\S)#.*", re.DOTALL)
"""A comment at the end of a line, outside of quotes."""
BEFORE = frozenset({"chronic", "command", "env", "exec", "ionice", "nice", "nohup"})
"""Programs that carry out the command after them, and change nothing of a request."""
OF_TIMEOUT = frozenset({"-k", "--kill-after", "-s", "--signal"})
"""The options of timeout that have a value in the next word."""
OF_FLOCK = frozenset({"-w", "--wait", "--timeout", "-E", "--conflict-exit-code"})
"""The same of flock."""
OF_OTHERS = frozenset({"-n", "--adjustment", "-c", "--class", "--classdata", "-u", "--unset", "-a"})
"""The same of those in `BEFORE`."""
AT_ONCE = re.compile(r"-[a-z]*n[a-z]*|--nonblock|--nb")
"""The option of flock not to wait, perhaps among other letters."""
DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class NotACall(Exception):
    """A command that is no HTTP request; the message says why."""


def without_comment(text: str) -> str:
    """Leave out the comment that a shell would pass over."""
    parts = QUOTED.split(text)
    for number in range(0, len(parts), 2):
        # What follows a quote is no comment, as in 'a'#b.
        begin = parts[number] if number == 0 else f"x{parts[number]}"
        if found := COMMENT.search(begin):
            return "".join(parts[:number]) + begin[number > 0 : found.start()]
    return text


def unwrapped(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Take off what stands before the command, and return the fields of a job that it comes to.

    Raises:
        NotACall: it has an option that no job can have.
    """
    fields: dict[str, Any] = {}
    rest = list(words)
    while rest:
        program = rest[0].rpartition("/")[2]
        if program == "timeout":
            _, (limit, *rest) = operands(rest[1:], 2, with_value=OF_TIMEOUT)
            if (found := DURATION.fullmatch(limit)) is None:
                message = f"runs timeout {limit}, which is no duration"
                raise NotACall(message)
            if seconds := float(found[1]) * UNITS[found[2]]:
                fields["timeout_seconds"] = int(seconds) if seconds.is_integer() else seconds
        elif program == "flock":
            taken, (_, *rest) = operands(rest[1:], 2, with_value=OF_FLOCK)
            waits = not any(map(AT_ONCE.fullmatch, taken))
            fields["overlap"] = "buffer_all" if waits else "skip"
        elif program in BEFORE:
            _, rest = operands(rest[1:], 1, with_value=OF_OTHERS)
            while rest and program == "env" and re.match(r"\w+=", rest[0]):
                rest = rest[1:]
        else:
            return rest, fields
    return rest, fields


def operands(
    words: Sequence[str], least: int, *, with_value: Collection[str]
) -> tuple[set[str], list[str]]:
    """Split the options of a program from what follows them, at least so many words.

    Raises:
        NotACall: there are fewer.
    """
    rest = list(words)
    options = set()
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        options.add(option)
        if option in with_value and rest:
            rest.pop(0)
    if len(rest) < least:
        message = "runs a program that is to run another, which is missing"
        raise NotACall(message)
    return options, rest
