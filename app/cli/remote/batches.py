"""Many jobs in one file: `tocsin jobs create -f jobs.ndjson`."""

import json
from collections.abc import Iterable
from typing import Any

import click

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.reading import parsed
from app.cli.remote.remote import Remote

COLUMNS = ("name", "kind", "state", "next_run", "id")
EFFECTS = ("created", "updated", "unchanged")


def jobs_in(text: str, path: str, of_one: Iterable[object]) -> list[Any] | None:
    """Read the jobs of a list, of `{"jobs": […]}` or of lines of JSON; None: it is no list.

    `of_one`: the options that are for one job.

    Raises:
        CommandFailed: there are such options beside a list.
    """
    jobs = listed_in(text, path) if text.strip() else None
    if jobs is not None and any(of_one):
        message = f"{path} has a list of jobs, and options are for one job: leave them out"
        raise CommandFailed(message, exit_code=USAGE)
    return jobs


def listed_in(text: str, path: str) -> list[Any] | None:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].lstrip().startswith("{"):
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            pass  # one document on several lines
    document = parsed(text, path)
    if isinstance(document, list):
        return document
    if isinstance(document, dict) and isinstance(document.get("jobs"), list):
        return list(document["jobs"])
    return None


def create_many(on: Remote, jobs: list[Any], *, replaces: bool) -> None:
    """Create the jobs of a file, or replace those that there are, all or none."""
    on.confirm(f"create {'or replace ' if replaces else ''}{len(jobs)} jobs")
    query = {"replace": True} if replaces else None
    made = on.api.call("POST", "/v1/jobs/batch", query=query, body={"jobs": jobs})["items"]
    columns = ("effect", *COLUMNS) if replaces else COLUMNS
    on.output.print_list(made, columns, empty="the file has no jobs")
    if replaces:
        counts = [sum(one["effect"] == effect for one in made) for effect in EFFECTS]
        said = ", ".join(f"{many} {effect}" for many, effect in zip(counts, EFFECTS, strict=True))
        click.echo(said, err=True)
