"""Carries out claims that have a slot, after what has to be asked of the database before."""

from collections.abc import Awaitable
from uuid import UUID

from app.core.runs.claim import Overlap, Settlement
from app.core.runs.transition import released
from app.core.runs.unbegun import may_be_unbegun
from app.db.clock import DatabaseClock
from app.scheduler.held_claim import HeldClaim
from app.scheduler.parting import UnknownPart
from app.scheduler.runner import ClaimRunner
from app.scheduler.settler import Settler


class CarryingOut:
    """Carries out the claims of one instance; for most nothing is asked before."""

    def __init__(
        self,
        runner: ClaimRunner,
        settler: Settler,
        clock: DatabaseClock,
        claims: dict[UUID, HeldClaim],
    ) -> None:
        self.runner = runner
        self.settler = settler
        self.clock = clock
        self.claims = claims
        """All held claims of the dispatcher, in which a run that is parted is under its own id."""

    def __repr__(self) -> str:
        return f"<CarryingOut by {self.runner}>"

    def work_on(self, held: HeldClaim) -> Awaitable[Settlement]:
        """Execute a claim, unless there is a reason not to, and return how to settle it."""
        claim = held.claim
        if (
            claim.attempt > 1
            or claim.overlap is Overlap.ALLOW_ALL
            or self.runner.closings.concern(claim)
        ):
            return self.judge(held)
        return self.runner.carry_out(held)

    async def judge(self, held: HeldClaim) -> Settlement:
        """Do the same for a claim of which the database may know a reason."""
        claim, settlement = held.claim, None
        if claim.attempt > 1 and may_be_unbegun(claim):
            settlement = await self.runner.takeovers.judge(held, self.runner.attendance)
            claim = held.claim
        if settlement is None and self.runner.closings.concern(claim):
            settlement = await self.runner.closings.judge(held)
            claim = held.claim
        if settlement is not None:
            return settlement
        if claim.overlap is Overlap.ALLOW_ALL:
            return await self.carry_out_parted(held)
        return await self.runner.carry_out(held)

    async def carry_out_parted(self, held: HeldClaim) -> Settlement:
        """Part the run from its job, which is free for its next run then; carry the run out."""
        claim = held.claim
        plan = self.runner.parting.plan(claim)
        if plan is not None and self.claims.get(claim.id) is held:
            # Before the row is there: from then on a look may bring the next run of the job.
            self.claims[plan.run_id] = self.claims.pop(claim.id)
            run = None
            try:
                run = await self.runner.parting.part(claim, plan)
            except UnknownPart:
                return released(claim)
            finally:
                if run is None:
                    self.claims[claim.id] = self.claims.pop(plan.run_id)
                else:
                    held.claim = run
            if run is not None and plan.following is not None:
                starts_at = plan.following.next_run.timestamp()
                await self.settler.announce([self.clock.seconds_until(starts_at)])
        return await self.runner.carry_out(held)
