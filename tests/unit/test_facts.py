"""The parts of a page: each is read by itself, as often as it may be, for all who look."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.errors import DatabaseUnavailable, StatementCancelled
from app.web.facts import REST, Fact, end, ripest, see_all

Reading = Callable[[], Awaitable[int]]


class Reader:
    """Counts how often it is asked; what it does then can be set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0
        self.takes = 0.0
        self.error: DatabaseUnavailable | None = None
        self.gate: asyncio.Event | None = None

    async def read(self) -> int:
        self.asked += 1
        if self.gate:
            await self.gate.wait()
        self.now += self.takes
        if self.error:
            raise self.error
        return self.asked

    def fact(self, seconds: float = 5.0, patience: float = 0.0) -> Fact[int]:
        return Fact(self.read, seconds=seconds, patience=patience, clock=lambda: self.now)


async def test_all_who_look_share_what_was_read() -> None:
    reader = Reader()
    fact = reader.fact(patience=1)

    first = await asyncio.gather(*(fact.see() for _ in range(50)))
    reader.now += 4.9
    again = await fact.see()
    reader.now += 0.2
    later = await fact.see()

    assert {one.value for one in first} == {1}
    assert (again.value, later.value, reader.asked) == (1, 2, 2)


async def test_what_takes_long_is_waited_for_briefly_and_then_shown_as_it_was() -> None:
    reader = Reader()
    fact = reader.fact(patience=0.01)
    slow = reader.fact(patience=0.01)
    await fact.see()
    reader.now, reader.gate = reader.now + 60, asyncio.Event()

    seen, never = await fact.see(), await slow.see()

    assert (seen.value, seen.trouble) == (1, "To read this anew takes long.")
    assert (never.value, never.trouble) == (None, "This is still being read.")
    reader.gate.set()
    assert (await fact.see()).trouble == ""
    await end([fact, slow])


async def test_what_is_a_little_old_is_shown_while_it_is_read() -> None:
    reader = Reader()
    fact = reader.fact(patience=60)
    await fact.see()
    reader.now, reader.gate = reader.now + 6, asyncio.Event()

    async with asyncio.timeout(5):
        seen = await fact.see(stale=10)
    assert (seen.value, reader.asked) == (1, 1)
    await asyncio.sleep(0)
    assert reader.asked == 2
    await end([fact])


async def test_what_took_long_rests_for_longer() -> None:
    reader = Reader()
    fact = reader.fact(patience=1)
    reader.takes = 2.0
    await fact.see()

    assert fact.due == 100 + REST * 2.0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StatementCancelled("cancelled"), "This took too long, and Postgres was stopped"),
        (
            DatabaseUnavailable("10.0.0.7 refuses"),
            "This cannot be read: Postgres cannot be reached",
        ),
    ],
)
async def test_what_fails_says_so_and_shows_what_it_was(
    error: DatabaseUnavailable, told: str
) -> None:
    reader = Reader()
    fact = reader.fact(patience=1)
    await fact.see()
    reader.now, reader.error = reader.now + 60, error

    seen = await fact.see()
    reader.now, reader.error = reader.now + 60, None
    after = await fact.see()

    assert seen.value == 1
    assert seen.trouble.startswith(told)
    assert "10.0.0.7" not in seen.trouble
    assert (after.value, after.trouble) == (3, "")


async def test_a_bug_is_not_kept_back() -> None:
    async def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Fact(broken, seconds=1).see()


async def test_an_open_page_has_one_part_read_at_a_time_and_each_in_its_turn() -> None:
    reader = Reader()
    facts = [reader.fact(seconds, patience=1) for seconds in (2, 4, 8)]
    await see_all(ripest(facts))
    assert reader.asked == len(facts), "what nobody looked at comes at once"

    counts = []
    for _ in range(60):
        reader.now += 1
        due = ripest(facts)
        counts.append(len(due))
        await see_all(due)

    assert max(counts) == 1
    assert all(one.age <= 2 for one in facts)


async def test_parts_that_cannot_be_read_take_no_turns_of_others() -> None:
    reader, broken = Reader(), Reader()
    broken.error = DatabaseUnavailable("the role may not")
    sound = [reader.fact(seconds, patience=1) for seconds in (4, 8)]
    facts = [*(broken.fact(2, patience=1) for _ in range(2)), *sound]
    broken.now = reader.now
    await see_all(facts)

    oldest = 0.0
    for _ in range(60):
        reader.now += 1
        broken.now += 1
        due = ripest(facts)
        assert len(due) <= 1
        await see_all(due)
        oldest = max(oldest, *(one.age for one in sound))

    assert oldest <= 2
