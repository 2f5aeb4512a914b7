"""Carries out one claim at a time: decides whether to execute, executes, decides how to settle."""

import asyncio
import random
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from app.core.facts import Started
from app.core.runs.claim import Claim, Settlement
from app.core.runs.expectation import CHECK
from app.core.runs.misfire import Attendance
from app.core.runs.outcome import Outcome, Report
from app.core.runs.transition import invalid, released, settled
from app.core.runs.unexecuted import settled_unexecuted
from app.db import Database
from app.db.clock import DatabaseClock, ask
from app.deadline import Deadline
from app.descriptors import OutOfDescriptors
from app.errors import DatabaseUnavailable, InvalidInput
from app.scheduler.checks import judge
from app.scheduler.closings import Closings
from app.scheduler.flows import Flows, PermitOver
from app.scheduler.held_claim import HeldClaim
from app.scheduler.internal_errors import InternalErrors
from app.scheduler.parting import Parting
from app.scheduler.rendering import Rendering
from app.scheduler.superseding import Superseding
from app.scheduler.takeovers import Takeovers
from app.scheduler.windows import Windows
from app.targets.base import MAX_ERROR_LENGTH, Context, as_text
from app.targets.executors import Executors
from app.targets.net.tls_contexts import ContextsCrowded
from app.telemetry import Observers
from app.telemetry.faults import faulted
from app.templates.renderer import TemplateFailed
from app.timers import Monotonic
from app.vault import ReadyTarget, SecretUnusable, Targets

ASK_SECONDS = 0.25
"""How long the answer about the database's time may take: a later one is of no use."""


