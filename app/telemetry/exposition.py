"""Writes the metrics of an instance out, in the text formats of Prometheus and OpenMetrics.

The names follow Prometheus's conventions: base units, `_total` for counters, labels from closed
sets. No job, host or address is a label.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from msgspec import Struct
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from app.core.facts import Settled
from app.telemetry.counts import Counts, Distribution
from app.telemetry.tracing import span_of_run

MakeExemplar = Callable[[Settled, float], Exemplar]

EVENTS = {
    "tocsin_leases_extended": "Leases that were extended while their execution went on.",
    "tocsin_leases_lost": "Executions whose lease ended before they were settled.",
    "tocsin_executions_taken_over": "Executions that another instance lost, claimed again.",
    "tocsin_listener_reconnects": "Sessions that were opened after one was lost.",
    "tocsin_jobs_put_aside": "Jobs that a statement about many failed at.",
    "tocsin_upkeep_failures": "Steps of the upkeep that failed.",
    "tocsin_faults": "Unexpected errors; the log has each with its place.",
    "tocsin_descriptor_shortages": "Times when no more files could be opened.",
}
"""The counters of facts that are told seldom."""


class Levels(Struct, frozen=True, kw_only=True):
    """What an instance has at the moment of a scrape."""

    slots: int
    busy_slots: int
    held_claims: int
    unsettled_results: int
    retention_seconds: float
    notifications: int
    """How many notifications the instance ever got."""


class InstanceMetrics(Collector):
    """Lists the metrics of one instance at each scrape."""

    def __init__(
        self, version: str, counts: Counts, levels: Callable[[], Levels], *, traced: bool
    ) -> None:
        self.version = version
        self.exemplar = traced_exemplar if traced else exemplar
        self.counts = counts
        self.levels = levels

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, those that counted nothing yet as well."""
        counts = self.counts
        yield build_info(self.version)
        yield labelled(
            "tocsin_executions",
            "Executions by kind, outcome and reason; missed runs count one each.",
            ("kind", "outcome", "reason"),
            counts.executions(),
        )
        yield labelled(
            "tocsin_attempts_exhausted",
            "Runs that ended without success, missed ones included.",
            ("kind",),
            (((kind,), count) for kind, count in counts.exhausted.items()),
        )
        yield labelled(
            "tocsin_put_off",
            "Claims that were released without an attempt, to be due again later.",
            ("kind",),
            (((kind,), count) for kind, count in counts.deferred.items()),
        )
        yield histogram(
            "tocsin_execution_lateness_seconds",
            "From the instant at which an attempt was due until its request went out.",
            ("kind",),
            {(kind,): one.lateness for kind, one in counts.of_kind.items()},
            self.exemplar,
        )
        yield histogram(
            "tocsin_execution_duration_seconds",
            "From the request of an attempt to its outcome.",
            ("kind",),
            {(kind,): one.durations for kind, one in counts.of_kind.items()},
            self.exemplar,
        )
        yield histogram(
            "http_client_request_duration_seconds",
            "HTTP requests to targets, from asking for a connection to the end of the answer.",
            ("http_request_method", "http_response_status_code", "error_type"),
            counts.requests,
        )
        yield labelled(
            "tocsin_claims",
            "Looks for due jobs, by what caused them.",
            ("cause",),
            (((cause,), count) for cause, count in counts.claims.items()),
        )
        yield histogram(
            "tocsin_claim_batch_size", "Jobs claimed by one look.", (), {(): counts.claim_sizes}
        )
        yield histogram(
            "tocsin_claim_duration_seconds",
            "Time of the statement that claims.",
            (),
            {(): counts.claim_durations},
        )
        yield histogram(
            "tocsin_wake_to_claim_seconds",
            "From a wake-up to the end of the look that claimed jobs.",
            ("cause",),
            by_one(counts.wake_to_claim),
        )
        yield histogram(
            "tocsin_settlement_batch_size",
            "Settlements written by one statement.",
            (),
            {(): counts.settlement_sizes},
        )
        yield histogram(
            "tocsin_settlement_duration_seconds",
            "Time of the statement that settles.",
            (),
            {(): counts.settlement_durations},
        )
        for name, documentation in EVENTS.items():
            yield CounterMetricFamily(name, documentation, value=counts.events[name])
        levels = self.levels()
        yield CounterMetricFamily(
            "tocsin_notifications", "Notifications received.", value=levels.notifications
        )
        for name, documentation, value in (
            ("tocsin_connected", "1 while the instance has its session.", counts.is_connected),
            ("tocsin_slots", "Executions that may run at once.", levels.slots),
            ("tocsin_slots_busy", "Executions that run.", levels.busy_slots),
            (
                "tocsin_retention_seconds",
                "For how long executions are kept.",
                levels.retention_seconds,
            ),
            ("tocsin_claims_held", "Claims that are held, waiting ones too.", levels.held_claims),
            (
                "tocsin_unsettled_results",
                "Results that Postgres has yet to take.",
                levels.unsettled_results,
            ),
        ):
            yield GaugeMetricFamily(name, documentation, value=float(value))


