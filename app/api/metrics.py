"""`GET /metrics`: the API's own requests, and what the whole database holds, for Prometheus.

Whichever API process is scraped tells of the database: no process is elected to. Postgres is asked
at most every `CACHED_SECONDS`, however many scrape.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.middleware import AuthenticationResult
from prometheus_client import CollectorRegistry, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.api.access import Caller, Connection, KeyAuthentication
from app.api.parameters import Db
from app.core.access.api_key import Scope
from app.db import Database, instances, levels
from app.db.levels import AskingJob, FlowLevel, Levels
from app.errors import AppError, DatabaseUnavailable
from app.single_flight import SingleFlight
from app.telemetry.counts import REQUESTS
from app.telemetry.exposition import build_info, exposition
from app.timers import Monotonic
from app.wire.instances import Stats

T = TypeVar("T")

CACHED_SECONDS = 10.0
"""For how long what was read of the database is told again."""
READ_SECONDS = 3.0
"""After how long the database counts as down: Prometheus gives a scrape up after ten seconds."""
MAX_JOBS = 200
"""How many jobs have metrics of their own; of more, the newest have none."""
MAX_FLOWS = 100
"""How many flows have metrics, in the order of their keys."""
MAX_OF_FLOW = 1000
"""Where the counts of a flow stop."""
IN_OUTAGE = Caller(actor="nobody", limited_as="nobody", scopes=frozenset({Scope.READ}))
"""Stands for whoever scrapes while it cannot be known who may."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "_OTHER"
"""The method of a request whose method is none of these, as OpenTelemetry names it."""


class DatabaseMetrics(Collector):
    """Lists what was last read of the database."""

    def __init__(self, *, clock: Monotonic = monotonic) -> None:
        self.clock = clock
        self.stats: Stats | None = None
        self.levels: Levels | None = None
        self.jobs: list[AskingJob] = []
        self.flows: list[FlowLevel] = []
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
            self.stats, self.levels, self.flows, self.jobs = await wait_in_time(read_all(db))
        except (AppError, TimeoutError):
            self.stats = self.levels = None
        self.read_at = self.clock()

    def collect(self) -> Iterator[Metric]:
        """Yield what is known of the database."""
        stats, held = self.stats, self.levels
        yield database_up(is_up=stats is not None)
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
                "Jobs that go on although their last run failed; stops at 10,000.",
                held.failing_jobs,
            ),
            (
                "tocsin_repeatedly_failing_jobs",
                "Failing jobs that failed three times in a row or more; of those counted.",
                held.repeatedly_failing_jobs,
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
            (
                "tocsin_polling_seconds",
                "For how long instances have promised to look without being notified.",
                held.polling_seconds,
            ),
            (
                "tocsin_jobs_without_metrics",
                "Jobs that ask for metrics of their own and have none, as there are too many.",
                max(held.asking_jobs - len(self.jobs), 0),
            ),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, documentation, value=float(value))
        yield from metrics_of_flows(self.flows)
        yield from metrics_of_jobs(self.jobs)


async def read_all(
    db: Database,
) -> tuple[Stats, Levels, list[FlowLevel], list[AskingJob]]:
    """Read what is told of the database."""
    stats = await instances.read_stats(db)
    held = await levels.read_levels(db, most=instances.MAX_COUNTED)
    flows = await levels.read_flows(db, flows=MAX_FLOWS, most=MAX_OF_FLOW)
    jobs = await levels.read_asking_jobs(db, most=MAX_JOBS) if held.asking_jobs else []
    return stats, held, flows, jobs


ENDING: set[asyncio.Task[Any]] = set()
"""What was given up, until it has ended."""


async def wait_in_time(work: Coroutine[Any, Any, T]) -> T:
    """Wait for something for `READ_SECONDS` at most; it then ends by itself.

    A statement that is cancelled waits for Postgres to say that it is, which a frozen one does not:
    a scrape that waited for that would come after Prometheus has given it up.

    Raises:
        TimeoutError: it takes longer.
    """
    task = asyncio.create_task(work, name="read for a scrape")
    try:
        await asyncio.wait({task}, timeout=READ_SECONDS)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        if not task.done():
            ENDING.add(task)
            task.add_done_callback(ended)
            task.cancel()


