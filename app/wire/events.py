"""Events of the stream, as they are sent."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from app.core.runs.outcome import Outcome


class ExecutionEvent(Struct, frozen=True, kw_only=True):
    """An execution that was recorded, in short: `GET /v1/executions/{id}` has all of it."""

    id: int
    job_id: UUID
    job_name: str | None
    kind: str
    scheduled_for: datetime
    attempt: int | None
    outcome: Outcome
    reason: str | None
    started_at: datetime | None
    finished_at: datetime
    instance: str | None
    status_code: int | None
    missed_runs: int | None
    lag_seconds: float | None
    duration_seconds: float | None


class Snapshot(Struct, frozen=True, kw_only=True):
    """Says that what is shown is to be read anew: events may have been left out."""

    why: Annotated[
        Literal["begin", "overflow", "gap"],
        Meta(
            description="The stream begins; its reader or Tocsin fell behind; or the place it "
            "left off at is too far back."
        ),
    ]
    at: datetime
    upto: Annotated[int, Meta(description="The last number drawn for an execution so far.")]
