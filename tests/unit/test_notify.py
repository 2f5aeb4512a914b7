"""The earliest wake-up is remembered, and an instance polls while notifications are many."""

import asyncio
from typing import cast

import pytest
import uvloop

from app.db import Database
from app.scheduler.notify import (
    ANNOUNCED_SECONDS,
    GRACE_SECONDS,
    LOOK_SECONDS,
    MAX_LOOKED_AGO_SECONDS,
    RENEW_SECONDS,
    Polling,
    Wakeup,
    longest_sleep_seconds,
    should_announce,
    should_withdraw,
)
from app.telemetry import Observers


async def test_a_wake_up_while_nobody_waits_is_noticed_later() -> None:
    wakeup = Wakeup(asyncio.get_running_loop())
    wakeup.wake()

    assert await wakeup.wait(5.0)


async def test_clearing_forgets_the_wake_ups_so_far() -> None:
    wakeup = Wakeup(asyncio.get_running_loop())
    wakeup.wake()
    wakeup.wake_in(0.0)
    wakeup.clear()

    assert not await wakeup.wait(0.02)


@pytest.mark.parametrize("seconds", [(0.0, 30.0), (30.0, 0.0), (0.01, 30.0), (30.0, 0.01)])
def test_of_two_wake_ups_the_earlier_is_kept(seconds: tuple[float, float]) -> None:
    """On uvloop, whose timer for the very next turn cannot say when it is due."""

    async def wake_twice() -> bool:
        wakeup = Wakeup(asyncio.get_running_loop())
        for one in seconds:
            wakeup.wake_in(one)
        return await wakeup.wait(5.0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(wake_twice())


async def test_a_wake_up_can_be_asked_for_after_another() -> None:
    wakeup = Wakeup(asyncio.get_running_loop())
    wakeup.wake_in(0.0)
    await asyncio.sleep(0.01)
    wakeup.woken.clear()

    wakeup.wake_in(0.01)

    assert await wakeup.wait(5.0)


NONE = float("-inf")


@pytest.mark.parametrize(
    ("notifications", "claims", "own", "looked_ago", "announces"),
    [
        (0, 0, NONE, 0, False),
        (20, 1000, NONE, 0, False),  # many jobs, few notifications: a backlog, or big batches
        (700, 0, NONE, 0, True),
        (700, 0, NONE, 1.0, False),  # no room: others may have some
        (700, 0, 0.9, 0, False),  # fresh enough
        (0, 200, 0.4, 0, True),  # writers do not notify: what is found tells of the burst
        (0, 200, 0.4, 0.2, False),
        (0, 10, 0.4, 0, False),  # the burst is over
        (0, 200, -0.5, 0, True),
        (0, 200, -1.5, 0, False),
    ],
)
def test_polling_is_announced_under_a_storm_only(
    notifications: float, claims: float, own: float, looked_ago: float, *, announces: bool
) -> None:
    assert (
        should_announce(
            notifications_per_second=notifications,
            claims_per_second=claims,
            own_seconds=own,
            looked_ago=looked_ago,
        )
        is announces
    )


@pytest.mark.parametrize(
    ("own", "looked_ago", "withdrawn"),
    [
        (0.5, MAX_LOOKED_AGO_SECONDS * 2, True),
        (0.5, 0.01, False),
        (-0.5, 1.0, False),
        (NONE, 9.0, False),
    ],
)
def test_an_announcement_is_withdrawn_when_there_is_no_room_to_keep_it(
    own: float, looked_ago: float, *, withdrawn: bool
) -> None:
    assert should_withdraw(own_seconds=own, looked_ago=looked_ago) is withdrawn


async def test_a_look_that_had_room_for_raised_jobs_alone_keeps_no_announcement() -> None:
    now = 0.0
    wakeup = Wakeup(asyncio.get_running_loop())
    async with asyncio.TaskGroup() as tasks:
        polling = Polling(
            cast("Database", None), wakeup, Observers(), tasks=tasks, clock=lambda: now
        )
        now = 1.0
        polling.looked(claimed=1, polling_seconds=None, has_room=False)
        assert polling.looked_at == 0.0
        polling.looked(claimed=1, polling_seconds=None)
        assert polling.looked_at == now


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
def test_an_instance_polls_as_it_announced_and_looks_after_the_announcements_of_others(
    own: float, others: float, sleep: float
) -> None:
    assert longest_sleep_seconds(own_seconds=own, others_seconds=others) == sleep


def test_an_announcement_is_renewed_before_it_ends_and_kept_long_enough_to_be_seen() -> None:
    assert LOOK_SECONDS < MAX_LOOKED_AGO_SECONDS < RENEW_SECONDS < ANNOUNCED_SECONDS
    assert ANNOUNCED_SECONDS + GRACE_SECONDS <= 2.0  # what a publisher that dies may cost
