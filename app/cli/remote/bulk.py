"""`tocsin bulk`, and how other commands start a change of many jobs: count, ask, do, watch."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from app.cli.remote.errors import FAILED, USAGE, CommandFailed
from app.cli.remote.instants import past_range
from app.cli.remote.options import remote
from app.cli.remote.remote import Remote
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
    runs = counted["runs"]
    if runs == 0:
        raise CommandFailed("these have no run in that range: nothing was changed")
    on.confirm(f"{action} {about}{many}" + (f": {runs} runs" if runs else ""), always=True)
    begun = on.api.call("POST", "/v1/bulk", body=asked)
    done = wait_for_bulk(on, begun["id"])
    on.output.print_one(done, COLUMNS)
    for problem in done["problems"]:
        click.echo(f"tocsin: {problem['job_id']}: {problem['problem']}", err=True)
    if done["failed"] or done["state"] != "finished":
        sys.exit(FAILED)


@click.command()
@click.argument("job", required=False)
@click.option("--tag", "tag", multiple=True, help="Of jobs that have this tag; all, if several.")
@click.option(
    "--from", "since", required=True, help="The first instant of the range; 12h: 12 hours ago."
)
@click.option(
    "--to", "until", required=True, help="Its end, not included; 2026-12-24: as that day began."
)
@click.option("--rate", type=float, help="How many runs are asked for in a second; 10.")
@click.option("--side-by-side", is_flag=True, help="The same as --overlap allow_all.")
@click.option(
    "--overlap",
    type=click.Choice(["buffer_all", "allow_all"]),
    help="Whether runs of a job wait for each other, or go side by side; they wait.",
)
@remote("Bulk", writes=True)
def backfill(
    on: Remote,
    *,
    job: str | None,
    tag: Sequence[str],
    since: str,
    until: str,
    rate: float | None,
    side_by_side: bool,
    overlap: str | None,
) -> None:
    """Carry out the runs that a schedule has in a range of the past.

    \b
    tocsin backfill nightly --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z

    They are counted first, and have the identity that the run of that instant had.
    """  # noqa: D301 - a mark of click
    if bool(job) is bool(tag):
        raise CommandFailed("name a job, or say which by --tag: one of the two", exit_code=USAGE)
    found_by: dict[str, Any] = {"job": job} if job else {"tag": list(tag)}
    options: dict[str, Any] = past_range(since, until)
    if rate is not None:
        options["rate_per_second"] = rate
    if side_by_side and overlap == "buffer_all":
        message = "--side-by-side and --overlap buffer_all are opposites: leave one of them out"
        raise CommandFailed(message, exit_code=USAGE)
    if side_by_side or overlap:
        options["overlap"] = overlap or "allow_all"
    start_bulk(on, "backfill", found_by, **options)


@click.group()
def bulk() -> None:
    """Watch and cancel changes of many jobs."""


@bulk.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, help="So many at most; 20.")
@remote("Bulk")
def list_bulk(on: Remote, *, limit: int) -> None:
    """List bulk actions, the latest first."""
    on.print_pages("/v1/bulk", COLUMNS, limit=limit, empty="there is no bulk action yet")


@bulk.command("get")
@click.argument("id", type=click.UUID)
@remote("Bulk")
def get_bulk(on: Remote, *, id: object) -> None:
    """Read how a bulk action stands."""
    on.output.print_one(on.api.call("GET", f"/v1/bulk/{id}"))


@bulk.command("cancel")
@click.argument("id", type=click.UUID)
@remote("Bulk", writes=True)
def cancel_bulk(on: Remote, *, id: object) -> None:
    """Cancel a bulk action: what it has done stays done."""
    on.confirm(f"cancel bulk action {id}")
    on.output.print_one(on.api.call("POST", f"/v1/bulk/{id}/cancel"), COLUMNS)
