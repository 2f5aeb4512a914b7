"""What flows mean for runs: answers that hold a flow, and waits that are not late."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from app.core.runs.claim import Misfire, MisfirePolicy
from app.core.runs.holding import hold_seconds, lateness_at
from app.core.runs.misfire import Attendance, missed
from app.core.runs.outcome import Outcome, Report
from tests.support.claims import DUE, some_claim

MINUTES = timedelta(minutes=1)
HERE = Attendance(instance="one")
SKIPPED = MisfirePolicy(misfire=Misfire.SKIP, grace_seconds=None, max_catchup=0)


def answered(status: int, wait: float | None) -> Report:
    return Report(outcome=Outcome.FAILED, status_code=status, retry_after_seconds=wait)


@pytest.mark.parametrize(
    ("report", "seconds"),
    [
        (answered(429, 30.0), 30.0),
        (answered(503, 30.0), 30.0),
        (answered(500, 30.0), None),
        (answered(429, None), None),
        (answered(429, 0.0), None),
    ],
)
def test_an_overloaded_target_that_says_how_long_holds_its_flow(
    report: Report, seconds: float | None
) -> None:
    assert hold_seconds(report) == seconds


def test_a_run_is_not_late_for_the_time_that_it_waited_for_a_permit() -> None:
    now = DUE + 10 * MINUTES
    waited = some_claim(late=SKIPPED, waiting_since=DUE - MINUTES)

    assert missed(waited, now=now, attendance=HERE) is not None
    assert missed(waited, now=lateness_at(waited, now=now), attendance=HERE) is None


def test_a_run_that_was_late_before_the_wait_began_stays_late() -> None:
    now = DUE + 10 * MINUTES
    late = some_claim(late=SKIPPED, waiting_since=DUE + 5 * MINUTES)

    assert missed(late, now=lateness_at(late, now=now), attendance=HERE) is not None


def test_a_run_that_came_due_while_the_one_before_it_waited_is_late_as_ever() -> None:
    now = DUE + 10 * MINUTES
    behind = replace(
        some_claim(late=SKIPPED, waiting_since=DUE - MINUTES), last_finished_at=DUE + MINUTES
    )

    assert lateness_at(behind, now=now) == now
