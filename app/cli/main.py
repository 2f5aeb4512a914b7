"""The commands of `tocsin`.

A command imports the modules that only it needs itself, so that an instance, for example, has no
web framework in memory.
"""

import asyncio
import os
import shlex
import sys
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from shutil import which
from time import monotonic

import click

from app.cli import doctor
from app.cli.database import check_schema, run_with_database, through
from app.cli.keys import keys
from app.cli.running import run
from app.cli.secrets import secrets
from app.config import Settings
from app.core.facts import Fact, Ignored, Pruned
from app.core.schedule.zones import use_rules
from app.db import Database, migrate
from app.db.errors import said_by_postgres
from app.descriptors import is_shortage, limit
from app.dsn import IGNORED, parse
from app.errors import AppError
from app.telemetry import Observers
from app.telemetry.lines import lines_to
from app.telemetry.logs import configure, log_fact


def keep_standard_streams() -> None:
    """Open each of stdin, stdout and stderr that is closed on /dev/null.

    Otherwise a socket would get the number of the stream, and output would go into the socket.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


class Commands(click.Group):
    """A group of commands that report each of Tocsin's own errors in one line.

    `obj` of the context is None, or what to write for `tocsin` in commands that an error names.
    """

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; report an error in one line and exit with 1, unless it is a bug."""
        keep_standard_streams()
        try:
            return super().invoke(ctx)
        except Exception as error:
            messages = {sentence(one) for one in leaves(error)}  # usually one, in a task group
            if None in messages:
                raise
            if any(map(is_shortage, leaves(error))):
                sys.unraisablehook = ignore  # a half-made event loop raises in its finalizer
            for message in sorted(filter(None, messages)):
                # Not with click.echo: a reader that does not read must not delay the exit.
                lines_to(sys.stderr).write(f"tocsin: {through(ctx.obj, message)}\n")
            sys.exit(1)


def ignore(unraisable: object) -> None:
    """Ignore an error in a finalizer."""


def sentence(error: Exception) -> str | None:
    """Word an error that is no bug of Tocsin; None for any other error."""
    match error:
        case _ if is_shortage(error):
            return (
                f"no file descriptor is left: this process may have {limit()} files open; "
                "raise the limit (`ulimit -n`, LimitNOFILE)"
            )
        case AppError():
            return str(error)
        case OSError(strerror=str(reason), filename=str(name)):
            return f"{name}: {reason}"
        case _:
            return said_by_postgres(error)


def leaves(error: Exception) -> Iterator[Exception]:
    """Yield the errors inside a group, at any depth, or the error itself if it is no group."""
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Tocsin calls other services at exact times, from jobs kept in Postgres.

    Settings are environment variables that start with TOCSIN_; see docs/configuration.md.
    """


def begin_log(settings: Settings) -> None:
    """Set up logging, and log each parameter of the database's address that has no effect."""
    configure(level=settings.log_level, log_format=settings.log_format)
    if settings.database_url:
        for name in parse(settings.database_url).ignored:
            log_fact(Ignored(setting=f"{name} of the database's address", because=IGNORED[name]))


@main.command(context_settings={"allow_interspersed_args": False})
@click.option("--port", type=int, help="Port of the API; TOCSIN_PORT or 8080 by default.")
@click.argument("command", nargs=-1)
@click.pass_context
def dev(ctx: click.Context, port: int | None, command: tuple[str, ...]) -> None:
    """Run everything on this machine: an embedded Postgres, the API and one instance.

    With a COMMAND, such as `tocsin dev keys list`, carry that one out on the embedded Postgres
    instead, whether or not it runs already.
    """
    from app.cli import serve
    from app.devdb import running_postgres

    # In development the targets are usually on this machine.
    environ = {"TOCSIN_ALLOW_PRIVATE_TARGETS": "true", **os.environ}
    if embedded := not environ.get("TOCSIN_DATABASE_URL"):  # whatever PGHOST says
        environ = {name: value for name, value in environ.items() if not name.startswith("PG")}
        ctx.find_root().obj = f"{program()} dev"
    settings = Settings.from_environ(environ, port=port)
    if not command:
        begin_log(settings)
        run(serve.dev(settings), settings)
        return
    with ExitStack() as stack:
        if embedded:
            postgres = stack.enter_context(running_postgres(settings.data_dir, shared=True))
            environ["TOCSIN_DATABASE_URL"] = postgres.url
        os.environ.clear()
        os.environ.update(environ)
        main.main(command, prog_name="tocsin", standalone_mode=False, obj=ctx.find_root().obj)


def program() -> str:
    """Return how a shell finds this program: by its name, or by the path in the call."""
    called = Path(sys.argv[0])
    return shlex.quote(str(called)) if called.name == "tocsin" and not which("tocsin") else "tocsin"


@main.command()
@click.option("--host", help="Address to listen on; TOCSIN_HOST or 127.0.0.1 by default.")
@click.option("--port", type=int, help="Port to listen on; TOCSIN_PORT or 8080 by default.")
def api(host: str | None, port: int | None) -> None:
    """Serve the REST API."""
    from app.cli import serve

    settings = Settings.from_environ(os.environ, host=host, port=port)
    begin_log(settings)
    run(serve.api(settings), settings)


@main.command()
@click.option("--concurrency", type=int, help="Slots; TOCSIN_CONCURRENCY or 100 by default.")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    help="Instances to run, each a process with slots of its own: one per core uses all.",
)
@click.option("--supervised", is_flag=True, hidden=True, help="Stop as soon as stdin ends.")
def scheduler(concurrency: int | None, processes: int, supervised: bool) -> None:
    """Run scheduler instances: one, or more with --processes; any number, on any machines."""
    settings = Settings.from_environ(os.environ, concurrency=concurrency)
    begin_log(settings)
    if processes > 1:
        from app.cli.processes import Processes

        use_rules(settings.tzdata)
        asyncio.run(
            check_schema(settings)
        )  # each process would refuse it, in a sentence of its own
        asyncio.run(Processes(settings, Observers(log_fact)).run(processes))
    else:
        from app.cli.instance import instance

        run(instance(settings, supervised=supervised), settings)


@main.command("migrate")
def migrate_database() -> None:
    """Bring the database to the schema of this version; safe to run at any time."""
    settings = Settings.from_environ(os.environ)
    applied = asyncio.run(migrate.migrate(settings.required_database_url()))
    if applied:
        click.echo(f"applied schema version {', '.join(map(str, applied))}")
    else:
        click.echo("the schema is up to date, and so are its functions and triggers")


@main.command("prune")
def prune_database() -> None:
    """Do the upkeep now, as instances do hourly: in short steps, which hold up no other session."""
    from app.scheduler.upkeep import keep_up_once

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
