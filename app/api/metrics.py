"""`GET /metrics`: the API's own requests, and what the whole database holds, for Prometheus.

Whichever API process is scraped tells of the database: no process is elected to. Postgres is asked
at most every `CACHED_SECONDS`, however many scrape.
"""

from collections.abc import Iterator
from functools import partial
from time import monotonic
from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import State
from prometheus_client import CollectorRegistry, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.api.parameters import Db
from app.core.access.api_key import Scope
from app.db import Database, instances, levels
from app.db.levels import Levels
from app.errors import AppError
from app.single_flight import SingleFlight
from app.telemetry.counts import REQUESTS
from app.telemetry.exposition import build_info, exposition
from app.timers import Monotonic
from app.wire.instances import Stats

CACHED_SECONDS = 10.0
"""For how long what was read of the database is told again."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "_OTHER"
"""The method of a request whose method is none of these, as OpenTelemetry names it."""


class DatabaseMetrics(Collector):
    """Lists what was last read of the database."""

    def __init__(self, *, clock: Monotonic = monotonic) -> None:
        self.clock = clock
        self.stats: Stats | None = None
        self.levels: Levels | None = None
        self.read_at = float("-inf")
        """When the database was last asked, monotonic seconds."""
        self.reading = SingleFlight()

    def __repr__(self) -> str:
        return f"<DatabaseMetrics: read at {self.read_at:.3f}>"

    async def refresh(self, db: Database) -> None:
        """Read anew what is older than `CACHED_SECONDS`.

        While the database does not answer, its metrics are left out, and `tocsin_database_up` is 0.
        """
        if not self.is_fresh():
            await self.reading.run("levels", self.is_fresh, partial(self.read, db))

    def is_fresh(self) -> bool:
        """Return whether the database was asked lately."""
        return self.clock() - self.read_at < CACHED_SECONDS

    async def read(self, db: Database) -> None:
        """Read the database."""
        try:
            self.stats = await instances.read_stats(db)
            self.levels = await levels.read_levels(db, most=instances.MAX_COUNTED)
        except AppError:
            self.stats = self.levels = None
        self.read_at = self.clock()

    def collect(self) -> Iterator[Metric]:
        """Yield what is known of the database."""
        stats, held = self.stats, self.levels
        yield GaugeMetricFamily(
            "tocsin_database_up", "1 while the database answers.", value=float(stats is not None)
        )
        if stats is None or held is None:
            return
        states = GaugeMetricFamily(
            "tocsin_jobs", "Jobs in a state; each count stops at 10,000.", labels=("state",)
        )
        for state in ("executing", "retrying", "paused", "failed", "invalid"):
            states.add_metric((state,), getattr(stats, state))
        yield states
        for name, documentation, value in (
            ("tocsin_all_jobs", "Jobs; above 10,000 an estimate.", stats.jobs),
            ("tocsin_due_jobs", "Jobs that are due and wait; stops at 10,000.", stats.due),
            (
                "tocsin_oldest_due_seconds",
                "For how long the job that waits longest has been due; 0 if none is due.",
                stats.oldest_due_seconds or 0.0,
            ),
            (
                "tocsin_next_run_timestamp_seconds",
                "When the next job is due, as Unix time; absent if none is planned.",
                stats.next_due_at.timestamp() if stats.next_due_at else None,
            ),
            (
                "tocsin_failing_jobs",
                "Jobs that go on although their last runs failed; stops at 10,000.",
                held.failing_jobs,
            ),
            ("tocsin_instances_connected", "Scheduler instances connected.", held.instances),
            (
                "tocsin_notify_queue_usage_ratio",
                "The part of Postgres's queue of notifications in use, from 0 to 1.",
                held.notify_queue_ratio,
            ),
            (
                "tocsin_oldest_partition_seconds",
                "The age of the oldest day of executions that is kept.",
                held.oldest_partition_seconds,
            ),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, documentation, value=float(value))


class ApiMetrics:
    """The metrics of one API process."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.database = DatabaseMetrics()
        self.registry.register(Version(version))
        self.registry.register(self.database)
        ProcessCollector(registry=self.registry)
        self.requests = Histogram(
            "http_server_request_duration_seconds",
            "From the first byte of a request until its answer was sent.",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=REQUESTS,
            registry=self.registry,
        )

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is the path with its parameters' names, empty for none."""
        known = method if method in METHODS else OTHER
        self.requests.labels(known, route, str(status)).observe(seconds)


class Version(Collector):
    """Tells the version."""

    def __init__(self, version: str) -> None:
        self.version = version

    def collect(self) -> Iterator[Metric]:
        """Yield the metric that tells the version."""
        yield build_info(self.version)


def metrics_response(
    registry: CollectorRegistry, request: Request[Any, Any, Any]
) -> Response[bytes]:
    """Answer a scrape in the format that the scraper accepts."""
    content, media_type = exposition(registry, request.headers.get("accept", ""))
    return Response(content, media_type=media_type)


@get(
    "/metrics",
    operation_id="getMetrics",
    summary="Metrics for Prometheus",
    opt={"scope": Scope.READ},
    include_in_schema=False,
)
async def get_metrics(request: Request[Any, Any, State], db: Db, state: State) -> Response[bytes]:
    """Requests of this API process, and counts of the whole database."""
    metrics: ApiMetrics = state.metrics
    await metrics.database.refresh(db)
    return metrics_response(metrics.registry, request)
