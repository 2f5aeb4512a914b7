"""`tocsin preview`: what a schedule comes to."""

import click

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.instants import instant_given
from app.cli.remote.options import by_format, remote
from app.cli.remote.reading import is_given
from app.cli.remote.remote import Remote


@click.command()
@click.argument("cron", required=False)
@click.option("--timezone", help="The zone of the cron; UTC, if left out.")
@click.option("--every", "every_seconds", type=float, help="Every how many seconds, for a cron.")
@click.option("--from", "since", help="Runs after this instant; now, if left out.")
@click.option("--count", type=click.IntRange(1, 100), default=5, help="So many runs; 5.")
@remote(by_format("PreviewedRun", "PreviewedSchedule"))
def preview(on: Remote, *, since: str | None, **given: object) -> None:
    """Say what a schedule comes to: its words, and its next runs.

    \b
    tocsin preview '0 3 * * 1-5' --timezone Europe/Paris
    """  # noqa: D301 - a mark of click
    if not given.get("cron") and not is_given(given["every_seconds"]):
        message = "there is no schedule: write a cron, such as '0 3 * * 1-5', or give --every"
        raise CommandFailed(message, exit_code=USAGE)
    asked = {name: one for name, one in given.items() if is_given(one)}
    asked |= {"from": instant_given(since, "--from")} if since is not None else {}
    found = on.api.call("POST", "/v1/schedule/preview", body=asked)
    if not on.output.is_table:
        on.output.print_one(found)
        return
    click.echo(found["description"])
    on.output.print_list(found["runs"], ("at", "local"), empty="it has no runs")
