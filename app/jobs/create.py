"""Creates jobs, one or many together."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from msgspec import Struct

from app.core.access.key_limits import KeyLimits
from app.core.field_errors import MAX_ERRORS
from app.core.field_paths import at_index
from app.core.jobs.beside import Effect
from app.core.jobs.job import JobDocument, PlannedJob, StoredJob
from app.db import Database, jobs
from app.errors import Deadlocked, FieldError, InvalidInput, NamesTaken, NameTaken
from app.jobs.calendars import check_calendars
from app.jobs.input import Draft, NewPlans, draft_new
from app.vault import Referring, SecretKeys, check_bindings

OneT = TypeVar("OneT")
OtherT = TypeVar("OtherT")
PART = 500
"""How many jobs of a batch are drafted at a time, while Postgres inserts those before them."""
TRIES = 5
"""How often a batch is tried: each try loses only to another one of the same new names."""


class Written(Struct, frozen=True, kw_only=True):
    """A job as stored after a write, with warnings of what would make its runs fail."""

    job: StoredJob
    warnings: Sequence[FieldError] = ()
    effect: Effect
    """What the write did."""


async def insert_drafts(db: Database, drafts: Sequence[Draft]) -> list[Written]:
    """Insert all of the jobs, or none.

    Raises:
        InvalidInput: a named secret may not be sent where one of them would send it.
        NameTaken: one of the names belongs to another job.
    """
    warnings = await check_bindings(db, [one.referring for one in drafts])
    await check_calendars(db, [one.job for one in drafts])
    stored = await jobs.insert(db, [one.job for one in drafts])
    return [
        Written(job=job, warnings=warnings.get(index, ()), effect=Effect.CREATED)
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
    for _ in range(TRIES - 1):
        with suppress(Deadlocked):  # the other one has the names by then, or has given them back
            return await create_once(db, documents, keys, now=now)
    return await create_once(db, documents, keys, now=now)


async def create_once(
    db: Database, documents: Sequence[JobDocument], keys: SecretKeys, *, now: datetime
) -> list[Written]:
    """Create jobs as `create_batch` does.

    Raises:
        Deadlocked: another transaction waited for names of these jobs, and this one for its.
        InvalidInput, NamesTaken: as `create_batch`.
    """
    batch = Batch(documents, keys, now=now, limits=db.limits)
    try:
        stored, warnings = await insert_by_parts(db, batch)
    except (InvalidInput, NameTaken) as refusal:
        await asyncio.to_thread(batch.draft_rest)  # what is wrong with other jobs is told first
        batch.check()
        await check_bindings(db, batch.referring)
        if isinstance(refusal, NameTaken):
            raise await find_taken_names(db, documents) from None
        raise
    return [
        Written(job=job, warnings=warnings.get(index, ()), effect=Effect.CREATED)
        for index, job in enumerate(stored)
    ]


async def insert_by_parts(
    db: Database, batch: "Batch"
) -> tuple[list[StoredJob], Mapping[int, list[FieldError]]]:
    """Insert all jobs of a batch, or none; return them, and warnings by index.

    A part is drafted while Postgres inserts the one before: either takes about half of the time.

    Raises:
        InvalidInput, NameTaken: as `insert_drafts` does, and for jobs that cannot be drafted.
    """
    stored: list[StoredJob] = []
    part = await asyncio.to_thread(batch.draft_part)
    async with db.transaction() as transaction:
        while part:
            places = range(len(stored), len(stored) + len(part))
            await check_calendars(transaction, part, places=places)
            inserted, part = await wait_for_both(
                jobs.insert(transaction, part), asyncio.to_thread(batch.draft_part)
            )
            stored += inserted
        batch.check()
        warnings = await check_bindings(transaction, batch.referring)
    return stored, warnings


async def wait_for_both(
    one: Coroutine[Any, Any, OneT], other: Coroutine[Any, Any, OtherT]
) -> tuple[OneT, OtherT]:
    """Wait for two, also where one fails: the other may be a thread, which goes on meanwhile."""
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    for result in (first, second):
        if isinstance(result, BaseException):
            raise result
    return first, second


class Batch:
    """The jobs of one request, checked, planned and encrypted part by part.

    All of them take up to a second or two of work, which is therefore not for the event loop.
    """

    def __init__(
        self,
        documents: Sequence[JobDocument],
        keys: SecretKeys,
        *,
        now: datetime,
        limits: KeyLimits,
    ) -> None:
        self.documents = documents
        self.keys = keys
        self.plans = NewPlans(now, limits=limits)
        self.errors = list(duplicates(documents))
        self.referring: list[Referring] = []
        """What the jobs drafted so far refer to, in the order of the jobs."""
        self.drafted = 0

    def __repr__(self) -> str:
        return f"<Batch: {self.drafted} of {len(self.documents)} drafted>"

    def draft_part(self) -> list[PlannedJob]:
        """Draft the next `PART` jobs; none if any job has errors, all of which are then known."""
        part = self.draft(PART)
        if self.errors:
            self.draft_rest()
            return []
        return part

    def draft_rest(self) -> None:
        """Draft all jobs that are left, for their errors and references."""
        self.draft(len(self.documents))

    def draft(self, most: int) -> list[PlannedJob]:
        """Draft up to so many jobs, and note the errors of those that cannot be."""
        part: list[PlannedJob] = []
        for index, document in islice(enumerate(self.documents), self.drafted, self.drafted + most):
            try:
                draft = draft_new(document, self.keys, plans=self.plans)
            except InvalidInput as refusal:
                self.errors += [at_index(index, one) for one in refusal.errors]
            else:
                part.append(draft.job)
                self.referring.append(draft.referring)
        self.drafted = min(self.drafted + most, len(self.documents))
        return part

    def check(self) -> None:
        """Refuse the batch for the errors of its jobs.

        Raises:
            InvalidInput: naming every field of every job that is wrong, up to `MAX_ERRORS`.
        """
        if self.errors:
            raise InvalidInput(*self.errors[:MAX_ERRORS])


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


async def find_taken_names(db: Database, documents: Sequence[JobDocument]) -> NamesTaken:
    """Return the error that says which names belong to jobs that exist."""
    names = [document.name for document in documents if document.name is not None]
    taken = await jobs.find_ids(db, names)
    errors = [
        FieldError(field=f"[{index}].name", message="another job already has this name")
        for index, document in enumerate(documents)
        if document.name in taken
    ]
    return NamesTaken(*errors[:MAX_ERRORS])
