"""Looks at flows: claims of jobs that share limits, as far as there are permits."""

from collections.abc import Sequence
from uuid import UUID

from app.core.facts import Faulted
from app.db import flows
from app.db.clock import DatabaseClock
from app.db.database import Runner
from app.db.isolating import may_be_about_a_row, reason
from app.scheduler.flows import START_SECONDS, Flows
from app.scheduler.held_claim import HeldClaim
from app.scheduler.leases import tell_lost
from app.scheduler.look_recovery import LookRecovery
from app.scheduler.suspects import Tried

AGAIN_SECONDS = 1.0
"""The wait before the next look at a flow whose last look failed."""
LISTED = 50
"""How many jobs of a flow are tried one by one after a look at the flow failed."""


class FlowLooks:
    """Claims jobs of the flows that are due for a look."""

    def __init__(self, known: Flows, recovery: LookRecovery, *, clock: DatabaseClock) -> None:
        self.known = known
        self.suspects = recovery.suspects
        self.isolation = recovery.isolation
        self.watch = recovery.watch
        """Cancels looks that take too long."""
        self.clock = clock
        self.lease_seconds = recovery.isolation.lease_seconds
        self.tasks = recovery.suspects.tasks
        self.has_turn = False
        """Whether room for one job goes to a flow."""

    def __repr__(self) -> str:
        return f"<FlowLooks: {self.known}>"

    @property
    def are_due(self) -> bool:
        """Whether some flow is to be looked at now."""
        return self.next_seconds() <= 0

    def next_seconds(self) -> float:
        """Return in how many seconds a flow is to be looked at; infinity without any."""
        return self.known.next_seconds()

    def hand_over(self) -> None:
        """Have others look at the flows that got a permit back here, as no slot is free."""
        if self.known.freed:
            self.tasks.create_task(self.known.hand_over(), name="hand over")

    async def look(
        self, session: Runner, *, limit: int, ahead_seconds: float, left_due: bool
    ) -> int:
        """Claim jobs of the flows that are due; return how many.

        At most half of `limit` if the last look left due jobs without a flow (`left_due`), else
        seven eighths, as a look for these follows. Room for one job goes to both by turns.

        Raises:
            Exception: an error for which `may_be_about_a_row` is false.
        """
        self.has_turn = not self.has_turn
        share = limit // 2 if left_due else limit - max(limit // 8, 1)
        share = share or int(self.has_turn)
        if share == 0:
            return 0
        keys = self.known.take_due(share)
        try:
            with self.watch:
                return await self.claim(session, keys, limit=share, ahead_seconds=ahead_seconds)
        except Exception as error:
            if not may_be_about_a_row(error):
                for key in keys:
                    self.known.note(key)
                raise
            self.suspects.tasks.create_task(self.isolate(keys, error), name="isolate flows")
            return 0

    async def claim(
        self,
        db: Runner,
        keys: Sequence[str],
        *,
        limit: int,
        ahead_seconds: float = 0.0,
        only: Sequence[UUID] | None = None,
    ) -> int:
        """Claim jobs of these flows, and note when to look at each again."""
        asked_at = self.suspects.monotonic()
        with self.suspects.orphans.claiming():
            look, stands = await flows.look(
                db,
                keys,
                limit=limit,
                ahead_seconds=ahead_seconds,
                lease_seconds=self.lease_seconds,
                kinds=self.suspects.kinds,
                instance=self.isolation.instance,
                believed=self.clock.believed(),
                aside=self.isolation.aside() if only is None else (),
                only=only,
            )
        self.clock.observe(
            look.begun_at,
            look.ended_at,
            sent_at=asked_at,
            received_at=self.suspects.monotonic(),
        )
        self.known.granted(look.claims, asked_at=asked_at)
        tell_lost(look, self.isolation.observers)
        self.suspects.dispatcher.take(
            HeldClaim(
                claim,
                lease_ends=asked_at + self.lease_seconds,
                start_by=asked_at + START_SECONDS if claim.is_timed else float("inf"),
            )
            for claim in look.claims
        )
        for key, seconds in stands.items():
            if seconds is not None:
                self.known.note(key, max(seconds, 0.0))
        if look.suppressed:
            self.isolation.suspect(look.suppressed)
            self.tasks.create_task(self.suspects.isolate_suppressed(look), name="suppressed")
        return len(look.claims)

    async def isolate(self, keys: Sequence[str], error: Exception) -> None:
        """Look at flows one by one, and at the jobs of one that fails even so; put these aside.

        Never raises: an error here is told, and a later look finds the same.
        """
        for key in keys:
            try:
                if len(keys) > 1:
                    await self.claim(self.suspects.quick, [key], limit=1)
                else:
                    await self.isolate_jobs(key, error)
            except Exception as failure:  # noqa: BLE001 - see above
                if may_be_about_a_row(failure):
                    await self.isolate([key], failure)
                else:
                    self.isolation.observers.tell(
                        Faulted(where="look at a flow", error=reason(failure))
                    )
            self.known.note(key, AGAIN_SECONDS)

    async def isolate_jobs(self, key: str, error: Exception) -> None:
        """Claim the first jobs of a flow one by one, and put those aside that cannot be claimed."""
        failed: dict[UUID, Exception] = {}
        listed = await flows.list_due(
            self.suspects.quick, key, aside=self.isolation.aside(), limit=LISTED
        )
        for id in listed:
            try:
                await self.claim(self.suspects.quick, [key], limit=1, only=[id])
            except Exception as failure:
                if not may_be_about_a_row(failure):
                    raise
                failed[id] = failure
        if failed:
            await self.suspects.set_aside(Tried(many=len(listed), failed=failed))
        elif not listed:
            self.isolation.observers.tell(
                Faulted(where=f"look at the flow {key}", error=reason(error))
            )
