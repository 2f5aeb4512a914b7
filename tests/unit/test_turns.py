"""Long texts are masked one at a time: whatever else is ready has its turn in between."""

import asyncio

from app.targets.turns import LONG, MANY, OLDEST_EVERY, Turns

ANSWERS = 90
"""Answers in an instant: as many slots of a hundred as one host may have."""
SECRETS = {"sesame"}


async def turns_beside(given: Turns, text: str) -> tuple[int, list[str]]:
    """Mask many texts at once; return how many turns something else had, and what came of them."""
    turns = 0

    async def something_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(something_else())
    masked = await asyncio.gather(*(given.redact(SECRETS, text) for _ in range(ANSWERS)))
    other.cancel()
    return turns, masked


async def test_something_else_has_a_turn_before_each_long_text() -> None:
    text = "sesame" + "!" * LONG

    turns, masked = await turns_beside(Turns(), text)

    assert turns >= ANSWERS
    assert masked == ["***" + "!" * LONG] * ANSWERS


async def test_short_texts_and_those_without_secrets_wait_for_nothing() -> None:
    given = Turns()
    given.taken = True
    turns, masked = await turns_beside(given, "you sent sesame")
    whole = await given.redact(set(), "!" * LONG)

    assert turns < ANSWERS
    assert masked == ["you sent ***"] * ANSWERS
    assert len(whole) == LONG


async def test_something_else_has_a_turn_before_many_secrets_are_looked_for() -> None:
    given = Turns()
    given.taken = True
    many = asyncio.create_task(given.redact({f"sesame{one}" for one in range(MANY)}, "sesame1"))
    await asyncio.sleep(0)
    has_waited = not many.done()
    given.pass_on()

    assert (has_waited, await many) == (True, "***")


async def test_the_smallest_has_the_next_turn_and_of_equals_the_first() -> None:
    given, had = Turns(), list[str]()

    async def work(name: str, size: int) -> None:
        await given.take(size)
        had.append(name)

    sizes = {"a": 9, "b": 9, "c": 1, "d": 9, "e": 5}
    await asyncio.gather(*(work(name, size) for name, size in sizes.items()))

    assert had == ["a", "c", "e", "b", "d"]
    assert not given.taken


async def test_small_ones_without_end_leave_a_turn_to_the_oldest() -> None:
    given, had = Turns(), list[str]()

    async def work(name: str, size: int) -> None:
        await given.take(size)
        had.append(name)

    given.taken = True
    large = [asyncio.create_task(work("large", 140_000)) for _ in range(2)]
    await asyncio.sleep(0)
    small = [asyncio.create_task(work("small", 2048)) for _ in range(4 * OLDEST_EVERY)]
    await asyncio.sleep(0)
    given.pass_on()
    await asyncio.gather(*large, *small)

    assert [index + 1 for index, name in enumerate(had) if name == "large"] == [
        OLDEST_EVERY,
        2 * OLDEST_EVERY,
    ]
    assert not given.taken


async def test_who_is_cut_off_while_it_waits_leaves_the_turn_to_others() -> None:
    given, text = Turns(), "sesame" * LONG
    given.taken = True
    cut_off = [asyncio.create_task(given.redact(SECRETS, text)) for _ in range(3)]
    await asyncio.sleep(0)
    cut_off[1].cancel()
    given.pass_on()
    cut_off[0].cancel()  # when its turn has come
    cut_off[2].cancel()
    await asyncio.gather(*cut_off, return_exceptions=True)

    assert set(await given.redact(SECRETS, text)) == {"*"}
