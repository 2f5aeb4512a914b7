"""The commands on the database itself: `migrate`, `roles`, `prune` and `doctor`."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Sequence
from time import monotonic

import click
from msgspec import to_builtins

from app.cli import doctor
from app.cli.database import run_with_database
from app.cli.remote.errors import DIFFERS
from app.cli.remote.output import Output
from app.cli.remote.showing import local
from app.config import Settings
from app.core.facts import Fact, Pruned
from app.db import Database, migrate, roles
from app.scheduler.upkeep import keep_up_once
from app.telemetry import Observers
from app.telemetry.logs import configure, log_fact

UP_TO_DATE = "the schema is up to date, and so are its functions and triggers"


@click.command("migrate")
@click.option(
    "--dry-run", is_flag=True, help="Only print the SQL; exit with 7 if there is something to do."
)
def migrate_database(dry_run: bool) -> None:
    """Bring the database to the schema of this version; safe to run at any time."""
    url = Settings.from_environ(os.environ).required_database_url()
    if dry_run:
        script = asyncio.run(migrate.read_script(url))
        if script is not None:
            click.echo(script)
            sys.exit(DIFFERS)
        click.echo(UP_TO_DATE, err=True)
        return
    applied = asyncio.run(migrate.migrate(url))
    if applied:
        click.echo(f"applied schema version {', '.join(map(str, applied))}")
    else:
        click.echo(UP_TO_DATE)


@click.command("roles")
@click.option("--dry-run", is_flag=True, help="Only print the SQL.")
def make_roles(dry_run: bool) -> None:
    """Make the roles of Tocsin in Postgres, and grant each what it needs."""
    if dry_run:
        click.echo(roles.script())
        return

    def make(_: Database, settings: Settings) -> Awaitable[list[str]]:
        return roles.make(settings.required_database_url())

    for warning in run_with_database(make, application_name="tocsin roles"):
        click.echo(f"tocsin: {warning}", err=True)
    click.echo(f"{', '.join(roles.ROLES)} have what they need: make a login a member of one")


@click.command("prune")
def prune_database() -> None:
    """Do the upkeep now that instances do hourly, in short steps."""
    told: list[Fact] = []

    def prune(_: Database, settings: Settings) -> Awaitable[bool]:
        configure(level=settings.log_level, log_format=settings.log_format)
        return keep_up_once(
            settings.required_database_url(),
            Observers(log_fact, told.append),
            instance="prune",
            retention_days=settings.retention_days,
            clock=monotonic,
        )

    if not run_with_database(prune, application_name="tocsin prune"):
        click.echo(
            "tocsin: not all of it could be done: see above, or an instance is at it", err=True
        )
        sys.exit(1)
    click.echo(pruned_in_words([one for one in told if isinstance(one, Pruned)]))


def pruned_in_words(done: Sequence[Pruned]) -> str:
    """Say in a sentence what the upkeep added and deleted, or that there was nothing to do."""
    if not done:
        return "no day of executions had to be dropped or added, and no finished job to be deleted"
    return "; ".join(
        f"days of executions dropped: {one.partitions_dropped}, added: {one.partitions_added}; "
        f"finished jobs deleted: {one.jobs_deleted}"
        for one in done
    )


@click.command("doctor")
@local("Finding")
def examine_database(output: Output) -> None:
    """Look at everything an operator would, and say what to do about it.

    Exit code 1: a remedy is needed, that of a finding that is `grave`.
    """
    found = asyncio.run(doctor.examine(Settings.from_environ(os.environ)))
    if output.is_asked_for:
        output.print_list([to_builtins(one) for one in found], ())
    else:
        doctor.print_findings(found)
    if any(one.remedy and one.grave for one in found):
        sys.exit(1)
