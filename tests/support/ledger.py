"""The evidence for the checker: promised runs, deliveries to receivers, faults of the cluster."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
from aio_pika.abc import AbstractIncomingMessage
from msgspec import Struct

from tests.support.sink import Behaviour, Received, Wire, reply
from tests.support.waiting import patience


class Delivery(Struct, kw_only=True):
    """One attempt as its receiver saw it; instants are monotonic seconds."""

    key: str
    execution_id: int
    attempt: int
    arrived: float
    ended: float | None = None
    """When the receiver answered or the connection was closed; None while in progress."""
    status: int | None = None
    """The status that the receiver answered; None if the connection was closed before."""

    def cut_off_by(self, fault: "Fault") -> bool:
        """Return whether the delivery was in progress when a fault began, and never answered."""
        ended = math.inf if self.ended is None else self.ended
        return self.status is None and self.arrived < fault.began <= ended


class Fault(Struct, kw_only=True):
    """One fault: when it began and when its cause was gone."""

    what: str
    began: float
    healed: float
    within: float = math.inf
    """The longest that recovery may take, in seconds."""
    orphans: bool = False
    """Whether recovery is that of the runs whose executions the fault cut off, not of any work."""


def key_of(job_id: UUID, scheduled_for: datetime) -> str:
    """Return the key of a run as receivers see it, computed independently of the executors."""
    return f"{job_id}:{scheduled_for.astimezone(UTC).isoformat().replace('+00:00', 'Z')}"


class Ledger:
    """Collects the evidence of one test."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.runs: set[str] = set()
        """One-off runs whose COMMIT has returned."""
        self.crons: set[UUID] = set()
        """Recurring jobs whose COMMIT has returned; the checker works out their runs."""
        self.faults: list[Fault] = []
        self.news = asyncio.Condition()

    def receiver(
        self, seconds: float | Callable[[], float] = 0.0, *, status: int = 200
    ) -> Behaviour:
        """Return the behaviour of a receiver that notes arrivals, waits, answers, notes ends."""

        async def behave(wire: Wire, request: Received) -> None:
            delivery = self.arrived(request)
            try:
                await asyncio.sleep(seconds() if callable(seconds) else seconds)
                wire.transport.write(reply(status))
                delivery.status = status
            finally:
                delivery.ended = time.monotonic()
                await self.tell()

        return behave

    def arrived(self, request: Received) -> Delivery:
        headers = request.headers
        delivery = Delivery(
            key=headers["idempotency-key"],
            execution_id=int(headers["tocsin-execution-id"]),
            attempt=int(headers["tocsin-attempt"]),
            arrived=request.monotonic,
        )
        self.deliveries.append(delivery)
        return delivery

    async def consumed(self, message: AbstractIncomingMessage) -> None:
        """Note a message from a queue."""
        now = time.monotonic()
        headers = {name.lower(): value for name, value in message.headers.items()}
        self.deliveries.append(
            Delivery(
                key=str(message.message_id),
                execution_id=int(str(headers["tocsin-execution-id"])),
                attempt=int(str(headers["tocsin-attempt"])),
                arrived=now,
                ended=now,
                status=200,
            )
        )
        await message.ack()
        await self.tell()

    async def tell(self) -> None:
        async with self.news:
            self.news.notify_all()

    async def until_delivered(self, keys: set[str], *, within: float) -> None:
        """Wait until each of these runs was answered with success; give up silently.

        The checker decides whether that is a failure, and names the runs.
        """

        def all_there() -> bool:
            return keys <= {one.key for one in self.deliveries if one.status == 200}

        try:
            async with patience(within), self.news:
                await self.news.wait_for(all_there)
        except TimeoutError:
            return

    @contextmanager
    def fault(
        self, what: str, *, within: float = math.inf, orphans: bool = False
    ) -> Iterator[None]:
        """Note a fault that lasts as long as the block."""
        began = time.monotonic()
        yield
        self.faults.append(
            Fault(what=what, began=began, healed=time.monotonic(), within=within, orphans=orphans)
        )

    def recoveries(self) -> list[float]:
        """Return, for each fault, the seconds from the end of its cause to recovery.

        Recovery is the arrival of the next attempt of any job or, after an instance died, of the
        last of the runs that the instance was executing. If another fault began while there was
        still time to recover, the time counts from the end of that one.
        """
        return [self.recovery(fault) for fault in self.faults]

    def recovery(self, fault: Fault) -> float:
        cut_off = [one for one in self.deliveries if fault.orphans and one.cut_off_by(fault)]
        if cut_off:
            return (
                max(self.next_arrival(fault.began, key=one.key) for one in cut_off) - fault.healed
            )
        healed = fault.healed
        for later in self.faults:
            if healed < later.began < min(healed + fault.within, self.next_arrival(healed)):
                healed = later.healed
        return self.next_arrival(healed) - healed

    def next_arrival(self, since: float, *, key: str | None = None) -> float:
        """Return when the next attempt, of one run or of any, arrived; infinity without one."""
        arrivals = (
            one.arrived
            for one in self.deliveries
            if one.arrived >= since and key in (None, one.key)
        )
        return min(arrivals, default=math.inf)

    def late(self) -> list[str]:
        """Name the faults from which recovery took longer than promised."""
        return [
            f"{fault.what}: {took:.2f} s, promised {fault.within:g} s"
            for fault, took in zip(self.faults, self.recoveries(), strict=True)
            if took > fault.within
        ]


