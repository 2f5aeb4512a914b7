"""`tocsin upcoming` and `tocsin preview`: what runs when."""

import click

from app.cli.remote.options import Remote, by_format, remote


@click.command()
@click.option("--until", help="The runs before this instant; an hour from now, if left out.")
@click.option("--limit", type=click.IntRange(min=1), default=50, help="So many at most; 50.")
@remote("UpcomingRun")
def upcoming(on: Remote, *, until: str | None, limit: int) -> None:
    """List what runs next, of all jobs, the earliest first."""
    found = on.api.pages("/v1/upcoming", query={"until": until}, limit=limit)
    columns = ("at", "job_name", "scheduled_for", "skipped", "job_id")
    on.output.print_list(found, columns, empty="nothing runs by then")


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
    asked = {name: one for name, one in given.items() if one} | ({"from": since} if since else {})
    found = on.api.call("POST", "/v1/schedule/preview", body=asked)
    if not on.output.is_table:
        on.output.print_one(found)
        return
    click.echo(found["description"])
    on.output.print_list(found["runs"], ("at", "local"), empty="it has no runs")
