"""Makes a span of each run and of each attempt, and sends them by OTLP: see docs/traces.md.

Imported only where spans are to be sent, as it needs the extra `tocsin[otel]`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Thread
from typing import Protocol

from msgspec import Struct
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from app.core.facts import Fact, Settled
from app.core.runs.claim import Claim
from app.core.runs.outcome import Outcome
from app.telemetry.faults import faulted
from app.telemetry.logs import log_fact, say_lost
from app.telemetry.tracing import (
    EPOCH,
    MICROSECOND,
    Named,
    span_of_attempt,
    span_of_header,
    span_of_run,
)

SERVICE = "tocsin"
"""The name of the service where `OTEL_SERVICE_NAME` gives none."""
BATCH = 100
"""For how many attempts is looked up at once what their spans link to."""
MAX_WAITING = 10_000
"""How many attempts wait for that at once; further ones are dropped and counted."""
RETRY_SECONDS = 1.0
"""The pause after a look-up that failed."""
LAST_SECONDS = 2.0
"""How long an instance that ends waits for the last look-ups, and then for the last spans."""
KINDS = {"amqp": SpanKind.PRODUCER}
"""The kind of span of an attempt at a kind of target, where it is not that of a client."""


class Attempt(Struct, frozen=True, kw_only=True):
    """An attempt that waits for its span."""

    fact: Settled
    execution_id: int
    started_at: datetime
    run: Named


class Linked(Struct, frozen=True, kw_only=True):
    """What the spans of an attempt link to, and when its run began."""

    made_by: str | None = None
    """The `traceparent` of whoever made the job."""
    before: int | None = None
    """The execution before of the same run."""
    began_at: datetime | None = None
    """When the first attempt of the run started, if this is a later one."""


class LookUp(Protocol):
    """Finds what attempts link to, in their order."""

    def __call__(self, attempts: Sequence[Attempt]) -> Awaitable[Sequence[Linked]]: ...


class GivenIds(IdGenerator):
    """Gives the next span the ids that were worked out for it."""

    def __init__(self) -> None:
        self.next = Named(1, 1)

    def generate_trace_id(self) -> int:
        return self.next.trace_id

    def generate_span_id(self) -> int:
        return self.next.span_id


class Traces:
    """An observer that makes spans of attempts, and of runs once they are over.

    The links of spans are looked up beside the executions, so no job waits. With a collector that
    takes no spans these are kept in memory up to OpenTelemetry's bounds, and then lost.
    """

    def __init__(self, provider: TracerProvider, ids: GivenIds, *, look_up: LookUp) -> None:
        self.provider = provider
        self.ids = ids
        self.tracer = provider.get_tracer(SERVICE)
        self.look_up = look_up
        self.waiting = deque[Attempt]()
        self.has_waiting = asyncio.Event()
        self.lost = 0
        """How many attempts were dropped since the last look-up."""

    def __repr__(self) -> str:
        return f"<Traces: {len(self.waiting)} attempts wait>"

    def traceparent(self, claim: Claim) -> str:
        """Return the header that names the span of the attempt that a claim is for."""
        run = span_of_run(claim.job_id, claim.run_id, claim.scheduled_for)
        attempt = span_of_attempt(run, claim.execution_id)
        return attempt.traceparent(sampled=self.is_sampled(run, claim.kind))

    def is_sampled(self, run: Named, kind: str) -> bool:
        """Return whether the spans of a run are sent; the same in every instance."""
        sampled = self.provider.sampler.should_sample(None, run.trace_id, f"run {kind}")
        return sampled.decision is not Decision.DROP

    def __call__(self, fact: Fact) -> None:
        """Observe a fact; only attempts that began have spans."""
        if type(fact) is not Settled or fact.execution_id is None or fact.started_at is None:
            return
        run = span_of_run(fact.job_id, fact.run_id, fact.scheduled_for)
        if not self.is_sampled(run, fact.kind):
            return
        if len(self.waiting) >= MAX_WAITING:
            self.lost += 1
            return
        self.waiting.append(
            Attempt(fact=fact, execution_id=fact.execution_id, started_at=fact.started_at, run=run)
        )
        self.has_waiting.set()

    async def keep_making(self) -> None:
        """Make the spans of attempts that wait, until cancelled."""
        while True:
            await self.has_waiting.wait()
            try:
                await self.make_some()
            except Exception as error:  # noqa: BLE001 - whatever it is, the attempts wait
                log_fact(faulted("traces", error))
                await asyncio.sleep(RETRY_SECONDS)

    async def make_some(self) -> None:
        """Make the spans of some of the attempts that wait."""
        some = [self.waiting[place] for place in range(min(BATCH, len(self.waiting)))]
        found = await self.look_up(some)
        for attempt, linked in zip(some, found, strict=True):
            self.waiting.popleft()
            self.make(attempt, linked)
        lost, self.lost = self.lost, 0
        if lost:
            say_lost(lost, because="too many attempts waited for a look-up of what they link to")
        if not self.waiting:
            self.has_waiting.clear()

    def make(self, attempt: Attempt, linked: Linked) -> None:
        """Make the span of an attempt and, if its run is over, the span of the run."""
        fact, run = attempt.fact, attempt.run
        made_by = span_of_header(linked.made_by)
        links = [] if made_by is None else [made_by]
        before = [] if linked.before is None else [span_of_attempt(run, linked.before)]
        self.ids.next = span_of_attempt(run, attempt.execution_id)
        self.send(
            attempt,
            name=f"attempt {fact.kind}",
            kind=KINDS.get(fact.kind, SpanKind.CLIENT),
            context=set_span_in_context(NonRecordingSpan(context_of(run)), Context()),
            links=[*links, *before],
            started_at=attempt.started_at,
            attributes=attributes_of_attempt(attempt),
        )
        if fact.ended:
            self.ids.next = run
            self.send(
                attempt,
                name=f"run {fact.kind}",
                kind=SpanKind.INTERNAL,
                context=Context(),
                links=links,
                started_at=linked.began_at or attempt.started_at,
                attributes=attributes_of_run(fact),
            )

    def send(  # noqa: PLR0913 - what a span consists of
        self,
        attempt: Attempt,
        *,
        name: str,
        kind: SpanKind,
        context: Context,
        links: Sequence[Named],
        started_at: datetime,
        attributes: dict[str, AttributeValue],
    ) -> None:
        """Hand a span, which ends with the attempt, to the thread that sends them."""
        span = self.tracer.start_span(
            name,
            context,
            kind,
            attributes,
            [Link(context_of(one)) for one in links],
            nanoseconds(started_at),
        )
        if attempt.fact.outcome is not Outcome.SUCCEEDED:
            span.set_status(StatusCode.ERROR, attempt.fact.error)
        seconds = attempt.fact.duration_seconds or 0.0
        span.end(nanoseconds(attempt.started_at + timedelta(seconds=seconds)))

    async def end(self) -> None:
        """Send what is left, as far as Postgres and the collector answer in time."""
        with suppress(Exception):
            async with asyncio.timeout(LAST_SECONDS):
                while self.waiting:
                    await self.make_some()
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self.provider.shutdown()
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(done.set)

        Thread(target=close, name="end traces", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await done.wait()


def make_traces(*, version: str, look_up: LookUp) -> Traces:
    """Make the observer, set up by OpenTelemetry's variables."""
    resource = Resource.create({SERVICE_VERSION: version})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    ids = GivenIds()
    provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=ids)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider, ids, look_up=look_up)


