"""Finds out, when the holder of a run has died, whether that run was to be carried out at all."""

from msgspec.structs import replace

from app.core.runs.claim import Settlement
from app.core.runs.misfire import Attendance
from app.core.runs.transition import released
from app.core.runs.unbegun import (
    as_first,
    dropped_as_first,
    judges_stood,
    unbegun_since,
    unsure_of_next,
)
from app.db import Database, takeovers
from app.db.clock import DatabaseClock
from app.errors import DatabaseUnavailable
from app.scheduler.closings import Closings
from app.scheduler.held_claim import HeldClaim
from app.scheduler.internal_errors import InternalErrors


class Takeovers:
    """Judges a run as its first holder would have, where it is sure that none has begun it.

    Only claims come here of which `may_be_unbegun` says so: nearly none.
    """

    def __init__(
        self,
        db: Database,
        clock: DatabaseClock,
        internal_errors: InternalErrors,
        closings: Closings,
        *,
        instance: str,
    ) -> None:
        self.db = db
        self.clock = clock
        self.internal_errors = internal_errors
        self.closings = closings
        self.instance = instance

    def __repr__(self) -> str:
        return f"<Takeovers by {self.instance}>"

    async def judge(self, held: HeldClaim, attendance: Attendance) -> Settlement | None:
        """Return how to settle a claim whose run was not to be carried out; None for any other.

        Never raises: an outage releases the claim, and a bug concerns this job alone.
        """
        claim = held.claim
        try:
            return await self.judge_or_raise(held, attendance)
        except DatabaseUnavailable:
            return released(claim)
        except Exception as error:  # noqa: BLE001 - see above
            return self.internal_errors.settlement(claim, error)
        finally:
            held.claim = replace(held.claim, attempt=claim.attempt)

    async def judge_or_raise(self, held: HeldClaim, attendance: Attendance) -> Settlement | None:
        """Do what `judge` does; the claim is then that of a first attempt."""
        attempts = await takeovers.read_attempts_before(self.db, held.claim)
        since = unbegun_since(held.claim, attempts)
        if since is None or since > self.clock.now():
            return None  # what claimed it may not have believed that instant either
        held.claim = as_first(held.claim)
        stood = judges_stood(attempts, since)
        if stood and self.closings.concern(held.claim):
            settlement = await self.closings.judge(held)
            if settlement is not None:
                return settlement
        first = self.closings.aware(held.claim)
        return dropped_as_first(
            first if stood else unsure_of_next(first),
            since=since,
            now=self.clock.now(),
            instance=self.instance,
            attendance=attendance,
        )
