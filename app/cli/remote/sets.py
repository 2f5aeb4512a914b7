"""`tocsin plan`, `apply` and `sets`: jobs that are kept in files."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from app.cli.remote.api import address
from app.cli.remote.errors import CONFLICT, DIFFERS, USAGE, CommandFailed
from app.cli.remote.options import by_format, remote
from app.cli.remote.plan_text import plan_lines
from app.cli.remote.reading import read_document
from app.cli.remote.remote import Remote
from app.cli.remote.showing import all_of

COLUMNS = ("name", "jobs", "others", "removed", "applied_at", "applied_by")
FILES = (
    click.option(
        "-f",
        "--file",
        "paths",
        multiple=True,
        required=True,
        help="A file, or a directory of files, in YAML or JSON; - reads stdin.",
    ),
    click.option("--set", "set_name", help="The name of the set, if no file says it."),
    click.option(
        "--prune",
        type=click.Choice(["pause", "delete"]),
        help="What becomes of jobs that the files do not have any more; they are paused.",
    ),
    click.option(
        "--take-over",
        multiple=True,
        metavar="[KIND:]NAME",
        help="Take a job, or flow:NAME and such, that nobody or another set has; repeated.",
    ),
)
NAME = click.argument("name")


@click.command("plan")
@all_of(FILES)
@remote("SetPlan")
def plan_files(on: Remote, **given: Any) -> None:  # noqa: ANN401 - the options of FILES
    """Say what files would change; nothing is written.

    Exit code 7: something would be changed; 6: something belongs to others.
    """
    files, body = request_of(**given)
    plan = asked(on, "plan", files, body)
    show(on, plan)
    if plan["counts"].get("conflict"):
        sys.exit(CONFLICT)
    if plan["differs"]:
        sys.exit(DIFFERS)


@click.command("apply")
@all_of(FILES)
@click.option("--plan", "plan_path", help="Do what this plan says (of `plan --json`), or nothing.")
@remote("SetPlan", writes=True)
def apply_files(on: Remote, *, plan_path: str | None, **given: Any) -> None:  # noqa: ANN401
    """Make all jobs as files have them, or change nothing.

    \b
    tocsin plan -f jobs/ --json > plan.json
    tocsin apply -f jobs/ --plan plan.json --yes
    """  # noqa: D301 - a mark of click
    files, body = request_of(**given)
    seen = False
    if plan_path is not None:
        body["digest"] = digest_in(plan_path)
    else:
        plan = asked(on, "plan", files, body)
        if plan["counts"].get("conflict") or not plan["differs"]:
            show(on, plan)
            sys.exit(CONFLICT if plan["differs"] else 0)
        seen = on.output.is_table and not on.yes
        if seen:
            show(on, plan)
        body["digest"] = plan["digest"]
    on.confirm(f"apply this to the jobs of {body['set']}", always=True)
    done = asked(on, "apply", files, body)
    if seen:
        click.echo("done", err=True)
    else:
        show(on, done)


def request_of(
    *, paths: Sequence[str], set_name: str | None, prune: str | None, take_over: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """Read the files, and return them with the body of the request."""
    from app.cli.remote.set_files import SetFiles

    files = SetFiles(paths, set_name=set_name)
    more: dict[str, Any] = {"take_over": list(take_over)} if take_over else {}
    if prune:
        more["prune"] = prune
    return files, files.body | more


def asked(on: Remote, verb: str, files: Any, body: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Have a set planned or applied; errors name file, line, column and field.

    Raises:
        CommandFailed: the API refused.
    """
    try:
        answer: dict[str, Any] = on.api.call("POST", f"/v1/jobs/{verb}", body=body)
    except CommandFailed as failure:
        errors = (failure.problem or {}).get("errors") or []
        if not errors:
            raise
        lines = []
        for one in errors:
            place = files.place(one["field"]) or ("", 0, 0)
            one |= dict(zip(("file", "line", "column"), place, strict=True))
            lines.append(f"{place[0]}:{place[1]}:{place[2]}: {one['field']}: {one['message']}")
        problem = (failure.problem or {}) | {"errors": errors}
        raise CommandFailed(
            "\n".join(lines), exit_code=failure.exit_code, problem=problem
        ) from failure
    return answer


def digest_in(path: str) -> str:
    """Read the digest of a plan.

    Raises:
        CommandFailed: the file has no plan.
    """
    plan = read_document(path)
    if not isinstance(plan, dict) or not isinstance(plan.get("digest"), str):
        message = f"{path} has no plan: write one by `tocsin plan -f … --json > {path}`"
        raise CommandFailed(message, exit_code=USAGE)
    digest: str = plan["digest"]
    return digest


def show(on: Remote, plan: dict[str, Any]) -> None:
    """Print a plan: for people as text, else as it was answered."""
    if not on.output.is_table:
        on.output.print_one(plan)
        return
    for line in plan_lines(plan, text=on.output.text, zone=on.output.zone):
        click.echo(line)


@click.group()
def sets() -> None:
    """Read and forget sets: what files own."""


@sets.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, help="So many at most; 50.")
@remote("SetState")
def list_sets(on: Remote, *, limit: int) -> None:
    """List sets, with when and by whom each was last applied."""
    on.print_pages("/v1/sets", COLUMNS, limit=limit, empty="no file has been applied yet")


@sets.command("get")
@NAME
@remote(by_format("SetMember", "SetMembers"))
def get_set(on: Remote, *, name: str) -> None:
    """Read what belongs to a set."""
    found = on.api.call("GET", address("sets", name))
    if not on.output.is_table:
        on.output.print_one(found)
        return
    empty = "nothing belongs to it"
    on.output.print_list(found["members"], ("kind", "name", "removed_at"), empty=empty)


@sets.command("delete")
@NAME
@remote(None, writes=True)
def delete_set(on: Remote, *, name: str) -> None:
    """Forget a set; its jobs stay as they are, and belong to nobody."""
    on.confirm(f"forget the set {name}", always=True)
    on.api.call("DELETE", address("sets", name))
