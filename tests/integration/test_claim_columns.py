"""A claim is read by position: each field has to have its column, whichever look made it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from app.core.runs.claim import Claim, OnClosed, Overlap
from app.core.schedule.occurrences import DstGap, DstOverlap
from app.db import claims, raised
from app.db.listener import Session
from tests.support.builders import insert_job, job_row
from tests.support.sessions import LEASE_SECONDS

DUE = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
OF_PLAN = {
    "timezone": "Europe/Paris",
    "every_seconds": 61.0,
    "dst_gap": DstGap.SKIP,
    "dst_overlap": DstOverlap.BOTH,
    "starts_at": DUE - timedelta(hours=1),
    "ends_at": DUE + timedelta(days=9000),
    "jitter_percent": 7.0,
}
OF_RETRY = {"max_attempts": 11, "backoff_seconds": 12.0, "backoff_max_seconds": 13.0}
OF_CLAIM = {
    "name": "one",
    "max_runs": 100,
    "overlap": Overlap.SKIP,
    "timeout_seconds": 17.0,
    "next_run": DUE,
    "scheduled_for": DUE - timedelta(seconds=18),
    "last_finished_at": DUE - timedelta(seconds=19),
    "consecutive_failures": 20,
    "runs": 21,
    "skip_runs": 22,
    "skip_until": DUE + timedelta(seconds=23),
    "resumed_at": DUE + timedelta(seconds=24),
    "on_closed": OnClosed.NEXT_OPEN,
    "min_gap_seconds": 26.0,
}
LATE = {"misfire": "run_all", "misfire_grace_seconds": 14.0, "max_catchup": 15}
STATE = {"attempt": 16, "fence": 27, "last_outcome": "failed", "resume_missed": "all"}


def column(value: object) -> Any:  # noqa: ANN401 - of whatever type
    """Return a value as its column has it."""
    return getattr(value, "value", value)


async def claimed(session: Session, look: str) -> Claim:
    """Claim the job by one of the looks."""
    asked: dict[str, Any] = {
        "limit": 1,
        "lease_seconds": LEASE_SECONDS,
        "kinds": ["http"],
        "instance": "me",
    }
    if look == "raised":
        more: dict[str, Any] = {"since": None, "believed": None, "aside": ()}
        return (await raised.look(session, **asked, **more)).look.claims[0]
    by_priority = look == "by priority"
    return (await claims.look(session, **asked, ahead_seconds=0.0, by_priority=by_priority)).claims[
        0
    ]


@pytest.mark.parametrize("look", ["usual", "by priority", "raised"])
async def test_each_field_of_a_claim_has_its_column(
    session: Session, connection: asyncpg.Connection, look: str
) -> None:
    priority = 0 if look == "usual" else 2
    job_id = await insert_job(connection, every_seconds=61, name="one")
    columns = OF_PLAN | OF_RETRY | LATE | OF_CLAIM | STATE | {"priority": priority}
    columns |= {"calendars": ["office", "!holidays"], "planned_at": DUE, "validated": True}
    await connection.execute("set session_replication_role = replica")  # no trigger plans it anew
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 2))
    await connection.execute(
        f"update tocsin.jobs set {assignments} where id = $1",
        job_id,
        *(column(one) for one in columns.values()),
    )
    edited_at = (await job_row(connection, job_id))["edited_at"]

    claim = await claimed(session, look)

    assert (claim.id, claim.job_id, claim.kind) == (job_id, job_id, "http")
    assert "url" in str(claim.target)
    assert {name: getattr(claim.schedule, name) for name in OF_PLAN} == OF_PLAN
    assert {name: getattr(claim.retry, name) for name in OF_RETRY} == OF_RETRY
    assert {name: getattr(claim, name) for name in OF_CLAIM} == OF_CLAIM
    late = claim.late
    assert (late.misfire.value, late.grace_seconds, late.max_catchup) == tuple(LATE.values())
    assert claim.resume_missed is not None
    assert claim.last_outcome is not None
    state = (claim.attempt - 1, claim.fence - 1)
    words = (claim.last_outcome.value, claim.resume_missed.value)
    assert (*state, *words) == tuple(STATE.values())
    assert (claim.priority, claim.edited_at) == (priority, edited_at)
    assert list(claim.calendars) == ["office", "!holidays"]
    row = await job_row(connection, job_id)
    assert (claim.execution_id, claim.claimed_at) == (row["execution_id"], row["claimed_at"])
    assert not claim.retaken
