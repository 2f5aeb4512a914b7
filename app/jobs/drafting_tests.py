"""Checks what is to be tested, before anything is sent."""

import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from app.core.access.key_limits import KeyLimits
from app.core.jobs.identity import RANDOM_BITS, uuid7
from app.core.jobs.job import JobDocument, StoredJob
from app.core.runs.expectation import CHECK
from app.core.secrets.masking import Unshown, mask
from app.errors import FieldError, InvalidInput
from app.jobs.input import decrypt_job
from app.jobs.key_limits import target_errors
from app.targets.registry import KINDS, kind_error, target_type
from app.templates.messages import JobFacts
from app.vault import Referring, SecretKeys, check_target, prepare
from app.wire.target_tests import TargetTest

SENT = tuple(kind for kind in KINDS if kind != CHECK)
"""The kinds of which something is sent."""
NO_CHECK = "a check only expects pings, and has no target that could be sent"


class Draft(Unshown, frozen=True, kw_only=True):
    """A test whose target passed every check but that of its named secrets."""

    job_id: UUID
    name: str | None
    kind: str
    target: str
    """The target in JSON; as stored, or with its secrets in clear."""
    masked: dict[str, Any]
    """The target with its secrets masked."""
    timeout_seconds: float
    facts: JobFacts


def draft_of_target(
    asked: TargetTest,
    stored: StoredJob | None,
    keys: SecretKeys,
    *,
    limits: KeyLimits,
    now: datetime,
) -> tuple[Draft, Referring]:
    """Check a target that no job has, as that of a new job; return also what it refers to.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    document = JobDocument(
        kind=asked.kind,
        target=asked.target,
        name=asked.name,
        tags=asked.tags,
        metadata=asked.metadata,
    )
    if errors := list(document.errors()):
        raise InvalidInput(*errors)
    if asked.kind == CHECK:
        raise InvalidInput(FieldError(field="kind", message=NO_CHECK))
    if asked.kind not in SENT:
        raise InvalidInput(kind_error(asked.kind, SENT))
    job_id = stored.id if stored else uuid7(now, random=secrets.randbits(RANDOM_BITS))
    kept = decrypt_job(stored, keys).target if stored and stored.kind == asked.kind else None
    # Without keys it stays in clear: it is not stored, and another process has not to decrypt it.
    prepared = prepare(asked.kind, asked.target, SecretKeys(), job_id=job_id, kept=kept)
    clear = prepared.stored if prepared else (kept or {})
    referring = prepared.referring if prepared else check_target(asked.kind, clear)
    if refused := [*target_errors(asked.kind, clear, limits)]:
        raise InvalidInput(*refused)
    name = asked.name or (stored.name if stored else None)
    facts = facts_of(stored, job_id=job_id, name=name, document=document)
    draft = drafted(job_id, asked.kind, clear, facts, seconds=asked.timeout_seconds)
    return draft, referring


def draft_of_job(job: StoredJob, keys: SecretKeys, limits: KeyLimits, seconds: float) -> Draft:
    """Check the target of a job as it is stored.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    clear = decrypt_job(job, keys).target
    check_target(job.kind, clear)
    if refused := [*target_errors(job.kind, clear, limits)]:
        raise InvalidInput(*refused)
    facts = facts_of(job, job_id=job.id, name=job.name, document=None)
    return drafted(job.id, job.kind, clear, facts, seconds=seconds)


def drafted(
    job_id: UUID, kind: str, clear: dict[str, Any], facts: JobFacts, *, seconds: float
) -> Draft:
    """Put a test together, of a target in clear."""
    return Draft(
        job_id=job_id,
        name=facts.name,
        kind=kind,
        target=msgspec.json.encode(clear).decode(),
        masked=mask(target_type(kind), clear),
        timeout_seconds=seconds,
        facts=facts,
    )


def facts_of(
    job: StoredJob | None, *, job_id: UUID, name: str | None, document: JobDocument | None
) -> JobFacts:
    """Return what templates can say of a job: as it is typed where it is, else as it is stored."""
    written = document or job
    return JobFacts(
        id=job_id,
        name=name,
        tags=list(written.tags) if written else [],
        metadata=written.metadata if written else {},
        last_outcome=job.last_outcome if job else None,
        last_finished_at=job.last_finished_at if job else None,
        consecutive_failures=job.consecutive_failures if job else 0,
        runs=job.runs if job else 0,
    )
