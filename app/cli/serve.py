"""`tocsin api` and `tocsin dev`: runs the API, alone or with an instance and a Postgres."""

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
from app.api.shortage import AcceptShortage
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
    """Another program listens on the API's address; the message says how to choose another."""


class Server(uvicorn.Server):
    """Uvicorn without its own signal handlers, so that one signal stops API and instance."""

    def __init__(self, config: uvicorn.Config, shortage: AcceptShortage) -> None:
        super().__init__(config)
        self.shortage = shortage

    async def on_tick(self, counter: int) -> bool:
        """Do uvicorn's work of each tenth of a second, and check file descriptors as well.

        Return whether the server is to end.
        """
        self.shortage.look()
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers; `on_stop_signal` does."""
        yield

    def stop(self) -> None:
        """Have the server finish its current requests and end."""
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
    """Migrate the database, print the addresses, and run API and instance until stopped."""
    await migrate.migrate(settings.required_database_url())
    await announce(settings, sock)
    server = api_server(settings)
    instance = Instance(settings, Observers(log_fact))

    def stop() -> None:
        server.stop()
        instance.stop_or_hurry()

    on_stop_signal(stop)
    host, port = sock.getsockname()[:2]
    lines_to(sys.stdout).write(welcome(url=f"http://{host}:{port}", psql=psql) + "\n")
    async with asyncio.TaskGroup() as group:
        serving = run_then_stop(server.serve(sockets=[sock]), instance.stop)
        group.create_task(serving, name="api")
        group.create_task(run_then_stop(instance.run(), server.stop), name="instance")


async def announce(settings: Settings, sock: socket.socket) -> None:
    """Log the API's address, and which requests it serves.

    Raises:
        Exposed: other machines could use the API, as there is no API key yet.
    """
    access = await find_access(settings)
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


def api_server(settings: Settings) -> Server:
    """Make the ASGI server, whose log lines go through `app.telemetry`.

    Raises:
        InvalidSettings: the setting of trusted proxies cannot be read.
    """
    proxies = trusted_proxies(settings)
    connections = Connections(
        of_a_client=settings.connections_per_client, in_all=most_connections(), proxies=proxies
    )
    return Server(
        uvicorn.Config(
            behind(create_app(settings), proxies),
            http=bounded_http(connections),  # on h11: only h11 limits the size of headers
            ws="none",
            proxy_headers=False,  # uvicorn would trust any client on this machine; see `behind`
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.grace_seconds),
        ),
        AcceptShortage(Observers(log_fact)),
    )


@contextmanager
def listening_socket(settings: Settings) -> Iterator[socket.socket]:
    """Bind the API's address, before other parts start.

    Raises:
        PortTaken: another program listens there.
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
