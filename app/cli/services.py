"""The commands that run until they are stopped: `api`, `scheduler` and `dev`."""

import asyncio
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from shutil import which

import click

from app.cli.database import check_schema
from app.cli.running import run
from app.config import Settings
from app.core.facts import Ignored
from app.core.schedule.zones import use_rules
from app.dsn import IGNORED, parse
from app.telemetry import Observers
from app.telemetry.logs import configure, log_fact


def begin_log(settings: Settings) -> None:
    """Set up logging, and log each parameter of the database's address that has no effect."""
    configure(level=settings.log_level, log_format=settings.log_format)
    if settings.database_url:
        for name in parse(settings.database_url).ignored:
            log_fact(Ignored(setting=f"{name} of the database's address", because=IGNORED[name]))


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--port", type=int, help="Port of the API; TOCSIN_PORT or 8080 by default.")
@click.argument("command", nargs=-1)
@click.pass_context
def dev(ctx: click.Context, port: int | None, command: tuple[str, ...]) -> None:
    """Run everything on this machine: an embedded Postgres, the API and one instance.

    What it keeps is in .tocsin, or in TOCSIN_DATA_DIR.

    With a COMMAND, such as `tocsin dev keys list`, carry that one out on the embedded Postgres
    instead, whether or not it runs already.
    """
    from app.cli import serve
    from app.cli.main import main
    from app.devdb import running_postgres
    from app.devdb.secret_key import kept_key

    # In development the targets are usually on this machine.
    environ = {"TOCSIN_ALLOW_PRIVATE_TARGETS": "true", **os.environ}
    if embedded := not environ.get("TOCSIN_DATABASE_URL"):  # whatever PGHOST says
        environ = {name: value for name, value in environ.items() if not name.startswith("PG")}
        ctx.find_root().obj = f"{program()} dev"
    settings = Settings.from_environ(environ, port=port)
    if embedded and "TOCSIN_SECRET_KEYS" not in environ and (key := kept_key(settings.data_dir)):
        environ["TOCSIN_SECRET_KEYS"] = key
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


@click.command()
@click.option("--host", help="Address to listen on; TOCSIN_HOST or 127.0.0.1 by default.")
@click.option("--port", type=int, help="Port to listen on; TOCSIN_PORT or 8080 by default.")
@click.option(
    "--only-pings",
    is_flag=True,
    help="Serve the pings of checks and nothing else, as for where others reach it.",
)
def api(host: str | None, port: int | None, *, only_pings: bool) -> None:
    """Serve the REST API."""
    from app.cli import serve

    settings = Settings.from_environ(os.environ, host=host, port=port)
    begin_log(settings)
    run(serve.api(settings, only_pings=only_pings), settings)


@click.command()
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
