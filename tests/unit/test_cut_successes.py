"""What was done is not done again because something is cut off that only tells of it."""

import asyncio
from typing import Any, cast

import pytest

from app.core.runs.outcome import Outcome, Report
from app.scheduler.endings import Ending
from app.scheduler.held_claim import HeldClaim
from app.scheduler.runner import ClaimRunner
from app.targets.base import Context
from app.targets.executors import Executors
from app.targets.registry import decode_target
from app.telemetry import Observers
from app.vault import ReadyTarget
from tests.support.claims import some_claim
from tests.support.ticks import Ticks


class Masking(Executors):
    """Has its answer in an instant, and then waits for the turn to mask that."""

    def __init__(self, report: Report) -> None:
        self.answered = asyncio.Event()
        self.of_answer = report

    async def execute(self, _kind: str, _target: Any, context: Context) -> Report:  # noqa: ANN401
        context.answered(self.of_answer)
        self.answered.set()
        await asyncio.Event().wait()
        return self.of_answer


class Unwatched:
    """Nothing supersedes a run."""

    def watch(self, _held: HeldClaim) -> None:
        return None


class Reporting(ClaimRunner):
    """Carries out an attempt, and nothing around it."""

    def __init__(self, executors: Executors) -> None:
        self.loop = asyncio.get_running_loop()
        self.monotonic = Ticks()
        self.observers = Observers()
        self.superseding = cast("Any", Unwatched())
        self.executors = executors


@pytest.mark.parametrize("ending", [Ending.DRAIN, Ending.LEASE, Ending.OVERLAP])
@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED])
async def test_a_success_stays_one_if_the_masking_of_its_answer_is_cut_off(
    ending: Ending, outcome: Outcome
) -> None:
    executors = Masking(Report(outcome=outcome, status_code=250))
    held = HeldClaim(some_claim(), lease_ends=60.0)
    ready = ReadyTarget(target=decode_target("http", {"url": "https://h.example/"}))
    report = asyncio.create_task(Reporting(executors).report(held, ready))
    await executors.answered.wait()
    held.cut(ending)

    if outcome is Outcome.SUCCEEDED:
        assert await report == executors.of_answer
    else:
        assert (await report).outcome is Outcome.CANCELLED
