"""Sends the target of a job once, now, for somebody who looks: a test, which is no execution.

The API carries it out with executors of its own, by the rules of an instance with its settings.
Nothing is on record of it but a line in the audit log.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from time import monotonic

import msgspec

from app.config import Settings
from app.core.net.egress import Egress
from app.core.runs.expectation import CHECK
from app.core.runs.outcome import Outcome, Report
from app.core.secrets.masking import Unshown
from app.db import Database, audit, jobs
from app.db.clock import PolledClock
from app.deadline import Deadline
from app.descriptors import OutOfDescriptors
from app.errors import StateConflict, TooManyTests
from app.jobs.drafting_tests import NO_CHECK, Draft, draft_of_job, draft_of_target
from app.targets.base import MAX_ERROR_LENGTH, TEST, Context, as_text, named, timed_out
from app.targets.executors import Executors
from app.targets.net.resolver import Resolver
from app.targets.net.tls_contexts import ContextsCrowded
from app.targets.registry import KINDS, unknown_kind
from app.targets.templated import render_target
from app.telemetry import Observers
from app.telemetry.faults import faulted
from app.templates.fields import brings_templates
from app.templates.messages import RunFacts, Text, Variables
from app.templates.renderer import RendererCrowded, TemplateFailed
from app.vault import ReadyTarget, SecretKeys, SecretUnusable, Targets, check_bindings
from app.wire.target_tests import MAX_SECONDS, TargetTest, TestedTarget

AT_ONCE = 4
"""How many tests a process has under way."""
AT_ONCE_OF_ONE = 2
"""How many of them are of one caller."""
CUT_SECONDS = 1.0
"""How much longer than its time an executor may take, which ends by itself, before it is cut."""
A_DAY = timedelta(days=1)


class Parts(Unshown, frozen=True, kw_only=True):
    """What tests are carried out with."""

    executors: Executors
    targets: Targets


class Testing:
    """The tests of one process."""

    def __init__(
        self, settings: Settings, db: Database, keys: SecretKeys, observers: Observers
    ) -> None:
        self.settings = settings
        self.db = db
        self.keys = keys
        self.observers = observers
        self.under_way: Counter[str] = Counter()
        """The tests under way, by whom they count for."""
        self.opened = AsyncExitStack()
        self.parts: Parts | None = None
        """None until the first test."""
        self.opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Testing: {self.under_way.total()} under way>"

    async def close(self) -> None:
        """Close what the first test opened."""
        await self.opened.aclose()

    async def open(self) -> Parts:
        """Open the executors, unless that is done: an API that sends no test has none."""
        async with self.opening:
            if self.parts is None:
                executors = await self.opened.enter_async_context(
                    Executors(
                        egress=Egress.from_settings(self.settings),
                        resolver=Resolver(self.settings.name_servers, clock=monotonic),
                    )
                )
                targets = Targets.beside(self.db, self.keys, executors, clock=monotonic)
                self.parts = Parts(executors=executors, targets=targets)
        return self.parts

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Count a test for `owner` while it is under way.

        Raises:
            TooManyTests: there are as many as there may be.
        """
        if self.under_way[owner] >= AT_ONCE_OF_ONE or self.under_way.total() >= AT_ONCE:
            message = (
                f"this process has {AT_ONCE} tests under way at most, and {AT_ONCE_OF_ONE} of one "
                "key: wait for the end of one"
            )
            raise TooManyTests(message)
        self.under_way[owner] += 1
        try:
            yield
        finally:
            self.under_way[owner] -= 1
            if not self.under_way[owner]:
                del self.under_way[owner]

    async def test_target(
        self, db: Database, clock: PolledClock, asked: TargetTest, *, owner: str, is_dry: bool
    ) -> TestedTarget:
        """Send a target that no job has yet; `is_dry`: check it only.

        Raises:
            InvalidInput: naming every field that is wrong.
            JobNotFound: the job whose secrets are meant is not there.
            TooManyTests: `owner`, or this process, has as many under way as it may have.
            DatabaseUnavailable: the test could not be written down; nothing was sent.
        """
        stored = None if asked.job is None else await jobs.find(db, asked.job)
        now = await clock.now()
        draft, referring = await asyncio.to_thread(
            draft_of_target, asked, stored, self.keys, limits=db.limits, now=now
        )
        await check_bindings(db, [referring])
        return await self.send(db, draft, now=now, owner=owner, is_dry=is_dry)

    async def test_job(  # noqa: PLR0913 - whose test it is, and how it is sent
        self,
        db: Database,
        clock: PolledClock,
        reference: str,
        *,
        timeout_seconds: float | None,
        owner: str,
        is_dry: bool,
    ) -> TestedTarget:
        """Send the target of a job as it is stored; `is_dry`: check it only.

        Raises:
            JobNotFound: no job has that id or name.
            StateConflict: the job is a check, or of a kind that is not known here.
            InvalidInput, TooManyTests, DatabaseUnavailable: as `test_target` does.
        """
        job = await jobs.find(db, reference)
        if job.kind == CHECK:
            raise StateConflict(NO_CHECK)
        if job.kind not in KINDS:
            raise StateConflict(f"the job cannot be tested: {unknown_kind(job.kind)}")
        seconds = timeout_seconds or min(job.timeout_seconds, MAX_SECONDS)
        draft = await asyncio.to_thread(draft_of_job, job, self.keys, db.limits, seconds)
        now = await clock.now()
        return await self.send(db, draft, now=now, owner=owner, is_dry=is_dry)

    async def send(
        self, db: Database, draft: Draft, *, now: datetime, owner: str, is_dry: bool
    ) -> TestedTarget:
        """Write the test down, send it, and return what came of it."""
        context = Context(
            job_id=draft.job_id,
            job_name=draft.name,
            execution_id=0,
            run=named(now),
            attempt=1,
            timeout_seconds=draft.timeout_seconds,
            traceparent=f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00",
            trigger=TEST,
        )
        if is_dry:
            return told(None, context, seconds=None)
        with self.place(owner):
            await audit.note_test(
                db, draft.job_id, name=draft.name, kind=draft.kind, target=draft.masked
            )
            parts = await self.open()
            ready = await make_ready(parts, draft, now=now)
            if isinstance(ready, Report):
                return told(ready, context, seconds=None)
            context = msgspec.structs.replace(context, secrets=ready.named)
            began = monotonic()
            report = await self.carry_out(parts.executors, draft, ready, context)
            seconds = monotonic() - began
        return told(report, context, seconds=seconds)

    async def carry_out(
        self, executors: Executors, draft: Draft, ready: ReadyTarget, context: Context
    ) -> Report:
        """Execute until the executor reports, or is cut off.

        Raises:
            TooManyTests: this process has no room for it; nothing was sent.
        """
        loop = asyncio.get_running_loop()
        try:
            with Deadline(loop, loop.time() + context.timeout_seconds + CUT_SECONDS):
                report = await executors.execute(draft.kind, ready.target, context)
        except TimeoutError:
            report = timed_out(context, "no answer")
        except (OutOfDescriptors, ContextsCrowded) as error:
            message = "this process has no room for the test: send it again in a moment"
            raise TooManyTests(message) from error
        except Exception as error:  # noqa: BLE001 - as an instance does
            self.observers.tell(faulted(f"test of {draft.kind}", error))
            message = f"the executor failed: {type(error).__name__}"
            report = Report(outcome=Outcome.FAILED, reason="internal", error=message)
        return await ready.redact(report, executors.redact)


