"""Jobs that start together are asked for together, whether a window concerns them."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from app.db import Database, maintenance
from app.errors import DatabaseUnavailable
from app.scheduler.concerned import Concerned

JOBS = [UUID(int=number) for number in range(1, 101)]


class Asked:
    """Answers that even jobs are concerned, and notes how many it was asked for."""

    def __init__(self) -> None:
        self.many: list[int] = []
        self.error: Exception | None = None

    async def __call__(self, db: Database, job_ids: Sequence[UUID]) -> frozenset[UUID]:
        del db
        self.many.append(len(job_ids))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return frozenset(id for id in job_ids if id.int % 2 == 0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(maintenance, "list_concerned", asked)
    return asked


@pytest.fixture
def concerned() -> Concerned:
    return Concerned(Database.__new__(Database))


async def test_what_starts_while_a_question_is_under_way_shares_the_next_one(
    concerned: Concerned, asked: Asked
) -> None:
    found = await asyncio.gather(*map(concerned.concerns, JOBS))

    assert found == [id.int % 2 == 0 for id in JOBS]
    assert len(asked.many) <= 2
    assert sum(asked.many) == len(JOBS)
    assert await concerned.concerns(JOBS[1])


async def test_an_error_is_heard_by_all_who_waited_and_by_nobody_after_them(
    concerned: Concerned, asked: Asked
) -> None:
    asked.error = DatabaseUnavailable("gone")
    outcomes = await asyncio.gather(*map(concerned.concerns, JOBS), return_exceptions=True)
    asked.error = None

    assert {type(one) for one in outcomes} == {DatabaseUnavailable}
    assert len(asked.many) <= 2
    assert not await concerned.concerns(JOBS[0])


async def test_a_start_that_is_cancelled_while_it_asks_leaves_the_others_their_answer(
    concerned: Concerned, asked: Asked
) -> None:
    first = asyncio.create_task(concerned.concerns(JOBS[1]))
    others = [asyncio.create_task(concerned.concerns(id)) for id in JOBS[2:6]]
    await asyncio.sleep(0)
    first.cancel()

    assert await asyncio.gather(*others) == [False, True, False, True]
    assert asked.many