def context_of(named: Named) -> SpanContext:
    """Return the ids of a span that is sent, as OpenTelemetry takes them."""
    return SpanContext(
        named.trace_id, named.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )


def nanoseconds(at: datetime) -> int:
    """Return an instant in nanoseconds of Unix time."""
    return (at - EPOCH) // MICROSECOND * 1000


def attributes_of_run(fact: Settled) -> dict[str, AttributeValue]:
    """Return what the span of a run says; the last attempt is the run's outcome."""
    found: dict[str, AttributeValue] = {
        "tocsin.job.id": str(fact.job_id),
        "tocsin.job.kind": fact.kind,
        "tocsin.run.scheduled_for": fact.scheduled_for.isoformat(),
        "tocsin.attempt": fact.attempt,
        "tocsin.outcome": fact.outcome or "",
    }
    if fact.name is not None:
        found["tocsin.job.name"] = fact.name
    if fact.run_id is not None:
        found["tocsin.run.id"] = str(fact.run_id)
    if fact.outcome is not Outcome.SUCCEEDED:
        found["error.type"] = fact.reason or fact.outcome or ""
    return found


def attributes_of_attempt(attempt: Attempt) -> dict[str, AttributeValue]:
    """Return what the span of an attempt says: nothing of its target, which may be secret."""
    fact = attempt.fact
    found = attributes_of_run(fact) | {"tocsin.execution.id": attempt.execution_id}
    if fact.lag_seconds is not None:
        found["tocsin.lateness_seconds"] = fact.lag_seconds
    match fact.kind:
        case "http":
            if fact.status_code is not None:
                found["http.response.status_code"] = fact.status_code
            if fact.attempt > 1:
                found["http.request.resend_count"] = fact.attempt - 1
        case "amqp":
            found |= {"messaging.system": "rabbitmq", "messaging.operation.type": "send"}
        case _:
            pass
    return found
