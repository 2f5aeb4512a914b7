"""Opens connections to brokers."""

import asyncio
import ssl
from typing import Annotated, Any

import aio_pika
from aiormq.connection import TransportFactory
from yarl import URL

from app.core.net.urls import host_of
from app.core.secrets.masking import URL_SECRET, Masked
from app.descriptors import OutOfDescriptors, is_shortage
from app.targets.amqp.failures import PublishFailed, is_of_broker, refusal_of
from app.targets.amqp.frames import Credit, Frames, Writer
from app.targets.net.guard import AddressBlocked, Guard
from app.targets.net.tls import Tls
from app.targets.net.tls_contexts import Contexts
from app.timers import Monotonic

HEARTBEAT_SECONDS = 10
"""The interval of heartbeats in each direction; three that are missing (33 s) end a half-open
connection."""


class Broker(Masked, frozen=True, kw_only=True):
    """The address of a broker and its TLS settings; equal ones share a connection."""

    url: Annotated[str, URL_SECRET]
    tls: Tls | None = None


async def connect(
    broker: Broker, *, guard: Guard, contexts: Contexts, clock: Monotonic
) -> aio_pika.Connection:
    """Open a connection that does not reconnect by itself once it is lost.

    aio-pika's robust connection would: a publish hangs meanwhile, and may be sent afterwards,
    long after the attempt was given up.

    Raises:
        PublishFailed: the address is forbidden, nothing answers there, the server does not speak
            AMQP 0-9-1, or the broker refuses the credentials.
        ContextsCrowded, OutOfDescriptors: the process is short of something; nothing was sent.
    """
    url = URL(broker.url, encoded=True)
    is_secure = url.scheme == "amqps"
    connection = aio_pika.Connection(
        url.update_query(heartbeat=HEARTBEAT_SECONDS),
        ssl_context=await contexts.find_context(broker.tls or Tls()) if is_secure else None,
        client_properties={"connection_name": "tocsin", "product": "tocsin"},
    )
    transport = GuardedTransport(guard, clock)
    connection.kwargs["transport_factory"] = transport
    try:
        await connection.connect()
    except BaseException as error:
        await connection.close()  # or it would start a task of its own when it is collected
        if isinstance(error, PublishFailed) or not is_of_broker(error):
            raise
        raise transport.fault or refusal_of(error) from error
    return connection


def fault_of(connection: aio_pika.Connection) -> PublishFailed | None:
    """Return how the broker broke the protocol, if a connection was given up for that."""
    transport = connection.kwargs.get("transport_factory")
    return transport.fault if isinstance(transport, GuardedTransport) else None


class GuardedTransport(TransportFactory):
    """Connects, by TCP or TLS, to the first address of a host that answers.

    The guard has to allow every address of the host.
    """

    def __init__(self, guard: Guard, clock: Monotonic) -> None:
        self.guard = guard
        self.clock = clock
        self.frames: Frames | None = None

    @property
    def fault(self) -> PublishFailed | None:
        """How the broker broke the protocol, if the connection was given up for that."""
        fault = self.frames and self.frames.fault
        return PublishFailed("protocol", str(fault)) if fault else None

    async def create(
        self,
        url: URL,
        **kwargs: Any,  # noqa: ANN401 - the client's own signature
    ) -> tuple[Any, Any]:
        """Connect; return a reader that passes on only frames that are judged, and a writer."""
        host, port = host_of(url), url.port or 0
        try:
            addresses = await self.guard.find_addresses(host, port)
        except AddressBlocked as refusal:
            raise PublishFailed("blocked", str(refusal), retryable=False) from None
        except OSError as error:
            if is_shortage(error):
                raise OutOfDescriptors("no file descriptor is left for a lookup") from error
            message = f"the name {host} was not found: {error.strerror}"
            raise PublishFailed("dns", message) from error
        tls = None
        if url.scheme == "amqps":
            tls = await kwargs["ssl_context_provider"].get_context()
        reader, writer = await open_first(addresses, host=host, port=port, tls=tls)
        credit = Credit(self.clock)
        self.frames = Frames(reader, credit)
        return self.frames, Writer(writer, credit)


async def open_first(
    addresses: list[str], *, host: str, port: int, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Try the addresses one after the other.

    Raises:
        PublishFailed: no address takes a connection, or TLS fails with the first one that does.
        OutOfDescriptors: no file descriptor is left for a connection.
    """
    because: OSError | None = None
    for address in addresses:
        try:
            return await asyncio.open_connection(
                address, port, ssl=tls, server_hostname=host if tls else None
            )
        except ssl.SSLError as error:
            message = f"no TLS with {host}:{port}: {error.strerror}"
            raise PublishFailed("tls", message) from error
        except OSError as error:
            because = error
    if is_shortage(because):
        raise OutOfDescriptors("no file descriptor is left for a connection") from because
    because = because or OSError("it has no address")
    text = because.strerror or because
    raise PublishFailed("connect", f"no connection to {host}:{port}: {text}") from because
