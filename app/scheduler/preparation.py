"""Prepares claims shortly before they are due, so that their executions start on time."""

import asyncio

from app.scheduler.held_claim import HeldClaim
from app.scheduler.runner import ClaimRunner
from app.timers import Timers

TIMER_SECONDS = 0.001
"""How late the event loop's timers may be. The timer for the next claim is set this much too early;
the rest of the time the loop turns without sleeping."""
PREPARED_SECONDS = (0.1, 0.003)
"""The next claim is prepared twice, so long before its instant. Code that has not run for seconds
takes 10 ms and more to run again, and part of that after a pause of a tenth of a second."""
AWAKE_SECONDS = 0.02
"""For this long after an execution started, claims are not prepared and timers are not set early:
the code has just run, and both would cost a CPU if done before each of many claims."""


class Preparation:
    """Prepares the next claim: its target is checked, and a connection is opened.

    Without effect while an instance is awake, see `AWAKE_SECONDS`.
    """

    def __init__(self, runner: ClaimRunner, timers: Timers, tasks: asyncio.TaskGroup) -> None:
        self.runner = runner
        self.timers = timers
        self.tasks = tasks
        self.started_at = 0.0
        """When the latest execution was started, by the timers."""

    def __repr__(self) -> str:
        return f"<Preparation: {'awake' if self.is_awake else 'asleep'}>"

    @property
    def is_awake(self) -> bool:
        """Whether an execution started within the last `AWAKE_SECONDS`."""
        return self.timers.time() - self.started_at < AWAKE_SECONDS

    def prepare(self, held: HeldClaim, *, seconds: float) -> None:
        """Prepare the claim that is due next, in `seconds`, if its time to be prepared has come."""
        if held.times_prepared == len(PREPARED_SECONDS):
            return
        if seconds > PREPARED_SECONDS[held.times_prepared]:
            return
        held.times_prepared += 1
        if not self.is_awake:
            self.tasks.create_task(self.runner.prepare(held), name="prepare")

    def early_seconds(self, held: HeldClaim) -> float:
        """Return how long before the claim is due the dispatcher's timer is to call.

        After the preparations, the last `TIMER_SECONDS` are spent turning: a timer may be late by
        as much, and then has to wake a CPU.
        """
        turning = 0.0 if self.is_awake else TIMER_SECONDS
        return (*PREPARED_SECONDS, turning)[held.times_prepared]
