"""Room for another answer that is kept, where several requests want it at the same time."""

import asyncio

import pytest

from app.api import kept_answers
from app.api.kept_answers import KeptAnswers
from app.db import Database, idempotency


async def test_forms_that_are_sent_together_as_the_room_is_used_up_all_find_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = 4

    async def count(_db: Database, _owner: str) -> tuple[int, int]:
        await asyncio.sleep(0)
        return answers, 0

    async def let_go(_db: Database, _owner: str, *, keep: int) -> None:
        nonlocal answers
        await asyncio.sleep(0)
        answers = min(answers, keep)

    monkeypatch.setattr(kept_answers, "MAX_OF_FORMS", 4)
    monkeypatch.setattr(idempotency, "count", count)
    monkeypatch.setattr(idempotency, "let_go", let_go)
    kept = KeptAnswers(Database.__new__(Database))
    await kept.count("a")

    await asyncio.gather(*(kept.make_room_of_forms("a") for _ in range(2)))

    assert answers == 2, "half of what there was, once"