FAILED = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Load:
    """Inserts jobs steadily, as a person would, and notes in the ledger what was committed."""

    def __init__(
        self, ledger: Ledger, *, database_url: str, target_url: str, chance: random.Random
    ) -> None:
        self.ledger = ledger
        self.chance = chance
        self.database_url = database_url
        self.target_url = target_url
        self.stopping = False

    @asynccontextmanager
    async def running(
        self, *, per_second: float, ahead_seconds: float = 0.3
    ) -> AsyncIterator[None]:
        """Insert one-offs due in `ahead_seconds` on average, until the block ends."""
        task = asyncio.create_task(self.insert(per_second, ahead_seconds), name="load")
        try:
            yield
        finally:
            self.stopping = True
            await task

    async def insert(self, per_second: float, ahead_seconds: float) -> None:
        connection: asyncpg.Connection | None = None
        while not self.stopping:
            try:
                if connection is None or connection.is_closed():
                    connection = await asyncpg.connect(self.database_url, timeout=5)
                ahead = self.chance.uniform(0, 2 * ahead_seconds)
                await self.one_off(connection, ahead_seconds=ahead)
            except FAILED:
                if connection is not None:
                    connection.terminate()
                connection = None  # not committed as far as we know: not promised
            await asyncio.sleep(self.chance.uniform(0, 2 / per_second))
        if connection is not None and not connection.is_closed():
            await connection.close()

    async def one_off(self, connection: asyncpg.Connection, *, ahead_seconds: float) -> str:
        row = await connection.fetchrow(
            """insert into tocsin.jobs (kind, target, run_at, backoff_seconds, max_attempts)
               values ('http', jsonb_build_object('url', $1::text),
                       clock_timestamp() + $2::float8 * interval '1 second', 0.2, 20)
               returning id, scheduled_for""",
            self.target_url,
            ahead_seconds,
            timeout=5,
        )
        assert row is not None
        key = key_of(row["id"], row["scheduled_for"])
        self.ledger.runs.add(key)
        return key

    async def crons(self, connection: asyncpg.Connection, count: int) -> None:
        """Insert jobs that run every second."""
        rows = await connection.fetch(
            """insert into tocsin.jobs (kind, target, cron, backoff_seconds, max_attempts)
               select 'http', jsonb_build_object('url', $1::text), '* * * * * *', 0.2, 20
               from generate_series(1, $2) returning id""",
            self.target_url,
            count,
        )
        self.ledger.crons |= {row["id"] for row in rows}
