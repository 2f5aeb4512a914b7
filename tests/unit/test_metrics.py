"""What an instance counts for Prometheus, and how that is written out."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from app.core.facts import (
    BatchSettled,
    Cause,
    Connected,
    Disconnected,
    Faulted,
    LeaseLost,
    LeasesExtended,
    Looked,
    Settled,
)
from app.core.runs.claim import Overlap
from app.core.runs.outcome import Outcome, Report
from app.core.runs.transition import settled
from app.telemetry.counts import Counts
from app.telemetry.exposition import Levels, exposition, instance_registry
from app.telemetry.tracing import span_of_run
from tests.support.claims import DUE, some_claim

JOB = UUID(int=7)
LEVELS = Levels(
    slots=100,
    busy_slots=3,
    held_claims=5,
    unsettled_results=1,
    retention_seconds=86_400.0,
    notifications=12,
)
OPEN = "application/openmetrics-text; version=1.0.0"
NOON = datetime(2100, 1, 1, 12, tzinfo=UTC)
OF_EXECUTIONS = "tocsin_executions_total"


SETTLED = Settled(
    job_id=JOB,
    name=None,
    kind="http",
    execution_id=41,
    outcome=Outcome.SUCCEEDED,
    reason=None,
    missed_runs=0,
    ended=True,
    deferred=False,
    scheduled_for=NOON,
    attempt=1,
    next_run=None,
    lag_seconds=0.0007,
    duration_seconds=0.03,
    error=None,
)
RELEASED = replace(
    SETTLED, outcome=None, execution_id=None, ended=False, lag_seconds=None, duration_seconds=None
)


def samples(counts: Counts, accept: str = "") -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and the values of the labels."""
    text, _ = exposition(instance_registry("1.2.3", counts, lambda: LEVELS), accept)
    parse = open_metrics if accept.startswith("application/openmetrics") else prometheus
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def test_executions_are_counted_by_kind_outcome_and_reason() -> None:
    counts = Counts()
    for _ in range(3):
        counts(SETTLED)
    counts(replace(SETTLED, outcome=Outcome.FAILED, reason="status", ended=False))
    counts(replace(SETTLED, outcome=Outcome.FAILED, reason="status"))

    found = samples(counts)

    assert found[OF_EXECUTIONS, ("http", "succeeded", "")] == 3
    assert found[OF_EXECUTIONS, ("http", "failed", "status")] == 2
    assert found["tocsin_attempts_exhausted_total", ("http",)] == 1


def test_a_row_of_missed_runs_counts_each_of_them() -> None:
    counts = Counts()
    missed = {"reason": "misfire", "missed_runs": 250, "missed_reason": "misfire"}
    counts(replace(RELEASED, outcome=Outcome.MISSED, **missed))

    found = samples(counts)

    assert found[OF_EXECUTIONS, ("http", "missed", "misfire")] == 250
    assert found["tocsin_attempts_exhausted_total", ("http",)] == 250


def test_runs_that_are_missed_while_one_goes_on_are_counted_beside_it() -> None:
    """With the overlap `skip` one settlement records both."""
    claim = some_claim(overlap=Overlap.SKIP)
    settlement = settled(
        claim,
        Report(outcome=Outcome.SUCCEEDED),
        started_at=DUE,
        finished_at=DUE + timedelta(minutes=3.5),
        instance="one",
        jitter=0.5,
    )
    counts = Counts()
    counts(Settled.of(claim, settlement))

    found = samples(counts)

    assert found[OF_EXECUTIONS, ("http", "succeeded", "")] == 1
    assert found[OF_EXECUTIONS, ("http", "missed", "overlap")] == 3
    assert found["tocsin_attempts_exhausted_total", ("http",)] == 3


def test_a_claim_that_is_released_is_no_execution() -> None:
    counts = Counts()
    counts(RELEASED)
    counts(replace(RELEASED, deferred=True))

    found = samples(counts)

    assert [name for name, _ in found if name == OF_EXECUTIONS] == []
    assert found["tocsin_put_off_total", ("http",)] == 1


@pytest.mark.parametrize(
    ("lag", "bucket"), [(-0.2, "0.0005"), (0.0005, "0.0005"), (0.0006, "0.001"), (61.0, "+Inf")]
)
def test_a_value_counts_in_the_bucket_of_its_bound_and_in_all_above(
    lag: float, bucket: str
) -> None:
    counts = Counts()
    counts(replace(SETTLED, lag_seconds=lag))

    found = {
        labels[1]: value
        for (name, labels), value in samples(counts).items()
        if name == "tocsin_execution_lateness_seconds_bucket"
    }

    reached = False
    for bound, value in found.items():
        reached = reached or bound == bucket
        assert value == float(reached), bound
    assert samples(counts)["tocsin_execution_lateness_seconds_sum", ("http",)] == lag


