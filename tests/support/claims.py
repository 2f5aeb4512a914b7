"""A claim to start from, and how one is closed; tests change what matters to them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from app.core.runs.claim import Claim, Misfire, MisfirePolicy, Overlap, RetryPolicy, Settlement
from app.core.runs.outcome import Outcome, Report
from app.core.runs.transition import settled
from app.core.schedule.schedule import Schedule

DUE = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
EVERY_MINUTE = Schedule(cron="* * * * *")
ONE_OFF = Schedule(run_at=DUE)


def some_claim(**changes: Any) -> Claim:  # noqa: ANN401
    """Return the first attempt of a minutely job's run, claimed as it came due.

    With a `job_id` it is a run of that job's plan, unless `id` is given too.
    """
    claim = Claim(
        id=UUID("019ab000-0000-7000-8000-000000000001"),
        job_id=UUID("019ab000-0000-7000-8000-000000000001"),
        name="minutely",
        kind="http",
        target="{}",
        schedule=EVERY_MINUTE,
        max_runs=None,
        retry=RetryPolicy(max_attempts=3, backoff_seconds=10.0, backoff_max_seconds=60.0),
        late=MisfirePolicy(misfire=Misfire.RUN_ONCE, grace_seconds=None, max_catchup=100),
        overlap=Overlap.BUFFER_ALL,
        timeout_seconds=30.0,
        next_run=DUE,
        scheduled_for=DUE,
        attempt=1,
        fence=7,
        execution_id=70,
        claimed_at=DUE,
        edited_at=DUE,
        last_outcome=None,
        last_finished_at=None,
        consecutive_failures=0,
        runs=0,
    )
    if "job_id" in changes:
        changes = {"id": changes["job_id"]} | changes
    return replace(claim, **changes)


def closed_now(
    claim: Claim,
    outcome: Outcome = Outcome.SUCCEEDED,
    *,
    by: str = "one",
    response: str | None = None,
    at: datetime | None = None,
) -> Settlement:
    """Return the settlement of a claim whose execution took no time and was answered with 200."""
    now = at or datetime.now(UTC)
    return settled(
        claim,
        Report(outcome=outcome, status_code=200, response=response),
        started_at=now,
        finished_at=now,
        instance=by,
        jitter=0.5,
    )
