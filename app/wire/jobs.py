"""Lists of jobs, and jobs to create together. A single job is in `app.core.jobs.job`."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from app.core.jobs.job import Job, JobDocument
from app.wire.pages import Page

MAX_JOBS = 10_000
"""Jobs of a batch: up to a second's work, in one transaction."""

Documents = Annotated[list[JobDocument], Meta(max_length=MAX_JOBS)]


class JobSort(StrEnum):
    """The orders of a list of jobs."""

    NEWEST = "newest"
    NEXT_RUN = "next_run"


class JobBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs to create together."""

    jobs: Documents


class JobPage(Page[Job], frozen=True, kw_only=True):
    """Jobs, newest first."""


class JobList(Struct, frozen=True, kw_only=True):
    """Jobs in the order they were sent in."""

    items: list[Job]
