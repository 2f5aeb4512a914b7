"""Where a look begins, by what the looks before it found and took, and when the next one is."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from app.db.claims import Look
from app.scheduler.next_look import MARGIN, PACE, ScanStart, sleep_seconds
from tests.support.claims import DUE, some_claim

SECOND = timedelta(seconds=1)
BEGUN = datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC)


def a_look(
    *, claimed: int = 0, took: float = 0.1, blocked: bool = False, begun_at: datetime = BEGUN
) -> Look:
    return Look(
        claims=[some_claim(next_run=DUE + number * SECOND) for number in range(claimed)],
        wakeup_seconds=None,
        blocked=blocked,
        unplanned=False,
        polling_seconds=None,
        begun_at=begun_at,
        ended_at=begun_at + timedelta(seconds=took),
    )


def scan_start_after(look: Look, *, full: bool = False) -> ScanStart:
    scan_start = ScanStart(longest_sleep_seconds=30.0)
    assert scan_start.since(100.0) is None
    scan_start.looked(look, at=100.0, whole=True, full=full)
    return scan_start


def test_the_first_look_begins_at_the_left_end_and_the_next_where_it_found_nothing_more() -> None:
    scan_start = scan_start_after(a_look(took=0.1))

    assert scan_start.since(100.2) == BEGUN - MARGIN


def test_the_left_end_is_looked_at_again_after_a_rest_as_many_times_as_long_as_that_took() -> None:
    scan_start = scan_start_after(a_look(took=0.1))

    assert scan_start.since(100.0 + 0.1 * PACE - 0.01) is not None
    assert scan_start.since(100.0 + 0.1 * PACE) is None


def test_however_long_it_took_the_rest_is_bounded() -> None:
    scan_start = scan_start_after(a_look(took=5.0))

    assert scan_start.since(109.9) is not None
    assert scan_start.since(110.0) is None


def test_an_instance_may_sleep_long_only_after_a_look_at_everything() -> None:
    scan_start = scan_start_after(a_look(took=0.1))
    assert scan_start.patience(100.1) == 30.0

    scan_start.looked(a_look(), at=101.0, whole=False, full=False)

    assert scan_start.patience(101.0) == 0.1 * PACE - 1.0
    assert scan_start.patience(200.0) == 0.0


def test_looks_that_find_nothing_more_raise_the_floor() -> None:
    scan_start = scan_start_after(a_look(took=0.2))

    scan_start.looked(a_look(begun_at=BEGUN + SECOND), at=101.0, whole=False, full=False)

    assert scan_start.since(102.0) == BEGUN + SECOND - MARGIN


def test_a_full_batch_raises_the_floor_only_to_the_last_job_in_it() -> None:
    scan_start = scan_start_after(a_look(claimed=3), full=True)

    assert scan_start.since(100.1) == DUE + 2 * SECOND - MARGIN


def test_the_floor_is_never_lowered_but_by_a_look_at_everything() -> None:
    scan_start = scan_start_after(a_look())

    scan_start.looked(a_look(claimed=3), at=101.0, whole=False, full=True)
    assert scan_start.since(101.1) == BEGUN - MARGIN

    scan_start.looked(a_look(claimed=3), at=200.0, whole=True, full=True)
    assert scan_start.since(200.1) == DUE + 2 * SECOND - MARGIN


def test_what_is_locked_by_somebody_stays_above_the_floor() -> None:
    everything = scan_start_after(a_look(blocked=True))
    assert everything.since(100.1) is None

    some = scan_start_after(a_look())
    some.looked(a_look(blocked=True, begun_at=BEGUN + SECOND), at=100.1, whole=False, full=False)
    assert some.since(100.2) == BEGUN - MARGIN


def test_a_new_session_begins_at_the_left_end() -> None:
    scan_start = scan_start_after(a_look())

    scan_start.forget()

    assert scan_start.since(100.1) is None


def test_what_was_left_for_its_size_lies_above_the_floor() -> None:
    left = replace(a_look(claimed=3), left_from=DUE + SECOND)
    scan_start = scan_start_after(left, full=True)

    assert scan_start.since(100.2) == DUE + SECOND - MARGIN


@pytest.mark.parametrize(
    ("wakeup", "blocked", "sleep"),
    [
        (None, 0, 30),
        (3.5, 0, 3.5),
        (500.0, 0, 30),
        (0.0, 0, 0),
        (-2.0, 0, 0),
        (None, 1, 0.02),
        (None, 2, 0.04),
        (None, 10, 1.0),
        (None, 5000, 1.0),
        (0.3, 10, 0.3),
    ],
)
def test_sleep(wakeup: float | None, blocked: int, sleep: float) -> None:
    assert sleep_seconds(wakeup, blocked_looks=blocked, shortest=0.02, longest=30) == sleep


def test_a_short_longest_sleep_bounds_the_blocked_one_too() -> None:
    assert sleep_seconds(None, blocked_looks=10, shortest=0.02, longest=0.5) == 0.5