class ClaimRunner:
    """Carries out the claims of one instance, any number of them side by side."""

    def __init__(  # noqa: PLR0913 - what an execution needs, put together in one place
        self,
        *,
        instance: str,
        executors: Executors,
        targets: Targets,
        clock: DatabaseClock,
        monotonic: Monotonic,
        flows: Flows,
        observers: Observers,
        db: Database,
        windows: Windows,
    ) -> None:
        self.instance = instance
        self.executors = executors
        self.targets = targets
        self.clock = clock
        self.monotonic = monotonic
        self.loop = asyncio.get_running_loop()
        self.flows = flows
        self.observers = observers
        self.db = db
        self.rendering = Rendering(db, executors.renderer)
        """Renders the targets that are templates, before their claims need a slot."""
        self.parting = Parting(db, clock, observers)
        """Gives runs rows of their own, where those of a job may go side by side."""
        self.superseding = Superseding(db, clock, observers, windows)
        """Cuts executions off when the next run of their job comes due, where that is asked for."""
        self.internal_errors = InternalErrors(observers, clock, monotonic, instance=instance)
        self.closings = Closings(db, clock, self.internal_errors, windows)
        """Puts off or drops runs that fall into closed time, or come too soon."""
        self.takeovers = Takeovers(
            db, clock, self.internal_errors, self.closings, instance=instance
        )
        """Drops what a holder that died was to drop."""
        self.attendance = Attendance(instance=instance)
        """Since when this instance looks, for the record of runs that are missed."""

    def __repr__(self) -> str:
        return f"<ClaimRunner of {self.instance}: {self.internal_errors}>"

    def note_absence(self) -> None:
        """Note that due jobs were not looked for, as there was no session."""
        self.attendance = replace(self.attendance, looks_since=None)

    def note_presence(self) -> None:
        """Note that this instance looks for due jobs from now on, once it knows the clock.

        A first look that failed told nothing of the database's clock.
        """
        if self.clock.believed() is not None:
            self.attendance = replace(self.attendance, looks_since=self.clock.now())

    def is_too_late(self, held: HeldClaim) -> bool:
        """Return whether nothing may be sent for the claim any more.

        Its lease is nearly over, or `start_by` has passed: the process was frozen, or Postgres
        answered too late. The clock itself is read here, as the loop's time stands still during a
        turn of the loop.
        """
        now = self.monotonic()
        return now >= held.cut_at or now >= held.start_by

    async def carry_out(self, held: HeldClaim) -> Settlement:
        """Carry out a claim that is due, and return how to settle it.

        A claim is not executed if its job is paused, in the cases of `settled_unexecuted`, or if it
        `is_too_late`. The run of a check is judged by its pings instead.

        Never raises: a bug must not end the executions beside this one, see `InternalErrors`.
        """
        claim = held.claim
        if claim.paused:
            return released(claim)
        try:
            now = self.clock.now()
            if claim.kind == CHECK and claim.run_id is None:
                return await judge(self.db, claim, now=now)
            settlement = settled_unexecuted(
                self.closings.aware(claim),
                now=now,
                instance=self.instance,
                attendance=self.attendance,
            )
            if settlement is not None:
                return settlement
            ready: ReadyTarget | Settlement | None = self.ready_at_once(held)
            if ready is None:
                ready, now = await self.make_ready(held), self.clock.now()
            if isinstance(ready, Settlement):
                return ready
            # Here, as a warm connection is written to before any deadline.
            return (
                released(claim)
                if self.is_too_late(held)
                else await self.attempt(held, ready, started_at=now)
            )
        except Exception as error:  # noqa: BLE001 - see above
            return self.internal_errors.settlement(claim, error)

    async def prepare(self, held: HeldClaim) -> None:
        """Prepare an execution shortly before the claim is due, without sending its request.

        The database is asked for its time, too: the answer of a look comes half a millisecond after
        that was read, and a job would be late by as much.

        Never raises: the execution meets the same error, and reports it.
        """
        claim = held.claim
        with suppress(Exception):
            ready = await self.prepare_target(held)
            context = Context.of(claim, traceparent=self.observers.traceparent(claim))
            await self.executors.prepare(claim.kind, ready.target, context)
        with suppress(Exception):  # no due job waits for the answer
            async with asyncio.timeout(ASK_SECONDS):
                await ask(self.db, self.clock)

    async def render(self, held: HeldClaim) -> None:
        """Render the templates of a target, so that the execution need not wait for them."""
        await self.rendering.render(held)

    async def load(self, held: HeldClaim) -> None:
        """Load the certificates of a target, so that the execution need not wait for them.

        Never raises: the execution meets the same error, and reports it.
        """
        with suppress(Exception):
            ready = await self.prepare_target(held)
            await self.executors.load(ready.target)

    async def decode(self, held: HeldClaim) -> None:
        """Decode a large target, so that the execution need not wait for its turn, see `Turns`.

        Never raises: the execution meets the same error, and reports it.
        """
        with suppress(Exception):
            try:
                held.ready = await self.targets.make_ready(
                    held.claim.job_id, held.claim.kind, held.target
                )
            except InvalidInput as error:
                held.ready = error

    async def prepare_target(self, held: HeldClaim) -> ReadyTarget:
        """Return the target of a claim, ready to be executed.

        Raises:
            InvalidInput, SecretUnusable, DatabaseUnavailable: as `Targets.make_ready` does.
            Exception: the templates could not be rendered, see `HeldClaim.target`.
        """
        ready = held.ready
        if isinstance(ready, InvalidInput):
            raise ready
        if ready is not None and await self.targets.is_current(ready):
            return ready
        return await self.targets.make_ready(held.claim.job_id, held.claim.kind, held.target)

    def ready_at_once(self, held: HeldClaim) -> ReadyTarget | None:
        """Return the target of a claim, if nothing has to be waited for; None: `make_ready` it."""
        if held.ready is not None or held.rendered is not None:
            return None
        return self.targets.ready_at_once(held.claim.kind, held.claim.target)

    async def make_ready(self, held: HeldClaim) -> ReadyTarget | Settlement:
        """Decrypt and check the target; return how to settle if that fails.

        A target that is invalid makes the job invalid; a template that cannot be rendered, or a
        named secret that cannot be used, fails the attempt; an outage of the database releases the
        claim.
        """
        claim = held.claim
        try:
            return await self.prepare_target(held)
        except InvalidInput as error:
            if not isinstance(held.rendered, str):
                return invalid(claim, str(error))
            report = unrendered(str(error))
        except TemplateFailed as error:
            report = unrendered(str(error), retryable=error.retryable)
        except DatabaseUnavailable:
            return released(claim)
        except SecretUnusable as error:
            report = Report(outcome=Outcome.FAILED, reason="target", error=str(error))
        return self.settled(claim, report, started_at=self.clock.now())

    async def attempt(
        self, held: HeldClaim, ready: ReadyTarget, *, started_at: datetime
    ) -> Settlement:
        """Execute, and return how to settle."""
        claim = held.claim
        if self.observers.tells_successes:
            self.observers.tell(
                Started(
                    job_id=claim.job_id,
                    execution_id=claim.execution_id,
                    kind=claim.kind,
                    attempt=claim.attempt,
                    lag_seconds=(started_at - claim.next_run).total_seconds(),
                )
            )
        if claim.is_timed:
            self.flows.note_begin(claim)
        report = await self.report(held, ready)
        if ready.named:
            report = await ready.redact(report, self.executors.redact)
        if held.waited_seconds:  # the start is when the request went out
            started_at += timedelta(seconds=held.waited_seconds)
        if claim.flow_key is not None:
            await self.flows.hold(claim.flow_key, report, now=self.clock.now())
        return self.settled(claim, report, started_at=started_at)

    def settled(self, claim: Claim, report: Report, *, started_at: datetime) -> Settlement:
        """Return how to settle an attempt that ended now with this report."""
        return settled(
            self.closings.aware(claim),
            report,
            started_at=started_at,
            finished_at=max(self.clock.now(), started_at),
            instance=self.instance,
            jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )

    def note_sending(self, claim: Claim) -> None:
        """Note that the request of a claim of a flow with a rate goes out now.

        Raises:
            PermitOver: it may not, see `Flows.note_start`.
        """
        self.flows.note_start(claim, self.clock.now())

    async def report(self, held: HeldClaim, ready: ReadyTarget) -> Report:
        """Execute until the executor reports or is cut off.

        Raises:
            OutOfDescriptors, ContextsCrowded: nothing was sent; the claim is to be deferred.
            PermitOver: nothing was sent; the claim is to be released.
        """
        claim = held.claim
        watch = self.superseding.watch(held)
        try:
            with Deadline(self.loop) as deadline:
                held.begin(deadline, now=self.monotonic())
                attempt = Context.of(
                    claim,
                    traceparent=self.observers.traceparent(claim),
                    secrets=ready.named,
                    waited=held.note_wait,
                    sending=partial(self.note_sending, claim) if claim.is_timed else None,
                    answered=held.note_answer,
                )
                return await self.executors.execute(claim.kind, ready.target, attempt)
        except TimeoutError:
            return held.succeeded or held.ending.report(timeout_seconds=claim.timeout_seconds)
        except (OutOfDescriptors, ContextsCrowded, PermitOver):
            raise
        except Exception as error:  # noqa: BLE001 - one job's bug must not reach its neighbours
            self.observers.tell(faulted(f"executor {claim.kind}", error))
            return Report(
                outcome=Outcome.FAILED,
                reason="internal",
                error=f"the executor failed: {type(error).__name__}",
            )
        finally:
            held.end()
            if watch is not None:
                watch.cancel()


def unrendered(error: str, *, retryable: bool = False) -> Report:
    """Return the report of an attempt whose target could not be made of its templates."""
    return Report(
        outcome=Outcome.FAILED,
        reason="template",
        error=as_text(error, longest=MAX_ERROR_LENGTH),
        retryable=retryable,
    )
