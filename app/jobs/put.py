"""Creates a job by its name, or replaces the job of that name."""

import asyncio
from contextlib import suppress

from msgspec.structs import replace

from app.core.jobs.job import JobDocument
from app.core.jobs.names import form_error
from app.db import Database
from app.db.clock import PolledClock
from app.errors import EditConflict, FieldError, InvalidInput, JobNotFound, NameTaken, StateConflict
from app.jobs.create import Written, insert_drafts
from app.jobs.edit import TRIES, edit_job
from app.jobs.input import NewPlans, draft_new
from app.vault import SecretKeys


def check_put_name(name: str) -> None:
    """Refuse a name that no job has, nor has had: others can be replaced, if not created.

    Raises:
        InvalidInput: naming the field.
    """
    if error := form_error(name):
        raise InvalidInput(FieldError(field="name", message=error))


async def put_job(  # noqa: PLR0913 - what it takes to read, compare and write
    db: Database,
    clock: PolledClock,
    secret_keys: SecretKeys,
    name: str,
    document: JobDocument,
    *,
    if_match: str | None = None,
) -> Written:
    """Create the job of this name, or replace it; an equal document changes nothing.

    Raises:
        InvalidInput: naming every field that is wrong.
        EditConflict: `If-Match` does not name the job's version, or there is no such job.
        StateConflict: others edit, create and delete the job all the time.
    """
    check_put_name(name)
    if document.name not in (None, name):
        message = f"is not the name in the address, {name!r}: leave it out, or rename with PATCH"
        raise InvalidInput(FieldError(field="name", message=message))
    document = replace(document, name=name)
    for _ in range(TRIES):
        with suppress(JobNotFound):
            return await edit_job(
                db, clock, secret_keys, name, lambda _: document, if_match=if_match
            )
        if if_match is not None:
            message = f"no job has the name {name!r}, so If-Match cannot name its version"
            raise EditConflict(message)
        now = await clock.now()
        plans = NewPlans(now, limits=db.limits)
        draft = await asyncio.to_thread(draft_new, document, secret_keys, plans=plans)
        with suppress(NameTaken):  # the job was created meanwhile: replace that one
            [written] = await insert_drafts(db, [draft])
            return written
    message = f"the job {name!r} is being created and deleted by others all the time: try again"
    raise StateConflict(message)
