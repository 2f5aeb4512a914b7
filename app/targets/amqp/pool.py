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

from app.targets.amqp.connect import Broker, connected
from app.targets.amqp.failures import PublishFailed
from app.targets.net.guard import Guard
from app.targets.net.tls_contexts import Contexts
from app.timers import Monotonic

MAX_CONNECTIONS = 64
"""With more connections, idle ones are closed, those handed out least recently first. Busy ones are
never closed: the slots bound them."""
MAX_CHANNELS = 128
"""The most channels of one connection; brokers allow 2047 unless told otherwise."""
IDLE_SECONDS = 60.0
UPKEEP_SECONDS = 5.0
CLOSE_SECONDS = 3.0
"""How long a broker may take to say goodbye."""


class Link:
    """One connection with its channels."""

    def __init__(self, connection: Connection, *, now: float) -> None:
        self.connection = connection
        self.users = 0
        self.retired = False
        """Whether the link takes no new users, and is closed when the last one leaves."""
        self.doubted = False
        """A publish was cut off: is the other side still there?"""
        self.spoilt: list[AbstractChannel] = []
        self.idle: list[AbstractChannel] = []
        self.idle_since = now
        """When the last user left, in monotonic seconds."""
        self.slots = asyncio.Semaphore(MAX_CHANNELS)

    @property
    def is_closed(self) -> bool:
        transport = self.connection.transport
        return transport is None or transport.connection.is_closed

    async def ready(self) -> None:
        """Wait while the broker blocks publishers (memory or disk alarm)."""
        if self.connection.transport is not None:
            await self.connection.transport.ready()

    async def is_blocked(self) -> bool:
        try:
            async with asyncio.timeout(0):
                await self.ready()
        except TimeoutError:
            return True
        return False

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel of one's own; after an error it is never used again."""
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
        while self.idle:
            channel = self.idle.pop()
            if not channel.is_closed:
                return channel
        channel = self.connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.initialize()
        return channel

    async def close_spoilt(self) -> None:
        """Close the channels that failed, and let others have their slots."""
        spoilt, self.spoilt = self.spoilt, []
        async with asyncio.TaskGroup() as group:
            for channel in spoilt:
                group.create_task(in_time(channel.close()), name="close channel")
        for _ in spoilt:
            self.slots.release()


class Dial:
    """Attempts to connect to one broker: one at a time, and a failure speaks for all who wait."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.failures = 0
        self.failure: PublishFailed | None = None


class Pool:
    """Every connection of one process. `close` it when no publish is under way."""

    def __init__(self, *, guard: Guard, contexts: Contexts, clock: Monotonic) -> None:
        self.guard = guard
        self.contexts = contexts
        self.clock = clock
        self.links: dict[Broker, Link] = {}
        """The one used last is last."""
        self.dials: dict[Broker, Dial] = {}
        self.retired: list[Link] = []
        self.work = asyncio.Event()
        self.upkeep: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def link(self, broker: Broker) -> AsyncIterator[Link]:
        """The connection to the broker, opened where there is none.

        Raises:
            PublishFailed: it could not be opened.
        """
        link = self.opened(broker) or await self.dialled(broker)
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

    def opened(self, broker: Broker) -> Link | None:
        """The link to the broker that can be used, as the one used last."""
        link = self.links.pop(broker, None)
        if link is not None and link.is_closed:
            self.retire(link)
            link = None
        if link is not None:
            self.links[broker] = link
        return link

    async def dialled(self, broker: Broker) -> Link:
        dial = self.dials.setdefault(broker, Dial())
        failures = dial.failures
        dial.waiting += 1
        try:
            async with dial.lock:
                if link := self.opened(broker):
                    return link
                if dial.failure and dial.failures > failures:
                    raise dial.failure
                try:
                    connection = await connected(
                        broker, guard=self.guard, contexts=self.contexts, clock=self.clock
                    )
                except PublishFailed as failure:
                    dial.failures += 1
                    dial.failure = failure
                    raise
                return self.added(broker, Link(connection, now=self.clock()))
        finally:
            dial.waiting -= 1
            if not dial.waiting:
                del self.dials[broker]

    def added(self, broker: Broker, link: Link) -> Link:
        idle = [known for known, other in self.links.items() if not other.users]
        for known in idle[: max(0, len(self.links) + 1 - MAX_CONNECTIONS)]:
            self.retire(self.links.pop(known))
        self.links[broker] = link
        if self.upkeep is None:
            self.upkeep = asyncio.create_task(self.keep_up(), name="amqp upkeep")
        return link

    def retire(self, link: Link) -> None:
        link.retired = True
        self.retired.append(link)
        self.work.set()

    async def keep_up(self) -> None:
        """Close what is over: spoilt channels, connections lost, idle, or no longer trusted."""
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
                    group.create_task(in_time(link.connection.close()), name="close link")
                for link in [*self.links.values(), *self.retired]:
                    group.create_task(link.close_spoilt(), name="close channels")

    async def is_over(self, link: Link, *, now: float) -> bool:
        """Whether this link takes no new users."""
        if link.is_closed:
            return True
        if link.doubted and await link.is_blocked():
            return False  # the broker holds back on purpose; on a new connection it would as well
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
                group.create_task(in_time(link.connection.close()), name="close link")


async def in_time(closing: Awaitable[None]) -> None:
    """Await a goodbye, but not for long; a broker that is gone says none."""
    with suppress(Exception):  # it is over, whatever the client makes of how
        async with asyncio.timeout(CLOSE_SECONDS):
            await closing
