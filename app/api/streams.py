"""How many streams are open at a time: those of one API key leave room for those of others.

A stream holds a connection as long as its client likes, and it cannot be given to others.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from types import TracebackType
from typing import Generic, TypeVar

from app.api.connections import most_connections
from app.errors import TooManyStreams

K = TypeVar("K", bound=Hashable)

MAX_STREAMS = 200
"""The most streams that one API key has open in a process."""
SHARE = 4
"""A key has no more than this part of the connections that the process accepts."""


class Streams:
    """The open streams of one process, by whom they count for."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most or max(min(MAX_STREAMS, most_connections() // SHARE), 1)
        self.open: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Streams: {self.open.total()} of {len(self.open)} keys>"

    def counted(
        self, stream: AsyncGenerator[bytes, None], *, owner: str
    ) -> AsyncGenerator[bytes, None]:
        """Return a stream that counts for `owner` until it is over, or dropped before it began.

        Raises:
            TooManyStreams: there are as many as one key may have.
        """
        if self.open[owner] >= self.most:
            message = (
                f"{self.open[owner]} streams are open with this API key, as many as one process "
                "serves it: close some, or take another key for each program and person"
            )
            raise TooManyStreams(message)
        return in_place(Place(self.open, owner), stream)


class Place(Generic[K]):
    """The place of one stream, until it is left, or forgotten with a stream that never began."""

    def __init__(self, taken: Counter[K], key: K) -> None:
        self.taken = taken
        """How many places are taken, by what they count for."""
        self.key = key
        self.is_left = False
        taken[key] += 1

    def __repr__(self) -> str:
        return f"<Place of {self.key}>"

    def leave(self) -> None:
        """Give the place to others; once."""
        if self.is_left:
            return
        self.is_left = True
        self.taken[self.key] -= 1
        if not self.taken[self.key]:
            del self.taken[self.key]

    def __enter__(self) -> None:
        """Hold the place."""

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Leave the place."""
        self.leave()

    def __del__(self) -> None:
        self.leave()


async def in_place(
    place: Place[K], stream: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Stream on, in a place."""
    with place:
        async with aclosing(stream) as given:
            async for one in given:
                yield one
