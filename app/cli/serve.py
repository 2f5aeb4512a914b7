"""`tocsin api` and `tocsin dev`: runs the API, alone or with an instance and a Postgres."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine

from msgspec.structs import replace

from app.api.access import is_loopback
from app.asgi import create_app
from app.cli.listening import listening_socket, make_server
from app.cli.monitoring import monitored
from app.cli.running import on_stop_signal
from app.config import Settings
from app.core.facts import Access, Serving
from app.db import Database, keys, migrate
from app.db.pooler import refuse_shared_sessions
from app.devdb import embedded_postgres
from app.errors import DatabaseRefused, DatabaseUnavailable, Exposed
from app.telemetry.lines import lines_to
from app.telemetry.logs import log_fact
from app.telemetry.tracing import is_traced
from app.vault import SecretKeys, check_keys

PORT_SETTING = "--port or TOCSIN_PORT"


async def api(settings: Settings, *, only_pings: bool = False) -> None:
    """Serve the API, or only the pings of checks, until SIGTERM or SIGINT."""
    settings.required_database_url()
    with listening_socket(settings.host, settings.port, setting=PORT_SETTING) as sock:
        app = create_app(settings, only_pings=only_pings, keeps_traceparent=is_traced(os.environ))
        server = make_server(app, settings)
        on_stop_signal(server.stop)
        await announce(settings, sock, only_pings=only_pings)
        await server.serve(sockets=[sock])


async def dev(settings: Settings) -> None:
    """Run the API and one instance; without a database URL, on an embedded Postgres."""
    with listening_socket(settings.host, settings.port, setting=PORT_SETTING) as sock:
        if settings.database_url is not None:
            await serve_both(settings, sock, psql='psql "$TOCSIN_DATABASE_URL"')
            return
        async with embedded_postgres(settings.data_dir) as postgres:
            await serve_both(replace(settings, database_url=postgres.url), sock, psql=postgres.psql)


async def serve_both(settings: Settings, sock: socket.socket, *, psql: str) -> None:
    """Migrate the database, print the addresses, and run API and instance until stopped."""
    await migrate.migrate(settings.required_database_url())
    await announce(settings, sock)
    app = create_app(settings, keeps_traceparent=is_traced(os.environ))
    server = make_server(app, settings)
    async with monitored(settings) as instance, asyncio.TaskGroup() as group:

        def stop() -> None:
            server.stop()
            instance.stop_or_hurry()

        on_stop_signal(stop)
        host, port = sock.getsockname()[:2]
        lines_to(sys.stdout).write(welcome(url=f"http://{host}:{port}", psql=psql) + "\n")
        serving = run_then_stop(server.serve(sockets=[sock]), instance.stop)
        group.create_task(serving, name="api")
        group.create_task(run_then_stop(instance.run(), server.stop), name="instance")


async def announce(settings: Settings, sock: socket.socket, *, only_pings: bool = False) -> None:
    """Log the API's address, and which requests it serves.

    Raises:
        Exposed: other machines could use the API, as there is no API key yet.
    """
    access = Access.PINGS if only_pings else await find_access(settings)
    if access is Access.OPEN and not is_loopback(settings.host):
        message = (
            f"the API would listen on {settings.host} for other machines, and no API key exists "
            "that it could ask them for: make one with `tocsin keys create NAME --scope admin`, "
            "or listen on 127.0.0.1"
        )
        raise Exposed(message)
    host, port = sock.getsockname()[:2]
    log_fact(
        Serving(address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}", access=access)
    )


async def find_access(settings: Settings) -> Access:
    """Find which requests the API serves; unknown until the database answers.

    Raises:
        DatabaseRefused: the database refuses the connection, or has another schema; like an
            instance, the API then does not start.
        WrongSecretKeys: other processes could not decrypt the secrets that this API encrypts.
    """
    url = settings.required_database_url()
    try:
        await refuse_shared_sessions(url)
        async with Database.connect(url, application_name="tocsin api") as db:
            await migrate.check(db)
            await check_keys(db, SecretKeys(settings.secret_keys))
            any_key = (await keys.read_valid(db)).any_key
    except DatabaseRefused:
        raise
    except DatabaseUnavailable:
        return Access.UNKNOWN
    return Access.KEYS if any_key else Access.OPEN


async def run_then_stop(part: Coroutine[None, None, None], stop: Callable[[], None]) -> None:
    """Run one of two parts; when it ends, `stop` the other one as well."""
    try:
        await part
    finally:
        stop()


def welcome(*, url: str, psql: str) -> str:
    """Say where everything is, in lines that can be pasted."""
    job = '{"kind": "http", "target": {"url": "http://127.0.0.1:9000/"}, "every_seconds": 10}'
    return f"""
Tocsin is running. Ctrl-C stops it; its data is kept.

  dashboard  {url}/
  API        {url}/v1/jobs
  docs       {url}/docs
  a job      curl {url}/v1/jobs -H 'Content-Type: application/json' -d '{job}'
  executions curl {url}/v1/executions
  Postgres   {psql}
"""
