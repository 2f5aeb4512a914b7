"""Parts runs from their jobs as they start, where `overlap` is `allow_all`."""

import asyncio
import secrets
from uuid import UUID

from msgspec import Struct

from app.core.facts import Faulted
from app.core.jobs.identity import RANDOM_BITS, uuid7
from app.core.runs.claim import Claim
from app.core.runs.misfire import Attendance, missed
from app.core.runs.parallel import may_be_parted, parted, planned_behind
from app.core.runs.skip import skipped
from app.core.runs.unexecuted import exhausted
from app.core.schedule.spread import PlannedRun
from app.db import Database, overlap
from app.db.clock import DatabaseClock
from app.db.isolating import reason
from app.errors import InvalidInput
from app.telemetry import Observers

PART_SECONDS = 2.0
"""How long one statement may take; usually it takes a millisecond."""
TRIES = 2
"""Asked twice the database answers the same, so an answer that was lost is asked for again."""


class Part(Struct, frozen=True, kw_only=True):
    """How a run is to be parted from its job."""

    run_id: UUID
    """The id of the row that the run is to have."""
    following: PlannedRun | None
    """The next run of the plan; None if the schedule has none."""


class UnknownPart(Exception):
    """Whether a run was parted is not known: its claim must not be carried out."""


class Parting:
    """Parts one run after the other, each in the task of its execution.

    The job's row is then planned for its next run, which any instance may claim. A run that cannot
    be parted, as a trigger of users refuses its row or too many are under way, is carried out as
    the job's own row: what comes due waits for it.
    """

    def __init__(self, db: Database, clock: DatabaseClock, observers: Observers) -> None:
        self.db = db
        self.clock = clock
        self.observers = observers

    def __repr__(self) -> str:
        return f"<Parting by {self.clock}>"

    def plan(self, claim: Claim) -> Part | None:
        """Return how the run of a claim is to be parted; None for a run that is not.

        A run that will not be carried out is not parted; it is settled as its job's own row.
        """
        if not may_be_parted(claim):
            return None
        now = self.clock.now()
        attendance = Attendance(instance="")
        try:
            if (
                exhausted(claim, now=now, instance="")
                or skipped(claim, now=now)
                or missed(claim, now=now, attendance=attendance)
            ):
                return None
            following = planned_behind(claim)
        except InvalidInput:  # the schedule; whoever carries it out finds the same
            return None
        run_id = uuid7(now, random=secrets.randbits(RANDOM_BITS))
        return Part(run_id=run_id, following=following)

    async def part(self, claim: Claim, plan: Part) -> Claim | None:
        """Part a run; return its claim, or None if the run stays that of the job's row.

        Raises:
            UnknownPart: the database does not answer.
        """
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(PART_SECONDS):
                    edited_at = await overlap.part_run(
                        self.db, claim, run_id=plan.run_id, following=plan.following
                    )
            except Exception as error:  # noqa: BLE001 - whatever it is, this job alone waits
                self.observers.tell(Faulted(where="part", error=reason(error)))
            else:
                if edited_at is None:
                    return None
                return parted(claim, run_id=plan.run_id, edited_at=edited_at)
        raise UnknownPart
