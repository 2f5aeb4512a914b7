"""Counts the facts of one instance for Prometheus; `exposition` writes the counts out.

What happens for each execution is counted here, at a fifth of the cost of the histogram of
prometheus-client (docs/adr/0089).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus

from app.core.facts import (
    BatchSettled,
    Connected,
    DescriptorsExhausted,
    Disconnected,
    Fact,
    Faulted,
    LeaseLost,
    LeasesExtended,
    Looked,
    PutAside,
    Settled,
    TakenOver,
    UpkeepFailed,
)
from app.core.net.requesting import Requesting
from app.core.runs.outcome import Outcome

LATENESS = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the buckets of lateness, in seconds; most jobs start within a millisecond."""
REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of the buckets of requests, in seconds: those that OpenTelemetry advises for
`http.client.request.duration` and `http.server.request.duration`."""
DURATIONS = (*REQUESTS, 30.0, 60.0, 300.0)
"""Upper bounds of the buckets of executions, in seconds; one may take an hour."""
STATEMENTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets of statements to Postgres, in seconds."""
BATCHES = (0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0)
"""Upper bounds of the buckets of batch sizes; no batch is larger than the last."""

STATUSES = frozenset(map(int, HTTPStatus))
"""The statuses of HTTP that have a name: receivers may answer with any number."""
OTHER = "_OTHER"
"""Stands for any other status."""
FAILED = 400
"""From this status on a request has failed, as OpenTelemetry sees it."""


class Distribution:
    """The buckets of a histogram without labels; an observation costs a third of a microsecond."""

    __slots__ = ("bounds", "counts", "latest", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.latest: list[tuple[Settled, float] | None] = [None] * len(self.counts)
        """The latest execution of each bucket, with its value."""

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_execution(self, value: float, execution: Settled) -> None:
        """Count a value, which the execution is an example of."""
        place = bisect_left(self.bounds, value)
        self.counts[place] += 1
        self.total += value
        self.latest[place] = (execution, value)


class Counts:
    """Counts the facts of one instance."""

    def __init__(self) -> None:
        self.executions = Counter[tuple[str, str, str]]()
        """By kind, outcome and reason; the reason of a success is empty."""
        self.exhausted = Counter[str]()
        self.deferred = Counter[str]()
        self.lateness: dict[str, Distribution] = {}
        self.durations: dict[str, Distribution] = {}
        self.claims = Counter[str]()
        """Looks by what caused them."""
        self.claim_sizes = Distribution(BATCHES)
        self.claim_durations = Distribution(STATEMENTS)
        self.wake_to_claim: dict[str, Distribution] = {}
        self.settlement_sizes = Distribution(BATCHES)
        self.settlement_durations = Distribution(STATEMENTS)
        self.requests: dict[tuple[str, ...], Distribution] = {}
        """HTTP requests to targets by method, status and, of those that failed, why."""
        self.is_connected = False
        self.events = Counter[str]()
        """How often facts of other types were told, by the name of the metric."""

    def __repr__(self) -> str:
        return f"<Counts: {self.executions.total()} executions>"

    def __call__(self, fact: Fact) -> None:
        """Count a fact. The first two are told for each execution or look, all others are rare."""
        if type(fact) is Settled:
            self.count_settled(fact)
        elif type(fact) is Looked:
            self.count_look(fact)
        elif type(fact) is BatchSettled:
            self.settlement_sizes.observe(fact.settlements)
            self.settlement_durations.observe(fact.took_seconds)
        else:
            self.count_event(fact)

    def count_settled(self, fact: Settled) -> None:
        """Count an execution and missed runs, or a claim that was released unexecuted.

        With an execution come the runs that were missed while it went on.
        """
        if fact.missed_runs:
            self.count_missed(fact)
        if fact.outcome is None:
            if fact.deferred:
                self.deferred[fact.kind] += 1
        elif fact.outcome is not Outcome.MISSED:
            self.executions[fact.kind, fact.outcome, fact.reason or ""] += 1
            if fact.ended and fact.outcome is not Outcome.SUCCEEDED:
                self.exhausted[fact.kind] += 1
            if fact.execution_id is not None:
                self.observe_times(fact)

    def observe_times(self, fact: Settled) -> None:
        """Count how late an execution started, and how long it took."""
        if fact.lag_seconds is not None:
            lateness = self.lateness.get(fact.kind)
            if lateness is None:
                lateness = self.lateness[fact.kind] = Distribution(LATENESS)
            lateness.observe_execution(fact.lag_seconds, fact)
        if fact.duration_seconds is not None:
            durations = self.durations.get(fact.kind)
            if durations is None:
                durations = self.durations[fact.kind] = Distribution(DURATIONS)
            durations.observe_execution(fact.duration_seconds, fact)

    def count_missed(self, fact: Settled) -> None:
        """Count the missed runs of a settlement, by why they were missed."""
        self.executions[fact.kind, Outcome.MISSED, fact.missed_reason or ""] += fact.missed_runs
        self.exhausted[fact.kind] += fact.missed_runs

    def count_look(self, fact: Looked) -> None:
        """Count a look; only one that claimed something tells how long a wake-up took."""
        self.claims[fact.cause] += 1
        self.claim_sizes.observe(fact.claimed)
        self.claim_durations.observe(fact.took_seconds)
        if fact.claimed:
            woken = self.wake_to_claim.get(fact.cause)
            if woken is None:
                woken = self.wake_to_claim[fact.cause] = Distribution(STATEMENTS)
            woken.observe(fact.woken_seconds)

    def count_request(self, request: Requesting) -> None:
        """Count an HTTP request to a target."""
        status = request.status
        shown = "" if status is None else str(status) if status in STATUSES else OTHER
        error = request.error or (shown if status is not None and status >= FAILED else "")
        key = (request.method, shown, error)
        seconds = self.requests.get(key)
        if seconds is None:
            seconds = self.requests[key] = Distribution(REQUESTS)
        seconds.observe(request.seconds)

    def count_event(self, fact: Fact) -> None:
        """Count a fact that is told seldom."""
        match fact:
            case LeasesExtended():
                self.events["tocsin_leases_extended"] += fact.leases
            case LeaseLost():
                self.events["tocsin_leases_lost"] += 1
            case TakenOver():
                self.events["tocsin_executions_taken_over"] += 1
            case Connected():
                self.is_connected = True
                self.events["tocsin_listener_reconnects"] += fact.away_seconds is not None
            case Disconnected():
                self.is_connected = False
            case PutAside():
                self.events["tocsin_jobs_put_aside"] += 1
            case UpkeepFailed():
                self.events["tocsin_upkeep_failures"] += 1
            case Faulted():
                self.events["tocsin_faults"] += 1
            case DescriptorsExhausted():
                self.events["tocsin_descriptor_shortages"] += 1
            case _:
                pass
