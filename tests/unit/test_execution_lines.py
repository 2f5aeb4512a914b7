"""Which executions are lines of the log where an operator asked for some."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.core.facts import Fact, Settled, Started
from app.core.runs.outcome import Outcome
from app.telemetry import execution_lines
from app.telemetry.execution_lines import BATCH, KNOWN_SECONDS, MAX_WAITING, ExecutionLines
from app.telemetry.logs import severity

CHOSEN, OTHER = UUID(int=1), UUID(int=2)
STARTED = Started(job_id=CHOSEN, execution_id=1, kind="http", attempt=1, lag_seconds=0.001)
SETTLED = Settled(
    job_id=CHOSEN,
    name=None,
    kind="http",
    execution_id=1,
    outcome=Outcome.SUCCEEDED,
    reason=None,
    missed_runs=0,
    ended=True,
    deferred=False,
    scheduled_for=datetime(2026, 11, 24, tzinfo=UTC),
    attempt=1,
    next_run=None,
    lag_seconds=0.001,
    duration_seconds=0.02,
    error=None,
)


class Rows:
    """What the database says of jobs."""

    def __init__(self) -> None:
        self.asked: list[list[UUID]] = []
        self.chosen = {CHOSEN}
        self.refusals = 0
        self.now = 100.0

    async def choose(self, ids: Sequence[UUID]) -> set[UUID]:
        if self.refusals:
            self.refusals -= 1
            raise OSError("no database")
        self.asked.append(list(ids))
        return self.chosen & set(ids)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Fact]]:
    """Keep what is written, with its level."""
    lines: list[tuple[int, Fact]] = []
    monkeypatch.setattr(execution_lines, "log_at", lambda level, fact: lines.append((level, fact)))
    monkeypatch.setattr(
        execution_lines, "log_fact", lambda fact: lines.append((severity(fact), fact))
    )
    return lines


def lines_of(rows: Rows, *chosen: str) -> ExecutionLines:
    return ExecutionLines(chosen or ("tag:a",), choose=rows.choose, clock=rows.clock)


async def test_executions_of_chosen_jobs_are_lines_of_level_info_in_their_order(
    rows: Rows, written: list[tuple[int, Fact]]
) -> None:
    lines = lines_of(rows)
    others = replace(STARTED, job_id=OTHER)
    for fact in (STARTED, others, SETTLED):
        lines(fact)
    assert written == []

    await lines.look_up()

    assert written == [
        (logging.INFO, STARTED),
        (logging.INFO, SETTLED),
        (logging.DEBUG, others),
    ]


async def test_what_is_logged_in_any_case_is_not_waited_for(
    rows: Rows, written: list[tuple[int, Fact]]
) -> None:
    failed = replace(SETTLED, outcome=Outcome.FAILED)
    lines = lines_of(rows)

    lines(failed)

    assert written == [(logging.WARNING, failed)]


async def test_a_star_asks_nothing(rows: Rows, written: list[tuple[int, Fact]]) -> None:
    lines = lines_of(rows, "*")

    lines(STARTED)

    assert (written, rows.asked) == ([(logging.INFO, STARTED)], [])


async def test_a_job_is_looked_up_once_and_again_when_it_may_have_changed(
    rows: Rows, written: list[tuple[int, Fact]]
) -> None:
    lines = lines_of(rows)
    lines(STARTED)
    await lines.look_up()
    lines(SETTLED)
    rows.chosen = set()
    rows.now += KNOWN_SECONDS
    lines(STARTED)
    await lines.look_up()

    assert [level for level, _ in written] == [logging.INFO, logging.INFO, logging.DEBUG]
    assert rows.asked == [[CHOSEN], [CHOSEN]]


async def test_an_outage_keeps_lines_back_and_loses_none(
    rows: Rows, written: list[tuple[int, Fact]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_lines, "RETRY_SECONDS", 0)
    rows.refusals = 3
    lines = lines_of(rows)
    looking = asyncio.create_task(lines.keep_looking_up(), name="look up")
    lines(STARTED)
    lines(SETTLED)

    async with asyncio.timeout(10):
        while (logging.INFO, SETTLED) not in written:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    looking.cancel()

    assert (logging.INFO, STARTED) in written
    assert lines.count == 0


async def test_memory_and_a_turn_of_the_loop_are_bounded(
    rows: Rows, written: list[tuple[int, Fact]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []
    monkeypatch.setattr(execution_lines, "say_lost", lambda count, because: lost.append(count))  # noqa: ARG005 - as the original
    monkeypatch.setattr(execution_lines, "MAX_KNOWN", 10)
    lines = lines_of(rows)
    for number in range(MAX_WAITING + 5):
        lines(replace(STARTED, job_id=UUID(int=1000 + number)))

    await lines.look_up()

    assert (len(written), len(lines.known), lost) == (BATCH, 10, [5])
    await lines.write_last()
    assert (len(written), lines.count) == (MAX_WAITING, 0)
