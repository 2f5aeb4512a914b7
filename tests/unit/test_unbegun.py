"""Which runs are judged as if no attempt had been made: those of which surely none has begun."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from app.core.runs.claim import Claim, Misfire, MisfirePolicy, Overlap, Settlement
from app.core.runs.misfire import Attendance
from app.core.runs.outcome import Outcome
from app.core.runs.unbegun import (
    KNOWN_AFTER,
    Attempts,
    as_first,
    dropped_as_first,
    judges_stood,
    may_be_unbegun,
    unbegun_since,
    unsure_of_next,
)
from tests.support.claims import DUE, some_claim

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
SKIP = MisfirePolicy(misfire=Misfire.SKIP, grace_seconds=60, max_catchup=0)


def retry(**changes: Any) -> Claim:  # noqa: ANN401
    return some_claim(
        **{"attempt": 2, "retaken": True, "max_runs": None, "edited_at": DUE - MINUTE} | changes
    )


def attempts(**changes: Any) -> Attempts:  # noqa: ANN401
    return replace(
        Attempts(lost=1, others=0, first_start_at=DUE, judges_changed_at=None), **changes
    )


def dropped(claim: Claim, *, since: datetime, now: datetime) -> Settlement | None:
    return dropped_as_first(
        as_first(claim),
        since=since,
        now=now,
        instance="two",
        attendance=Attendance(instance="two"),
    )


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, True),
        ({"last_outcome": Outcome.FAILED}, True),
        ({"retaken": False, "last_outcome": Outcome.SUCCEEDED}, True),
        ({"retaken": False, "last_outcome": Outcome.FAILED}, False),
        ({"attempt": 1}, False),
        ({"id": some_claim().id, "job_id": some_claim().id, "paused": True}, False),
    ],
)
def test_nothing_is_asked_of_first_attempts_and_of_those_after_one_that_ended(
    changes: dict[str, Any],
    asked: bool,  # noqa: FBT001
) -> None:
    assert may_be_unbegun(retry(**changes)) is asked


@pytest.mark.parametrize(
    ("claim", "on_record"),
    [
        (retry(), attempts(lost=0, first_start_at=None)),
        (retry(), attempts(others=1)),
        (retry(attempt=3), attempts()),
        (retry(edited_at=DUE + SECOND), attempts()),
        (retry(edited_at=DUE - 0.2 * SECOND), attempts()),
        (retry(last_finished_at=DUE + SECOND), attempts()),
    ],
    ids=[
        "no record",
        "one ended",
        "one without record",
        "job edited",
        "job edited after a claim ahead",
        "another run ended",
    ],
)
def test_a_run_of_which_an_attempt_may_have_begun_is_none(
    claim: Claim, on_record: Attempts
) -> None:
    assert unbegun_since(claim, on_record) is None


def test_a_run_of_which_all_attempts_were_lost_is_judged_as_of_the_first() -> None:
    assert unbegun_since(retry(attempt=4), attempts(lost=3)) == DUE
    assert unbegun_since(retry(last_finished_at=DUE + 0.1 * SECOND), attempts()) == DUE


def test_an_edit_just_before_a_claim_that_came_late_was_known_by_then() -> None:
    late = attempts(first_start_at=DUE + SECOND)

    assert unbegun_since(retry(edited_at=DUE + 0.9 * SECOND), late) == DUE + SECOND


def test_calendars_that_changed_shortly_before_the_first_attempt_prove_nothing() -> None:
    assert judges_stood(attempts(), DUE)
    assert judges_stood(attempts(judges_changed_at=DUE - KNOWN_AFTER), DUE)
    assert not judges_stood(attempts(judges_changed_at=DUE - MINUTE), DUE)


def test_a_run_is_too_late_only_if_it_was_when_it_was_first_claimed() -> None:
    late = dropped(retry(late=SKIP), since=DUE + 2 * MINUTE, now=DUE + 3 * MINUTE)

    assert late is not None
    assert {one.reason for one in late.executions} == {"misfire"}
    assert late.attempt == 0
    assert dropped(retry(late=SKIP), since=DUE, now=DUE + 3 * MINUTE) is None


def test_a_run_that_may_have_waited_for_a_permit_is_never_too_late() -> None:
    claim = retry(late=SKIP, flow_key="crm")

    assert dropped(claim, since=DUE + 2 * MINUTE, now=DUE + 3 * MINUTE) is None


def test_a_run_is_superseded_as_missed_only_if_the_next_one_was_due_when_it_was_claimed() -> None:
    claim = retry(overlap=Overlap.CANCEL_OTHER)
    sure = dropped(claim, since=DUE + 1.1 * MINUTE, now=DUE + 1.5 * MINUTE)

    assert sure is not None
    assert [one.outcome for one in sure.executions] == [Outcome.MISSED]
    assert dropped(claim, since=DUE, now=DUE + 1.5 * MINUTE) is None


def test_a_run_is_superseded_by_none_that_a_window_may_have_closed_then() -> None:
    claim = unsure_of_next(retry(overlap=Overlap.CANCEL_OTHER))

    assert dropped(claim, since=DUE + 1.1 * MINUTE, now=DUE + 1.5 * MINUTE) is None
