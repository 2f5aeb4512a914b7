"""The time of the database as the API reads it: asked for seldom, and followed when it steps."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.db import Database
from app.db.clock import TRUSTED_SECONDS, DatabaseClock, PolledClock, ask
from app.db.database import Row
from tests.support.ticks import Ticks

SLACK = timedelta(seconds=30)
"""What a busy machine may take between two statements; far less than the steps."""


class SteppingDatabase:
    """A database whose clock can be set; counts the questions."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.step = timedelta(0)
        self.questions = 0

    async def fetch(self, name: str, /, **arguments: Any) -> list[Row]:  # noqa: ANN401
        self.questions += 1
        [row] = await self.db.fetch(name, **arguments)
        return [{"now": row["now"] + self.step}]  # type: ignore[list-item] # a row to be read by name


@pytest.fixture
async def stepping(database_url: str) -> AsyncIterator[SteppingDatabase]:
    async with Database.connect(database_url, application_name="test") as db:
        yield SteppingDatabase(db)


async def test_the_time_is_asked_for_once_a_minute_at_most(stepping: SteppingDatabase) -> None:
    ticks = Ticks()
    clock = PolledClock(stepping, clock=ticks)

    first = await clock.now()
    ticks.now += TRUSTED_SECONDS
    carried = await clock.now()

    assert abs(carried - first - timedelta(seconds=TRUSTED_SECONDS)) < SLACK
    assert stepping.questions == 1

    ticks.now += 1.0
    await clock.now()

    assert stepping.questions == 2


@pytest.mark.parametrize("hours", [-1, 1], ids=["back", "forward"])
async def test_a_clock_that_was_set_is_followed_with_the_next_question(
    stepping: SteppingDatabase, hours: int
) -> None:
    ticks = Ticks()
    clock = PolledClock(stepping, clock=ticks)

    before = await clock.now()
    stepping.step = timedelta(hours=hours)
    ticks.now += TRUSTED_SECONDS + 1
    after = await clock.now()

    assert abs(after - before - stepping.step) < SLACK


async def test_an_answer_is_believed_to_be_as_old_as_its_receipt(
    stepping: SteppingDatabase,
) -> None:
    ticks = Ticks()
    clock = DatabaseClock(clock=ticks)

    await ask(stepping, clock)
    at_receipt = clock.now()
    ticks.now += 5.0

    assert clock.now() - at_receipt == timedelta(seconds=5)
    assert abs(at_receipt - datetime.now(UTC)) < SLACK
    assert stepping.questions == 1
