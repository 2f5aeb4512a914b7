"""The commands of `tocsin`, their arguments and options."""

import inspect
import re
from collections.abc import Iterator

import click

from app.cli.main import main
from handbook.tables import code, table

AS_IT_IS = re.compile(r"^(?:\x08|\\b)\n((?:.+\n)+)", re.MULTILINE)


def commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """Yield a context for each command below one, in the order of its help."""
    if not isinstance(command, click.Group):
        yield context
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if below is not None and not below.hidden:
            yield from commands(below, click.Context(below, info_name=name, parent=context))


def written(text: str | None) -> str:
    """Return a help text, with what click is told to leave as it is as a block of its own."""
    return AS_IT_IS.sub(
        lambda block: f"```text\n{block[1].strip()}\n```\n", inspect.cleandoc(text or "") + "\n"
    )


def option_row(option: click.Option, context: click.Context) -> tuple[str, str]:
    """Return an option and its help."""
    record = option.get_help_record(context)
    assert record is not None  # noqa: S101 - hidden ones are left out
    names, said = record
    return code(names), said


def command_text(context: click.Context) -> str:
    """Return the section of a command."""
    command = context.command
    pieces = " ".join(command.collect_usage_pieces(context))
    options = [
        option_row(one, context)
        for one in command.get_params(context)
        if isinstance(one, click.Option) and not one.hidden and one.name != "help"
    ]
    parts = [
        f"### {context.command_path}",
        f"```text\n{context.command_path} {pieces}\n```",
        written(command.help),
        table(("option", "meaning"), options) if options else "",
    ]
    return "\n\n".join(part for part in parts if part)


def commands_page() -> str:
    """Return the page of all commands, by the sections of the help."""
    context = click.Context(main, info_name="tocsin")
    parts = [
        "# Commands",
        "Every command, as `--help` has it. [Command line](../cli.md) shows how they are used.",
    ]
    for section, names in main.sections.items():
        parts.append(f"## {section}")
        for name in names:
            command = main.get_command(context, name)
            assert command is not None  # noqa: S101 - for mypy
            below = click.Context(command, info_name=name, parent=context)
            parts += [command_text(one) for one in commands(command, below)]
    return "\n\n".join(parts)
