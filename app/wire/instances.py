"""Instances and counts, as they are answered."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from app.core.runs.outcome import Outcome


class Instance(Struct, frozen=True, kw_only=True):
    """One scheduler process, as the database sees it."""

    name: str
    connected: Annotated[
        bool,
        Meta(description="False: it died or is cut off; another takes over when its leases end."),
    ]
    connected_since: Annotated[
        datetime | None, Meta(description="Null also where the database does not let us see it.")
    ]
    executing: Annotated[int, Meta(description="Jobs that it holds a lease on.")]


class Stats(Struct, frozen=True, kw_only=True):
    """Counts of jobs by state and of the latest executions by outcome; each stops at 10,000."""

    at: datetime
    jobs: Annotated[int, Meta(description="Above 10,000 an estimate.")]
    due: int
    oldest_due_seconds: Annotated[
        float | None, Meta(description="How long the longest waiting job has been due.")
    ]
    next_due_at: datetime | None
    executing: int
    retrying: int
    paused: int
    failed: int
    invalid: int
    outcomes: Annotated[
        dict[Outcome, int], Meta(description="Of the latest executions, at most 10,000.")
    ]
    outcomes_since: Annotated[
        datetime | None, Meta(description="When the first of these executions finished.")
    ]


class InstanceList(Struct, frozen=True, kw_only=True):
    """The scheduler instances by name."""

    items: list[Instance]
