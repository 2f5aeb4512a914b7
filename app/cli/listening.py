"""Sockets to listen on, and the ASGI server with its limits on clients."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from litestar import Litestar

from app.api.connections import Connections, bounded_http, most_connections
from app.api.proxies import behind, trusted_proxies
from app.api.shortage import AcceptShortage
from app.config import Settings
from app.errors import AppError
from app.telemetry import Observers
from app.telemetry.logs import log_fact


class PortTaken(AppError):
    """Another program listens on this address; the message says how to choose another."""


class Server(uvicorn.Server):
    """Uvicorn without its own signal handlers, so that one signal stops API and instance."""

    def __init__(
        self, config: uvicorn.Config, shortage: AcceptShortage, ending: asyncio.Event
    ) -> None:
        super().__init__(config)
        self.shortage = shortage
        self.ending = ending
        """Set once the server is to end: streams, which have no end of their own, look at it."""

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
        self.ending.set()


def make_server(app: Litestar, settings: Settings) -> Server:
    """Make the ASGI server of an application, whose log lines go through `app.telemetry`.

    Raises:
        InvalidSettings: the setting of trusted proxies cannot be read.
    """
    proxies = trusted_proxies(settings)
    connections = Connections(
        of_a_client=settings.connections_per_client, in_all=most_connections(), proxies=proxies
    )
    return Server(
        uvicorn.Config(
            behind(app, proxies),
            http=bounded_http(connections),  # on h11: only h11 limits the size of headers
            ws="none",
            proxy_headers=False,  # uvicorn would trust any client on this machine; see `behind`
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.grace_seconds),
        ),
        AcceptShortage(Observers(log_fact)),
        app.state.get("ending") or asyncio.Event(),  # none: it has no streams
    )


@contextmanager
def listening_socket(host: str, port: int, *, setting: str) -> Iterator[socket.socket]:
    """Bind an address, before other parts start; `setting` says where its port comes from.

    Raises:
        PortTaken: another program listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(2048)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                message = f"cannot listen on {host} port {port}: {error.strerror}"
                raise PortTaken(message) from error
            message = (
                f"port {port} of {host} is in use, perhaps by another Tocsin: "
                f"stop that, or choose another port with {setting}"
            )
            raise PortTaken(message) from error
        yield sock
