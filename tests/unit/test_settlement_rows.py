"""A settlement is worded by position: each column has to have what was meant for it."""

from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

from msgspec.structs import asdict, replace

from app.core.runs.claim import Execution, Settlement
from app.core.runs.outcome import Outcome
from app.db.claims import SettlementRow, own_execution

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
JOB = UUID("019ab000-0000-7000-8000-000000000001")
numbers = count(1)


def instant() -> datetime:
    """Return another one at each call, so that no two columns have the same."""
    return NOON + timedelta(seconds=next(numbers))


RUN = Execution(
    id=next(numbers),
    job_id=JOB,
    fence=next(numbers),
    kind="http",
    scheduled_for=instant(),
    attempt=next(numbers),
    outcome=Outcome.FAILED,
    reason="timeout",
    started_at=instant(),
    finished_at=instant(),
    instance="one",
    status_code=next(numbers),
    response="response",
    error="error",
)
SETTLEMENT = Settlement(
    id=JOB,
    fence=RUN.fence,
    claimed_at=instant(),
    expected_next_run=instant(),
    next_run=instant(),
    scheduled_for=instant(),
    attempt=next(numbers),
    plan_error="plan error",
    edit_seen_at=instant(),
    last_outcome=RUN.outcome,
    last_finished_at=RUN.finished_at,
    consecutive_failures=next(numbers),
    runs=next(numbers),
    skip_runs=next(numbers),
    executions=[RUN],
)
OF_RUN = {"kind", "reason", "instance", "status_code", "response", "error"}


def seconds(at: datetime) -> float:
    """Return how long after the claim an instant is."""
    return (at - SETTLEMENT.claimed_at).total_seconds()


def test_each_column_has_what_its_name_says() -> None:
    row = asdict(SettlementRow.of(SETTLEMENT, own_execution(SETTLEMENT), look := next(numbers)))

    of_run: dict[str, object] = {"execution_id": RUN.id, "run_attempt": RUN.attempt}
    of_run["run_scheduled_for"] = RUN.scheduled_for
    of_run["started_seconds"] = seconds(RUN.started_at or NOON)
    of_run |= {name: getattr(RUN, name) for name in OF_RUN}
    since: dict[str, object] = {
        "look": look,
        "expected_seconds": seconds(SETTLEMENT.expected_next_run),
        "scheduled_seconds": seconds(SETTLEMENT.scheduled_for or NOON),
        "finished_seconds": seconds(SETTLEMENT.last_finished_at or NOON),
    }
    others = row.keys() - of_run.keys() - since.keys()
    of_plan = {name: getattr(SETTLEMENT, name) for name in others}
    assert row == of_plan | of_run | since


def test_what_says_nothing_new_is_left_out() -> None:
    one = replace(RUN, scheduled_for=NOON)
    plain = replace(SETTLEMENT, plan_error=None, skip_runs=None, executions=[one])
    plain = replace(plain, expected_next_run=NOON, scheduled_for=NOON, next_run=NOON)
    row = SettlementRow.of(plain, own_execution(plain))

    assert (row.next_run, row.scheduled_seconds, row.expected_seconds) == (NOON, None, None)
    assert (row.run_scheduled_for, row.edit_seen_at) == (None, None)
    assert SettlementRow.of(plain, None).execution_id is None
    assert SettlementRow.of(plain, one, instance="one").instance is None
