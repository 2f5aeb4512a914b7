"""`tocsin import`: files of jobs that are kept elsewhere."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.output import in_yaml
from app.cli.remote.reading import read_text
from app.cli.remote.showing import all_of

if TYPE_CHECKING:
    from app.core.importing.result import Imported

TO = (
    click.option("--set", "set_name", help="The name of the set; that of the source, if left out."),
    click.option(
        "--timezone",
        callback=lambda _, __, value: known_zone(value),
        help="Whose clocks the schedules mean; UTC, if left out.",
    ),
)
ROWS = click.argument("path", metavar="FILE")


@click.group("import")
def import_jobs() -> None:
    """Make a file of jobs that are kept elsewhere; nothing is written but that.

    What cannot be a job is listed with the reason. The file goes to stdout:

    \b
    tocsin import crontab crontab.txt > jobs.yaml
    tocsin plan -f jobs.yaml
    tocsin apply -f jobs.yaml
    """  # noqa: D301 - a mark of click


@import_jobs.command("crontab")
@click.argument("path", metavar="FILE")
@click.option("--system", is_flag=True, help="Its lines have a user, as those of /etc/crontab.")
@all_of(TO)
def import_crontab(*, path: str, system: bool, **to: Any) -> None:  # noqa: ANN401 - options of TO
    """Make jobs of the lines of a crontab that call something by curl or wget.

    \b
    crontab -l | tocsin import crontab - --timezone Europe/Paris > jobs.yaml
    tocsin import crontab /etc/crontab --system > jobs.yaml
    """  # noqa: D301 - a mark of click
    from app.core.importing.crontab import imported_crontab

    with_users = system or path == "/etc/crontab" or path.startswith("/etc/cron.d/")
    made = imported_crontab(read_text(path), with_users=with_users, timezone=to["timezone"])
    print_imported(made, path, **to)


@import_jobs.command("pg_cron")
@ROWS
@all_of(TO)
def import_pg_cron(*, path: str, **to: Any) -> None:  # noqa: ANN401
    """Make jobs of the rows of pg_cron that call something by pg_net.

    \b
    psql -Atc 'select to_json(j) from cron.job j' | tocsin import pg_cron - > jobs.yaml
    """  # noqa: D301 - a mark of click
    from app.core.importing.tables import imported_pg_cron

    print_rows(imported_pg_cron, path, **to)


@import_jobs.command("go-scheduler")
@ROWS
@all_of(TO)
def import_go_scheduler(*, path: str, **to: Any) -> None:  # noqa: ANN401
    """Make jobs of the rows of the Go distributed-scheduler.

    \b
    psql -Atc 'select to_json(j) from jobs j' | tocsin import go-scheduler - > jobs.yaml
    """  # noqa: D301 - a mark of click
    from app.core.importing.tables import imported_go_scheduler

    print_rows(imported_go_scheduler, path, **to)


def known_zone(timezone: str | None) -> str | None:
    """Return the value of `--timezone`.

    Raises:
        CommandFailed: there is no such zone.
    """
    from app.core.schedule.zones import zone_named
    from app.errors import InvalidInput

    try:
        return timezone and zone_named(timezone).key
    except InvalidInput as error:
        raise CommandFailed(f"--timezone: {error.errors[0].message}", exit_code=USAGE) from error


def print_rows(
    made: "Callable[[Sequence[dict[str, Any]]], Imported]",
    path: str,
    **to: Any,  # noqa: ANN401
) -> None:
    """Make jobs of rows, and print them.

    Raises:
        CommandFailed: what was read are no rows.
    """
    try:
        result = made(rows_in(read_text(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} has no rows of that table in JSON, one a line: {error!r}"
        raise CommandFailed(message, exit_code=USAGE) from error
    print_imported(result, path, **to)


def rows_in(text: str) -> list[dict[str, Any]]:
    """Read rows: a JSON array, or a JSON object on each line."""
    if text.lstrip().startswith("["):
        found: list[dict[str, Any]] = json.loads(text)
        return found
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def print_imported(
    result: "Imported", path: str, *, set_name: str | None, timezone: str | None
) -> None:
    """Print the file, and to stderr what was left out and what one has to know."""
    name = set_name or ("imported" if path == "-" else Path(path).stem) or "imported"
    if result.jobs:
        click.echo(in_yaml(result.document(name, timezone=timezone)))
    click.echo(f"{len(result.jobs)} jobs, {len(result.left)} left out", err=True)
    for one in result.left:
        click.echo(f"left out, {one.line}: {one.text[:100]}\n    it {one.why}", err=True)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
