"""Searches past a crowd: nothing is connected among the claims, and no search waits for a claim.

What a search finds is left out of looks while it is claimed, and no longer.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db.isolating import Due
from app.errors import DatabaseUnavailable
from app.scheduler.isolation import Isolation
from app.scheduler.past_crowds import OTHERS, READY_SECONDS, PastCrowds
from app.scheduler.suspects import Tried
from app.telemetry import Observers

DUE = datetime(2026, 11, 30, 12, tzinfo=UTC)
LATE = timedelta(seconds=0.3)


class Crowd(list[Any]):
    """A dispatcher that holds 100 claims for one host, which are late."""

    def __init__(self) -> None:
        claim = SimpleNamespace(
            next_run=DUE, claimed_at=DUE, target='{"url": "http://crowd/"}', priority=0
        )
        super().__init__(SimpleNamespace(claim=claim, host="crowd", started=False) for _ in "." * 9)
        self.closed = False
        self.waiting = 9
        self.backlogged = asyncio.Event()
        self.clock = SimpleNamespace(
            now=lambda: DUE + LATE,
            seconds_until=lambda at: at - (DUE + LATE).timestamp(),
        )


class Suspects:
    """Finds jobs of another host in every search, whose claim takes until `answers` is set."""

    def __init__(self, *, jobs: int = 1, error: Exception | None = None) -> None:
        self.jobs = jobs
        self.error = error
        """What a claim raises."""
        self.locked: set[UUID] = set()
        """What another transaction keeps from being claimed."""
        self.done: list[tuple[Any, ...]] = []
        self.answers = asyncio.Event()
        self.searched = asyncio.Event()
        self.observers = Observers()
        self.isolation = Isolation(
            self,  # type: ignore[arg-type]
            self.observers,
            instance="one",
            lease_seconds=30.0,
            clock=lambda: 5.0,
        )
        self.quick = SimpleNamespace(defers=True)
        self.dispatcher = Crowd()
        self.now = 5.0
        self.kinds = ["http"]
        self.tasks: asyncio.TaskGroup

    def monotonic(self) -> float:
        return self.now

    def look_again(self) -> None:
        self.done.append(("look again", len(self.isolation.aside())))

    async def fetch(self, _name: str, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        self.done.append(("search", arguments["limit"], arguments["since"]))
        self.searched.set()
        return [
            {"job_id": uuid4(), "due_at": str(DUE), "now": DUE, "deferring": False}
            for _ in range(min(arguments["limit"], self.jobs))
        ]

    async def look(self, _db: object, ids: list[object], **_: object) -> None:
        self.done.append(("look", len(ids)))

    async def claim(self, db: SimpleNamespace, found: list[Due]) -> Tried:
        self.done.append(("claim", db.defers, len(found)))
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        ids = {one.job_id for one in found}
        return Tried(many=len(found), claimed=ids - self.locked)

    async def set_aside(self, _tried: object) -> None:
        pass


async def test_what_a_search_and_a_claim_need_is_connected_before_either() -> None:
    suspects = Suspects()
    async with asyncio.TaskGroup() as suspects.tasks:
        searching = asyncio.create_task(PastCrowds(suspects).keep_claiming())  # type: ignore[arg-type]
        suspects.dispatcher.backlogged.set()
        await suspects.searched.wait()
        await asyncio.sleep(0)
        searching.cancel()
        suspects.answers.set()

    now = DUE + LATE
    assert suspects.done[:3] == [("search", 0, now), ("look", 0), ("search", OTHERS, None)]


async def test_the_next_search_is_made_while_what_was_found_is_claimed() -> None:
    suspects = Suspects()
    past_crowds = PastCrowds(suspects)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as suspects.tasks:
        await past_crowds.claim_others()
        await asyncio.sleep(0)
        second = asyncio.create_task(past_crowds.claim_others())
        for _ in range(5):
            await asyncio.sleep(0)
        during = list(suspects.done)
        suspects.answers.set()
        await second

    recent = DUE + LATE - timedelta(seconds=0.5)
    assert during == [
        ("search", OTHERS, None),
        ("claim", False, 1),
        ("search", OTHERS, recent),  # what had come due before that search is known
    ]


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), None], ids=["failed", "locked"])
async def test_what_could_not_be_claimed_is_looked_and_searched_for_again(
    error: Exception | None,
) -> None:
    suspects = Suspects(error=error)
    past_crowds = PastCrowds(suspects)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as suspects.tasks:
        await past_crowds.claim_others()
        suspects.locked = {*suspects.isolation.suspects}
        second = asyncio.create_task(past_crowds.claim_others())
        await asyncio.sleep(0)
        suspects.answers.set()
        await second
        suspects.jobs = 0
        await past_crowds.claim_others()

    searches = [one for one in suspects.done if one[0] == "search"]
    assert ("look again", 0) in suspects.done
    assert searches[2] == (
        "search",
        OTHERS,
        None,
    )  # the second search left out what was not claimed then


async def test_a_job_that_two_tasks_claim_is_left_out_of_looks_until_both_have_ended() -> None:
    isolation = Suspects().isolation
    job_id = uuid4()

    isolation.suspect([job_id])
    isolation.suspect([job_id])
    isolation.acquit([job_id])
    assert isolation.aside() == [job_id]

    isolation.acquit([job_id])
    assert isolation.aside() == []


async def test_no_more_is_claimed_than_there_is_room_for_once_the_claim_before_has_ended() -> None:
    suspects = Suspects(jobs=OTHERS)
    past_crowds = PastCrowds(suspects)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as suspects.tasks:
        await past_crowds.claim_others()
        second = asyncio.create_task(past_crowds.claim_others())
        await asyncio.sleep(0)
        suspects.dispatcher.extend(
            SimpleNamespace(claim=suspects.dispatcher[0].claim, host=f"host{number}", started=False)
            for number in range(OTHERS - 7)
        )
        suspects.answers.set()
        await second

    claims = [one for one in suspects.done if one[0] == "claim"]
    assert claims == [("claim", False, OTHERS), ("claim", False, 7)]


async def test_nothing_is_claimed_once_the_dispatcher_is_closed() -> None:
    """The tasks that claim have ended by then, and no other may be added to them."""
    suspects = Suspects()
    past_crowds = PastCrowds(suspects)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as suspects.tasks:
        await past_crowds.claim_others()
        second = asyncio.create_task(past_crowds.claim_others())
        await asyncio.sleep(0)
        suspects.dispatcher.closed = True
        suspects.answers.set()

    assert await second == 0
    suspects.done.clear()
    await past_crowds.make_ready()
    assert suspects.done == []


async def test_connections_are_made_ready_once_for_as_long_as_they_last() -> None:
    suspects = Suspects()
    past_crowds = PastCrowds(suspects)  # type: ignore[arg-type]

    await past_crowds.make_ready()
    suspects.now += READY_SECONDS - 1
    await past_crowds.make_ready()
    assert suspects.done == [("search", 0, DUE + LATE), ("look", 0)]

    suspects.now += 2
    await past_crowds.make_ready()
    assert len(suspects.done) == 4
