"""What people say with an action on a job. That of an execution is in `app.wire.executions`."""

from typing import Annotated

from msgspec import Meta, Struct

from app.core.jobs.job import Instant

MAX_SKIPPED_RUNS = 1000


class NoFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of an action about which there is nothing to say; it may be left out."""


class Skip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to skip: exactly one of the two."""

    runs: (
        Annotated[
            int, Meta(ge=1, le=MAX_SKIPPED_RUNS, description="So many, from the next run on.")
        ]
        | None
    ) = None
    until: Annotated[Instant | None, Meta(description="All runs before that instant.")] = None
