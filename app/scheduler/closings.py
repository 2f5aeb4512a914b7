"""Asks, before a run starts, whether calendars and windows are open to it, and its gap is over."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from msgspec.structs import replace

from app.core.runs.claim import Claim, OnClosed, Overlap, Settlement
from app.core.runs.closing import (
    chooses,
    closed,
    informed,
    is_idle,
    is_judged,
    never_open,
    outside,
    too_soon,
    under_maintenance,
)
from app.core.runs.overlap import superseding_run
from app.core.runs.skip import skipped
from app.core.runs.transition import released
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import LATEST, run_after
from app.core.schedule.spread import effective
from app.db import Database, calendars, maintenance
from app.db.clock import DatabaseClock
from app.errors import DatabaseUnavailable, InvalidInput
from app.scheduler.concerned import Concerned
from app.scheduler.held_claim import HeldClaim
from app.scheduler.internal_errors import InternalErrors
from app.scheduler.windows import Windows

MAX_STEPS = 1000
"""The most closed spans that are searched for the next run that cuts another off."""
SLACK = timedelta(minutes=1)
"""How long after its timeout an attempt has surely ended."""


class Closings:
    """Judges the first attempt of each run that calendars, windows or a gap may keep from starting.

    The calendars are read as they are when the run is due, so a change of one needs no other plan.
    Jobs without calendars and a gap come here only while there are windows.
    """

    def __init__(
        self,
        db: Database,
        clock: DatabaseClock,
        internal_errors: InternalErrors,
        windows: Windows,
    ) -> None:
        self.db = db
        self.clock = clock
        self.internal_errors = internal_errors
        self.windows = windows
        self.concerned = Concerned(db)
        """The jobs beside a window, which are asked for together."""

    def __repr__(self) -> str:
        return f"<Closings by {self.clock}>"

    def concern(self, claim: Claim) -> bool:
        """Return whether calendars, a gap or windows may keep the run of a claim from starting."""
        return bool(claim.calendars or claim.min_gap_seconds or self.windows.spans)

    def aware(self, claim: Claim) -> Claim:
        """Return the claim with whether windows may close the run that would cancel it."""
        if not self.windows.spans or claim.overlap is not Overlap.CANCEL_OTHER:
            return claim
        run = None
        with suppress(InvalidInput):  # whoever plans the job says so
            run = superseding_run(claim)
        touched = run is not None and self.windows.touch(run, run)
        return replace(claim, may_be_maintained_next=touched)

    async def judge(self, held: HeldClaim) -> Settlement | None:
        """Return how to settle a claim that is not to be carried out now; None for one that is.

        The claim then knows the time that its calendars leave open. Never raises: an outage
        releases the claim, and a bug concerns this job alone.
        """
        claim = held.claim
        if not is_judged(claim) and not chooses(claim):
            return None
        try:
            return await self.judge_or_raise(held)
        except DatabaseUnavailable:
            return released(claim)
        except Exception as error:  # noqa: BLE001 - see above
            return self.internal_errors.settlement(claim, error)

    async def judge_or_raise(self, held: HeldClaim) -> Settlement | None:
        """Do what `judge` does.

        Raises:
            Exception: the calendars or windows could not be asked, or there is a bug.
        """
        claim, now = held.claim, self.clock.now()
        if is_judged(claim) and skipped(claim, now=now) is not None:
            return None
        ends = now + timedelta(seconds=claim.timeout_seconds) + SLACK
        at, settlement = claim.scheduled_for, None
        if claim.calendars:
            closing = await calendars.read_closing(self.db, claim.calendars, at=at, until=ends)
            held.claim = claim = informed(claim, closing)
            if is_judged(claim):
                settlement = closed(claim, closing, now=now)
                if settlement is not None and settlement.executions and is_idle(claim, now=now):
                    settlement = await self.judge_never_open(claim) or settlement
                if claim.on_closed is OnClosed.NEXT_OPEN and closing.closed_until is not None:
                    at = min(closing.closed_until, max(claim.next_run, at))
        touched = settlement is None and self.windows.touch(claim.scheduled_for, ends)
        if touched and await self.concerned.concerns(claim.job_id):
            settlement = await self.judge_under_maintenance(held, at=at, until=ends, now=now)
        return settlement or too_soon(held.claim, now=now)

    async def judge_never_open(self, claim: Claim) -> Settlement | None:
        """Return how to settle a claim whose job's calendars leave it no run; None for another."""
        spans = await calendars.open_spans(self.db, claim.calendars, since=claim.scheduled_for)
        # In a thread, as there may be thousands of spans.
        return None if spans is None else await asyncio.to_thread(never_open, claim, spans)

    async def judge_under_maintenance(
        self, held: HeldClaim, *, at: datetime, until: datetime, now: datetime
    ) -> Settlement | None:
        """Return how windows settle a claim whose run is due at an instant; None: it may start."""
        claim = held.claim
        maintained = await maintenance.read_closing(
            self.db, claim.job_id, at=at, since=claim.scheduled_for, until=until
        )
        held.claim = claim = outside(claim, maintained)
        if not is_judged(claim):
            return None
        settlement = under_maintenance(claim, maintained, now=now)
        is_put_off = settlement is not None and not settlement.executions
        if is_put_off and maintained.window_id is not None:
            await maintenance.note_put_off(
                self.db, claim.job_id, maintained.window_id, until=maintained.closed_until
            )
        return settlement


async def open_due(
    db: Database, windows: Windows, claim: Claim, run: datetime | None
) -> datetime | None:
    """Return when the first run from `run` on starts that calendars and windows let start.

    `run` is a nominal instant, by which these judge. None if there is none.
    """
    for _ in range(MAX_STEPS):
        if run is None:
            return None
        opens_at, on_closed = await find_opening(db, windows, claim, run)
        if opens_at is None:
            return effective(claim.schedule, run, job_id=claim.job_id)
        if opens_at >= LATEST:
            return None
        if on_closed is OnClosed.NEXT_OPEN:
            run = opens_at
        else:
            run = run_after(claim.schedule, opens_at - TICK, job_id=claim.job_id)
    return None


async def find_opening(
    db: Database, windows: Windows, claim: Claim, run: datetime
) -> tuple[datetime | None, OnClosed]:
    """Return until when a run is kept from starting (None: it is not), and what becomes of it."""
    if claim.calendars:
        closing = await calendars.read_closing(db, claim.calendars, at=run)
        if closing.closed_until is not None:
            return closing.closed_until, claim.on_closed
    if windows.touch(run, run):
        found = await maintenance.read_closing(db, claim.job_id, at=run, since=run, until=run)
        if found.window_id is not None:
            return found.closed_until, found.on_closed
    return None, claim.on_closed
