"""What the instance that takes a run over makes of it, by what it knows of windows."""

from collections.abc import Sequence
from datetime import timedelta
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

    def now(self) -> object:
        return DUE + 2 * MINUTE


@pytest.mark.parametrize(
    ("spans", "dropped"),
    [((), True), ((Span(DUE + MINUTE, DUE + 9 * MINUTE),), False)],
    ids=["open", "maintenance from the next run on"],
)
async def test_no_run_is_dropped_for_a_next_one_that_may_fall_into_maintenance(
    monkeypatch: pytest.MonkeyPatch,
    spans: Sequence[Span],
    dropped: bool,  # noqa: FBT001
) -> None:
    async def attempts_before(_db: Database, _claim: Claim) -> Attempts:
        return Attempts(lost=1, others=0, first_claimed_at=CLAIMED, judges_changed_at=CLAIMED)

    monkeypatch.setattr(takeovers, "attempts_before", attempts_before)
    db, clock, windows = Database.__new__(Database), cast("DatabaseClock", Clock()), Windows()
    windows.spans = spans
    errors = InternalErrors(Observers(), clock, lambda: 0.0, instance="two")
    closings = Closings(db, clock, errors, windows)
    claim = some_claim(
        attempt=2, retaken=True, edited_at=DUE - MINUTE, overlap=Overlap.CANCEL_OTHER
    )
    held = HeldClaim(claim, lease_ends=0.0)

    settlement = await Takeovers(db, clock, errors, closings, instance="two").settlement(
        held, Attendance(instance="two")
    )

    assert (settlement is not None) is dropped
    assert held.claim.attempt == claim.attempt
