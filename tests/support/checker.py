"""The independent checker: compares promised runs, deliveries to receivers, and rows in Postgres.

The checker shares no code with Tocsin: occurrences come from croniter, identities from the rows.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise, takewhile
from uuid import UUID

import asyncpg
from croniter import croniter
from msgspec import Struct

from tests.support.ledger import Delivery, Ledger, key_of

SEEN_LATE_SECONDS = 0.1
"""A receiver hears that a connection was closed only when its process has its turn."""
STUCK_SECONDS = 15.0


class Recorded(Struct, frozen=True, kw_only=True):
    """A row of `tocsin.executions`."""

    id: int
    job_id: UUID
    scheduled_for: datetime
    attempt: int | None
    outcome: str
    missed_until: datetime | None = None
    reason: str | None = None

    @property
    def key(self) -> str:
        return key_of(self.job_id, self.scheduled_for)


class Findings(Struct, frozen=True, kw_only=True):
    """The result of a check; every list has to be empty, the counts may have any value."""

    promised: int
    lost: list[str]
    """Runs that no receiver saw and no row says to have been missed or given up."""
    overlapping: list[tuple[int, int]]
    """Executions of one run in progress at once although the first one's lease was not lost."""
    explained: int
    """Deliveries again after the lease of the one before was lost."""
    recorded: int
    """Deliveries again after one that is recorded as cancelled, timed out or failed without an
    answer: its outcome at the receiver was unknown."""
    unexplained: list[tuple[int, int]]
    """Deliveries again after one that is recorded as succeeded, or not at all."""
    unrecorded: list[int]
    """Executions that a receiver saw and no row tells of."""
    stuck: list[str]
    """Jobs that are overdue, or hold a lease long over."""

    def assert_clean(self) -> None:
        assert not self.lost, f"lost: {self.lost[:10]} ({len(self.lost)} of {self.promised})"
        assert not self.overlapping, f"overlapping: {self.overlapping[:10]}"
        assert not self.unexplained, f"duplicated without a reason: {self.unexplained[:10]}"
        assert not self.unrecorded, f"not recorded: {self.unrecorded[:10]}"
        assert not self.stuck, f"stuck: {self.stuck[:10]}"


async def lateness(connection: asyncpg.Connection, ledger: Ledger) -> float:
    """Return how late the latest start of a promised run was, in seconds, by its row."""
    rows = await connection.fetch(
        """select job_id, scheduled_for,
               extract(epoch from started_at - scheduled_for)::float8 as seconds
           from tocsin.executions where outcome = 'succeeded'"""
    )
    latest: float = max(
        row["seconds"]
        for row in rows
        if row["job_id"] in ledger.crons
        or key_of(row["job_id"], row["scheduled_for"]) in ledger.runs
    )
    return latest


def judge(
    promised: Iterable[str],
    deliveries: Sequence[Delivery],
    recorded: Sequence[Recorded],
    *,
    stuck: Sequence[str] = (),
) -> Findings:
    """Compare promises, deliveries and rows; `promised` are the keys of runs."""
    promised = set(promised)
    by_id = {row.id: row for row in recorded}
    told = {one.key for one in deliveries} | {
        row.key
        for row in recorded
        if row.outcome in {"missed", "failed"}
        or (row.outcome == "cancelled" and row.reason == "overlap")
    }
    runs = defaultdict(list)
    # By attempt: a message that was given up may reach the queue after its successor.
    for one in sorted(deliveries, key=lambda one: (one.attempt, one.arrived)):
        runs[one.key].append(one)
    repeats = [pair for run in runs.values() for pair in pairwise(run)]
    unasked = [pair for pair in repeats if not asked_again(pair[0])]
    reasons = [(pair, outcome_of(by_id, pair)) for pair in unasked]
    return Findings(
        promised=len(promised),
        lost=sorted(key for key in promised - told if not in_missed_span(key, recorded)),
        overlapping=[
            (first.execution_id, second.execution_id)
            for first, second in repeats
            if overlap(first, second) and outcome_of(by_id, (first, second)) != "lost"
        ],
        explained=sum(outcome == "lost" for _, outcome in reasons),
        recorded=sum(outcome in {"cancelled", "timed_out", "failed"} for _, outcome in reasons),
        unexplained=[
            (first.execution_id, second.execution_id)
            for (first, second), outcome in reasons
            if outcome not in {"lost", "cancelled", "timed_out", "failed"}
        ],
        unrecorded=sorted({one.execution_id for one in deliveries} - by_id.keys()),
        stuck=list(stuck),
    )


def asked_again(delivery: Delivery) -> bool:
    """Return whether the receiver answered with a failure, so that a retry is wanted."""
    return delivery.status is not None and delivery.status >= 400


