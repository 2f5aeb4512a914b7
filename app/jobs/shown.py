"""Prepares jobs to be shown to clients: masks secrets, words errors."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import asdict

from app.core.jobs.beside import Effect, MissedRuns, Outlook
from app.core.jobs.job import Job, JobState, StoredJob
from app.core.secrets.masking import mask
from app.errors import FieldError
from app.targets.registry import KINDS, target_type, unknown_kind


def masked_job(  # noqa: PLR0913 - what an answer may tell beside the job
    job: StoredJob,
    warnings: Sequence[FieldError] = (),
    *,
    missed: MissedRuns | None = None,
    outlook: Outlook | None = None,
    set_name: str | None = None,
    effect: Effect | None = None,
) -> Job:
    """Mask the secrets of a job; if the kind is not known here, every value of its target."""
    type_ = target_type(job.kind) if job.kind in KINDS else None
    hidden: dict[str, Any] = {
        "target": mask(type_, job.target),
        "plan_error": told_error(job),
    }
    if missed is not None:
        hidden["missed"] = missed
    if outlook is not None:
        hidden["outlook"] = outlook
    if set_name is not None:
        hidden["set"] = set_name
    if effect is not None:
        hidden["effect"] = effect
    if warnings:
        hidden["warnings"] = list(warnings)
    return Job(**asdict(job) | hidden)


def told_error(job: StoredJob) -> str | None:
    """Say why a job is invalid: the stored `plan_error`, or that no instance has its kind now."""
    if job.plan_error is None and job.state is JobState.INVALID:
        return unknown_kind(job.kind)
    return job.plan_error
