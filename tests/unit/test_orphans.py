"""Leases that a lost answer left in the name of an instance, while others of its looks go on."""

import asyncio
from collections.abc import Sequence
from typing import cast
from uuid import UUID

import pytest

from app.db import Database, leases
from app.db.database import Runner
from app.db.leases import Orphan
from app.scheduler import leases as scheduler
from app.scheduler.dispatcher import Dispatcher
from app.scheduler.held_claim import HeldClaim
from app.scheduler.isolation import Isolation
from app.scheduler.leases import Orphans
from app.telemetry import Observers
from tests.support.claims import some_claim
from tests.support.ticks import Ticks

DB = cast("Database", None)
LOST, OTHER = (Orphan(job_id=UUID(int=id), execution_id=id) for id in (1, 2))


class Held(Dispatcher):
    """Holds what it is given."""

    def __init__(self) -> None:
        self.claims = {}

    def hold(self, orphan: Orphan) -> None:
        claim = some_claim(job_id=orphan.job_id, execution_id=orphan.execution_id)
        self.claims[claim.id] = HeldClaim(claim, lease_ends=60.0)


class Case:
    """An instance in whose name two leases are found: one is an orphan."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.freed: list[Orphan] = []
        self.free = asyncio.Event()
        self.listed = asyncio.Event()
        self.held = Held()
        isolation = Isolation(DB, Observers(), instance="one", lease_seconds=30.0, clock=Ticks())
        self.orphans = Orphans(isolation, self.held, quick=DB)
        monkeypatch.setattr(leases, "list_orphans", self.list_orphans)
        monkeypatch.setattr(leases, "free_orphans", self.free_orphans)

    async def list_orphans(self, _: Runner, **__: object) -> list[Orphan]:
        self.listed.set()
        return [LOST, OTHER]

    async def free_orphans(self, _: Runner, orphans: Sequence[Orphan], **__: object) -> int:
        self.freed += orphans
        self.free.set()
        return len(orphans)


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(monkeypatch)


async def test_what_another_look_has_claimed_is_no_orphan_though_its_answer_is_yet_to_be_read(
    case: Case,
) -> None:
    with case.orphans.claiming():
        freeing = asyncio.create_task(case.orphans.free_found(DB))
        await case.listed.wait()
        await asyncio.sleep(0)
        assert case.freed == []
        case.held.hold(OTHER)
    await freeing

    assert case.freed == [LOST]


@pytest.mark.parametrize("when", ["a session is opened", "the other look goes on"])
async def test_the_lease_is_freed_later_and_what_is_held_by_then_is_not(
    case: Case, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(scheduler, "OTHERS_SECONDS", 0.0)
    keeping = asyncio.create_task(case.orphans.keep_freeing())
    with case.orphans.claiming():
        if when == "a session is opened":
            await case.orphans.free_later(DB)
        else:
            await case.orphans.free_found(DB)
        await asyncio.sleep(0)
        assert case.freed == []
        case.held.hold(OTHER)
    async with asyncio.timeout(5):
        await case.free.wait()
    keeping.cancel()

    assert case.freed == [LOST]


async def test_an_own_statement_that_failed_is_not_waited_for(case: Case) -> None:
    with pytest.raises(ZeroDivisionError), case.orphans.claiming():
        raise ZeroDivisionError
    async with asyncio.timeout(5):
        await case.orphans.free_found(DB)

    assert case.freed == [LOST, OTHER]
