"""Asks, before a run starts, whether the calendars of its job are open and the gap is over."""

from datetime import datetime, timedelta

from app.core.runs.claim import Claim, OnClosed, Settlement
from app.core.runs.closing import chooses, closed, informed, is_judged, too_soon
from app.core.runs.skip import skipped
from app.core.runs.transition import released
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import LATEST, run_after
from app.core.schedule.spread import effective
from app.db import Database, calendars
from app.db.clock import DatabaseClock
from app.errors import DatabaseUnavailable
from app.scheduler.held_claim import HeldClaim
from app.scheduler.internal_errors import InternalErrors

MOST_STEPS = 1000
"""The most closed spans that are searched for the next run that cuts another off."""

SLACK = timedelta(minutes=1)
"""How long after its timeout an attempt has surely ended."""


class Closings:
    """Judges the first attempt of each run whose job has calendars, or a gap between its runs.

    The calendars are read as they are when the run is due, so a change of one needs no other plan.
    Jobs without any never come here.
    """

    def __init__(self, db: Database, clock: DatabaseClock, internal_errors: InternalErrors) -> None:
        self.db = db
        self.clock = clock
        self.internal_errors = internal_errors

    def __repr__(self) -> str:
        return f"<Closings by {self.clock}>"

    async def settlement(self, held: HeldClaim) -> Settlement | None:
        """Return how to settle a claim that is not to be carried out now; None for one that is.

        The claim then knows the time that its calendars leave open. Never raises: an outage
        releases the claim, and a bug concerns this job alone.
        """
        claim = held.claim
        if not is_judged(claim) and not chooses(claim):
            return None
        try:
            now = self.clock.now()
            if is_judged(claim) and skipped(claim, now=now) is not None:
                return None
            if claim.calendars:
                at, ends = claim.scheduled_for, now + timedelta(seconds=claim.timeout_seconds)
                closing = await calendars.closing(
                    self.db, claim.calendars, at=at, until=ends + SLACK
                )
                held.claim = claim = informed(claim, closing)
                if is_judged(claim):
                    settlement = closed(claim, closing, now=now)
                    if settlement is not None:
                        return settlement
            return too_soon(claim, now=now)
        except DatabaseUnavailable:
            return released(claim)
        except Exception as error:  # noqa: BLE001 - see above
            return self.internal_errors.settlement(claim, error)


async def open_due(db: Database, claim: Claim, run: datetime | None) -> datetime | None:
    """Return when the first run from `run` on starts that the calendars of its job let start.

    `run` is a nominal instant, by which calendars judge. None if there is none.
    """
    for _ in range(MOST_STEPS):
        if run is None:
            return None
        closing = await calendars.closing(db, claim.calendars, at=run)
        opens_at = closing.closed_until
        if opens_at is None:
            return effective(claim.schedule, run, job_id=claim.job_id)
        if opens_at >= LATEST:
            return None
        if claim.on_closed is OnClosed.NEXT_OPEN:
            return effective(claim.schedule, opens_at, job_id=claim.job_id)
        run = run_after(claim.schedule, opens_at - TICK, job_id=claim.job_id)
    return None
