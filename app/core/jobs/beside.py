"""What answers say of a job beside its fields."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct


class JobPaused(Struct, frozen=True, kw_only=True):
    """Who paused a job, why and until when."""

    paused_at: datetime
    paused_by: str | None = None
    reason: str | None = None
    until: Annotated[datetime | None, Meta(description="When it is resumed by itself.")] = None
    tag: Annotated[str | None, Meta(description="Whose pause it is, if not the job's own.")] = None


class Effect(StrEnum):
    """What became of a job that was created or replaced by its name."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    """The job was like that already: nothing was written."""


class MissedRuns(Struct, frozen=True, kw_only=True):
    """How many runs a job has missed, and how many of these are carried out once it is resumed."""

    missed_runs: Annotated[int, Meta(description="Up to 1,000,000.")]
    carried_out: int


class Outlook(Struct, frozen=True, kw_only=True):
    """What becomes of a job as things are."""

    description: Annotated[str, Meta(description="Its schedule in words.")]
    next_runs: Annotated[
        list[datetime],
        Meta(description="When its next runs start, up to five; without the closed."),
    ]
    has_instance: Annotated[
        bool, Meta(description="An instance is connected that carries out its kind.")
    ]
