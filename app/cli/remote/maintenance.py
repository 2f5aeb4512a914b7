"""`tocsin maintenance`: windows in which jobs do not run, and nobody is told of them."""

from typing import Any

import click

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.instants import instant_given
from app.cli.remote.options import remote
from app.cli.remote.remote import Remote

COLUMNS = (
    *("id", "tag", "is_under_way", "starts_at", "ends_at", "calendar"),
    *("on_closed", "reason", "created_by"),
)


@click.group()
def maintenance() -> None:
    """Lay, list and end windows of maintenance, in which jobs do not run."""


@maintenance.command("list")
@remote("Maintenance")
def list_windows(on: Remote) -> None:
    """List the windows: those under way first, and those that ended within 30 days."""
    found = on.api.call("GET", "/v1/maintenance")["items"]
    on.output.print_list(found, COLUMNS, empty="there is no window of maintenance")


@maintenance.command("begin")
@click.option("--tag", help="Over the jobs that have this tag.")
@click.option("--all", "everything", is_flag=True, help="Over all jobs.")
@click.option("--from", "starts_at", help="When it begins, such as 2026-12-24T18:00:00Z; now.")
@click.option("--to", "ends_at", help="When it ends.")
@click.option("--calendar", help="A calendar whose time it is, in place of --from and --to.")
@click.option(
    "--on-closed",
    type=click.Choice(["skip", "next_open"]),
    help="What becomes of runs that are due in it: missed, or the latest starts at its end; skip.",
)
@click.option("--reason", help="Why, for those who wonder later.")
@remote("Maintenance", writes=True)
def begin_window(on: Remote, *, tag: str | None, everything: bool, **given: str | None) -> None:
    """Lay a window over a tag, or over all jobs, for a span of time or by a calendar.

    \b
    tocsin maintenance begin --tag billing --to 2026-12-24T18:00:00Z --reason 'a move'
    """  # noqa: D301 - a mark of click
    scope = one_scope(tag, everything=everything)
    for name, option in (("starts_at", "--from"), ("ends_at", "--to")):
        given[name] = instant_given(given[name], option)
    on.confirm(f"lay a window of maintenance over {'all jobs' if everything else tag}")
    wanted = scope | {name: one for name, one in given.items() if one is not None}
    on.output.print_one(on.api.call("POST", "/v1/maintenance", body=wanted), COLUMNS)


@maintenance.command("end")
@click.argument("id", type=click.UUID)
@remote(None, writes=True)
def end_window(on: Remote, *, id: object) -> None:
    """End a window now, or take one back that has yet to come."""
    on.confirm(f"end the window {id}")
    on.api.call("DELETE", f"/v1/maintenance/{id}")
    click.echo(f"ended {id}: what it put off starts within seconds", err=True)


def one_scope(tag: str | None, *, everything: bool) -> dict[str, Any]:
    """Return what of the body says which jobs are meant: those of a tag, or all.

    Raises:
        CommandFailed: neither is given, or both.
    """
    if (tag is not None) is everything:
        raise CommandFailed(
            "say which jobs by --tag, or give --all: one of the two", exit_code=USAGE
        )
    return {"all": True} if everything else {"tag": tag}
