"""The options that say how commands print, with the API and without."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import click

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.fields import check_fields
from app.cli.remote.output import ALL_FIELDS, FORMATS, Output, fields_of

Command = Callable[..., None]
Shown = str | Callable[[Output, Mapping[str, Any]], str | None] | None
"""What a command prints, as in `FIELDS`: this, or by its options; None: nothing that has fields."""

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


def output_of(
    shown: Shown,
    given: Mapping[str, Any],
    *,
    format: str | None,
    json_fields: str | None,
    columns: str | None,
    utc: bool,
) -> Output:
    """Return the output that the options of `SHOWING` ask for.

    `shown`, `given`: what is printed, by the command's own options, whose fields are judged.

    Raises:
        CommandFailed: the options contradict each other, or name a field that is not there.
    """
    if json_fields is not None and (columns or format not in (None, "json", "jsonl")):
        message = "--json says format and fields: leave --columns and --output out"
        raise CommandFailed(message, exit_code=USAGE)
    said = format or ("table" if json_fields is None else "json")
    output = Output(said, fields_of(json_fields or columns), utc=utc)
    printed = shown(output, given) if callable(shown) else shown
    if printed is not None:
        check_fields(output.fields, printed)
    return output


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