def test_a_bucket_names_its_latest_execution_where_the_format_allows_it() -> None:
    counts = Counts()
    counts(replace(SETTLED, execution_id=1))
    counts(replace(SETTLED, execution_id=2))

    text, media_type = exposition(instance_registry("1", counts, lambda: LEVELS), OPEN)
    found = [
        sample.exemplar
        for family in open_metrics(text.decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar
    ]

    assert media_type.startswith("application/openmetrics-text")
    assert {one.labels["execution_id"] for one in found} == {"2"}
    assert {one.value for one in found} == {0.0007, 0.03}


def test_a_bucket_names_the_trace_of_its_execution_where_traces_are_sent() -> None:
    counts = Counts()
    counts(SETTLED)

    text, _ = exposition(instance_registry("1", counts, lambda: LEVELS, traced=True), OPEN)

    trace = f"{span_of_run(JOB, None, NOON).trace_id:032x}"
    assert f'# {{execution_id="41",trace_id="{trace}"}}' in text.decode()


def test_requests_to_targets_are_counted_by_method_status_and_error() -> None:
    counts = Counts()
    counts.count_request("POST", 200, None, 0.02)
    counts.count_request("POST", 503, None, 0.02)
    counts.count_request("POST", None, "dns", 0.02)
    counts.count_request("POST", 200, "closed", 0.02)
    for status in (299, 298, 599):
        counts.count_request("POST", status, None, 0.02)

    name = "http_client_request_duration_seconds_count"
    assert {labels: n for (key, labels), n in samples(counts).items() if key == name} == {
        ("", "POST", "200"): 1,
        ("503", "POST", "503"): 1,
        ("dns", "POST", ""): 1,
        ("closed", "POST", "200"): 1,
        ("", "POST", "_OTHER"): 2,
        ("_OTHER", "POST", "_OTHER"): 1,
    }


def test_looks_and_settlements_are_counted_with_their_times() -> None:
    counts = Counts()
    for claimed in (0, 40):
        counts(
            Looked(
                claimed=claimed,
                sleep_seconds=1.0,
                cause=Cause.NOTIFICATION,
                took_seconds=0.004,
                woken_seconds=0.006,
            )
        )
    counts(BatchSettled(settlements=40, took_seconds=0.02))

    found = samples(counts)

    assert found["tocsin_claims_total", ("notification",)] == 2
    assert found["tocsin_claim_batch_size_sum", ()] == 40
    assert found["tocsin_claim_duration_seconds_count", ()] == 2
    assert found["tocsin_wake_to_claim_seconds_count", ("notification",)] == 1
    assert found["tocsin_settlement_batch_size_sum", ()] == 40
    assert found["tocsin_settlement_duration_seconds_sum", ()] == 0.02


def test_rare_facts_are_counted_and_levels_are_read_at_each_scrape() -> None:
    counts = Counts()
    counts(Connected(instance="i"))
    before = samples(counts)
    counts(Disconnected(instance="i", error="gone"))
    lost = samples(counts)
    counts(Connected(instance="i", away_seconds=2.0))
    for fact in (
        LeasesExtended(leases=3),
        LeaseLost(job_id=JOB, execution_id=1),
        Faulted(where="look", error="no"),
    ):
        counts(fact)
    after = samples(counts)

    assert [one["tocsin_connected", ()] for one in (before, lost, after)] == [1, 0, 1]
    assert before["tocsin_listener_reconnects_total", ()] == 0
    assert after["tocsin_listener_reconnects_total", ()] == 1
    assert after["tocsin_leases_extended_total", ()] == 3
    assert after["tocsin_leases_lost_total", ()] == 1
    assert after["tocsin_faults_total", ()] == 1
    assert after["tocsin_notifications_total", ()] == 12
    assert after["tocsin_slots", ()] == 100
    assert after["tocsin_slots_busy", ()] == 3
    assert after["tocsin_build_info", ("1.2.3",)] == 1


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/plain;version=1.0.0", OPEN, "application/openmetrics-text; version=x", ";;,"],
)
def test_whatever_a_scraper_accepts_it_is_answered(accept: str) -> None:
    text, media_type = exposition(instance_registry("1", Counts(), lambda: LEVELS), accept)

    assert b"tocsin_build_info" in text
    assert media_type.split(";")[0] in {"text/plain", "application/openmetrics-text"}
