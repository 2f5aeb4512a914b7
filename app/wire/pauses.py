"""Pauses, as they are asked for and answered."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from app.core.jobs.job import Instant
from app.core.jobs.names import Tag
from app.core.runs.claim import Missed

Why = Annotated[str, Meta(max_length=1000, description="For those who wonder later.")]


class JobPause(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a job is paused, and until when; the body may be left out."""

    reason: Why | None = None
    until: (
        Annotated[Instant, Meta(description="It is resumed by itself then; null: by somebody.")]
        | None
    ) = None


class Resumption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of missed runs; the body may be left out."""

    missed: (
        Annotated[
            Missed,
            Meta(
                description="Drops them, carries out the latest, or up to max_catchup; null: what "
                "the misfire of the job says."
            ),
        ]
        | None
    ) = None
    dry_run: Annotated[bool, Meta(description="Only count.")] = False


class NewPause(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to pause: a tag, or everything."""

    tag: Tag | None = None
    all: Annotated[bool, Meta(description="True without a tag: everything.")] = False
    reason: Why | None = None
    until: Annotated[Instant, Meta(description="When it ends by itself.")] | None = None
    dry_run: Annotated[bool, Meta(description="Only count the jobs.")] = False


class PausePreview(Struct, frozen=True, kw_only=True):
    """What a pause would be of."""

    jobs: Annotated[
        int, Meta(description="Jobs that wait for a run and are not paused yet; at most 100,000.")
    ]
    dry_run: bool = True


class Pause(Struct, frozen=True, kw_only=True):
    """A pause of all jobs that have a tag, or of everything."""

    id: UUID
    tag: Annotated[str | None, Meta(description="Null: everything is paused.")]
    reason: str | None
    until: datetime | None
    paused_at: datetime
    paused_by: str


class PauseList(Struct, frozen=True, kw_only=True):
    """The pauses of everything and of tags that are in force."""

    items: list[Pause]


class EndedPause(Struct, frozen=True, kw_only=True):
    """A pause that has ended, or would end."""

    due_jobs: Annotated[
        int, Meta(description="Jobs that it held up and that are due; at most 100,000.")
    ]
    dry_run: bool
