"""Lists of jobs, and jobs to create together. A single job is in `app.core.jobs.job`."""

from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from app.core.jobs.job import Instant, Job, JobDocument, JobReplacement
from app.wire.pages import Page

MAX_JOBS = 10_000
"""Jobs of a batch: up to a second's work, in one transaction."""

VERSION = "unchanged_since"
Version = (
    Annotated[
        Instant,
        Meta(
            description="With replace=true: its updated_at as you read it. The batch is refused if "
            "the job was edited since, or is gone."
        ),
    ]
    | UnsetType
)


class BatchJob(JobDocument, frozen=True, kw_only=True):
    """A job of a batch."""

    unchanged_since: Version = UNSET


BatchReplacement = defstruct(
    "BatchReplacement",
    [(VERSION, Version, UNSET)],
    bases=(JobReplacement,),
    frozen=True,
    kw_only=True,
    module=__name__,
    namespace={"__doc__": "A job of a batch that replaces jobs, or as it was answered."},
)
"""A `BatchJob`, or a job as the API answered it; fields that cannot be written are ignored."""

Documents = Annotated[list[BatchJob], Meta(max_length=MAX_JOBS)]


class JobSort(StrEnum):
    """The orders of a list of jobs."""

    NEWEST = "newest"
    NEXT_RUN = "next_run"


class JobBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs to create, or to replace, together."""

    jobs: Documents


class JobPage(Page[Job], frozen=True, kw_only=True):
    """Jobs, newest first."""


class JobList(Struct, frozen=True, kw_only=True):
    """Jobs in the order they were sent in."""

    items: list[Job]
