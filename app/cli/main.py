"""The commands of `tocsin`."""

import asyncio
import gc
import os
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import click
import uvloop

from app.cli import doctor, serve
from app.cli.keys import keys
from app.cli.secrets import secrets
from app.config import Settings
from app.db import migrate
from app.errors import AppError
from app.telemetry.logs import configure

LOOKUPS = 64
"""How many names a process looks up at once."""
GARBAGE = 20_000
"""Objects made since the last collection of garbage, less those that ended, that start another."""


class Commands(click.Group):
    """A group whose commands end with one clear line for every error we raise on purpose."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AppError as error:
            click.echo(f"tocsin: {error}", err=True)
            sys.exit(1)


def run(serving: Coroutine[None, None, None]) -> None:
    """Run until it ends, on uvloop: it halves what each of many small requests costs."""
    # What was imported stays; without this every full collection of garbage walks through it, and
    # thousands of executions a second make one due several times a second.
    gc.freeze()
    gc.set_threshold(GARBAGE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # Names are looked up in threads; a few that hang must not hold up the others.
        lookups = ThreadPoolExecutor(max_workers=LOOKUPS, thread_name_prefix="lookup")
        runner.get_loop().set_default_executor(lookups)
        runner.run(serving)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Tocsin calls other services at exact times, from jobs kept in Postgres.

    Settings are environment variables that start with TOCSIN_; see docs/configuration.md.
    """


@main.command()
@click.option("--port", type=int, help="Port of the API; TOCSIN_PORT or 8080 by default.")
def dev(port: int | None) -> None:
    """Run everything on this machine: an embedded Postgres, the API and one instance."""
    # On one's own machine the receivers are on loopback as a rule.
    environ = {"TOCSIN_ALLOW_PRIVATE_TARGETS": "true", **os.environ}
    settings = Settings.from_environ(environ, port=port)
    configure(level=settings.log_level, log_format=settings.log_format)
    run(serve.dev(settings))


@main.command()
@click.option("--host", help="Address to listen on; TOCSIN_HOST or 127.0.0.1 by default.")
@click.option("--port", type=int, help="Port to listen on; TOCSIN_PORT or 8080 by default.")
def api(host: str | None, port: int | None) -> None:
    """Serve the REST API."""
    settings = Settings.from_environ(os.environ, host=host, port=port)
    configure(level=settings.log_level, log_format=settings.log_format)
    run(serve.api(settings))


@main.command()
@click.option("--concurrency", type=int, help="Slots; TOCSIN_CONCURRENCY or 100 by default.")
def scheduler(concurrency: int | None) -> None:
    """Run one scheduler instance; start as many as you like, on any machines."""
    settings = Settings.from_environ(os.environ, concurrency=concurrency)
    configure(level=settings.log_level, log_format=settings.log_format)
    run(serve.scheduler(settings))


@main.command("migrate")
def migrate_database() -> None:
    """Bring the database to the schema of this version; safe to run at any time."""
    settings = Settings.from_environ(os.environ)
    applied = asyncio.run(migrate.migrate(settings.required_database_url()))
    if applied:
        click.echo(f"applied schema version {', '.join(map(str, applied))}")
    else:
        click.echo("the schema is up to date; triggers were applied anew")


@main.command("doctor")
def examine_database() -> None:
    """Look at everything an operator would, and say what to do about it."""
    asyncio.run(doctor.examine(Settings.from_environ(os.environ)))


main.add_command(keys)
main.add_command(secrets)


@main.command("version")
def print_version() -> None:
    """Print the version."""
    click.echo(version("tocsin"))
