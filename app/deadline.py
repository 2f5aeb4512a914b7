"""A time-out for each execution, cheaper than asyncio's."""

import asyncio
from types import TracebackType
from typing import Self

from app.timers import SharedTimers, Timer


class Deadline:
    """A context manager that does what `asyncio.timeout_at` does, at less cost.

    `asyncio.timeout_at` asks three times for the running loop, a system call each before Python
    3.12. A `Deadline` is given the loop, and needs only a plain `with`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        at: float | None = None,
        *,
        timers: SharedTimers | None = None,
    ) -> None:
        """`timers`: those of deadlines that rarely pass; None: the loop's own."""
        self.loop = loop
        self.timers = timers or loop
        self.at = at
        """The instant on the loop's clock; None for no deadline yet."""
        self.passed = False
        self.timer: Timer | None = None
        self.task: asyncio.Task[object]
        self.cancelling = 0

    def __repr__(self) -> str:
        state = " passed" if self.passed else ""
        return f"<Deadline at {self.at}{state}, now {self.loop.time():.3f}>"

    def __enter__(self) -> Self:
        task = asyncio.current_task(self.loop)
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self.task = task
        self.cancelling = task.cancelling()
        if self.at is not None:
            self.timer = self.timers.call_at(self.at, self.cancel_task)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None  # it refers to this deadline, which would then be garbage in a circle
        if not self.passed:
            return
        # A cancellation by other code in the meantime stays one.
        if self.task.uncancel() <= self.cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def move(self, at: float | None) -> None:
        """Move a deadline that has not passed to another instant; None for never."""
        if self.timer is not None:
            self.timer.cancel()
        self.at = at
        self.timer = None if at is None else self.timers.call_at(at, self.cancel_task)

    def pass_now(self) -> None:
        """Let the deadline pass in the next turn of the loop."""
        self.move(self.loop.time())

    def cancel_task(self) -> None:
        self.passed = True
        self.task.cancel()
