"""Edits a job that others may edit meanwhile: read, change, write if unchanged, else once more."""

import asyncio
from datetime import datetime
from uuid import UUID

from app.core.jobs.beside import Effect
from app.db import Database, jobs
from app.db.clock import PolledClock
from app.errors import StateConflict, WriteSuppressed
from app.jobs.calendars import check_calendars, to_judge
from app.jobs.create import Written
from app.jobs.etag import require_match
from app.jobs.input import Change, draft_edit
from app.vault import SecretKeys, check_bindings, find_unset

TRIES = 20
"""How often an edit is tried: each try loses only to an edit that was written meanwhile."""


async def edit_job(  # noqa: PLR0913 - what an edit needs
    db: Database,
    clock: PolledClock,
    secret_keys: SecretKeys,
    reference: str,
    change: Change,
    *,
    if_match: str | None = None,
) -> Written:
    """Change a job and return it as stored; a change that changes nothing writes nothing.

    Raises:
        JobNotFound: no job has that id or name.
        EditConflict: `If-Match` does not name the job's version.
        InvalidInput, NameTaken: the change leads to a job that cannot be.
        StateConflict: others edit the job all the time.
        WriteSuppressed: a trigger of users suppresses the edit.
    """
    tried: tuple[UUID, datetime] | None = None
    for _ in range(TRIES):
        stored = await jobs.find(db, reference)
        if tried == (stored.id, stored.updated_at):  # no other edit was in the way
            raise WriteSuppressed(f"the job {reference!r}")
        tried = (stored.id, stored.updated_at)
        require_match(if_match, stored)
        now = await clock.now()
        # In a thread, as a target may have ten thousands of values.
        edit = await asyncio.to_thread(
            draft_edit, stored, change, secret_keys, now=now, limits=db.limits
        )
        if edit.has_new_target:
            warnings = (await check_bindings(db, [edit.referring])).get(0, [])
        else:
            warnings = await find_unset(db, edit.referring)
        if edit.job is None:
            return Written(job=stored, warnings=warnings, effect=Effect.UNCHANGED)
        if judged := to_judge(edit.job, stored):
            await check_calendars(db, [judged])
        written = await jobs.update(
            db, edit.job, unchanged_since=stored.updated_at, checked=edit.has_new_target
        )
        if written is not None:
            return Written(job=written, warnings=warnings, effect=Effect.UPDATED)
    message = f"the job {reference!r} is being edited by others all the time: try again"
    raise StateConflict(message)
