"""Which due claim gets the next slot: by rank, whatever waits before it."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.core.runs.priority import HIGHEST_PRIORITY, LEVEL, rank
from app.db.claims import Look
from app.db.raised import RaisedLook
from app.scheduler.admission import DueClaims, Slots
from app.scheduler.held_claim import HeldClaim
from app.scheduler.raised import SHORT, RaisedJobs
from tests.support.claims import DUE, some_claim
from tests.support.ticks import Ticks

SECOND = timedelta(seconds=1)


def held(
    number: int, *, priority: int = 0, due: datetime = DUE, host: str = "one.test"
) -> HeldClaim:
    claim = some_claim(
        job_id=UUID(int=number),
        execution_id=number,
        next_run=due,
        priority=priority,
        target=f'{{"url": "http://{host}/"}}',
    )
    return HeldClaim(claim, lease_ends=1e9)


def due_claims(
    slots: Slots, *claims: HeldClaim, deferred: list[HeldClaim] | None = None
) -> DueClaims:
    noted: list[HeldClaim] = [] if deferred is None else deferred
    due = DueClaims(slots, (), defer=lambda one, _: noted.append(one), jitter=lambda: 0.5)
    for one in claims:
        due.add(one)
    return due


def started(due: DueClaims) -> list[int]:
    """Give slots to as many claims as may have one, and return them."""
    found = []
    while (one := due.take_next()) is not None:
        due.slots.grant(one.host, one.addresses)
        found.append(one.claim.execution_id)
    return found


def test_a_raised_claim_starts_before_all_that_came_due_with_it_and_shortly_before() -> None:
    usual = [held(n, due=DUE - 50 * SECOND + n * SECOND) for n in range(5)]
    due = due_claims(Slots(3, Ticks()), *usual, held(7, priority=1), held(8, priority=3))

    assert started(due) == [8, 7, 0]


def test_a_claim_that_has_waited_longer_than_the_priority_is_worth_starts_first() -> None:
    due = due_claims(
        Slots(3, Ticks()),
        held(1, due=DUE - 3 * LEVEL - SECOND),
        held(2, due=DUE - 3 * LEVEL + SECOND),
        held(3, priority=3),
    )

    assert started(due) == [1, 3, 2]


def test_a_raised_claim_passes_those_of_its_host_that_wait_for_a_slot_of_it() -> None:
    slots = Slots(10, Ticks())
    for _ in range(9):
        slots.grant("one.test")
    due = due_claims(slots, *(held(n) for n in range(3)))
    assert started(due) == []

    due.add(held(7, priority=1))
    due.add(held(8, priority=2))
    assert started(due) == []
    slots.take_back("one.test")

    assert started(due) == [8]
    slots.take_back("one.test")
    assert started(due) == [7]


def test_a_raised_claim_whose_host_is_full_is_in_nobodys_way() -> None:
    slots = Slots(10, Ticks())
    for _ in range(9):
        slots.grant("one.test")

    due = due_claims(slots, held(1, priority=3), held(2, host="other.test"))

    assert started(due) == [2]
    assert len(due) == 1


def test_a_raised_claim_is_the_last_to_be_given_back() -> None:
    due = due_claims(Slots(1, Ticks()), held(1, priority=1), held(2), held(3))

    assert [one.claim.execution_id for one in due.take_surplus(1)] == [3, 2]
    assert [one.claim.execution_id for one in due.take_all()] == [1]
    assert len(due) == 0


def test_a_raised_claim_that_is_recalled_is_gone() -> None:
    recalled = held(1, priority=1)
    due = due_claims(Slots(1, Ticks()), recalled)

    due.remove(recalled)

    assert (len(due), due.take_next()) == (0, None)


@pytest.mark.parametrize("priority", range(HIGHEST_PRIORITY + 1))
def test_a_level_is_worth_a_minute(priority: int) -> None:
    assert rank(DUE, priority) == DUE - priority * timedelta(minutes=1)
    assert some_claim(next_run=DUE, priority=priority).rank == rank(DUE, priority)


def test_what_waits_longest_is_passed_by_nothing_that_comes_due_three_minutes_later() -> None:
    lowest = rank(DUE, 0)

    assert all(
        rank(DUE + HIGHEST_PRIORITY * LEVEL + SECOND, priority) > lowest
        for priority in range(HIGHEST_PRIORITY + 1)
    )


async def kept_short(ticks: Ticks, *, every_seconds: int, many: int = 1) -> float:
    """Return the share of an hour in which looks are short where raised jobs are due so often."""
    raised = RaisedJobs(
        monotonic=ticks,
        limit_sleep=lambda seconds: seconds,
    )
    short = 0
    for second in range(3600):
        if second % every_seconds == 0:
            raised.expect(ticks(), many)
        short += raised.short(500) == SHORT
        ticks.now += 1
    return short / 3600


async def test_looks_are_kept_short_in_proportion_to_how_many_raised_jobs_there_are() -> None:
    assert await kept_short(Ticks(), every_seconds=2) == 1.0
    assert await kept_short(Ticks(), every_seconds=60) == pytest.approx(1 / 20, abs=0.01)
    assert await kept_short(Ticks(), every_seconds=600, many=50) == pytest.approx(0.1, abs=0.01)


async def test_looks_are_short_when_a_raised_job_that_is_planned_comes_due() -> None:
    ticks = Ticks()
    raised = RaisedJobs(
        monotonic=ticks,
        limit_sleep=lambda seconds: seconds,
    )
    raised.next_at = ticks() + 10
    found = []
    for later in (0, 9.6, 0.8, 10):
        ticks.now += later
        found.append(raised.short(500) == SHORT)

    assert found == [False, True, True, False]


def told(*, due: int = 0, next_seconds: float | None = None) -> RaisedLook:
    look = Look(
        claims=[],
        wakeup_seconds=None,
        blocked=False,
        unplanned=False,
        polling_seconds=None,
        begun_at=DUE,
        ended_at=DUE,
    )
    return RaisedLook(look=look, due=due, next_seconds=next_seconds)


@pytest.mark.parametrize("first", ["newer", "older"])
@pytest.mark.parametrize("newer", [told(due=1), told(next_seconds=0.0005)])
async def test_of_two_looks_at_a_time_the_older_puts_off_nothing_that_the_newer_has_told_of(
    first: str, newer: RaisedLook
) -> None:
    raised = RaisedJobs(
        monotonic=(ticks := Ticks()),
        limit_sleep=lambda seconds: seconds,
    )
    began = [(told(), ticks(), raised.begin())]
    ticks.now += 0.01
    began.append((newer, ticks(), raised.begin()))
    for found, at, number in sorted(began, key=lambda one: one[2], reverse=first == "newer"):
        raised.found(found, at=at, number=number)

    ticks.now += 0.001
    assert raised.next_seconds() == 0


async def test_what_an_older_look_left_is_asked_about_though_a_newer_one_did_not_see_it() -> None:
    raised = RaisedJobs(
        monotonic=(ticks := Ticks()),
        limit_sleep=lambda seconds: seconds,
    )
    older, newer = raised.begin(), raised.begin()  # the older one has the row locked
    raised.found(told(), at=ticks(), number=newer)
    raised.found(told(due=1), at=ticks(), number=older)

    assert raised.next_seconds() == 0