def ended(task: asyncio.Task[Any]) -> None:
    """Forget what was given up, whatever became of it."""
    ENDING.discard(task)
    if not task.cancelled():
        task.exception()


def metrics_of_flows(flows: Sequence[FlowLevel]) -> Iterator[Metric]:
    """Yield the metrics that have a flow's key as their label."""
    for name, documentation, values in (
        ("active", "Executions of the flow under way.", [one.active for one in flows]),
        ("waiting", "Jobs of the flow that are due and wait.", [one.waiting for one in flows]),
        (
            "held_seconds",
            "For how much longer a target asked the flow to wait.",
            [one.held_seconds for one in flows],
        ),
    ):
        family = GaugeMetricFamily(f"tocsin_flow_{name}", documentation, labels=("flow_key",))
        for flow, value in zip(flows, values, strict=True):
            family.add_metric((flow.flow_key,), float(value))
        yield family


def metrics_of_jobs(jobs: Sequence[AskingJob]) -> Iterator[Metric]:
    """Yield the metrics that have a job as their label."""
    info = GaugeMetricFamily(
        "tocsin_job_info",
        "1 for each job that asks for metrics of its own.",
        labels=("job_id", "job_name", "kind"),
    )
    succeeded = GaugeMetricFamily(
        "tocsin_job_last_success_timestamp_seconds",
        "When the job last succeeded, as Unix time; of one that never did, when it was created.",
        labels=("job_id", "job_name"),
    )
    failures = GaugeMetricFamily(
        "tocsin_job_consecutive_failures",
        "Runs of the job that failed since the last that succeeded.",
        labels=("job_id", "job_name"),
    )
    next_run = GaugeMetricFamily(
        "tocsin_job_next_run_timestamp_seconds",
        "When the job is due next, as Unix time; absent if it is not planned.",
        labels=("job_id", "job_name"),
    )
    for job in jobs:
        labels = (str(job.id), job.name or "")
        info.add_metric((*labels, job.kind), 1)
        succeeded.add_metric(labels, job.succeeded_at.timestamp())
        failures.add_metric(labels, job.consecutive_failures)
        if job.next_run is not None:
            next_run.add_metric(labels, job.next_run.timestamp())
    yield from (info, succeeded, failures, next_run)


class ScraperAuthentication(KeyAuthentication):
    """Finds the caller of a scrape; while the keys cannot be read it is told just that.

    Otherwise a scrape would fail in an outage of the database, and no metric would tell of it.
    """

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Name the caller of a scrape.

        Raises:
            KeyRequired: the request needs a key, and has none that may be used.
        """
        try:
            return await wait_in_time(super().authenticate_request(connection))
        except (DatabaseUnavailable, TimeoutError):
            return AuthenticationResult(user=IN_OUTAGE, auth=None)


class ApiMetrics:
    """The metrics of one API process."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.database = DatabaseMetrics()
        self.outage = CollectorRegistry()
        """What is told while it cannot be known who may ask."""
        self.outage.register(Outage(version))
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


class Outage(Collector):
    """Tells that the database does not answer: all that one may know who shows no key."""

    def __init__(self, version: str) -> None:
        self.version = version

    def collect(self) -> Iterator[Metric]:
        """Yield the version and that the database is down."""
        yield build_info(self.version)
        yield database_up(is_up=False)


def database_up(*, is_up: bool) -> Metric:
    """Return the metric that tells whether the database answers."""
    return GaugeMetricFamily(
        "tocsin_database_up", "1 while the database answers.", value=float(is_up)
    )


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
    # As a header, since to a media type of text the framework adds a second charset.
    return Response(content, media_type=media_type, headers={"Content-Type": media_type})


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
    if request.user is IN_OUTAGE:
        return metrics_response(metrics.outage, request)
    await metrics.database.refresh(db)
    return metrics_response(metrics.registry, request)
