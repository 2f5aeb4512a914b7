"""Searches past a crowd: nothing is connected among the claims, and no search waits for a claim."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from app.scheduler.past_crowds import OTHERS, PastCrowds

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
    """Finds one job of another host in every search, whose claim takes until `answers` is set."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.answers = asyncio.Event()
        self.searched = asyncio.Event()
        self.isolation = SimpleNamespace(db=self, aside=list, suspects=set())
        self.quick = SimpleNamespace(defers=True)
        self.dispatcher = Crowd()
        self.monotonic = lambda: 5.0
        self.kinds = ["http"]
        self.tasks: asyncio.TaskGroup

    async def fetch(self, _name: str, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        self.done.append(("search", arguments["limit"], arguments["since"]))
        self.searched.set()
        found = {"job_id": uuid4(), "due_at": str(DUE), "now": DUE, "deferring": False}
        return [found] * min(arguments["limit"], 1)

    async def look(self, _db: object, ids: list[object], **_: object) -> None:
        self.done.append(("look", len(ids)))

    async def claim(self, db: SimpleNamespace, found: list[object]) -> None:
        self.done.append(("claim", db.defers, len(found)))
        await self.answers.wait()

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
