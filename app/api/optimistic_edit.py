"""Edits that win: read, change, write only if nobody else wrote in between, else once more."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from app.api.etag import require_match
from app.api.job_input import decrypt_job, edited_job, encrypt_job
from app.core.jobs.exact_json import same
from app.core.jobs.job import JobDocument, PlannedJob, StoredJob
from app.db import Database, jobs
from app.db.clock import PolledClock
from app.errors import FieldError, StateConflict
from app.targets.registry import KINDS
from app.vault import SecretKeys, check_bindings, find_unset, referring

TRIES = 20


class Edited(Struct, frozen=True, kw_only=True):
    """A job as it is after an edit, and what makes its runs fail as things are."""

    job: StoredJob
    warnings: Sequence[FieldError]


Change = Callable[[StoredJob], JobDocument]


def changed(stored: StoredJob, change: Change, now: datetime) -> PlannedJob | None:
    """Apply a change; None: it changes nothing.

    Raises:
        InvalidInput: the change leads to a job that cannot be.
    """
    return edited_job(change(stored), stored, now=now)


async def edit_job(  # noqa: PLR0913 - what an edit needs
    db: Database,
    clock: PolledClock,
    secret_keys: SecretKeys,
    reference: str,
    change: Change,
    *,
    if_match: str | None,
) -> Edited:
    """Change a job and return it as it then is; a change that changes nothing writes nothing.

    Raises:
        JobNotFound: there is none of that id or name.
        EditConflict: it is not the version that `If-Match` names.
        InvalidInput, NameTaken: the change leads to a job that cannot be.
        StateConflict: others edit it all the time.
    """
    for _ in range(TRIES):
        stored = await jobs.find(db, reference)
        require_match(if_match, stored)
        clear = decrypt_job(stored, secret_keys)
        # In a thread, as a target may have ten thousands of values.
        now = await clock.now()
        job = await asyncio.to_thread(changed, clear, change, now)
        if job is None or (job.kind == clear.kind and same(job.target, clear.target)):
            known = clear.kind in KINDS
            warnings = await find_unset(db, clear.kind, clear.target) if known else []
            job = job and replace(job, target=stored.target)
        else:
            found = await check_bindings(db, [referring(job.kind, job.target)])
            warnings = found.get(0, [])
            job = encrypt_job(job, secret_keys)
        if job is None:
            return Edited(job=stored, warnings=warnings)
        written = await jobs.update(db, job, unchanged_since=stored.updated_at)
        if written is not None:
            return Edited(job=written, warnings=warnings)
    message = f"the job {reference!r} is being edited by others all the time: try again"
    raise StateConflict(message)
