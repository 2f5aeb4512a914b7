"""What pages show and is worth making anew once in a while only, made once for all who look."""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

from app.single_flight import SingleFlight
from app.timers import Monotonic

T = TypeVar("T")


class Kept(Generic[T]):
    """A value that is made when it is asked for, and kept for some seconds."""

    def __init__(
        self, make: Callable[[], Awaitable[T]], *, seconds: float, clock: Monotonic = monotonic
    ) -> None:
        self.make = make
        self.seconds = seconds
        self.clock = clock
        self.made: list[T] = []
        """The value, once there is one."""
        self.made_at = float("-inf")
        self.flight = SingleFlight()

    def __repr__(self) -> str:
        return f"<Kept: {'made' if self.made else 'not made'}, for {self.seconds} s>"

    async def fresh(self) -> T:
        """Return the value, made anew if it is older than its seconds.

        Raises:
            AppError: it has to be made and cannot.
        """
        await self.flight.run("value", self.is_fresh, self.renew)
        return self.made[0]

    def is_fresh(self) -> bool:
        """Return whether the value is younger than its seconds."""
        return self.clock() - self.made_at < self.seconds

    async def renew(self) -> None:
        """Make the value."""
        began = self.clock()
        self.made = [await self.make()]
        self.made_at = began
