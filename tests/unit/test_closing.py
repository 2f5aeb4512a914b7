"""What becomes of runs in closed time, and of those that come too soon after the one before."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from app.core.runs.claim import Misfire, MisfirePolicy, OnClosed, Overlap, Settlement
from app.core.runs.closing import (
    Closing,
    Maintained,
    closed,
    informed,
    is_idle,
    is_judged,
    never_open,
    outside,
    too_soon,
    under_maintenance,
)
from app.core.runs.misfire import Attendance, missed
from app.core.schedule.occurrences import Span, without
from app.core.schedule.opening import check_open, first_open
from app.core.schedule.schedule import LATEST, Schedule
from app.errors import InvalidInput
from tests.support.claims import DUE, ONE_OFF, closed_now, some_claim

MINUTE = timedelta(minutes=1)
HOURS = ("business-hours",)
OPENS = DUE + 10 * MINUTE


def judged(
    closed_until: datetime | None = OPENS,
    *,
    now: datetime,
    **changes: Any,  # noqa: ANN401
) -> Settlement | None:
    claim = some_claim(**{"calendars": HOURS} | changes)
    return closed(claim, Closing(closed_until=closed_until), now=now)


def records(settlement: Settlement | None) -> list[tuple[datetime, str | None]]:
    assert settlement is not None
    return [(one.scheduled_for, one.reason) for one in settlement.executions]


def test_an_open_run_is_carried_out() -> None:
    assert judged(None, now=DUE) is None


def test_a_closed_run_is_missed_when_its_time_comes_and_the_next_is_planned() -> None:
    settlement = judged(now=DUE)

    assert records(settlement) == [(DUE, "calendar")]
    assert settlement is not None
    assert settlement.next_run == DUE + MINUTE
    assert "business-hours" in (settlement.executions[0].error or "")


def test_closed_runs_that_are_due_are_missed_together_but_none_that_is_open() -> None:
    late = judged(now=DUE + 2.5 * MINUTE)
    over = judged(now=OPENS + 5 * MINUTE)

    assert records(late) == [(DUE + n * MINUTE, "calendar") for n in range(3)]
    assert records(over) == [(DUE + n * MINUTE, "calendar") for n in range(10)]
    assert over is not None
    assert over.next_run == OPENS


@pytest.mark.parametrize("on_closed", list(OnClosed))
def test_a_job_whose_calendars_never_open_again_is_invalid_and_its_one_off_missed(
    on_closed: OnClosed,
) -> None:
    settlement = judged(LATEST, now=DUE, on_closed=on_closed)
    one_off = judged(LATEST, now=DUE, on_closed=on_closed, schedule=ONE_OFF)

    assert settlement is not None
    assert (settlement.executions, settlement.next_run) == ([], DUE)
    assert (settlement.plan_error or "").startswith("calendars: do not open any more")
    assert records(one_off) == [(DUE, "calendar")]


def test_a_job_none_of_whose_runs_is_open_is_invalid_once_it_has_been_idle_for_long() -> None:
    claim = some_claim(calendars=HOURS, schedule=Schedule(cron="0 3 * * *"))
    noon = [Span(DUE + n * timedelta(days=1), DUE + n * timedelta(days=1) + MINUTE) for n in (1, 2)]

    assert is_idle(claim, now=DUE)
    busy = some_claim(calendars=HOURS, last_finished_at=DUE - MINUTE)
    assert not is_idle(busy, now=DUE)
    assert is_idle(busy, now=DUE + timedelta(days=1))
    assert not is_idle(some_claim(schedule=ONE_OFF), now=DUE)
    settlement = never_open(claim, noon)
    assert settlement is not None
    assert (settlement.plan_error or "").startswith("calendars: leave no run of the schedule")
    assert never_open(some_claim(calendars=HOURS), noon) is None


def test_a_closed_run_is_put_off_to_the_opening_and_keeps_its_name() -> None:
    settlement = judged(now=DUE, on_closed=OnClosed.NEXT_OPEN)

    assert settlement is not None
    assert (settlement.next_run, settlement.scheduled_for) == (OPENS, DUE)
    assert (settlement.attempt, settlement.executions) == (0, [])


def test_of_the_runs_of_closed_time_the_one_that_is_due_at_the_opening_follows() -> None:
    settlement = judged(now=OPENS, on_closed=OnClosed.NEXT_OPEN, next_run=OPENS)

    assert records(settlement) == [(DUE + n * MINUTE, "calendar") for n in range(10)]
    assert settlement is not None
    assert (settlement.next_run, settlement.scheduled_for) == (OPENS, OPENS)


def test_of_the_runs_of_closed_time_the_latest_follows_where_none_is_due_at_the_opening() -> None:
    opens = OPENS + MINUTE / 2

    first = judged(opens, now=opens, on_closed=OnClosed.NEXT_OPEN, next_run=opens)
    latest = judged(
        opens, now=opens, on_closed=OnClosed.NEXT_OPEN, next_run=opens, scheduled_for=OPENS
    )

    assert first is not None
    assert (first.next_run, first.scheduled_for) == (opens, OPENS)
    assert latest is None


def test_a_one_off_in_closed_time_is_put_off_or_missed() -> None:
    put_off = judged(now=DUE, schedule=ONE_OFF, on_closed=OnClosed.NEXT_OPEN)
    due = judged(now=OPENS, schedule=ONE_OFF, on_closed=OnClosed.NEXT_OPEN, next_run=OPENS)
    dropped = judged(now=DUE, schedule=ONE_OFF)

    assert put_off is not None
    assert put_off.next_run == OPENS
    assert due is None
    assert records(dropped) == [(DUE, "calendar")]
    assert dropped is not None
    assert dropped.next_run is None


def test_a_run_that_was_put_off_is_late_from_the_opening_on() -> None:
    claim = some_claim(
        calendars=HOURS,
        on_closed=OnClosed.NEXT_OPEN,
        next_run=OPENS,
        late=MisfirePolicy(misfire=Misfire.SKIP, grace_seconds=60.0, max_catchup=0),
    )
    attendance = Attendance(instance="one")

    assert missed(claim, now=OPENS + MINUTE, attendance=attendance) is None
    assert missed(claim, now=OPENS + 2 * MINUTE, attendance=attendance) is not None


def test_the_run_that_is_made_up_for_is_the_latest_open_one() -> None:
    late = MisfirePolicy(misfire=Misfire.RUN_ONCE, grace_seconds=None, max_catchup=100)
    hours = [Span(DUE - MINUTE, DUE + 4 * MINUTE), Span(DUE + 20 * MINUTE, DUE + 30 * MINUTE)]
    claim = informed(some_claim(calendars=HOURS, late=late), Closing(open_times=hours))

    settlement = missed(claim, now=DUE + 10.5 * MINUTE, attendance=Attendance(instance="one"))

    assert records(settlement) == [(DUE + n * MINUTE, "misfire") for n in range(3)]
    assert settlement is not None
    assert settlement.scheduled_for == DUE + 3 * MINUTE


def test_the_last_runs_that_are_caught_up_are_open_ones() -> None:
    late = MisfirePolicy(misfire=Misfire.RUN_ALL, grace_seconds=None, max_catchup=2)
    hours = [Span(DUE, DUE + 4 * MINUTE), Span(DUE + 6 * MINUTE, DUE + 7 * MINUTE)]
    claim = informed(some_claim(calendars=HOURS, late=late), Closing(open_times=hours))

    settlement = missed(claim, now=DUE + 10.5 * MINUTE, attendance=Attendance(instance="one"))

    assert settlement is not None
    assert settlement.scheduled_for == DUE + 3 * MINUTE


def test_the_run_that_is_buffered_is_the_latest_open_one() -> None:
    hours = [Span(DUE, DUE + 4 * MINUTE)]
    claim = informed(
        some_claim(calendars=HOURS, overlap=Overlap.BUFFER_ONE), Closing(open_times=hours)
    )

    settlement = closed_now(claim, at=DUE + 7 * MINUTE)

    assert records(settlement) == [
        (DUE + MINUTE, "overlap"),
        (DUE + 2 * MINUTE, "overlap"),
        (DUE, None),
    ]
    assert settlement.scheduled_for == DUE + 3 * MINUTE


def test_a_gap_ends_with_the_latest_open_run() -> None:
    hours = [Span(DUE, DUE + 2 * MINUTE)]
    changes = {"min_gap_seconds": 240.0, "last_finished_at": DUE - MINUTE / 2}
    claim = informed(some_claim(calendars=HOURS, **changes), Closing(open_times=hours))

    settlement = too_soon(claim, now=DUE + 5 * MINUTE)

    assert records(settlement) == [(DUE, "min_gap")]
    assert settlement is not None
    assert settlement.scheduled_for == DUE + MINUTE


def test_what_cannot_be_read_makes_the_job_invalid_and_what_is_not_ready_waits() -> None:
    claim = some_claim(calendars=HOURS)

    problem = closed(claim, Closing(problem="calendars: no calendar has the name 'x'"), now=DUE)
    unready = closed(claim, Closing(unready=True), now=DUE)

    assert problem is not None
    assert problem.plan_error == "calendars: no calendar has the name 'x'"
    assert unready is not None
    assert (unready.next_run, unready.scheduled_for) == (DUE + timedelta(seconds=1), DUE)


@pytest.mark.parametrize("gap", [90.0, 45.0, None])
def test_a_run_waits_for_the_gap_after_the_end_of_the_run_before(gap: float | None) -> None:
    ended_at = DUE - MINUTE / 2
    claim = some_claim(min_gap_seconds=gap, last_finished_at=ended_at)

    settlement = too_soon(claim, now=DUE)

    put_off = None if settlement is None else settlement.next_run
    assert put_off == (ended_at + timedelta(seconds=gap) if gap else None)


def test_after_the_gap_the_latest_of_the_runs_that_came_due_is_carried_out() -> None:
    ended_at, ready_at = DUE - MINUTE, DUE + 2.5 * MINUTE
    gap = (ready_at - ended_at).total_seconds()
    claim = some_claim(min_gap_seconds=gap, last_finished_at=ended_at, next_run=ready_at)

    settlement = too_soon(claim, now=ready_at)
    latest = some_claim(
        min_gap_seconds=gap,
        last_finished_at=ended_at,
        next_run=ready_at,
        scheduled_for=DUE + 2 * MINUTE,
    )

    assert records(settlement) == [(DUE, "min_gap"), (DUE + MINUTE, "min_gap")]
    assert settlement is not None
    assert (settlement.next_run, settlement.scheduled_for) == (ready_at, DUE + 2 * MINUTE)
    assert too_soon(latest, now=ready_at) is None


def test_retries_and_runs_beside_the_plan_wait_for_no_gap() -> None:
    run = some_claim(
        id=some_claim().job_id.__class__(int=5), min_gap_seconds=90.0, last_finished_at=DUE
    )

    assert (
        too_soon(some_claim(min_gap_seconds=90.0, last_finished_at=DUE, attempt=2), now=DUE) is None
    )
    assert too_soon(run, now=DUE) is None


def test_calendars_that_leave_no_run_of_a_schedule_are_refused() -> None:
    day, id = timedelta(days=1), some_claim().job_id
    mornings = [Span(DUE + n * day, DUE + n * day + 60 * MINUTE) for n in range(3)]  # noon to one
    noon = Schedule(cron="30 12 * * *")
    first = DUE + 30 * MINUTE

    assert first_open(noon, first, mornings[1:], job_id=id) == first + day
    with pytest.raises(InvalidInput, match="calendars: leave no run"):
        check_open(Schedule(cron="0 3 * * *"), first, mornings, job_id=id)
    with pytest.raises(InvalidInput, match="calendars"):
        check_open(Schedule(run_at=DUE - day), DUE - day, mornings, job_id=id)


def test_runs_that_were_asked_for_pass_by_calendars() -> None:
    id = some_claim().job_id.__class__(int=5)
    for request in ("run_now", "replay", "backfill"):
        assert not is_judged(some_claim(id=id, calendars=HOURS, request=request))
    assert is_judged(some_claim(calendars=HOURS))


MAINTAINED = Maintained(
    window_id=some_claim().id,
    reason="moved",
    closed_until=OPENS,
    missed_times=[Span(DUE, OPENS)],
)


def test_runs_in_maintenance_are_missed_for_that_reason() -> None:
    settlement = under_maintenance(some_claim(), MAINTAINED, now=DUE + MINUTE)

    assert records(settlement) == [(DUE, "maintenance"), (DUE + MINUTE, "maintenance")]
    assert settlement is not None
    assert (settlement.executions[0].error or "").startswith("maintenance (moved) was under way")
    assert under_maintenance(some_claim(), Maintained(), now=DUE) is None


def test_a_run_in_maintenance_is_put_off_until_it_is_over() -> None:
    waits = replace(MAINTAINED, on_closed=OnClosed.NEXT_OPEN)
    put_off = under_maintenance(some_claim(), waits, now=DUE)
    over = under_maintenance(some_claim(next_run=OPENS), waits, now=OPENS)
    endless = under_maintenance(some_claim(), replace(waits, closed_until=LATEST), now=DUE)

    assert put_off is not None
    assert (put_off.next_run, put_off.scheduled_for) == (OPENS, DUE)
    assert records(over) == [(DUE + n * MINUTE, "maintenance") for n in range(10)]
    assert records(endless) == [(DUE, "maintenance")]


def test_the_run_that_is_made_up_for_is_one_outside_of_maintenance() -> None:
    late = MisfirePolicy(misfire=Misfire.RUN_ONCE, grace_seconds=None, max_catchup=100)
    window = Maintained(missed_times=[Span(DUE + 4 * MINUTE, DUE + 30 * MINUTE)])
    claim = outside(some_claim(late=late), window)

    settlement = missed(claim, now=DUE + 10.5 * MINUTE, attendance=Attendance(instance="one"))

    assert settlement is not None
    assert settlement.scheduled_for == DUE + 3 * MINUTE


def test_spans_without_others_are_what_is_left_of_them() -> None:
    def minutes(*pairs: tuple[int, int]) -> list[Span]:
        return [Span(DUE + a * MINUTE, DUE + b * MINUTE) for a, b in pairs]

    left = without(minutes((0, 10), (20, 30), (40, 50)), minutes((2, 4), (5, 6), (8, 22), (35, 60)))

    assert left == minutes((0, 2), (4, 5), (6, 8), (22, 30))
    assert without(minutes((0, 10)), []) == minutes((0, 10))
