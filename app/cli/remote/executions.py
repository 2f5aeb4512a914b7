"""`tocsin executions`: what jobs have done."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from app.cli.remote.bulk import start_bulk
from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.options import asked_overlap, job_or_bulk, remote, remote_read
from app.cli.remote.output import Output
from app.cli.remote.reads import EXECUTIONS, query_of
from app.cli.remote.remote import Remote
from app.cli.remote.showing import all_of
from app.cli.remote.tail import Tail

OUTCOMES = ("succeeded", "failed", "timed_out", "cancelled", "lost", "missed")

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
    click.option("--from", "since", help="Those that finished then or later; 12h: 12 hours ago."),
    click.option(
        "--to", "until", help="Those that finished earlier; 2026-12-24: as that day began."
    ),
    click.option("--dead-letter", is_flag=True, default=None, help="The last of runs given up."),
)
ID = click.argument("id", type=int)


filters = all_of(FILTERS)


@click.group()
def executions() -> None:
    """Read what jobs have done: each attempt, and each run that was missed."""


LIMIT = click.option("--limit", type=click.IntRange(min=1), default=50, help="So many at most; 50.")
executions.command("list")(filters(LIMIT(remote_read("executions list"))))
executions.command("get")(ID(remote_read("executions get")))


@executions.command("tail")
@filters
@remote("Execution")
def tail_executions(on: Remote, **given: object) -> None:
    """Print executions as they end, until interrupted: a line of JSON each, or of a table.

    With --from also those that ended since. An API that is away for a while is waited for.
    """
    if on.output.format in {"json", "yaml"}:
        on.output.format = "jsonl"
    with suppress(KeyboardInterrupt):
        for found in Tail(on.api, query_of(given)):
            on.output.print_list(found, EXECUTIONS)


def execution_or_bulk(_: Output, given: Mapping[str, Any]) -> str:
    """Say what `cancel` prints."""
    return "Execution" if given["ids"] else "Bulk"


@executions.command("cancel")
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--job", help="What this job executes, by its id or name.")
@click.option("--tag", multiple=True, help="What jobs with this tag execute; all, if several.")
@click.option("--all", "everything", is_flag=True, help="Really all that is executed.")
@click.option("--retry", is_flag=True, help="Have another attempt follow, if one is left.")
@remote(execution_or_bulk, writes=True)
def cancel_executions(
    on: Remote,
    *,
    ids: Sequence[int],
    job: str | None,
    tag: Sequence[str],
    everything: bool,
    retry: bool,
) -> None:
    """Cut off executions that are under way: those named, or all that are found."""
    found_by = ({"job": job} if job else {}) | ({"tag": list(tag)} if tag else {})
    if (bool(ids) + bool(found_by) + everything) != 1:
        message = "name executions, or say which by --job or --tag, or give --all: one of these"
        raise CommandFailed(message, exit_code=USAGE)
    if not ids:
        start_bulk(on, "cancel", found_by or {"all": True}, **({"retry": True} if retry else {}))
        return
    on.confirm(f"cancel {', '.join(map(str, ids))}")
    for id in ids:
        done = on.api.call("POST", f"/v1/executions/{id}/cancel", body={"retry": retry})
        on.output.print_one(done)


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
    options = {} if rate is None else {"rate_per_second": rate}
    start_bulk(on, action, found_by or {"all": True}, **options, **(asked or {}))
