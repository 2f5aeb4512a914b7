"""Runs the API, by itself or with an instance and an embedded Postgres, until told to stop."""

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

import uvicorn
from msgspec.structs import replace

from app.api.access import is_loopback
from app.api.connections import Connections, bounded_http, most_connections
from app.api.proxies import behind, trusted_proxies
from app.asgi import create_app
from app.cli.running import on_stop_signal
from app.config import Settings
from app.core.facts import Access, Serving
from app.db import Database, keys, migrate
from app.db.pooler import refuse_shared_sessions
from app.devdb import embedded_postgres
from app.errors import AppError, DatabaseRefused, DatabaseUnavailable, Exposed
from app.scheduler.instance import Instance
from app.telemetry import Observers
from app.telemetry.lines import lines_to
from app.telemetry.logs import log_fact
from app.vault import SecretKeys, check_keys


class PortTaken(AppError):
    """Something else listens on the API's address; the message says how to choose another."""


class Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: stopping is one decision, taken here."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `on_stop_signal`."""
        yield

    def stop(self) -> None:
        """Finish the requests in hand, then end."""
        self.should_exit = True


async def api(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT."""
    settings.required_database_url()
    with listening_socket(settings) as sock:
        server = api_server(settings)
        on_stop_signal(server.stop)
        await announce(settings, sock)
        await server.serve(sockets=[sock])


async def dev(settings: Settings) -> None:
    """Run the API and one instance; without a database URL, on an embedded Postgres."""
    with listening_socket(settings) as sock:
        if settings.database_url is not None:
            await serve_both(settings, sock, psql='psql "$TOCSIN_DATABASE_URL"')
            return
        async with embedded_postgres(settings.data_dir) as postgres:
            await serve_both(replace(settings, database_url=postgres.url), sock, psql=postgres.psql)


async def serve_both(settings: Settings, sock: socket.socket, *, psql: str) -> None:
    """Migrate, say where everything is, and serve until stopped."""
    await migrate.migrate(settings.required_database_url())
    await announce(settings, sock)
    server = api_server(settings)
    instance = Instance(settings, Observers(log_fact))

    def stop() -> None:
        server.stop()
        instance.stop()

    on_stop_signal(stop)
    host, port = sock.getsockname()[:2]
    lines_to(sys.stdout).write(welcome(url=f"http://{host}:{port}", psql=psql) + "\n")
    async with asyncio.TaskGroup() as group:
        group.create_task(stopping_all(server.serve(sockets=[sock]), stop), name="api")
        group.create_task(stopping_all(instance.run(), stop), name="instance")


async def announce(settings: Settings, sock: socket.socket) -> None:
    """Say where the API is and whom it serves.

    Raises:
        Exposed: other machines could use it, as there is no key yet.
    """
    access = await access_to(settings)
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


async def access_to(settings: Settings) -> Access:
    """Say whom the API serves; while the database does not answer nobody is.

    Raises:
        DatabaseRefused: it does not let us in, or its schema does not fit; as an instance, the API
            does not start then.
        WrongSecretKeys: what this API encrypts no other process could read.
    """
    url = settings.required_database_url()
    try:
        await refuse_shared_sessions(url)
        async with Database.connect(url, application_name="tocsin api") as db:
            await migrate.check(db)
            await check_keys(db, SecretKeys(settings.secret_keys))
            any_key = (await keys.valid(db)).any_key
    except DatabaseRefused:
        raise
    except DatabaseUnavailable:
        return Access.UNKNOWN
    return Access.KEYS if any_key else Access.OPEN


async def stopping_all(part: Coroutine[None, None, None], stop: Callable[[], None]) -> None:
    """Run one part; when it ends, the other is to end as well."""
    try:
        await part
    finally:
        stop()


def api_server(settings: Settings) -> Server:
    """Make the ASGI server; what it logs goes through our own logging.

    Raises:
        InvalidSettings: what is said of proxies cannot be read.
    """
    proxies = trusted_proxies(settings)
    connections = Connections(
        of_a_client=settings.connections_per_client, in_all=most_connections(), proxies=proxies
    )
    return Server(
        uvicorn.Config(
            behind(create_app(settings), proxies),
            http=bounded_http(connections),  # h11: bounds the size of headers, the others do not
            ws="none",
            proxy_headers=False,  # it would believe anybody on this machine; see `behind`
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.grace_seconds),
        )
    )


@contextmanager
def listening_socket(settings: Settings) -> Iterator[socket.socket]:
    """Bind the API's address before anything else is started.

    Raises:
        PortTaken: something else listens there.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.host, settings.port))
            sock.listen(2048)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                message = f"cannot listen on {settings.host} port {settings.port}: {error.strerror}"
                raise PortTaken(message) from error
            message = (
                f"port {settings.port} of {settings.host} is in use, perhaps by another Tocsin: "
                "stop that, or choose another port with --port or TOCSIN_PORT"
            )
            raise PortTaken(message) from error
        yield sock


def welcome(*, url: str, psql: str) -> str:
    """Say where everything is, in lines that can be pasted."""
    job = '{"kind": "http", "target": {"url": "http://127.0.0.1:9000/"}, "every_seconds": 10}'
    return f"""
Tocsin is running. Ctrl-C stops it; its data is kept.

  API        {url}/v1/jobs
  docs       {url}/docs
  a job      curl {url}/v1/jobs -H 'Content-Type: application/json' -d '{job}'
  executions curl {url}/v1/executions
  Postgres   {psql}
"""
