"""What answers to writes say beside the job itself."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct


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
