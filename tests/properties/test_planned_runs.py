"""What becomes of every planned run, whatever calendars, policies and outages there are."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.core.runs.claim import Claim, Misfire, MisfirePolicy, OnClosed, Overlap, Settlement
from app.core.runs.closing import Closing, closed, informed, is_judged, too_soon
from app.core.runs.misfire import Attendance
from app.core.runs.outcome import Outcome, Report
from app.core.runs.transition import settled
from app.core.runs.unexecuted import settled_unexecuted
from app.core.schedule.occurrences import Span
from app.core.schedule.schedule import LATEST, Schedule, run_after
from tests.support.claims import DUE, EVERY_MINUTE, some_claim

MINUTE = timedelta(minutes=1)
END = DUE + 90 * MINUTE
HERE = Attendance(instance="one")
SCHEDULES = st.sampled_from(
    [
        EVERY_MINUTE,
        Schedule(cron="*/7 * * * *"),
        Schedule(every_seconds=100.0, starts_at=DUE),
        Schedule(cron="* * * * *", jitter_seconds=40.0),
        Schedule(cron="*/2 * * * *", ends_at=DUE + 40 * MINUTE),
    ]
)
CLAIMS = st.builds(
    lambda schedule, **changes: some_claim(schedule=schedule, calendars=("hours",), **changes),
    SCHEDULES,
    overlap=st.sampled_from(Overlap),
    on_closed=st.sampled_from(OnClosed),
    min_gap_seconds=st.sampled_from([None, None, 30.0, 150.0]),
    late=st.builds(
        MisfirePolicy,
        misfire=st.sampled_from(Misfire),
        grace_seconds=st.sampled_from([None, 0.0, 200.0]),
        max_catchup=st.sampled_from([1, 3, 100]),
    ),
)
MINUTES = st.lists(st.integers(-5, 2 * 90), max_size=12, unique=True).map(sorted)


def spans_of(halves: list[int]) -> list[Span]:
    """Return spans of time whose starts and ends are these half minutes after `DUE`."""
    at = [DUE + MINUTE / 2 * half for half in halves]
    return [Span(start, end) for start, end in zip(at[::2], at[1::2], strict=False)]


def closing_at(spans: list[Span], at: datetime) -> Closing:
    """Return what the database says of a calendar with these spans."""
    later = [span for span in spans if span.end > at]
    is_open = bool(later) and later[0].start <= at
    opens_at = later[0].start if later else LATEST
    return Closing(
        closed_until=None if is_open else opens_at,
        open_times=later,
        ends_at=spans[-1].end if spans else LATEST,
    )


def carried_on(claim: Claim, settlement: Settlement, *, now: datetime) -> Claim | None:
    """Return the next claim of the job, made at `now`; None if nothing is planned."""
    if settlement.next_run is None or settlement.scheduled_for is None or settlement.plan_error:
        return None
    return replace(
        claim,
        next_run=settlement.next_run,
        scheduled_for=settlement.scheduled_for,
        attempt=settlement.attempt + 1,
        open_times=None,
        claimed_at=max(now, settlement.next_run),
        last_outcome=settlement.last_outcome,
        last_finished_at=settlement.last_finished_at,
    )


def judged(claim: Claim, spans: list[Span], *, now: datetime) -> tuple[Claim, Settlement | None]:
    """Do what an instance does before it executes a claim."""
    closing = closing_at(spans, claim.scheduled_for)
    claim = informed(claim, closing)
    settlement = None
    if is_judged(claim):
        settlement = closed(claim, closing, now=now) or too_soon(claim, now=now)
    return claim, settlement or settled_unexecuted(claim, now=now, instance="", attendance=HERE)


def runs_of(claim: Claim, first: datetime, until: datetime) -> Iterator[datetime]:
    """Return the runs of a plan from one on, itself a run, to another."""
    run: datetime | None = first
    while run is not None and run <= until:
        yield run
        run = run_after(claim.schedule, run, job_id=claim.job_id)


def is_open(spans: list[Span], run: datetime) -> bool:
    return any(span.start <= run < span.end for span in spans)


@given(CLAIMS, MINUTES, st.data())
def test_each_planned_run_is_carried_out_or_missed_and_no_open_one_is_lost_for_a_closed_one(
    claim: Claim, halves: list[int], data: st.DataObject
) -> None:
    spans = spans_of(halves)
    ends: Counter[datetime] = Counter()
    executed = set()
    following: Claim | None = replace(claim, claimed_at=DUE)
    last = DUE
    while following is not None and following.claimed_at < END:
        late = MINUTE * data.draw(st.sampled_from([0, 0, 0, 0.4, 12]))
        now = following.claimed_at + late
        claim, settlement = judged(following, spans, now=now)
        if settlement is None:
            finished_at = now + MINUTE * data.draw(st.sampled_from([0, 0, 0.2, 9]))
            outcome = data.draw(st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED]))
            settlement = settled(
                claim,
                Report(outcome=outcome, retryable=outcome is Outcome.FAILED),
                started_at=now,
                finished_at=finished_at,
                instance="one",
                jitter=0.5,
            )
            now = finished_at
        for row in settlement.executions:
            if row.outcome is not Outcome.MISSED:
                executed.add(row.scheduled_for)
            else:
                ends.update(runs_of(claim, row.scheduled_for, row.missed_until or END))
        kept = settlement.scheduled_for
        if kept is not None and kept <= now and claim.on_closed is OnClosed.SKIP:
            dropped = {
                row.scheduled_for
                for row in settlement.executions
                if row.outcome is Outcome.MISSED and chooses(claim, row.reason)
            }
            assert is_open(spans, kept) or not any(is_open(spans, run) for run in dropped)
        last = max(last, claim.scheduled_for)
        following = carried_on(claim, settlement, now=now)

    if claim.on_closed is OnClosed.SKIP:
        assert all(is_open(spans, run) for run in executed)
    ends.update(executed)
    left = following or settlement  # of a job that is invalid a run is left that is due
    over = left.scheduled_for if left is not None and left.scheduled_for is not None else LATEST
    planned = {run for run in runs_of(claim, DUE, max(last, max(ends, default=last))) if run < over}
    assert {run: ends[run] for run in planned} == dict.fromkeys(planned, 1)
    assert set(ends) - planned <= {over}


def chooses(claim: Claim, reason: str | None) -> bool:
    """Whether dropping runs for a reason keeps one of them for the others."""
    if reason == "min_gap":
        return True
    if reason == "overlap" and claim.overlap in {Overlap.BUFFER_ONE, Overlap.CANCEL_OTHER}:
        return claim.late.misfire is not Misfire.SKIP
    return reason == "misfire" and claim.late.misfire is not Misfire.SKIP
