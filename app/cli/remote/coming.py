"""`tocsin upcoming`: what runs when, of all jobs or of some."""

from collections.abc import Container, Iterator
from datetime import datetime
from typing import Any

import click

from app.cli.remote.api import PAGE, Api, job_path
from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.instants import instant_of
from app.cli.remote.options import remote
from app.cli.remote.remote import MORE, Remote

COLUMNS = ("at", "job_name", "scheduled_for", "skipped", "job_id")


@click.command()
@click.option("--from", "since", help="The runs from this instant on; from now, if left out.")
@click.option("--until", help="The runs before this instant; a day from now, if left out.")
@click.option("--job", help="Those of this job, by id or name.")
@click.option("--tag", multiple=True, help="Those of jobs with this tag; all, if several.")
@click.option("--limit", type=click.IntRange(min=1), default=50, help="So many at most; 50.")
@remote("UpcomingRun")
def upcoming(
    on: Remote,
    *,
    since: str | None,
    until: str | None,
    job: str | None,
    tag: tuple[str, ...],
    limit: int,
) -> None:
    """List what runs next, of all jobs or of some, the earliest first.

    \b
    tocsin upcoming --from 2026-12-24T03:00:00+01:00 --until 2026-12-24T04:00:00+01:00
    """  # noqa: D301 - a mark of click
    begin = instant_of(since, "--from") if since is not None else None
    end = instant_of(until, "--until") if until is not None else None
    if begin and end and begin >= end:
        message = "--from: has to be earlier than --until, such as an hour"
        raise CommandFailed(message, exit_code=USAGE)
    reading = Reading(on.api, since, until)
    runs = reading.runs(jobs_meant(on.api, job, tag))
    found = [run for _, run in zip(range(limit + 1), runs, strict=False)]
    on.output.print_list(found[:limit], COLUMNS, empty="nothing runs in that time")
    if len(found) > limit:
        click.echo(MORE, err=True)
    elif reading.until and end and datetime.fromisoformat(reading.until) < end:
        click.echo(f"only the runs before {reading.until} are known: jobs are too many", err=True)


class Reading:
    """Reads the runs to come, and until when the API lists them."""

    def __init__(self, api: Api, since: str | None, until: str | None) -> None:
        self.api = api
        self.since = since
        self.asked = until
        self.until: str | None = None

    def __repr__(self) -> str:
        return f"<Reading of runs until {self.until or self.asked}>"

    def runs(self, jobs: Container[str] | None) -> Iterator[dict[str, Any]]:
        """Yield runs, of these jobs only if any are named, the earliest first."""
        cursor = None
        while True:
            query = {"from": self.since, "until": self.asked, "cursor": cursor, "limit": PAGE}
            page = self.api.call("GET", "/v1/upcoming", query=query)
            self.until = page["until"]
            yield from (one for one in page["items"] if jobs is None or one["job_id"] in jobs)
            cursor = page["next_cursor"]
            if cursor is None:
                return


def jobs_meant(api: Api, job: str | None, tags: tuple[str, ...]) -> set[str] | None:
    """Return the ids of the jobs that are meant; None: all.

    Raises:
        CommandFailed: there is no such job.
    """
    ids: set[str] | None = {api.call("GET", job_path(job))["id"]} if job else None
    if tags:
        tagged = {one["id"] for one in api.pages("/v1/jobs", query={"tag": list(tags)}, limit=None)}
        ids = tagged if ids is None else ids & tagged
    return ids
