"""Long texts are masked one at a time: whatever else is ready has its turn in between."""

import asyncio

from app.targets.turns import LONG, Turns

MANY = 90
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
    masked = await asyncio.gather(*(given.redact(SECRETS, text) for _ in range(MANY)))
    other.cancel()
    return turns, masked


async def test_something_else_has_a_turn_before_each_long_text() -> None:
    text = "sesame" + "!" * LONG

    turns, masked = await turns_beside(Turns(), text)

    assert turns >= MANY
    assert masked == ["***" + "!" * LONG] * MANY


async def test_short_texts_and_those_without_secrets_wait_for_nothing() -> None:
    given = Turns()
    async with given.lock:
        turns, masked = await turns_beside(given, "you sent sesame")
        whole = await given.redact(set(), "!" * LONG)

    assert turns < MANY
    assert masked == ["you sent ***"] * MANY
    assert len(whole) == LONG


async def test_who_is_cut_off_while_it_waits_leaves_the_turn_to_others() -> None:
    given, text = Turns(), "sesame" * LONG
    async with given.lock:
        cut_off = asyncio.create_task(given.redact(SECRETS, text))
        await asyncio.sleep(0)
        cut_off.cancel()

    assert set(await given.redact(SECRETS, text)) == {"*"}
