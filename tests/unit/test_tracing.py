"""Whether spans are made, how they are named, and what names them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.errors import InvalidSettings
from app.telemetry.tracing import (
    Named,
    is_traced,
    span_of_attempt,
    span_of_header,
    span_of_run,
)

JOB, RUN = UUID(int=1), UUID(int=2)
AT = datetime(2026, 11, 24, 3, tzinfo=UTC)
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environ", "traced"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "jobs", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "True"}, False),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
    ],
)
def test_traces_are_asked_for_by_the_variables_of_opentelemetry(
    environ: dict[str, str],
    traced: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert is_traced(environ) is traced


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
    ],
)
def test_what_there_is_not_is_refused_with_the_variable(name: str, value: str, remedy: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{name} cannot be '{value}'; it takes {remedy}"):
        is_traced(ENDPOINT | {name: value})


def test_a_run_is_one_trace_whoever_carries_it_out() -> None:
    zoned = AT.astimezone(tz=datetime.now().astimezone().tzinfo)

    assert span_of_run(JOB, None, AT) == span_of_run(JOB, None, zoned)
    others = [
        span_of_run(JOB, None, AT + timedelta(microseconds=1)),
        span_of_run(JOB, RUN, AT),
        span_of_run(RUN, None, AT),
    ]
    assert len({one.trace_id for one in (span_of_run(JOB, None, AT), *others)}) == 4


def test_each_attempt_of_a_run_is_a_span_of_its_trace() -> None:
    run = span_of_run(JOB, None, AT)
    first, second = span_of_attempt(run, 1), span_of_attempt(run, 2)

    assert first.trace_id == second.trace_id == run.trace_id
    assert len({run.span_id, first.span_id, second.span_id}) == 3


def test_a_header_names_the_span_that_it_was_made_of() -> None:
    named = Named(1, 2)

    assert named.traceparent(sampled=True) == f"00-{1:032x}-{2:016x}-01"
    assert named.traceparent(sampled=False).endswith("-00")
    assert span_of_header(named.traceparent(sampled=True)) == named
    assert span_of_header(f"01-{1:032x}-{2:016x}-01-more") == named


@pytest.mark.parametrize(
    "header",
    [
        *(None, 7, "", "00", f"ff-{1:032x}-{2:016x}-01", f"00-{0:032x}-{2:016x}-01"),
        *(f"00-{1:032x}-{0:016x}-01", f"00-{1:032x}-{2:016x}", f"00-{1:032X}A-{2:016x}-01"),
        f"01-{1:032x}-{2:016x}-01-{'x' * 200}",
    ],
)
def test_what_is_no_such_header_names_nothing(header: object) -> None:
    assert span_of_header(header) is None
