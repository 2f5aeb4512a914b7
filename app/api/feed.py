"""Events of one process: read once a second at most, for all who listen, and not while nobody does.

An execution is numbered when it is claimed and recorded when it ends, so numbers are recorded in
any order. Each look reads what lies beyond the last one's numbers, and those that were under way
then. Numbers drawn within the two looks before are read again, as a claim may not have been
committed.
"""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from time import monotonic

import msgspec
from msgspec import Struct

from app.db import events
from app.db.clock import PolledClock
from app.db.database import Database
from app.db.events import MAX_AT_ONCE
from app.single_flight import SingleFlight
from app.timers import Monotonic
from app.wire.events import ExecutionEvent, Snapshot

LOOK_SECONDS = 1.0
MAX_WAITING = 1000
"""Events that wait for one client; with more, it begins anew."""
LOOKS_BACK = 2

ENCODER = msgspec.json.Encoder()


class Sent(Struct, frozen=True):
    """An event as it is sent."""

    id: int
    text: bytes


class Listener:
    """What waits for one client."""

    def __init__(self) -> None:
        self.waiting: deque[Sent] = deque()
        self.overflowed = False

    def __repr__(self) -> str:
        return f"<Listener: {len(self.waiting)} wait>"

    def put(self, sent: Sequence[Sent]) -> None:
        """Add events; if they are too many, all are dropped."""
        if len(self.waiting) + len(sent) > MAX_WAITING:
            self.drop()
        elif not self.overflowed:
            self.waiting.extend(sent)

    def drop(self) -> None:
        """Forget what waits, which the client has to be told of."""
        self.waiting.clear()
        self.overflowed = True

    def take(self) -> list[Sent]:
        """Return what waits, and forget it."""
        taken = list(self.waiting)
        self.waiting.clear()
        return taken


class Feed:
    """The events of one process."""

    def __init__(self, db: Database, polled: PolledClock, *, clock: Monotonic = monotonic) -> None:
        self.db = db
        self.polled = polled
        self.clock = clock
        self.flight = SingleFlight()
        self.listeners: set[Listener] = set()
        self.looked_at = float("-inf")
        self.places: deque[int] = deque(maxlen=LOOKS_BACK)
        """The last numbers drawn as of the last looks, the latest last."""
        self.open: frozenset[int] = frozenset()
        self.told: set[int] = set()
        """Numbers beyond the first of `places` that were told."""
        self.at: datetime | None = None

    def __repr__(self) -> str:
        return f"<Feed: {len(self.listeners)} listeners, places {list(self.places)}>"

    def join(self) -> Listener:
        """Have events wait for a client from now on."""
        listener = Listener()
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """End that; who joins after the last one has left begins with a new place."""
        self.listeners.discard(listener)
        if not self.listeners:
            self.places.clear()
            self.looked_at = float("-inf")

    @property
    def place(self) -> str:
        """Return the id of an event, from which a stream can be taken up again on any process."""
        at = self.at.timestamp() if self.at else 0
        return f"{self.places[0]}-{int(at)}"

    async def look_if_due(self) -> None:
        """Look, unless that was done within `LOOK_SECONDS`.

        Raises:
            AppError: the database cannot be asked.
        """
        await self.flight.run("look", self.is_fresh, self.look)

    def is_fresh(self) -> bool:
        """Return whether the last look is young enough."""
        return self.clock() - self.looked_at < LOOK_SECONDS

    async def look(self) -> None:
        """Read what was recorded since the last look, and have it wait for all clients."""
        began = self.clock()
        self.at = await self.polled.now()
        if not self.places:
            self.places.append(await events.place(self.db))
            self.open, self.told = frozenset(), set()
        back = self.places[0]
        found = await events.look(self.db, after=back, unended=self.open, told=self.told)
        many = len(found.events)
        if many > MAX_AT_ONCE:
            for listener in self.listeners:
                listener.drop()
            self.places.clear()
        else:
            self.tell(found.events)
            self.told |= {one.id for one in found.events}
        self.places.append(found.upto)
        self.open = frozenset(one for one in found.under_way if one <= found.upto)
        self.told = {one for one in self.told if one > self.places[0]}
        self.looked_at = began

    def tell(self, found: Sequence[ExecutionEvent]) -> None:
        """Have events wait for all clients; each is written once."""
        if not found:
            return
        place = self.place
        sent = [Sent(one.id, written(one, place=place)) for one in found]
        for listener in self.listeners:
            listener.put(sent)


def written(event: ExecutionEvent | Snapshot, *, place: str) -> bytes:
    """Write an event of the stream."""
    name = "snapshot" if isinstance(event, Snapshot) else "execution"
    data = ENCODER.encode(event)
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (place.encode(), name.encode(), data)
