"""When an instance promises to look often, and how long anybody sleeps for that."""

import pytest

from app.core.runs.suppression import (
    GRACE_SECONDS,
    LOOK_SECONDS,
    MAX_LOOKED_AGO_SECONDS,
    PROMISE_SECONDS,
    RENEW_SECONDS,
    longest_sleep_seconds,
    publishes,
    withdraws,
)

NONE = float("-inf")


@pytest.mark.parametrize(
    ("rings", "finds", "awake", "looked_ago", "promises"),
    [
        (0, 0, NONE, 0, False),
        (20, 1000, NONE, 0, False),  # many jobs, few notifications: a backlog, or big batches
        (700, 0, NONE, 0, True),
        (700, 0, NONE, 1.0, False),  # no room: others may have some
        (700, 0, 0.9, 0, False),  # fresh enough
        (0, 200, 0.4, 0, True),  # silence is what it is for: what is found tells of the storm
        (0, 200, 0.4, 0.2, False),
        (0, 10, 0.4, 0, False),  # the storm is over
        (0, 200, -0.5, 0, True),
        (0, 200, -1.5, 0, False),
    ],
)
def test_a_promise_is_made_under_a_storm_only(
    rings: float, finds: float, awake: float, looked_ago: float, *, promises: bool
) -> None:
    assert (
        publishes(
            notifications_per_second=rings,
            claims_per_second=finds,
            awake_seconds=awake,
            looked_ago=looked_ago,
        )
        is promises
    )


@pytest.mark.parametrize(
    ("awake", "looked_ago", "taken_back"),
    [
        (0.5, MAX_LOOKED_AGO_SECONDS * 2, True),
        (0.5, 0.01, False),
        (-0.5, 1.0, False),
        (NONE, 9.0, False),
    ],
)
def test_a_promise_is_taken_back_when_there_is_no_room_to_keep_it(
    awake: float, looked_ago: float, *, taken_back: bool
) -> None:
    assert withdraws(awake_seconds=awake, looked_ago=looked_ago) is taken_back


@pytest.mark.parametrize(
    ("own", "others", "sleep"),
    [
        (NONE, NONE, float("inf")),
        (0.7, NONE, LOOK_SECONDS),
        (-GRACE_SECONDS / 2, 0.5, LOOK_SECONDS),
        (NONE, 0.5, 0.5 + GRACE_SECONDS),
        (NONE, -0.25, GRACE_SECONDS - 0.25),
        (NONE, -GRACE_SECONDS - 1, float("inf")),
    ],
)
def test_ones_own_promise_is_kept_and_that_of_others_is_checked(
    own: float, others: float, sleep: float
) -> None:
    assert longest_sleep_seconds(awake_seconds=own, others_awake_seconds=others) == sleep


def test_a_promise_is_renewed_before_it_ends_and_kept_long_enough_to_be_seen() -> None:
    assert LOOK_SECONDS < MAX_LOOKED_AGO_SECONDS < RENEW_SECONDS < PROMISE_SECONDS
    assert PROMISE_SECONDS + GRACE_SECONDS <= 2.0  # what a publisher that dies may cost
