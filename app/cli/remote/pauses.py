"""`tocsin pauses`: pauses of a tag and of everything."""

import click

from app.cli.remote.instants import instant_given
from app.cli.remote.maintenance import one_scope
from app.cli.remote.options import remote
from app.cli.remote.remote import Remote

COLUMNS = ("id", "tag", "reason", "until", "paused_at", "paused_by")


@click.group()
def pauses() -> None:
    """Pause a tag or everything, and end that."""


@pauses.command("list")
@remote("Pause")
def list_pauses(on: Remote) -> None:
    """List the pauses of everything and of tags. Paused jobs: tocsin jobs list --state paused."""
    found = on.api.call("GET", "/v1/pauses")["items"]
    on.output.print_list(found, COLUMNS, empty="neither a tag is paused nor everything")


@pauses.command("begin")
@click.option("--tag", help="The jobs that have this tag, those to come as well.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--reason", help="Why, for those who wonder later.")
@click.option("--until", help="When it ends by itself.")
@remote("Pause", writes=True)
def begin_pause(
    on: Remote, *, tag: str | None, everything: bool, reason: str | None, until: str | None
) -> None:
    """Pause a tag, or everything: nothing of that is started until it ends.

    \b
    tocsin pauses begin --tag billing --reason 'the receiver is broken'
    """  # noqa: D301 - a mark of click
    wanted = one_scope(tag, everything=everything)
    given = {"reason": reason, "until": instant_given(until, "--until")}
    wanted |= {name: one for name, one in given.items() if one is not None}
    counted = on.api.call("POST", "/v1/pauses", body=wanted | {"dry_run": True})
    what = "everything" if everything else f"the tag {tag}"
    on.confirm(f"pause {what}, of which {counted['jobs']} jobs wait for a run")
    on.output.print_one(on.api.call("POST", "/v1/pauses", body=wanted), COLUMNS)


@pauses.command("end")
@click.argument("id", type=click.UUID)
@click.option(
    "--missed",
    type=click.Choice(["skip", "once", "all"]),
    help="What becomes of the runs that were missed; as misfire says, if left out.",
)
@remote(None, writes=True)
def end_pause(on: Remote, *, id: object, missed: str | None) -> None:
    """End a pause. How many jobs are due then is said first."""
    path, wanted = f"/v1/pauses/{id}/resume", {"missed": missed} if missed else {}
    counted = on.api.call("POST", path, body=wanted | {"dry_run": True})
    on.confirm(f"end the pause {id}: {counted['due_jobs']} jobs are due")
    ended = on.api.call("POST", path, body=wanted)
    click.echo(f"ended {id}: {ended['due_jobs']} jobs were due", err=True)
