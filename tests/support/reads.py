"""The options of commands that read, as click has them: `make reads` keeps them for `plain`."""

import json
from pathlib import Path
from typing import Any

import click

from app.cli.main import main
from app.cli.plain import READS
from app.cli.remote.reads import READS as FUNCTIONS


def command_of(name: str) -> click.Command:
    """Return a command by its words."""
    found: click.Command = main
    for word in name.split():
        assert isinstance(found, click.Group)
        inside = found.get_command(click.Context(found), word)
        assert inside is not None
        found = inside
    return found


def described(command: click.Command) -> dict[str, Any]:
    """Describe a command to `app.cli.plain`; options of types that it does not know are left out.

    `default` is what click calls the command with where nothing but its arguments is given.
    """
    arguments = {one.name: type_of(one) for one in command.params if is_argument(one)}
    default = parsed(command, ["1"] * len(arguments))
    assert default is not None
    options: dict[str, Any] = {}
    for option in command.params:
        if isinstance(option, click.Option) and not option.secondary_opts:
            about: dict[str, Any] = {"name": option.name, "is_multiple": option.multiple}
            if not option.is_flag and type_of(option) is not None:
                about["type"] = type_of(option)
            if option.is_flag:
                about["alone"] = True
            elif isinstance(option.flag_value, str):
                about["alone"] = option.flag_value
            if about.keys() & {"type", "alone"}:
                options |= dict.fromkeys(option.opts, about)
    return {
        "arguments": arguments,
        "default": {name: one for name, one in default.items() if name not in arguments},
        "options": options,
    }


def is_argument(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument)


def type_of(parameter: click.Parameter) -> object:
    """Return what `app.cli.plain.read` calls the type; None if it has no such type."""
    assert parameter.nargs == 1
    match parameter.type:
        case click.Choice(choices=choices):
            return list(choices)
        case click.IntRange(min=int(least), max=None, clamp=False):
            return least
        case click.types.IntParamType():
            return 0
        case click.types.StringParamType():
            return "text"
        case _:
            return None


def parsed(command: click.Command, words: list[str]) -> dict[str, Any] | None:
    """Return what click calls a command with; None where it refuses the words."""
    try:
        return command.make_context(command.name, list(words)).params
    except (click.ClickException, click.exceptions.Exit):
        return None


def written() -> str:
    """Return what `reads.json` is to hold."""
    commands = {name: described(command_of(name)) for name in FUNCTIONS}
    return json.dumps(commands, indent=1) + "\n"


if __name__ == "__main__":
    Path(READS).write_text(written(), "ascii")
