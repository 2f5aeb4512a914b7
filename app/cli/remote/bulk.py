"""`tocsin bulk`, and how other commands start a change of many jobs: count, ask, do, watch."""

import sys
from typing import Any

import click

from app.cli.remote.errors import FAILED, CommandFailed
from app.cli.remote.options import Remote, remote
from app.cli.remote.waiting import wait_for_bulk

COLUMNS = ("id", "action", "state", "matched", "changed", "unchanged", "failed", "asked_at")


def start_bulk(on: Remote, action: str, found_by: dict[str, Any], **options: object) -> None:
    """Change all jobs, or executions, that a filter finds: count them, ask, do it, and wait.

    Raises:
        CommandFailed: there are none, the answer is no, or some could not be changed.
    """
    asked = {"action": action, "filter": found_by, **options}
    counted = on.api.call("POST", "/v1/bulk", body=asked | {"dry_run": True})
    many = counted["count"]
    if not many:
        raise CommandFailed("nothing is found: nothing was changed")
    about = "" if counted["count_is_exact"] else "more than "
    named = [one["job_name"] or one["job_id"] for one in counted["sample"]]
    rest = " …" if many > len(named) else ""
    click.echo(f"{about}{many} found: {', '.join(named)}{rest}", err=True)
    on.confirm(f"{action} {about}{many}", always=True)
    begun = on.api.call("POST", "/v1/bulk", body=asked)
    done = wait_for_bulk(on, begun["id"])
    on.output.print_one(done, COLUMNS)
    for problem in done["problems"]:
        click.echo(f"tocsin: {problem['job_id']}: {problem['problem']}", err=True)
    if done["failed"] or done["state"] != "finished":
        sys.exit(FAILED)


@click.group()
def bulk() -> None:
    """Watch and cancel changes of many jobs."""


@bulk.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, help="So many at most; 20.")
@remote()
def list_bulk(on: Remote, *, limit: int) -> None:
    """List bulk actions, the latest first."""
    found = on.api.pages("/v1/bulk", limit=limit)
    on.output.print_list(found, COLUMNS, empty="there is no bulk action yet")


@bulk.command("get")
@click.argument("id", type=click.UUID)
@remote()
def get_bulk(on: Remote, *, id: object) -> None:
    """Read how a bulk action stands."""
    on.output.print_one(on.api.call("GET", f"/v1/bulk/{id}"))


@bulk.command("cancel")
@click.argument("id", type=click.UUID)
@remote(writes=True)
def cancel_bulk(on: Remote, *, id: object) -> None:
    """Cancel a bulk action: what it has done stays done."""
    on.confirm(f"cancel bulk action {id}")
    on.output.print_one(on.api.call("POST", f"/v1/bulk/{id}/cancel"), COLUMNS)
