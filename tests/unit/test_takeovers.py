"""What the instance that takes a run over makes of it, by what it knows of windows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

import pytest

from app.core.runs.claim import Claim, Overlap
from app.core.runs.misfire import Attendance
from app.core.runs.unbegun import Attempts
from app.core.schedule.occurrences import Span
from app.db import Database, takeovers
from app.db.clock import DatabaseClock
from app.scheduler.closings import Closings
from app.scheduler.held_claim import HeldClaim
from app.scheduler.internal_errors import InternalErrors
from app.scheduler.takeovers import Takeovers
from app.scheduler.windows import Windows
from app.telemetry import Observers
from tests.support.claims import DUE, some_claim

MINUTE = timedelta(minutes=1)
CLAIMED = DUE + 1.1 * MINUTE
"""When the run was first claimed: the next one, which cancels it, was due by then."""


class Clock:
    """The database's clock, two minutes after the run came due."""

    def now(self) -> datetime:
        return DUE + 2 * MINUTE


@pytest.mark.parametrize(
    ("spans", "claimed_at", "changed_at", "dropped"),
    [
        ((), CLAIMED, None, True),
        ((), CLAIMED, CLAIMED + MINUTE, False),
        ((Span(DUE + MINUTE, DUE + 9 * MINUTE),), CLAIMED, CLAIMED, False),
        ((), DUE + 60 * MINUTE, None, False),
    ],
    ids=[
        "open",
        "a window ended since",
        "maintenance from the next run on",
        "claimed by a clock nobody believes yet",
    ],
)
async def test_a_run_that_the_next_one_cancels_is_dropped_only_if_that_is_sure(
    monkeypatch: pytest.MonkeyPatch,
    spans: Sequence[Span],
    claimed_at: datetime,
    changed_at: datetime | None,
    dropped: bool,  # noqa: FBT001
) -> None:
    async def attempts_before(_db: Database, _claim: Claim) -> Attempts:
        return Attempts(lost=1, others=0, first_start_at=claimed_at, judges_changed_at=changed_at)

    monkeypatch.setattr(takeovers, "read_attempts_before", attempts_before)
    db, clock, windows = Database.__new__(Database), cast("DatabaseClock", Clock()), Windows()
    windows.spans = spans
    errors = InternalErrors(Observers(), clock, lambda: 0.0, instance="two")
    closings = Closings(db, clock, errors, windows)
    claim = some_claim(
        attempt=2, retaken=True, edited_at=DUE - MINUTE, overlap=Overlap.CANCEL_OTHER
    )
    held = HeldClaim(claim, lease_ends=0.0)

    settlement = await Takeovers(db, clock, errors, closings, instance="two").judge(
        held, Attendance(instance="two")
    )

    assert (settlement is not None) is dropped
    assert held.claim.attempt == claim.attempt
