"""Creates jobs, one or many together."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from app.core.field_errors import MAX_ERRORS
from app.core.field_paths import at_index
from app.core.jobs.job import JobDocument, StoredJob
from app.db import Database, jobs
from app.errors import FieldError, InvalidInput, NamesTaken, NameTaken
from app.jobs.input import Draft, NewPlans, draft_new
from app.vault import SecretKeys, check_bindings


class Written(Struct, frozen=True, kw_only=True):
    """A job as stored after a write, with warnings of what would make its runs fail."""

    job: StoredJob
    warnings: Sequence[FieldError] = ()
    is_new: bool = False


async def insert_drafts(db: Database, drafts: Sequence[Draft]) -> list[Written]:
    """Insert all of the jobs, or none.

    Raises:
        InvalidInput: a named secret may not be sent where one of them would send it.
        NameTaken: one of the names belongs to another job.
    """
    warnings = await check_bindings(db, [one.referring for one in drafts])
    stored = await jobs.insert(db, [one.job for one in drafts])
    return [
        Written(job=job, warnings=warnings.get(index, ()), is_new=True)
        for index, job in enumerate(stored)
    ]


async def create_batch(
    db: Database, documents: Sequence[JobDocument], keys: SecretKeys, *, now: datetime
) -> list[Written]:
    """Create all of the jobs, or none; return them in the same order.

    Raises:
        InvalidInput: naming every field of every job that is wrong, up to `MAX_ERRORS`.
        NamesTaken: naming the jobs whose name another job has.
    """
    drafts = await asyncio.to_thread(draft_batch, documents, keys, now=now)
    try:
        return await insert_drafts(db, drafts)
    except NameTaken:
        raise await names_taken(db, documents) from None


def draft_batch(
    documents: Sequence[JobDocument], keys: SecretKeys, *, now: datetime
) -> list[Draft]:
    """Check, plan and encrypt all of the jobs: up to a second's work, so not for the event loop.

    Raises:
        InvalidInput: as `create_batch` does.
    """
    errors = list(duplicates(documents))
    plans = NewPlans(now)
    drafts = []
    for index, document in enumerate(documents):
        try:
            drafts.append(draft_new(document, keys, plans=plans))
        except InvalidInput as refusal:
            errors += [at_index(index, one) for one in refusal.errors]
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
    return drafts


def duplicates(documents: Sequence[JobDocument]) -> list[FieldError]:
    """Find the names that are given twice."""
    first: dict[str, int] = {}
    errors = []
    for index, document in enumerate(documents):
        if document.name is None:
            continue
        if (earlier := first.setdefault(document.name, index)) != index:
            message = f"is the name of [{earlier}] too: give each job its own"
            errors.append(FieldError(field=f"[{index}].name", message=message))
    return errors


async def names_taken(db: Database, documents: Sequence[JobDocument]) -> NamesTaken:
    """Say which names belong to jobs that exist."""
    names = [document.name for document in documents if document.name is not None]
    taken = await jobs.find_taken_names(db, names)
    errors = [
        FieldError(field=f"[{index}].name", message="another job already has this name")
        for index, document in enumerate(documents)
        if document.name in taken
    ]
    return NamesTaken(*errors[:MAX_ERRORS])
