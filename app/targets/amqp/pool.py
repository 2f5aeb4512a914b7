"""Connections to brokers, one for each, and their channels, each for one publish at a time.

A broker closes a whole channel for one bad publish, and every other publish under way on it fails
with it though some of them were delivered. So no two publishes share a channel at the same time
(docs/adr/0007).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress

from aio_pika import Connection
from aio_pika.abc import AbstractChannel

from app.targets.amqp.connect import Broker, connect
from app.targets.amqp.failures import PublishFailed
from app.targets.net.guard import Guard
from app.targets.net.tls_contexts import Contexts
from app.timers import Monotonic

MAX_CONNECTIONS = 64
"""The most connections, if enough of them are idle to be closed, the least recently used first.
Connections in use are never closed: an instance's slots bound their number."""
MAX_CHANNELS = 128
"""The most channels of one connection; brokers allow 2047 unless told otherwise."""
IDLE_SECONDS = 60.0
"""How long an unused connection is kept."""
UPKEEP_SECONDS = 5.0
"""The pause between two looks for connections to close."""
CLOSE_SECONDS = 3.0
"""How long a broker may take to confirm that a connection or channel is closed."""


class Link:
    """One connection to a broker with its channels, used by many publishes at a time."""

    def __init__(self, connection: Connection, *, now: float) -> None:
        self.connection = connection
        self.users = 0
        """How many publishes use the link."""
        self.retired = False
        """Whether no further publish gets the link, which is closed once none uses it."""
        self.doubted = False
        """Whether a publish was cut off, so that the broker may be gone."""
        self.spoilt: list[AbstractChannel] = []
        """Channels on which a publish failed; they are to be closed."""
        self.idle: list[AbstractChannel] = []
        """Open channels that no publish uses."""
        self.idle_since = now
        """When the last publish ended, in monotonic seconds."""
        self.slots = asyncio.Semaphore(MAX_CHANNELS)
        """Limits the channels that are open and not idle."""

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "retired" if self.retired else "open"
        return f"<Link: {state}, {self.users} publishes, {len(self.idle)} idle channels>"

    @property
    def is_closed(self) -> bool:
        transport = self.connection.transport
        return transport is None or transport.connection.is_closed

    async def wait_until_ready(self) -> None:
        """Wait while the broker blocks publishers (memory or disk alarm)."""
        if self.connection.transport is not None:
            await self.connection.transport.ready()

    async def is_blocked(self) -> bool:
        """Return whether the broker blocks publishers at present."""
        try:
            async with asyncio.timeout(0):
                await self.wait_until_ready()
        except TimeoutError:
            return True
        return False

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """Lend a channel to one publish; after an error the channel is never used again."""
        await self.slots.acquire()
        channel = None
        try:
            channel = await self.open_channel()
            yield channel
        except BaseException:
            if channel is None or channel.is_closed:
                self.slots.release()
            else:
                self.spoilt.append(channel)  # keeps its slot until it is closed
            raise
        self.idle.append(channel)
        self.slots.release()

    async def open_channel(self) -> AbstractChannel:
        """Take an idle channel, or open one."""
        while self.idle:
            channel = self.idle.pop()
            if not channel.is_closed:
                return channel
        channel = self.connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.initialize()
        return channel

    async def close_spoilt(self) -> None:
        """Close the channels on which a publish failed, and free their slots."""
        spoilt, self.spoilt = self.spoilt, []
        async with asyncio.TaskGroup() as group:
            for channel in spoilt:
                group.create_task(close_in_time(channel.close()), name="close channel")
        for _ in spoilt:
            self.slots.release()


