"""Counts the facts of one instance for Prometheus; `exposition` writes the counts out.

What happens for each execution is counted here, at a fifth of the cost of the histogram of
prometheus-client (docs/adr/0089).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
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
    Started,
    TakenOver,
    UpkeepFailed,
)
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


class Executions:
    """What is counted of the executions of one kind, bound beforehand: one look-up finds it."""

    __slots__ = ("durations", "lateness", "succeeded")

    def __init__(self) -> None:
        self.succeeded = 0
        self.lateness = Distribution(LATENESS)
        self.durations = Distribution(DURATIONS)


class Counts:
    """Counts the facts of one instance."""

    def __init__(self) -> None:
        self.of_kind: dict[str, Executions] = {}
        self.unsuccessful = Counter[tuple[str, str, str]]()
        """Executions that did not succeed, and missed runs, by kind, outcome and reason."""
        self.exhausted = Counter[str]()
        self.deferred = Counter[str]()
        self.claims = Counter[str]()
        """Looks by what caused them."""
        self.claim_sizes = Distribution(BATCHES)
        self.claim_durations = Distribution(STATEMENTS)
        self.wake_to_claim: dict[str, Distribution] = {}
        self.settlement_sizes = Distribution(BATCHES)
        self.settlement_durations = Distribution(STATEMENTS)
        self.requests: dict[tuple[str, ...], Distribution] = {}
        """HTTP requests to targets by method, status and, of those that failed, why."""
        self.answers: dict[tuple[str, int | None, str | None], Distribution] = {}
        """The same by how they ended, of which there are some thousand ways at most."""
        self.is_connected = False
        self.events = Counter[str]()
        """How often facts of other types were told, by the name of the metric."""

    def __repr__(self) -> str:
        return f"<Counts: {sum(count for _, count in self.executions())} executions>"

    def __call__(self, fact: Fact) -> None:
        """Count a fact. Of the first four some are told for each execution; all others are rare."""
        if type(fact) is Settled:
            self.count_settled(fact)
        elif type(fact) is Started:
            return  # counted once it is settled
        elif type(fact) is Looked:
            self.count_look(fact)
        elif type(fact) is BatchSettled:
            self.settlement_sizes.observe(fact.settlements)
            self.settlement_durations.observe(fact.took_seconds)
        else:
            self.count_event(fact)

    def executions(self) -> Iterator[tuple[tuple[str, str, str], int]]:
        """Yield executions and missed runs by kind, outcome and reason, empty for a success."""
        for kind, one in self.of_kind.items():
            if one.succeeded:
                yield (kind, Outcome.SUCCEEDED, ""), one.succeeded
        yield from self.unsuccessful.items()

    def count_settled(self, fact: Settled) -> None:
        """Count an execution and missed runs, or a claim that was released unexecuted.

        With an execution come the runs that were missed while it went on.
        """
        if fact.missed_runs:
            self.count_missed(fact)
        outcome = fact.outcome
        if outcome is None:
            if fact.deferred:
                self.deferred[fact.kind] += 1
            return
        of_kind = self.of_kind.get(fact.kind)
        if of_kind is None:
            of_kind = self.of_kind[fact.kind] = Executions()
        if outcome is Outcome.SUCCEEDED:
            of_kind.succeeded += 1
        elif outcome is not Outcome.MISSED:
            self.unsuccessful[fact.kind, outcome, fact.reason or ""] += 1
            self.exhausted[fact.kind] += fact.ended
        if fact.execution_id is not None:
            if fact.lag_seconds is not None:
                of_kind.lateness.observe_execution(fact.lag_seconds, fact)
            if fact.duration_seconds is not None:
                of_kind.durations.observe_execution(fact.duration_seconds, fact)

    def count_missed(self, fact: Settled) -> None:
        """Count the missed runs of a settlement, by why they were missed."""
        self.unsuccessful[fact.kind, Outcome.MISSED, fact.missed_reason or ""] += fact.missed_runs
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

    def count_request(
        self, method: str, status: int | None, error: str | None, seconds: float, /
    ) -> None:
        """Count an HTTP request to a target: see `NoteRequest`."""
        answer = (method, status, error)
        taken = self.answers.get(answer)
        if taken is None:
            taken = self.answers[answer] = self.requests_of(*answer)
        taken.observe(seconds)

    def requests_of(self, method: str, status: int | None, error: str | None) -> Distribution:
        """Return the histogram of the requests that ended so, by the labels that it has."""
        shown = "" if status is None else str(status) if status in STATUSES else OTHER
        why = error or (shown if status is not None and status >= FAILED else "")
        return self.requests.setdefault((method, shown, why), Distribution(REQUESTS))

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
