"""Command lines that are plain enough to be carried out without click.

To import click takes longer than all else that a command which reads does before its request. So
`reads.json` has the options of such commands as click knows them (`make reads` writes it), and a
line is read here where each word of it can mean one thing only. Every other line, and whatever is
wrong, is for click.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from app.cli.ends import asks_for_json, keep_standard_streams, told
from app.cli.remote.errors import CommandFailed

READS = __file__.removesuffix("plain.py") + "reads.json"  # pathlib would take as long as to read it
DIGITS = 18
"""The most of a whole number."""


def is_carried_out(words: Sequence[str]) -> bool:
    """Carry out a command line, if it is plain; otherwise nothing was done."""
    with open(READS, encoding="ascii") as file:  # noqa: PTH123 - see `READS`
        commands = json.load(file)
    name = " ".join(words[:2])
    given = parameters(commands[name], words[2:]) if name in commands else None
    if given is None:
        return False
    from app.cli.remote.reads import READS as FUNCTIONS
    from app.cli.remote.remote import carry_out

    CommandFailed.as_json = asks_for_json(words)
    keep_standard_streams()
    try:
        carry_out(*FUNCTIONS[name], **given)
    except KeyboardInterrupt:
        print("\nAborted!", file=sys.stderr)  # as click does
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - raised again if it is a bug
        sys.exit(told(error, command=None))
    return True


def parameters(command: dict[str, Any], words: Sequence[str]) -> dict[str, Any] | None:
    """Return what click would call a command with, or None where that is for click to say.

    `command`: as in `reads.json`: by its name each option, the names and types of the arguments,
    and what the command is called with where nothing is given.
    """
    given = {name: tuple(one) if one == [] else one for name, one in command["default"].items()}
    arguments = []
    left = list(reversed(words))
    while left:
        word = left.pop()
        if not word.startswith("-"):
            arguments.append(word)
            continue
        called, equals, value = word.partition("=")
        option = command["options"].get(called)
        if option is None or (equals and not called.startswith("--")):
            return None
        takes_next = "type" in option and left and not left[-1].startswith("-")
        if equals or takes_next:
            one = read(value if equals else left.pop(), option.get("type", "nothing"))
        else:
            one = option.get("alone")
        if one is None:
            return None
        name = option["name"]
        given[name] = (*given[name], one) if option["is_multiple"] else one
    if len(arguments) != len(command["arguments"]):
        return None
    for (name, of_type), one in zip(command["arguments"].items(), arguments, strict=True):
        given[name] = read(one, of_type)
        if given[name] is None:
            return None
    return given


def read(word: str, of_type: object) -> str | int | None:
    """Return the value of an option or an argument; None if that is for click to say.

    `of_type`: "text", the list of all values, or the least of whole numbers.
    """
    match of_type:
        case "text" if word and not word.startswith("-"):
            return word
        case list() if word in of_type:
            return word
        case int() if word.isascii() and word.isdecimal() and len(word) <= DIGITS:
            return int(word) if int(word) >= of_type else None
        case _:
            return None
