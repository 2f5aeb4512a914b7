"""The limits of flows, as clients write and read them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from app.core.jobs.job import ONE_YEAR
from app.errors import FieldError
from app.wire.pages import Page

MAX_PERMITS = 1_000_000
"""The largest limit of a flow."""


class FlowLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What limits the executions of jobs with one `flow_key`; null: nothing, or the pattern."""

    max_concurrency: (
        Annotated[
            int,
            Meta(
                ge=1, le=MAX_PERMITS, description="Executions at the same time, by all instances."
            ),
        ]
        | None
    ) = None
    rate: (
        Annotated[int, Meta(ge=1, le=MAX_PERMITS, description="Starts in any period_seconds.")]
        | None
    ) = None
    period_seconds: Annotated[
        float, Meta(ge=0.1, le=ONE_YEAR, description="Seconds. The period of the rate.")
    ] = 1.0
    burst: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_PERMITS,
                description="Starts in any period_seconds * burst / rate; null: as the rate.",
            ),
        ]
        | None
    ) = None
    paused: Annotated[bool, Meta(description="Its jobs keep their plan, and wait.")] = False

    def errors(self) -> Iterator[FieldError]:
        """Check how the fields go together."""
        if self.burst is not None and self.rate is None:
            yield FieldError(field="burst", message="needs a rate: give one, or leave it out")
        elif (self.burst or 0) * self.period_seconds / (self.rate or 1) > ONE_YEAR:
            message = "is too many for the rate: so many would need more than a year"
            yield FieldError(field="burst", message=message)


class Flow(Struct, frozen=True, kw_only=True):
    """A flow as it stands; a `flow_key` with an asterisk is a pattern."""

    flow_key: str
    max_concurrency: int | None
    rate: int | None
    period_seconds: float
    burst: int | None
    paused: bool
    paused_at: datetime | None
    pause_reason: str | None
    paused_until: Annotated[
        datetime | None, Meta(description="When it is resumed by itself; null: by somebody.")
    ]
    paused_by: str | None
    held_until: Annotated[
        datetime | None,
        Meta(description="No job starts before: the target asked for that, with 429 or 503."),
    ]
    held_for: Annotated[str | None, Meta(description="What the target said.")]
    executing: Annotated[int, Meta(description="Leases in force, 10,000 at most.")]
    waiting: Annotated[int, Meta(description="Jobs that are due, 10,000 at most.")]
    created_at: datetime | None
    updated_at: datetime | None


class FlowPage(Page[Flow], frozen=True, kw_only=True):
    """Flows that have limits, by key."""
