"""Creates jobs by their names, or replaces those that there are: many together, all or none."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from app.core.access.key_limits import KeyLimits
from app.core.field_errors import MAX_ERRORS
from app.core.field_paths import at_index
from app.core.jobs.beside import Effect
from app.core.jobs.identity import NIL
from app.core.jobs.job import PlannedJob, StoredJob
from app.db import Database, jobs
from app.db.clock import PolledClock
from app.db.database import Acting
from app.errors import (
    Deadlocked,
    EditsConflict,
    FieldError,
    InvalidInput,
    NameTaken,
    StateConflict,
    WriteSuppressed,
)
from app.jobs.calendars import check_calendars, to_judge
from app.jobs.create import PART, Written, duplicates, wait_for_both
from app.jobs.edit import TRIES
from app.jobs.input import Edit, NewPlans, draft_edit, draft_new
from app.jobs.key_limits import queue
from app.vault import Referring, SecretKeys, check_bindings
from app.wire.batch import Named
from app.wire.jobs import VERSION

WHOLE_TRIES = 5
"""How often a batch is tried: each try loses only to a job that was created meanwhile, or to a set
that locked some of its jobs in another order."""
NAMELESS = "is missing, and jobs are replaced by their names: give it, or leave replace=true out"


class Drafted(Struct, frozen=True, kw_only=True):
    """A job of a batch, checked and planned."""

    index: int
    """Its place in the batch."""
    stored: StoredJob | None
    """The job that it replaces; None: it is new."""
    edit: Edit


async def replace_batch(
    db: Database, clock: PolledClock, keys: SecretKeys, given: Sequence[Named]
) -> list[Written]:
    """Create the jobs of these names, or replace those that there are; return them in their order.

    Raises:
        InvalidInput: naming every field of every job that is wrong, up to `MAX_ERRORS`.
        EditsConflict: naming the jobs that are not of the version that was to be replaced.
        StateConflict: others edit, create and delete these jobs all the time.
        WriteSuppressed: a trigger of users suppresses one of the edits.
    """
    check_names(given)
    for _ in range(WHOLE_TRIES):
        # Asked while no connection is held: those that wait here may hold all others.
        replacing = Replacing(given, keys, now=await clock.now(), limits=db.limits)
        try:
            # A job was created meanwhile: replace that one. Or a set waited for these rows.
            with suppress(NameTaken, Deadlocked):
                async with db.transaction() as transaction:
                    return await replacing.write(transaction)
        except InvalidInput:
            await replacing.draft_rest(db)  # what is wrong with other jobs is told first
            replacing.check()
            await replacing.find_warnings(db)
            raise
    message = "jobs of these names are being created and deleted by others all the time: try again"
    raise StateConflict(message)


def check_names(given: Sequence[Named]) -> None:
    """Refuse jobs that have no name, and names that are given twice.

    Raises:
        InvalidInput: naming each.
    """
    errors = [
        FieldError(field=f"[{index}].name", message=NAMELESS)
        for index, one in enumerate(given)
        if one.document.name is None
    ]
    errors += duplicates([one.document for one in given])
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])


class Replacing:
    """The jobs of one request, read, checked, planned and written part by part.

    A part is drafted while Postgres writes the one before and reads the one after. Jobs that exist
    come in the order of their ids, and new ones in the order of their names: so one of two such
    requests may wait for rows of the other, but never both at once.
    """

    def __init__(
        self, given: Sequence[Named], keys: SecretKeys, *, now: datetime, limits: KeyLimits
    ) -> None:
        self.given = given
        self.keys = keys
        self.now = now
        self.plans = NewPlans(now, limits=limits)
        self.errors: list[FieldError] = []
        self.conflicts: list[FieldError] = []
        self.left: list[int] = []
        """The jobs that have yet to be drafted, by their places."""
        self.referring: dict[int, Referring] = {}
        self.stored_so: set[int] = set()
        """The jobs whose targets stay as they are."""
        self.tried: dict[int, tuple[UUID, datetime]] = {}
        """The versions of jobs that were to be replaced."""
        self.written: dict[int, Written] = {}

    def __repr__(self) -> str:
        return f"<Replacing: {len(self.written)} of {len(self.given)} written>"

    def name(self, index: int) -> str:
        return self.given[index].document.name or ""

    async def write(self, db: Acting) -> list[Written]:
        """Write all jobs.

        Raises:
            NameTaken: a job was created meanwhile.
            InvalidInput, EditsConflict, StateConflict, WriteSuppressed: as `replace_batch`.
        """
        ids = await jobs.find_ids(db, [one.document.name or "" for one in self.given])
        if len(ids) < len(self.given):
            await queue(db)
        places = range(len(self.given))
        self.left = sorted(places, key=lambda one: placed(self.name(one), ids))
        for _ in range(TRIES):
            if not self.left:
                break
            self.left = await self.write_left(db)
            self.check()
        else:
            message = "these jobs are being edited by others all the time: try again"
            raise StateConflict(message)
        warnings = await self.find_warnings(db)
        return [
            Written(job=one.job, effect=one.effect, warnings=warnings.get(index, ()))
            for index, one in sorted(self.written.items())
        ]

    async def write_left(self, db: Acting) -> list[int]:
        """Draft and write the jobs that are left; return those that were edited meanwhile."""
        missed: list[int] = []
        drafted: list[Drafted] = []
        part, found = await self.read_next(db)
        while part or drafted:
            writing, drafted_then = drafted, asyncio.to_thread(self.draft, part, found)
            (again, (part, found)), drafted = await wait_for_both(
                self.step(db, writing), drafted_then
            )
            missed += again
        return missed

    async def step(
        self, db: Acting, drafted: Sequence[Drafted]
    ) -> tuple[list[int], tuple[list[int], Mapping[str | None, StoredJob]]]:
        """Write a part, and read the one after the next."""
        again = [] if self.errors or self.conflicts else await self.write_part(db, drafted)
        return again, await self.read_next(db)

    async def read_next(self, db: Acting) -> tuple[list[int], Mapping[str | None, StoredJob]]:
        """Take the next part of what is left, and read the jobs that there are of it."""
        part, self.left = self.left[:PART], self.left[PART:]
        names = [self.name(index) for index in part]
        found = await jobs.find_many(db, ids=[], names=names) if names else []
        return part, {job.name: job for job in found}

    def draft(self, part: Sequence[int], found: Mapping[str | None, StoredJob]) -> list[Drafted]:
        """Check and plan some jobs; note the errors of those that cannot be written."""
        drafted = []
        for index in part:
            named = self.given[index]
            stored = found.get(named.document.name)
            if conflict := version_error(named, stored):
                self.conflicts.append(FieldError(field=f"[{index}].{VERSION}", message=conflict))
                continue
            try:
                edit = self.edit(named, stored)
            except InvalidInput as refusal:
                self.errors += [at_index(index, one) for one in refusal.errors]
                continue
            self.referring[index] = edit.referring
            if not edit.has_new_target:
                self.stored_so.add(index)
            drafted.append(Drafted(index=index, stored=stored, edit=edit))
        return drafted

    def edit(self, named: Named, stored: StoredJob | None) -> Edit:
        """Check and plan one job.

        Raises:
            InvalidInput: naming every field that is wrong.
        """
        if stored is not None:
            limits = self.plans.limits
            return draft_edit(
                stored, lambda _: named.document, self.keys, now=self.now, limits=limits
            )
        draft = draft_new(named.document, self.keys, plans=self.plans)
        return Edit(job=draft.job, referring=draft.referring, has_new_target=True)

    async def write_part(self, db: Acting, drafted: Sequence[Drafted]) -> list[int]:
        """Write some jobs; return those that were edited meanwhile.

        Raises:
            InvalidInput, NameTaken, WriteSuppressed: as `write`.
        """
        new = [(one.index, one.edit.job) for one in drafted if one.edit.job and not one.stored]
        changed = [one for one in drafted if one.stored and one.edit.job]
        for one in drafted:
            if one.stored and one.edit.job is None:
                self.written[one.index] = Written(job=one.stored, effect=Effect.UNCHANGED)
        await self.check_calendars(db, drafted)
        again = await self.write_changed(db, changed) if changed else []
        if new:
            inserted = await jobs.insert(db, [job for _, job in new])
            for (index, _), job in zip(new, inserted, strict=True):
                self.written[index] = Written(job=job, effect=Effect.CREATED)
        return again

    async def write_changed(self, db: Acting, changed: Sequence[Drafted]) -> list[int]:
        """Replace some jobs; return those that were edited meanwhile.

        Raises:
            WriteSuppressed: one stays as it is, although nobody edited it.
        """
        for one in changed:
            assert one.stored is not None  # noqa: S101 - for mypy
            version = (one.stored.id, one.stored.updated_at)
            if self.tried.get(one.index) == version:
                raise WriteSuppressed(f"the job {one.stored.name!r}")
            self.tried[one.index] = version
        written = await jobs.replace_many(
            db,
            [one.edit.job for one in changed if one.edit.job],
            unchanged_since=[one.stored.updated_at for one in changed if one.stored],
            checked=[one.edit.has_new_target for one in changed],
        )
        again = []
        for one in changed:
            job = written.get(one.edit.job.id) if one.edit.job else None
            if job is None:
                again.append(one.index)
            else:
                self.written[one.index] = Written(job=job, effect=Effect.UPDATED)
        return again

    async def check_calendars(self, db: Acting, drafted: Sequence[Drafted]) -> None:
        """Refuse jobs whose calendars close all their runs.

        Raises:
            InvalidInput: naming the first such job.
        """
        judged: dict[int, PlannedJob] = {
            one.index: job
            for one in drafted
            if one.edit.job is not None and (job := to_judge(one.edit.job, one.stored)) is not None
        }
        await check_calendars(db, [*judged.values()], places=[*judged])

    async def draft_rest(self, db: Acting) -> None:
        """Draft all jobs that are left, for their errors and references."""
        while self.left:
            part, found = await self.read_next(db)
            await asyncio.to_thread(self.draft, part, found)

    def check(self) -> None:
        """Refuse the batch for the errors of its jobs.

        Raises:
            InvalidInput, EditsConflict: as `replace_batch`.
        """
        if self.errors:
            raise InvalidInput(*in_order(self.errors))
        if self.conflicts:
            raise EditsConflict(*in_order(self.conflicts))

    async def find_warnings(self, db: Acting) -> Mapping[int, Sequence[FieldError]]:
        """Return warnings of named secrets that are not set, by the place of the job.

        Raises:
            InvalidInput: a named secret may not be sent where one of the jobs would send it.
        """
        referring = [self.referring.get(index, Referring()) for index in range(len(self.given))]
        return await check_bindings(db, referring, stored_so=self.stored_so)


def placed(name: str, ids: Mapping[str, UUID]) -> tuple[bool, UUID, str]:
    """Return by what the jobs of a batch are put in order."""
    id = ids.get(name)
    return id is None, id or NIL, name


def version_error(named: Named, stored: StoredJob | None) -> str | None:
    """Say why a job is not of the version that is to be replaced; None if it is."""
    if named.unchanged_since is None:
        return None
    if stored is None:
        return "there is no job of this name: it was deleted or renamed; leave it out to create one"
    if stored.updated_at != named.unchanged_since:
        at = stored.updated_at.isoformat()
        return f"the job was edited: its updated_at is {at}; read it again, and edit that"
    return None


def in_order(errors: Sequence[FieldError]) -> list[FieldError]:
    """Return the first errors, in the order of their jobs."""
    return sorted(errors, key=lambda one: int(one.field[1 : one.field.index("]")]))[:MAX_ERRORS]
