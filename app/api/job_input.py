"""From what a client wrote to what is stored, and back: secrets, checks, plans."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from app.core.jobs.exact_json import same
from app.core.jobs.identity import RANDOM_BITS, uuid7
from app.core.jobs.job import (
    DOCUMENT_FIELDS,
    SCHEDULE_FIELDS,
    Job,
    JobDocument,
    JobState,
    PlannedJob,
    StoredJob,
    document_of,
)
from app.core.schedule.schedule import Schedule, check, check_runs, first_run, normalized
from app.core.secrets.masking import mask, unmask
from app.errors import FieldError, InvalidInput
from app.targets.registry import KINDS, nobodys_kind, target_type
from app.vault import SecretKeys, check_target, decrypt_target, encrypt_target


def masked_job(job: StoredJob, warnings: Sequence[FieldError] = ()) -> Job:
    """Hide the secrets of a job; of a kind that is not known here, every value of its target."""
    type_ = target_type(job.kind) if job.kind in KINDS else None
    hidden: dict[str, Any] = {"target": mask(type_, job.target), "plan_error": told_error(job)}
    if warnings:
        hidden["warnings"] = list(warnings)
    return Job(**asdict(job) | hidden)


def told_error(job: StoredJob) -> str | None:
    """Say why a job is invalid: as stored, or that no instance has its kind, which may pass."""
    if job.plan_error is None and job.state is JobState.INVALID:
        return nobodys_kind(job.kind)
    return job.plan_error


def decrypt_job(job: StoredJob, keys: SecretKeys) -> StoredJob:
    """Decrypt the secrets of a job, for comparing them with what a client wrote."""
    if job.kind not in KINDS:
        return job
    target, _ = decrypt_target(target_type(job.kind), job.target, keys, job_id=job.id)
    return replace(job, target=target)


def encrypt_job(job: PlannedJob, keys: SecretKeys) -> PlannedJob:
    """Encrypt the secrets of a job that is to be stored, where there are keys."""
    return replace(
        job, target=encrypt_target(target_type(job.kind), job.target, keys, job_id=job.id)
    )


def unmask_job(document: JobDocument, stored: StoredJob | None) -> JobDocument:
    """Put what is stored in the place of every `***`.

    Raises:
        InvalidInput: the kind is not known, or nothing is stored there.
    """
    kept = stored.target if stored is not None and stored.kind == document.kind else {}
    return replace(document, target=unmask(target_type(document.kind), document.target, kept))


def new_job(document: JobDocument, *, now: datetime) -> PlannedJob:
    """Check a job that is to be created, and plan it.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    id = uuid7(now, random=secrets.randbits(RANDOM_BITS))
    errors: list[FieldError] = list(document.errors())
    if not any(one.field == "target" for one in errors):  # what is too large is not looked into
        try:
            document = unmask_job(document, None)
            check_target(document.kind, document.target)
        except InvalidInput as refusal:
            errors += refusal.errors
    try:
        document = with_schedule(document, job_id=id, now=now)
        check_runs(document.schedule(), job_id=id, now=now)
    except InvalidInput as refusal:
        errors += refusal.errors
    if errors:
        raise InvalidInput(*errors)
    if document.paused is UNSET:
        document = replace(document, paused=False)
    next_run = first_run(document.schedule(), job_id=id, now=now) if document.cron else None
    return PlannedJob(
        **asdict(document), id=id, planned=document.cron is not None, next_run=next_run
    )


def edited_job(document: JobDocument, stored: StoredJob, *, now: datetime) -> PlannedJob | None:
    """Check what an edit changes, and plan the job anew if its schedule changed; None: nothing did.

    What it leaves as it is may be wrong, as a person may have typed it: it can be paused all the
    same.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    before = document_of(stored)
    if document.paused is UNSET:
        document = replace(document, paused=stored.paused)
    errors = [
        one
        for one in document.errors()
        if (name := one.field.partition("[")[0]) and differ(document, before, (name,))
    ]
    too_large = any(one.field == "target" for one in errors)
    if not too_large and differ(document, before, ("kind", "target")):
        try:
            document = unmask_job(document, stored)
            if differ(document, before, ("kind", "target")):
                check_target(document.kind, document.target)
        except InvalidInput as refusal:
            errors += refusal.errors
    if differ(document, before, SCHEDULE_FIELDS):
        try:
            document = with_schedule(document, job_id=stored.id, now=now)
        except InvalidInput as refusal:
            errors += refusal.errors
    if errors:
        raise InvalidInput(*errors)
    if not differ(document, before, DOCUMENT_FIELDS):
        return None
    planned = needs_cron_plan(document, stored)
    had_them_all = document.max_runs is not None and stored.runs >= document.max_runs
    next_run = None
    if planned and not had_them_all:
        next_run = first_run(document.schedule(), job_id=stored.id, now=now)
    return PlannedJob(**asdict(document), id=stored.id, planned=planned, next_run=next_run)


def needs_cron_plan(document: JobDocument, stored: StoredJob) -> bool:
    """Whether an edit leads to another run that only cron arithmetic can tell.

    A raised limit of runs revives a job that had them all. What the database can plan by itself
    its trigger does.
    """
    if document.cron is None:
        return False
    limit_changed = document.max_runs != stored.max_runs and stored.next_run is None
    return limit_changed or differ(document, document_of(stored), SCHEDULE_FIELDS)


def with_schedule(document: JobDocument, *, job_id: UUID, now: datetime) -> JobDocument:
    """Check the schedule and write it in one form.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    schedule: Schedule = normalized(document.schedule())
    check(schedule, job_id=job_id, now=now)
    return replace(document, **asdict(schedule))


def differ(one: Struct, other: Struct, names: tuple[str, ...]) -> bool:
    """Whether any of the fields would be stored differently."""
    return not all(same(getattr(one, name), getattr(other, name)) for name in names)
