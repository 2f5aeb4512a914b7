"""`tocsin executions`: what jobs have done."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from app.cli.remote.api import PAGE, Api
from app.cli.remote.bulk import start_bulk
from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.options import Remote, all_of, asked_overlap, job_or_bulk, remote

COLUMNS = (
    *("id", "job_name", "scheduled_for", "attempt", "outcome", "duration_seconds"),
    *("reason", "status_code", "error"),
)
OUTCOMES = ("succeeded", "failed", "timed_out", "cancelled", "lost", "missed")
TAIL_SECONDS = 1.0
"""The pause between two questions for later executions."""

FILTERS = (
    click.option("--job", help="Those of this job, by id or name."),
    click.option("--tag", multiple=True, help="Those of jobs with this tag; all, if several."),
    click.option("--outcome", type=click.Choice(OUTCOMES), multiple=True, help="Ended so."),
    click.option("--reason", multiple=True, help="With this reason, such as dns."),
    click.option("--status", multiple=True, help="Answered with this status, such as 5xx."),
    click.option("--kind", help="Those of jobs of this kind, such as http."),
    click.option("--host", help="Those of targets on this host."),
    click.option("--late-by", type=float, help="Started so many seconds late, or later."),
    click.option("--slower-than", type=float, help="Took more than so many seconds."),
    click.option("--from", "since", help="Those that finished then or later."),
    click.option("--to", "until", help="Those that finished earlier."),
    click.option("--dead-letter", is_flag=True, default=None, help="The last of runs given up."),
)
ID = click.argument("id", type=int)


filters = all_of(FILTERS)


def query_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the API for filters that are given."""
    names = {"since": "from", "until": "to"}
    return {
        names.get(name, name): list(one) if isinstance(one, tuple) else one
        for name, one in given.items()
        if one
    }


@click.group()
def executions() -> None:
    """Read what jobs have done: each attempt, and each run that was missed."""


@executions.command("list")
@filters
@click.option("--limit", type=click.IntRange(min=1), default=50, help="So many at most; 50.")
@remote("Execution")
def list_executions(on: Remote, *, limit: int, **given: object) -> None:
    """List executions, the latest first."""
    query = query_of(given)
    empty = "no executions match" if query else "there are no executions yet"
    on.print_pages("/v1/executions", COLUMNS, query=query, limit=limit, empty=empty)


@executions.command("get")
@ID
@remote("Execution")
def get_execution(on: Remote, *, id: int) -> None:
    """Read an execution: what was answered, and why it failed."""
    on.output.print_one(on.api.call("GET", f"/v1/executions/{id}"))


@executions.command("tail")
@filters
@remote("Execution")
def tail_executions(on: Remote, **given: object) -> None:
    """Print executions as they end, until interrupted: a line of JSON each, or of a table."""
    query = query_of(given)
    newest = on.api.call("GET", "/v1/executions", query={"limit": 1})["items"]
    last = newest[0]["id"] if newest else 0
    while True:
        found = list(later(on.api, query, last))
        if found:
            last = found[-1]["id"]
            if on.output.format in {"json", "yaml"}:
                on.output.format = "jsonl"
            on.output.print_list(found, COLUMNS, empty="")
        time.sleep(TAIL_SECONDS)


def later(api: Api, query: dict[str, Any], last: int) -> Iterator[dict[str, Any]]:
    """Yield the executions after the one with this id, the earliest first."""
    found = []
    for one in api.pages("/v1/executions", query=query, limit=50 * PAGE):
        if one["id"] <= last:
            break
        found.append(one)
    yield from reversed(found)


@executions.command("cancel")
@ID
@click.option("--retry", is_flag=True, help="Have another attempt follow, if one is left.")
@remote("Execution", writes=True)
def cancel_execution(on: Remote, *, id: int, retry: bool) -> None:
    """Cut off an execution that is under way."""
    on.confirm(f"cancel execution {id}")
    found = on.api.call("POST", f"/v1/executions/{id}/cancel", body={"retry": retry})
    on.output.print_one(found)


def replay(on: Remote, id: int, asked: dict[str, Any] | None) -> None:
    """Carry out the run of one execution again, and say so.

    Raises:
        CommandFailed: the API refused; it is said of which execution.
    """
    try:
        job = on.api.call("POST", f"/v1/executions/{id}/replay", body=asked)
    except CommandFailed as failure:
        message = f"execution {id}: {failure}"
        raise CommandFailed(
            message, exit_code=failure.exit_code, problem=failure.problem
        ) from failure
    if not on.output.is_table or on.output.fields:
        on.output.print_one(job)
        return
    name = job["name"] or job["id"]
    click.echo(f"replayed {id}: its run is asked for again, see tocsin jobs history {name}")


@executions.command("replay")
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@filters
@click.option("--rate", type=float, help="How many are started in a second; 10.")
@asked_overlap
@remote(job_or_bulk, writes=True)
def replay_executions(
    on: Remote, *, ids: Sequence[int], rate: float | None, overlap: str | None, **given: object
) -> None:
    """Carry runs out again, under their old identity: those named, or all that are found."""
    found_by = query_of(given)
    if bool(ids) is bool(found_by):
        message = "name executions, or say which by --job, --outcome or the like: one of the two"
        raise CommandFailed(message, exit_code=USAGE)
    asked = {"overlap": overlap} if overlap else None
    if ids:
        on.confirm(f"replay {', '.join(map(str, ids))}")
        for id in ids:
            replay(on, id, asked)
        return
    action = "redrive" if found_by.pop("dead_letter", None) else "replay"
    options = {"rate_per_second": rate} if rate else {}
    start_bulk(on, action, found_by or {"all": True}, **options, **(asked or {}))