@asynccontextmanager
async def testing(
    settings: Settings, db: Database, keys: SecretKeys, observers: Observers
) -> AsyncIterator[Testing]:
    """Give what sends tests; closed at the end."""
    made = Testing(settings, db, keys, observers)
    try:
        yield made
    finally:
        await made.close()


async def make_ready(parts: Parts, draft: Draft, *, now: datetime) -> ReadyTarget | Report:
    """Render, fill in and check a target; return the report where that fails, as of an attempt.

    Raises:
        InvalidInput: a field is wrong.
        TooManyTests: too many templates are being rendered.
        DatabaseUnavailable: the named secrets could not be read.
    """
    target = draft.target
    try:
        if brings_templates(target):

            async def read_variables(_: list[Text]) -> Variables:
                return variables_of(draft, now)

            target = await render_target(
                parts.executors.renderer, draft.kind, target, read_variables
            )
        return await parts.targets.make_ready(draft.job_id, draft.kind, target)
    except TemplateFailed as error:
        return failed("template", str(error))
    except SecretUnusable as error:
        return failed("target", str(error))
    except (RendererCrowded, OutOfDescriptors) as error:
        message = "too many templates are being rendered: send the test again in a moment"
        raise TooManyTests(message) from error


def variables_of(draft: Draft, now: datetime) -> Variables:
    """Return what the templates of a test refer to: a run that is due now, of one each day."""
    run = RunFacts(
        scheduled_for=now,
        previous=now - A_DAY,
        next=now + A_DAY,
        key=f"{draft.job_id}:{named(now)}:test",
        trigger=TEST,
    )
    return Variables(run=run, attempt=1, job=draft.facts)


def failed(reason: str, error: str) -> Report:
    """Return the report of a test of which nothing could be sent."""
    return Report(
        outcome=Outcome.FAILED, reason=reason, error=as_text(error, longest=MAX_ERROR_LENGTH)
    )


def told(report: Report | None, context: Context, *, seconds: float | None) -> TestedTarget:
    """Return what a client is told of a test; without a report nothing was sent."""
    return TestedTarget(
        outcome=report.outcome if report else None,
        reason=report.reason if report else None,
        error=report.error if report else None,
        status_code=report.status_code if report else None,
        duration_seconds=None if seconds is None else round(seconds, 6),
        response=report.response if report else None,
        idempotency_key=context.idempotency_key,
    )
