"""A deadline around the hot path."""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Does what `asyncio.timeout_at` does, at less cost.

    That asks thrice which loop is running, a system call each before Python 3.12. Here the loop is
    given, so it enters a plain `with`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, at: float | None = None) -> None:
        self.loop = loop
        self.at = at
        """Loop time; None: never, so far."""
        self.passed = False
        self.timer: asyncio.Handle | None = None
        self.task: asyncio.Task[object]
        self.cancelling = 0

    def __enter__(self) -> Self:
        task = asyncio.current_task(self.loop)
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self.task = task
        self.cancelling = task.cancelling()
        if self.at is not None:
            self.timer = self.loop.call_at(self.at, self.pass_by)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.passed:
            return
        # Whoever else cancels the task meanwhile gets what they want.
        if self.task.uncancel() <= self.cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def move(self, at: float | None) -> None:
        """Let it come at another time, or never; it must not have passed."""
        if self.timer is not None:
            self.timer.cancel()
        self.at = at
        self.timer = None if at is None else self.loop.call_at(at, self.pass_by)

    def pass_by(self) -> None:
        self.passed = True
        self.task.cancel()
