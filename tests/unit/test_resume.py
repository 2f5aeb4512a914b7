"""What becomes of runs that a job missed while it was paused, and how they are counted before."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.core.runs.claim import Misfire, MisfirePolicy, Missed, Overlap
from app.core.runs.misfire import oldest_caught_up
from app.core.runs.outcome import Outcome, Report
from app.core.runs.overlap import superseded_at
from app.core.runs.resume import Openings, on_resumption
from app.core.runs.transition import settled
from app.core.runs.unexecuted import superseded
from app.core.schedule.occurrences import Span, ZonedCron
from app.core.schedule.schedule import Schedule
from tests.support.claims import DUE, ONE_OFF, some_claim

MINUTE = timedelta(minutes=1)
NOW = DUE + 30.5 * MINUTE
ALWAYS_OPEN = Openings()
OTHERS = [Overlap.SKIP, Overlap.BUFFER_ONE, Overlap.CANCEL_OTHER]


def at(minutes: float) -> datetime:
    return DUE + minutes * MINUTE


def span(start: float, end: float) -> Span:
    return Span(at(start), at(end))


def counted(
    missed: Missed | None,
    openings: Openings = ALWAYS_OPEN,
    **claim: Any,  # noqa: ANN401
) -> tuple[int, int]:
    """Return how many runs of a minutely job were missed, and how many are carried out."""
    found = on_resumption(some_claim(**claim), openings, missed, now=NOW)
    return found.missed_runs, found.carried_out


def late(misfire: Misfire, *, grace: float | None = None, most: int = 100) -> MisfirePolicy:
    return MisfirePolicy(misfire=misfire, grace_seconds=grace, max_catchup=most)


@pytest.mark.parametrize("overlap", OTHERS)
def test_all_makes_up_for_missed_runs_whatever_overlap_says(overlap: Overlap) -> None:
    claim = some_claim(overlap=overlap, resumed_at=NOW, resume_missed=Missed.ALL)

    settlement = settled(
        claim,
        Report(outcome=Outcome.SUCCEEDED),
        started_at=NOW,
        finished_at=NOW + 2 * MINUTE,
        instance="one",
        jitter=0.5,
    )

    assert settlement.next_run == at(1)
    assert len(settlement.executions) == 1
    assert superseded(claim, now=NOW, instance="one") is None
    assert superseded_at(claim, now=NOW) is None


def test_what_comes_due_after_the_pause_is_judged_by_overlap_again() -> None:
    claim = some_claim(overlap=Overlap.SKIP, resumed_at=at(-1), resume_missed=Missed.ALL)

    settlement = settled(
        claim,
        Report(outcome=Outcome.SUCCEEDED),
        started_at=at(1.5),
        finished_at=at(3.5),
        instance="one",
        jitter=0.5,
    )

    assert settlement.next_run == at(4)


@pytest.mark.parametrize(
    ("missed", "carried_out"), [(Missed.SKIP, 0), (Missed.ONCE, 1), (Missed.ALL, 31)]
)
def test_runs_are_counted_by_the_word(missed: Missed, carried_out: int) -> None:
    assert counted(missed) == (31, carried_out)


@pytest.mark.parametrize(
    ("policy", "overlap", "carried_out"),
    [
        (late(Misfire.SKIP), Overlap.BUFFER_ALL, 1),
        (late(Misfire.SKIP, grace=600), Overlap.BUFFER_ALL, 10),
        (late(Misfire.RUN_ONCE, grace=600), Overlap.BUFFER_ALL, 11),
        (late(Misfire.RUN_ALL, grace=600, most=5), Overlap.BUFFER_ALL, 15),
        (late(Misfire.RUN_ONCE, grace=3600), Overlap.BUFFER_ALL, 31),
        (late(Misfire.RUN_ONCE, grace=600), Overlap.SKIP, 1),
        (late(Misfire.RUN_ONCE, grace=600), Overlap.CANCEL_OTHER, 1),
        (late(Misfire.RUN_ONCE, grace=600), Overlap.BUFFER_ONE, 2),
        (late(Misfire.RUN_ALL, grace=600, most=5), Overlap.SKIP, 15),
    ],
)
def test_without_a_word_runs_within_the_grace_are_no_late_ones(
    policy: MisfirePolicy, overlap: Overlap, carried_out: int
) -> None:
    assert counted(None, late=policy, overlap=overlap) == (31, carried_out)


OPEN = [span(-5, 10), span(20, 100)]


@pytest.mark.parametrize(
    ("openings", "missed", "most", "expected"),
    [
        (Openings(open_times=OPEN), Missed.ALL, 100, (21, 21)),
        (Openings(open_times=OPEN), Missed.ALL, 15, (21, 15)),
        (Openings(open_times=OPEN), Missed.ONCE, 100, (21, 1)),
        (Openings(open_times=OPEN), None, 100, (21, 2)),
        (Openings(open_times=[span(-5, 0), span(31, 100)]), Missed.ONCE, 100, (0, 0)),
        # Those of the closed time wait for its end, where one is due by itself,
        (Openings(open_times=OPEN, waiting_times=[span(10, 20)]), Missed.ALL, 100, (21, 21)),
        # or none is:
        (
            Openings(open_times=[span(-5, 10), span(19.5, 100)], waiting_times=[span(10, 19.5)]),
            Missed.ALL,
            100,
            (22, 22),
        ),
        (
            Openings(open_times=[span(-5, 10), span(19.5, 100)], waiting_times=[span(10, 19.5)]),
            Missed.ALL,
            15,
            (22, 12),
        ),
        # What waits still gives way to a run that is yet to come.
        (Openings(open_times=[span(-5, 10)], waiting_times=[span(10, 60)]), None, 100, (10, 1)),
        (
            Openings(open_times=[span(-5, 10)], waiting_times=[span(10, 60)]),
            Missed.ONCE,
            100,
            (10, 0),
        ),
        (
            Openings(open_times=[span(-5, 10)], waiting_times=[span(10, 30.9)]),
            Missed.ALL,
            100,
            (11, 11),
        ),
    ],
)
def test_runs_in_closed_time_are_not_counted(
    openings: Openings, missed: Missed | None, most: int, expected: tuple[int, int]
) -> None:
    policy = late(Misfire.RUN_ONCE, most=most)

    assert counted(missed, openings, late=policy) == expected


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ({"skip_runs": 10}, (21, 21)),
        ({"skip_runs": 10, "skip_until": at(5)}, (16, 16)),
        ({"skip_until": at(60)}, (0, 0)),
        ({"max_runs": 12, "runs": 5}, (31, 7)),
        ({"min_gap_seconds": 20.0}, (31, 2)),
        ({"min_gap_seconds": 90.0}, (31, 1)),
        ({"min_gap_seconds": 90.0, "last_finished_at": NOW}, (31, 0)),
        ({"schedule": ONE_OFF}, (1, 1)),
        ({"schedule": Schedule(every_seconds=0.1)}, (18_301, 100)),
    ],
)
def test_what_else_keeps_runs_from_being_carried_out_counts(
    claim: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert counted(Missed.ALL, **claim) == expected


def test_behind_a_gap_a_run_that_has_yet_to_start_may_be_the_latest() -> None:
    spread = Schedule(cron="* * * * *", jitter_seconds=50.0)
    claim = some_claim(schedule=spread, next_run=at(0.6), min_gap_seconds=20.0)

    found = on_resumption(claim, ALWAYS_OPEN, Missed.ALL, now=at(30.05))  # it starts at 30:06

    assert (found.missed_runs, found.carried_out) == (30, 1)


@pytest.mark.parametrize("open_times", [None, [span(1440 * n, 1440 * n + 600) for n in range(30)]])
def test_thousands_of_runs_are_made_up_for_without_a_step_for_each(
    monkeypatch: pytest.MonkeyPatch, open_times: list[Span] | None
) -> None:
    many, until = 10_000, at(1440 * 30)
    claim = some_claim(late=late(Misfire.RUN_ALL, most=many), open_times=open_times)
    steps: list[int] = []
    count = ZonedCron.count
    monkeypatch.setattr(
        ZonedCron, "count", lambda *args, **bounds: steps.append(1) or count(*args, **bounds)
    )

    oldest = oldest_caught_up(claim, until)

    assert len(steps) < 200
    run, left = until, many - (open_times is None)
    while left:
        run -= MINUTE
        left -= open_times is None or any(one.start <= run < one.end for one in open_times)
    assert oldest == run


def test_a_one_off_is_late_only_with_a_grace() -> None:
    assert counted(None, schedule=ONE_OFF, late=late(Misfire.SKIP)) == (1, 1)
    assert counted(None, schedule=ONE_OFF, late=late(Misfire.SKIP, grace=60)) == (1, 0)
    assert counted(None, schedule=ONE_OFF, late=late(Misfire.RUN_ALL, grace=60, most=0)) == (1, 1)
