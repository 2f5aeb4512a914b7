"""`tocsin calendars`: sets of time that jobs keep to or avoid."""

from collections.abc import Sequence
from typing import Any

import click

from app.cli.remote.api import address
from app.cli.remote.options import remote
from app.cli.remote.reading import read_fields, read_text
from app.cli.remote.remote import Remote

COLUMNS = ("name", "timezone", "jobs", "error", "updated_at")
NAME = click.argument("name")


def path_of(name: str) -> str:
    return address("calendars", name)


@click.group()
def calendars() -> None:
    """Read and set calendars: time that jobs keep to, or avoid."""


@calendars.command("list")
@remote("Calendar")
def list_calendars(on: Remote) -> None:
    """List the calendars."""
    found = on.api.pages("/v1/calendars", limit=None)
    on.output.print_list(found, COLUMNS, empty="there are no calendars")


@calendars.command("get")
@NAME
@remote("Calendar")
def get_calendar(on: Remote, *, name: str) -> None:
    """Read a calendar: what it is made of, and when it is next."""
    on.output.print_one(on.api.call("GET", path_of(name)))


@calendars.command("set")
@NAME
@click.option("-f", "--file", "path", help="Its fields in JSON or YAML; - reads stdin.")
@click.option("--weekly", multiple=True, help="Such as 'MON-FRI 09:00-17:00'.")
@click.option("--date", "dates", multiple=True, help="Such as 2030-12-24, or two with a slash.")
@click.option("--holidays", multiple=True, help="Public holidays of a country, such as DE-BY.")
@click.option("--rrule", "rrules", multiple=True, help="Such as FREQ=MONTHLY;BYDAY=-1FR.")
@click.option("--ical", help="An .ics file; - reads stdin.")
@click.option("--timezone", help="Whose clocks all of these mean; UTC, if left out.")
@click.option("--description")
@remote("Calendar", writes=True)
def set_calendar(
    on: Remote,
    *,
    name: str,
    path: str | None,
    ical: str | None,
    timezone: str | None,
    description: str | None,
    **parts: Sequence[str],
) -> None:
    """Make a calendar, or replace it.

    \b
    tocsin calendars set office --weekly 'MON-FRI 09:00-17:00' --timezone Europe/Berlin
    """  # noqa: D301 - a mark of click
    given: dict[str, Any] = {part: list(values) for part, values in parts.items()}
    given |= {"timezone": timezone, "description": description}
    given |= {"ical": read_text(ical) if ical else None}
    on.confirm(f"set calendar {name}")
    on.output.print_one(on.api.call("PUT", path_of(name), body=read_fields(path, given)))


@calendars.command("delete")
@NAME
@remote(None, writes=True)
def delete_calendar(on: Remote, *, name: str) -> None:
    """Delete a calendar that no job uses."""
    on.confirm(f"delete calendar {name}")
    on.api.call("DELETE", path_of(name))
