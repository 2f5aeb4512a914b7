"""What people say with an action on a job. That of an execution is in `app.wire.executions`."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from app.core.jobs.job import Instant

MAX_SKIPPED_RUNS = 1000


class NoFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of an action about which there is nothing to say; it may be left out."""


class AskedOverlap(StrEnum):
    """What becomes of a run that is asked for while another run of its job is unfinished."""

    AS_JOB = "as_job"
    """What the `overlap` of the job says."""
    SKIP = "skip"
    """It is refused."""
    BUFFER_ONE = "buffer_one"
    """It waits its turn, and those that were waiting are missed."""
    BUFFER_ALL = "buffer_all"
    """It waits its turn."""
    CANCEL_OTHER = "cancel_other"
    """What is under way is cut off for it."""
    ALLOW_ALL = "allow_all"
    """It starts at once, beside the others."""


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run is asked for; all of it may be left out."""

    overlap: Annotated[
        AskedOverlap,
        Meta(
            description="What becomes of it while another run of the job is unfinished. It waits "
            "its turn, whatever the job says, unless this is as_job or one of the policies."
        ),
    ] = AskedOverlap.BUFFER_ALL


class Skip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to skip: exactly one of the two."""

    runs: (
        Annotated[
            int, Meta(ge=1, le=MAX_SKIPPED_RUNS, description="So many, from the next run on.")
        ]
        | None
    ) = None
    until: Annotated[Instant | None, Meta(description="All runs before that instant.")] = None
