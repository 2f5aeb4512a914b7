"""The options that say how commands print, with the API and without."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from app.cli.remote.output import ALL_FIELDS, FORMATS, Shown, output_of

Command = Callable[..., None]

SHOWING = (
    click.option(
        "-o",
        "--output",
        "format",
        type=click.Choice(FORMATS),
        help="How to print: a table by default.",
    ),
    click.option(
        "--json",
        "json_fields",
        is_flag=False,
        flag_value=ALL_FIELDS,
        metavar="[FIELDS]",
        help="Print JSON: of all fields, or of those named, with commas between.",
    ),
    click.option("--columns", help="Fields to show in the table, with commas between."),
    click.option("--utc", is_flag=True, help="Show instants in UTC, not in the local zone."),
)


def all_of(options: Sequence[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Make one decorator of several options, which stand in the help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def local(shown: Shown) -> Callable[[Command], Command]:
    """Add the options of `SHOWING` to a command that uses no API; it gets an `Output`."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_output(
            *,
            format: str | None,
            json_fields: str | None,
            columns: str | None,
            utc: bool,
            **more: Any,  # noqa: ANN401 - the command's own options
        ) -> None:
            output = output_of(
                shown, more, format=format, json_fields=json_fields, columns=columns, utc=utc
            )
            command(output, **more)

        return all_of(SHOWING)(with_output)

    return decorate
