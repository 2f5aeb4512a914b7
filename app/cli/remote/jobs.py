"""`tocsin jobs`: lists, reads, creates, edits and runs jobs."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from app.cli.remote import reads
from app.cli.remote.api import job_path
from app.cli.remote.batches import create_many, jobs_in
from app.cli.remote.bulk import start_bulk
from app.cli.remote.editing import edited
from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.instants import instant_given, past_range
from app.cli.remote.options import asked_overlap, job_or_bulk, remote, remote_read
from app.cli.remote.output import Output, field, note_past
from app.cli.remote.reading import (
    body_of,
    fields_set,
    header,
    is_given,
    merged,
    read_fields,
    read_text,
)
from app.cli.remote.remote import Remote
from app.cli.remote.showing import all_of
from app.cli.remote.testing import test_job
from app.cli.remote.waiting import wait_for_run

RUNS = (
    *("id", "scheduled_for", "attempt", "outcome", "duration_seconds"),
    *("reason", "status_code", "error"),
)
STATES = ("scheduled", "executing", "retrying", "paused", "finished", "failed", "invalid")
SCHEDULES = {
    "run_at": "--at",
    "run_in_seconds": "--in",
    "cron": "--cron",
    "every_seconds": "--every",
}
"""The options of which a job has one, by their fields."""
METHODS = ("get", "post", "put", "patch", "delete", "head")

FILTERS = (
    click.option("--tag", "tag", multiple=True, help="Those that have this tag; all, if several."),
    click.option("--kind", help="Those of this kind, such as http."),
    click.option("--state", type=click.Choice(STATES), help="Those in this state."),
    click.option("--named", "name", help="Those whose names begin so."),
    click.option("--search", "q", help="Those with this in name or description."),
    click.option("--last-outcome", multiple=True, help="Those whose last execution ended so."),
    click.option("--failing", is_flag=True, default=None, help="Those whose last run failed."),
    click.option("--next-before", help="Those that run before this instant."),
)
JOB = click.argument("job")
JOBS = click.argument("names", nargs=-1, metavar="[JOB]...")
ALL = click.option("--all", "everything", is_flag=True, help="Really all jobs.")


filters = all_of(FILTERS)


@click.group()
def jobs() -> None:
    """List, read, create, edit and run jobs.

    JOB is the id of a job or its name.
    """


jobs.add_command(test_job)


LISTING = (
    *FILTERS,
    click.option(
        "--sort", type=click.Choice(["newest", "next_run"]), help="The order: newest first."
    ),
    click.option("--limit", type=click.IntRange(min=1), default=50, help="So many at most; 50."),
    click.option("--all", "everything", is_flag=True, help="All of them, in place of --limit."),
)
jobs.command("list")(all_of(LISTING)(remote_read("jobs list")))
jobs.command("get")(JOB(remote_read("jobs get")))


@jobs.command("create")
@click.argument("name", required=False)
@click.option("-f", "--file", "path", help="A job, or many, in JSON or YAML; - reads stdin.")
@click.option("--at", "run_at", help="When it runs, once, such as 2026-12-24T18:00:00Z.")
@click.option("--in", "run_in_seconds", type=float, help="In how many seconds it runs, once.")
@click.option("--cron", help="When it runs, such as '0 3 * * 1-5'.")
@click.option("--timezone", help="The zone of the cron, such as Europe/Paris.")
@click.option("--every", "every_seconds", type=float, help="Every how many seconds it runs.")
@click.option("--url", "target_url", help="What is called.")
@click.option(
    "--method", type=click.Choice(METHODS, case_sensitive=False), help="POST, if left out."
)
@click.option("--header", "headers", multiple=True, help="Such as 'X-Team: billing'.")
@click.option("--body", "json_body", help="What is sent, in JSON.")
@click.option("--tag", "tags", multiple=True)
@click.option("--set", "more", multiple=True, help="Any other field, as FIELD=VALUE.")
@click.option(
    "--replace", is_flag=True, help="Replace the jobs of these names, where there are any."
)
@remote("Job", writes=True)
def create_job(
    on: Remote,
    *,
    name: str | None,
    path: str | None,
    target_url: str | None,
    method: str | None,
    headers: Sequence[str],
    json_body: str | None,
    more: Sequence[str],
    replace: bool,
    run_at: str | None,
    **given: object,
) -> None:
    """Create a job from options, a file, or both; or all jobs that a file lists, or none.

    \b
    tocsin jobs create nightly --cron '0 3 * * *' --url https://example.com/report
    tocsin jobs create -f nightly.yaml
    tocsin jobs create -f jobs.ndjson --replace
    """  # noqa: D301 - a mark of click
    options = {key: list(one) if isinstance(one, tuple) else one for key, one in given.items()}
    options["run_at"] = instant_given(run_at, "--at")
    if len(given_twice := [flag for key, flag in SCHEDULES.items() if is_given(options[key])]) > 1:
        message = (
            f"{' and '.join(given_twice)} are given: a job has one schedule, leave one of them"
        )
        raise CommandFailed(message, exit_code=USAGE)
    text = read_text(path) if path else ""
    of_one = (name, target_url, method, headers, json_body, more, *options.values())
    if (many := jobs_in(text, path or "", of_one)) is not None:
        create_many(on, many, replaces=replace)
        return
    document = read_fields(path, options | {"name": name}, text=text)
    target = {
        "url": target_url,
        "method": method and method.upper(),
        "headers": dict(map(header, headers)),
    }
    said = {part: one for part, one in target.items() if one}
    said |= {} if json_body is None else {"json": body_of(json_body)}
    if said:
        document["target"] = dict(document.get("target") or {}) | said
    document = merged(document, fields_set(tuple(more)))
    document.setdefault("kind", "http")
    if document["kind"] == "http" and not document.get("target"):
        message = "there is no target: say by --url what is called, or give the job by --file"
        raise CommandFailed(message, exit_code=USAGE)
    if not document.keys() & SCHEDULES:
        message = (
            f"there is no schedule: say by one of {', '.join(SCHEDULES.values())} when it runs"
        )
        raise CommandFailed(message, exit_code=USAGE)
    if replace and not document.get("name"):
        raise CommandFailed("--replace needs a name, by which jobs are replaced", exit_code=USAGE)
    on.confirm(f"create job {document.get('name') or '(nameless)'}")
    if replace:
        made = on.api.call("PUT", job_path(document["name"]), body=document)
    else:
        made = on.api.call("POST", "/v1/jobs", body=document)
    note_past(made)
    on.output.print_one(made)


def edited_one(output: Output, given: Mapping[str, Any]) -> str:
    """Say what `edit` prints."""
    return job_or_bulk(output, {"names": given["job"]})


@jobs.command("edit")
@click.argument("job", required=False)
@filters
@ALL
@click.option("--set", "given", multiple=True, help="A field to change, as FIELD=VALUE.")
@click.option("-f", "--file", "path", help="The fields to change, in JSON or YAML; - reads stdin.")
@remote(edited_one, writes=True)
def edit_job(
    on: Remote, *, job: str | None, given: tuple[str, ...], path: str | None, **found_by: object
) -> None:
    """Edit a job, in $EDITOR, or by --set or --file; or by these all jobs that are found.

    Nothing is changed if somebody else has changed the job meanwhile (exit code 6).
    """
    if job is None or any(found_by.values()):
        if not (given or path):
            message = "say by --set or --file what becomes of all that are found"
            raise CommandFailed(message, exit_code=USAGE)
        patch = read_fields(path, {}) | fields_set(given)
        act(on, "edit", [job] if job else [], found_by, body={"patch": patch})
        return
    found, headers = on.api.send("GET", job_path(job))
    patch = read_fields(path, {}) | fields_set(given)  # in which null takes a field away
    if not patch:
        patch = edited(found)
    if not patch:
        raise CommandFailed("nothing was changed")
    on.confirm(f"edit job {job}")
    made = on.api.call(
        "PATCH",
        job_path(job),
        body=patch,
        headers={
            "Content-Type": "application/merge-patch+json",
            "If-Match": headers.get("ETag") or "*",
        },
    )
    if "run_at" in patch:
        note_past(made)
    on.output.print_one(made)


def act(
    on: Remote,
    action: str,
    names: Sequence[str],
    found_by: dict[str, Any],
    *,
    body: dict[str, Any] | None = None,
) -> None:
    """Do something with the jobs named, or with all that are found by filters."""
    found_by["next_before"] = instant_given(found_by["next_before"], "--next-before")
    given = {name: one for name, one in found_by.items() if one}
    everything = given.pop("everything", False)
    if bool(names) is bool(given or everything):
        message = (
            "name jobs, or say which by --tag, --state or the like, or give --all: one of these"
        )
        raise CommandFailed(message, exit_code=USAGE)
    if not names:
        start_bulk(on, action, {"all": True} if everything else lists(given), **(body or {}))
        return
    on.confirm(f"{action} {', '.join(names)}", always=action == "delete")
    for name in names:
        if action == "delete":
            on.api.call("DELETE", job_path(name))
            click.echo(f"deleted {name}", err=True)
        else:
            on.output.print_one(on.api.call("POST", job_path(name, action), body=body), reads.JOBS)


def lists(given: dict[str, Any]) -> dict[str, Any]:
    return {name: list(one) if isinstance(one, tuple) else one for name, one in given.items()}


@jobs.command("pause")
@JOBS
@filters
@ALL
@click.option("--reason", help="Why, for those who wonder later.")
@click.option("--until", help="When they are resumed by themselves.")
@remote(job_or_bulk, writes=True)
def pause_jobs(
    on: Remote, *, names: Sequence[str], reason: str | None, until: str | None, **found_by: object
) -> None:
    """Pause jobs: those named, or all that are found."""
    given = {"reason": reason, "until": instant_given(until, "--until")}
    body = {name: one for name, one in given.items() if one is not None}
    act(on, "pause", names, found_by, body=body or None)


@jobs.command("resume")
@JOBS
@filters
@ALL
@click.option(
    "--missed",
    type=click.Choice(["skip", "once", "all"]),
    help="What becomes of the runs that were missed; as misfire says, if left out.",
)
@remote(job_or_bulk, writes=True)
def resume_jobs(
    on: Remote, *, names: Sequence[str], missed: str | None, **found_by: object
) -> None:
    """Resume jobs: those named, or all that are found."""
    act(on, "resume", names, found_by, body={"missed": missed} if missed else None)


@jobs.command("delete")
@JOBS
@filters
@ALL
@remote(job_or_bulk, writes=True)
def delete_jobs(on: Remote, *, names: Sequence[str], **found_by: object) -> None:
    """Delete jobs: those named, or all that are found. Their executions stay."""
    act(on, "delete", names, found_by)


@jobs.command("skip")
@JOBS
@filters
@ALL
@click.option("--runs", type=click.IntRange(min=1), help="So many, from the next on; 1.")
@click.option("--until", help="All runs before this instant.")
@click.option("--none", "unskip", is_flag=True, help="Skip none after all.")
@remote(job_or_bulk, writes=True)
def skip_runs(
    on: Remote,
    *,
    names: Sequence[str],
    runs: int | None,
    until: str | None,
    unskip: bool,
    **found_by: object,
) -> None:
    """Skip the next run of jobs, the next few, or all before an instant.

    Of the jobs named, or of all that are found.
    """
    if (runs is not None) + (until is not None) + unskip > 1:
        message = "--runs, --until and --none say which runs: leave one of them"
        raise CommandFailed(message, exit_code=USAGE)
    if unskip:
        act(on, "unskip", names, found_by)
    else:
        before = instant_given(until, "--until")
        wanted: dict[str, Any] = {"runs": runs or 1} if before is None else {"until": before}
        act(on, "skip", names, found_by, body=wanted)


def of_run(output: Output, given: Mapping[str, Any]) -> str:
    """Say what `run` prints: with --wait, the execution that it waited for."""
    return "Execution" if given["wait"] else job_or_bulk(output, given)


@jobs.command("run")
@JOBS
@filters
@ALL
@click.option("--wait", is_flag=True, help="Wait for the end; exit with 1 if the run fails.")
@asked_overlap
@remote(of_run, writes=True)
def run_jobs(
    on: Remote, *, names: Sequence[str], wait: bool, overlap: str | None, **found_by: object
) -> None:
    """Run jobs now, beside their plans: those named, or all that are found."""
    body = {"overlap": overlap} if overlap else None
    if not wait:
        act(on, "run", names, found_by, body=body)
        return
    if len(names) != 1:
        raise CommandFailed("--wait is for one job: name it", exit_code=USAGE)
    on.confirm(f"run {names[0]}")
    execution = wait_for_run(on, names[0], body=body)
    on.output.print_one(execution)
    if execution["outcome"] != "succeeded":
        sys.exit(1)


@jobs.command("explain")
@JOB
@click.option("--at", help="What became of the run of this instant.")
@remote("Explanation")
def explain_job(on: Remote, *, job: str, at: str | None) -> None:
    """Say why a job has not run, or when it will."""
    found = on.api.call("GET", job_path(job, "explain"), query={"at": instant_given(at, "--at")})
    if not on.output.is_table:
        on.output.print_one(found)
        return
    for one in found["reasons"] or [{"reason": found["state"], "detail": found["summary"]}]:
        click.echo(f"{field(one, 'reason')}: {one['detail']}")


@jobs.command("history")
@JOB
@click.option("--outcome", multiple=True, help="Those that ended so, such as failed.")
@click.option("--from", "since", help="Those that finished then or later; 12h: 12 hours ago.")
@click.option("--to", "until", help="Those that finished earlier; 2026-12-24: as that day began.")
@click.option("--limit", type=click.IntRange(min=1), default=20, help="So many at most; 20.")
@remote("Execution")
def list_history(
    on: Remote,
    *,
    job: str,
    outcome: Sequence[str],
    since: str | None,
    until: str | None,
    limit: int,
) -> None:
    """List the executions of a job, the latest first."""
    query: dict[str, Any] = {"outcome": list(outcome), **past_range(since, until)}
    empty = (
        f"no executions of {job} match" if any(query.values()) else f"{job} has no executions yet"
    )
    on.print_pages(job_path(job, "executions"), RUNS, query=query, limit=limit, empty=empty)
