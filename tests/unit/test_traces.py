"""The observer that makes spans: which attempts wait for theirs, and for how long."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from app.core.facts import Settled
from app.core.runs.outcome import Outcome
from app.telemetry import traces
from app.telemetry.traces import MAX_WAITING, Attempt, GivenIds, Linked, Traces
from app.telemetry.tracing import span_of_attempt, span_of_run

AT = datetime(2026, 11, 24, 3, tzinfo=UTC)
SETTLED = Settled(
    job_id=UUID(int=1),
    name=None,
    kind="http",
    execution_id=7,
    outcome=Outcome.SUCCEEDED,
    reason=None,
    missed_runs=0,
    ended=True,
    deferred=False,
    scheduled_for=AT,
    attempt=1,
    next_run=None,
    started_at=AT,
    lag_seconds=0.001,
    duration_seconds=0.02,
    error=None,
)
RUN = span_of_run(SETTLED.job_id, None, AT)


class Rows:
    """What the database says of attempts."""

    def __init__(self) -> None:
        self.refusals = 0

    async def look_up(self, attempts: Sequence[Attempt]) -> list[Linked]:
        if self.refusals:
            self.refusals -= 1
            raise OSError("no database")
        return [Linked() for _ in attempts]


@pytest.fixture
def sent() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def observer(
    sent: InMemorySpanExporter, rows: Rows | None = None, *, sampler: Sampler = ALWAYS_ON
) -> Traces:
    ids = GivenIds()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False, id_generator=ids)
    provider.add_span_processor(SimpleSpanProcessor(sent))
    return Traces(provider, ids, look_up=(rows or Rows()).look_up)


def ids(sent: InMemorySpanExporter) -> list[int]:
    return [one.context.span_id for one in sent.get_finished_spans() if one.context]


async def test_an_attempt_that_ends_its_run_has_two_spans(sent: InMemorySpanExporter) -> None:
    observe = observer(sent)
    observe(SETTLED)
    await observe.make_some()

    assert ids(sent) == [span_of_attempt(RUN, 7).span_id, RUN.span_id]
    assert not observe.has_waiting.is_set()


async def test_an_attempt_that_another_follows_has_one(sent: InMemorySpanExporter) -> None:
    observe = observer(sent)
    observe(replace(SETTLED, ended=False))
    await observe.make_some()

    assert ids(sent) == [span_of_attempt(RUN, 7).span_id]


@pytest.mark.parametrize(
    "fact",
    [
        replace(SETTLED, execution_id=None, outcome=None, started_at=None),
        replace(SETTLED, outcome=Outcome.MISSED, started_at=None),
    ],
    ids=["released", "missed"],
)
def test_what_never_began_has_no_span(sent: InMemorySpanExporter, fact: Settled) -> None:
    observe = observer(sent)
    observe(fact)

    assert not observe.waiting


def test_runs_that_the_sampler_leaves_out_wait_for_nothing(sent: InMemorySpanExporter) -> None:
    observe = observer(sent, sampler=ALWAYS_OFF)
    observe(SETTLED)

    assert not observe.waiting
    assert not observe.is_sampled(RUN, "http")
    assert observer(sent).is_sampled(RUN, "http")


async def test_attempts_wait_until_the_database_answers(
    sent: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "RETRY_SECONDS", 0.0)
    rows = Rows()
    rows.refusals = 2
    observe = observer(sent, rows)
    observe(SETTLED)
    making = asyncio.create_task(observe.keep_making())
    while len(ids(sent)) < 2:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    making.cancel()

    assert rows.refusals == 0


async def test_as_many_wait_as_there_is_room_for_and_the_others_are_counted(
    sent: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(traces, "say_lost", lambda count, because: told.append(count))  # noqa: ARG005
    observe = observer(sent)
    for _ in range(MAX_WAITING + 3):
        observe(SETTLED)
    assert len(observe.waiting) == MAX_WAITING
    await observe.make_some()

    assert told == [3]