def build_info(version: str) -> Metric:
    """Return the metric that tells the version."""
    family = GaugeMetricFamily("tocsin_build_info", "The version of Tocsin.", labels=("version",))
    family.add_metric((version,), 1)
    return family


def labelled(
    name: str,
    documentation: str,
    labels: Sequence[str],
    counts: Iterable[tuple[Sequence[str], int]],
) -> Metric:
    """Return a counter with labels."""
    family = CounterMetricFamily(name, documentation, labels=labels)
    for values, count in sorted(counts):
        family.add_metric(values, count)
    return family


def exemplar(execution: Settled, value: float) -> Exemplar:
    """Return the exemplar of a bucket: an execution by its id."""
    return Exemplar({"execution_id": str(execution.execution_id)}, value)


def traced_exemplar(execution: Settled, value: float) -> Exemplar:
    """Return the exemplar of a bucket with the trace of the execution's run."""
    run = span_of_run(execution.job_id, execution.run_id, execution.scheduled_for)
    labels = {"execution_id": str(execution.execution_id), "trace_id": f"{run.trace_id:032x}"}
    return Exemplar(labels, value)


def buckets(
    distribution: Distribution, example: MakeExemplar
) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return the buckets as Prometheus counts them: each has those below as well."""
    found: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    reached = 0
    bounds = [*map(str, distribution.bounds), "+Inf"]
    for bound, count, latest in zip(bounds, distribution.counts, distribution.latest, strict=True):
        reached += count
        found.append((bound, reached) if latest is None else (bound, reached, example(*latest)))
    return found


def by_one(by_value: Mapping[str, Distribution]) -> Mapping[tuple[str, ...], Distribution]:
    """Return what is known by the value of one label by the values of all labels."""
    return {(value,): one for value, one in by_value.items()}


def histogram(
    name: str,
    documentation: str,
    labels: Sequence[str],
    by_values: Mapping[tuple[str, ...], Distribution],
    example: MakeExemplar = exemplar,
) -> Metric:
    """Return a histogram."""
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for values, one in sorted(by_values.items(), key=itemgetter(0)):
        family.add_metric(values, buckets(one, example), one.total)
    return family


def instance_registry(
    version: str, counts: Counts, levels: Callable[[], Levels], *, traced: bool = False
) -> CollectorRegistry:
    """Return the registry of an instance: its metrics, and those of its process.

    With `traced` exemplars name the trace of their execution.
    """
    registry = CollectorRegistry()
    registry.register(InstanceMetrics(version, counts, levels, traced=traced))
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return all metrics as text, in the format that the scraper accepts, and its media type."""
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the library compares versions that are no numbers
        encode, media_type = choose_encoder("")
    return encode(registry), media_type