class Dial:
    """Attempts to connect to one broker, one at a time; all callers that wait share a failure."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        """How many callers wait for a connection or a failure."""
        self.failures = 0
        self.failure: PublishFailed | None = None
        """The latest failure."""


class Pool:
    """The connections of one process to brokers; to be closed when no publish is under way."""

    def __init__(self, *, guard: Guard, contexts: Contexts, clock: Monotonic) -> None:
        self.guard = guard
        self.contexts = contexts
        self.clock = clock
        self.links: dict[Broker, Link] = {}
        """The connections for further publishes; the one used last is last."""
        self.dials: dict[Broker, Dial] = {}
        """The attempts to connect that are under way."""
        self.retired: list[Link] = []
        """Connections to be closed once no publish uses them."""
        self.work = asyncio.Event()
        """Set when there may be something for `keep_up` to close."""
        self.upkeep: asyncio.Task[None] | None = None
        """Runs `keep_up`, from the first connection on."""

    def __repr__(self) -> str:
        return f"<Pool: {len(self.links)} connections, {len(self.retired)} to be closed>"

    @asynccontextmanager
    async def link(self, broker: Broker) -> AsyncIterator[Link]:
        """Lend a connection to the broker, which is opened if there is none.

        Raises:
            PublishFailed: no connection could be opened.
            ContextsCrowded, OutOfDescriptors: the process is short of something to open one with.
        """
        link = self.find_open(broker) or await self.dial(broker)
        link.users += 1
        try:
            yield link
        except asyncio.CancelledError:
            link.doubted = True
            raise
        finally:
            link.users -= 1
            link.idle_since = self.clock()
            if link.spoilt or link.doubted or link.retired:
                self.work.set()

    def find_open(self, broker: Broker) -> Link | None:
        """Return the open connection to a broker, and count it as the one used last."""
        link = self.links.pop(broker, None)
        if link is not None and link.is_closed:
            self.retire(link)
            link = None
        if link is not None:
            self.links[broker] = link
        return link

    async def dial(self, broker: Broker) -> Link:
        """Connect to a broker, or wait for another caller's attempt, and share its result.

        Raises:
            PublishFailed: no connection could be opened.
        """
        dial = self.dials.setdefault(broker, Dial())
        failures = dial.failures
        dial.waiting += 1
        try:
            async with dial.lock:
                if link := self.find_open(broker):
                    return link
                if dial.failure and dial.failures > failures:
                    raise dial.failure
                try:
                    connection = await connect(
                        broker, guard=self.guard, contexts=self.contexts, clock=self.clock
                    )
                except PublishFailed as failure:
                    dial.failures += 1
                    dial.failure = failure
                    raise
                return self.add(broker, Link(connection, now=self.clock()))
        finally:
            dial.waiting -= 1
            if not dial.waiting:
                del self.dials[broker]

    def add(self, broker: Broker, link: Link) -> Link:
        """Add a new connection and return it; retire idle ones beyond `MAX_CONNECTIONS`."""
        idle = [known for known, other in self.links.items() if not other.users]
        for known in idle[: max(0, len(self.links) + 1 - MAX_CONNECTIONS)]:
            self.retire(self.links.pop(known))
        self.links[broker] = link
        if self.upkeep is None:
            self.upkeep = asyncio.create_task(self.keep_up(), name="amqp upkeep")
        return link

    def retire(self, link: Link) -> None:
        """Have a connection closed once no publish uses it; no further publish gets it."""
        link.retired = True
        self.retired.append(link)
        self.work.set()

    async def keep_up(self) -> None:
        """Close spoilt channels, and lost, idle or doubted connections, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(UPKEEP_SECONDS if self.links else None):
                    await self.work.wait()
            self.work.clear()
            now = self.clock()
            for broker, link in list(self.links.items()):
                if await self.is_over(link, now=now):
                    self.retire(self.links.pop(broker))
            over = [link for link in self.retired if not link.users]
            self.retired = [link for link in self.retired if link.users]
            async with asyncio.TaskGroup() as group:
                for link in over:
                    group.create_task(close_in_time(link.connection.close()), name="close link")
                for link in [*self.links.values(), *self.retired]:
                    group.create_task(link.close_spoilt(), name="close channels")

    async def is_over(self, link: Link, *, now: float) -> bool:
        """Return whether to retire a connection: lost, doubted, or idle for `IDLE_SECONDS`."""
        if link.is_closed:
            return True
        if link.doubted and await link.is_blocked():
            return False  # the broker blocks publishers, on a new connection as well
        return link.doubted or (not link.users and now - link.idle_since >= IDLE_SECONDS)

    async def close(self) -> None:
        """Close all connections."""
        if self.upkeep is not None:
            self.upkeep.cancel()
            await asyncio.wait([self.upkeep])
        links = [*self.links.values(), *self.retired]
        self.links.clear()
        self.retired.clear()
        async with asyncio.TaskGroup() as group:
            for link in links:
                group.create_task(close_in_time(link.connection.close()), name="close link")


async def close_in_time(closing: Awaitable[None]) -> None:
    """Await the closing of a connection or channel for `CLOSE_SECONDS` at most."""
    with suppress(Exception):  # closed all the same, whatever the client says of the way
        async with asyncio.timeout(CLOSE_SECONDS):
            await closing