def overlap(first: Delivery, second: Delivery) -> bool:
    if first.arrived > second.arrived:
        first, second = second, first
    return first.ended is None or first.ended - SEEN_LATE_SECONDS > second.arrived


def outcome_of(by_id: dict[int, Recorded], pair: tuple[Delivery, Delivery]) -> str | None:
    """Return the recorded outcome of the first of two deliveries.

    None if that one is not recorded, or both are of one execution.
    """
    first, second = pair
    if first.execution_id == second.execution_id or first.execution_id not in by_id:
        return None
    return by_id[first.execution_id].outcome


def in_missed_span(key: str, recorded: Sequence[Recorded]) -> bool:
    """Whether a row for several missed runs stands for this one."""
    job_id, _, instant = key.partition(":")
    return any(
        row.missed_until is not None
        and str(row.job_id) == job_id
        and row.scheduled_for <= datetime.fromisoformat(instant) <= row.missed_until
        for row in recorded
    )


def runs_between(cron: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The instants of a UTC cron with seconds first, after `begin` and before `end`."""
    instants = croniter(cron, begin, ret_type=datetime, second_at_beginning=True)
    return takewhile(lambda instant: instant < end, instants)


async def check(connection: asyncpg.Connection, ledger: Ledger) -> Findings:
    """Judge everything in the ledger by the rows of its database, once all is quiet."""
    rows = await connection.fetch(
        """select id, job_id, scheduled_for, attempt, outcome, missed_until, reason
           from tocsin.executions"""
    )
    crons = await connection.fetch(
        "select id, cron, planned_at, scheduled_for from tocsin.jobs where id = any($1)",
        list(ledger.crons),
    )
    assert {row["id"] for row in crons} == ledger.crons, "a committed job is gone"
    promised = ledger.runs | {
        key_of(row["id"], instant)
        for row in crons
        for instant in runs_between(
            row["cron"], row["planned_at"].astimezone(UTC), row["scheduled_for"]
        )
    }
    stuck = await connection.fetch(
        """select id, next_run, locked_until, attempt, plan_error from tocsin.jobs
           where paused_at is null and (plan_error is not null
               or greatest(next_run, locked_until) < now() - $1 * interval '1 second'
               or (next_run is null and locked_until < now()))""",
        STUCK_SECONDS,
    )
    return judge(
        promised,
        ledger.deliveries,
        [Recorded(**dict(row)) for row in rows],
        stuck=[str(dict(row)) for row in stuck],
    )


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table."""

    case: str
    faults: int
    findings: Findings
    recoveries: list[float]
    within: float = math.inf
    """The longest that recovery may take by what was promised for these faults, in seconds."""
    latest: float | None = None
    """How late the latest start of others was, in seconds; None where none has to be in time."""

    def cells(self) -> list[str]:
        bound = f"{self.within:g}" if math.isfinite(self.within) else ""
        return [self.case, *sums([self]), bound, longest([self])]


def sums(rows: Sequence[Row]) -> list[str]:
    """Add up what several rows found, as cells of the table."""
    found = [row.findings for row in rows]
    recoveries = [seconds for row in rows for seconds in row.recoveries]
    seconds = [one for one in recoveries if math.isfinite(one)]  # else nothing was due
    return [
        str(sum(row.faults for row in rows)),
        str(sum(one.promised for one in found)),
        str(sum(len(one.lost) for one in found)),
        str(sum(len(one.overlapping) for one in found)),
        f"{sum(one.explained for one in found)} + {sum(one.recorded for one in found)}",
        str(sum(len(one.unexplained) for one in found)),
        f"{statistics.median(seconds):.1f}" if seconds else "",
        f"{max(seconds):.1f}" if seconds else "",
    ]


def longest(rows: Sequence[Row]) -> str:
    """Return how late the latest start of others was, as a cell of the table."""
    found = [row.latest for row in rows if row.latest is not None]
    return f"{max(found):.2f}" if found else ""


ALL = "all"
HEAD = [
    *("case", "faults", "runs promised", "lost", "overlapping"),
    *("again after lost lease + unknown outcome", "again without reason"),
    *("recovery p50, s", "max, s", "promised, s", "others late, s"),
]


def table(rows: Sequence[Row]) -> str:
    """Return the rows and their sums, which come last, as a Markdown table."""
    cells = [row.cells() for row in rows]
    lines = [
        HEAD,
        ["---"] + ["---:"] * (len(HEAD) - 1),
        *cells,
        [ALL, *sums(rows), "", longest(rows)],
    ]
    return "\n".join(line(cells) for cells in lines)


def line(cells: Sequence[str]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
