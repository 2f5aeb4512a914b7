"""The work of bulk actions on jobs: which part comes next, what becomes of it, and a preview."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict, replace

from app.core.access.key_limits import KeyLimits
from app.core.jobs.identity import NIL
from app.core.jobs.job import JobDocument, JobState, PlannedJob, StoredJob, document_of
from app.core.jobs.patch import patched
from app.core.schedule.schedule import instant_error
from app.db import Database, bulk, jobs
from app.db.bulk import Done
from app.db.clock import PolledClock
from app.db.database import Runner
from app.db.jobs import JobFilter
from app.errors import AppError, InvalidInput, StateConflict
from app.jobs.actions import check_runnable, check_skippable
from app.jobs.calendars import check_calendars, to_judge
from app.jobs.input import Edit, draft_edit
from app.jobs.pauses import is_held
from app.vault import Referring, SecretKeys, check_bindings
from app.wire.bulk import (
    SAMPLE,
    BulkAction,
    BulkPreview,
    BulkProblem,
    BulkRequest,
    BulkSample,
)


class Held(AppError):
    """A job cannot be written just now: its row is locked, or was edited in between."""


class Item(Struct, frozen=True, kw_only=True):
    """One of the jobs, or executions, of a part."""

    key: str
    """The `reached` of a bulk action once it is done with this item."""
    job_id: UUID
    execution_id: int | None = None
    problem: str | None = None
    """Why the action fails for this one, if that is known beforehand."""
    is_done: bool = False
    """Whether there is nothing to do."""
    job: StoredJob | None = None
    edit: Edit | None = None
    run: datetime | None = None
    """The run that is to be carried out."""


class Part(Struct, frozen=True, kw_only=True):
    """What a step is about."""

    items: Sequence[Item]
    reached: str
    """What a bulk action has reached after this part."""
    is_last: bool
    wait_seconds: float | None = None
    """How long to wait until something can be done at all; None: not at all."""


class Work(Protocol):
    """What one bulk action does."""

    async def read(self, db: Database, *, reached: str | None, limit: int) -> Part:
        """Read the part behind `reached`, of at most `limit` items."""
        ...

    async def write(self, transaction: Runner, part: Part) -> Done:
        """Do all of a part that can be done.

        Raises:
            Held: one of them cannot be done just now; nothing of the part counts.
        """
        ...

    async def preview(self, db: Database) -> BulkPreview:
        """Count what there is to do, and show some of it."""
        ...


def done_with(part: Part, *, changed: int) -> Done:
    """Return what became of a part of which so many items were changed."""
    problems = [problem_of(one, one.problem) for one in part.items if one.problem]
    return Done(
        reached=part.reached,
        matched=len(part.items),
        changed=changed,
        unchanged=len(part.items) - len(problems) - changed,
        problems=problems,
    )


def problem_of(item: Item, problem: str) -> BulkProblem:
    """Word why an action failed for an item."""
    return BulkProblem(job_id=item.job_id, execution_id=item.execution_id, problem=problem[:500])


class OnJobs:
    """A bulk action on the jobs that match when their page is reached, the newest first.

    Jobs that were created after it was asked for are left alone.
    """

    def __init__(  # noqa: PLR0913 - what its items are judged by
        self,
        request: BulkRequest,
        wanted: JobFilter,
        keys: SecretKeys,
        clock: PolledClock,
        *,
        asked_at: datetime,
        limits: KeyLimits,
    ) -> None:
        self.request = request
        self.wanted = wanted
        if request.action is BulkAction.CANCEL:
            self.wanted = replace(wanted, state=JobState.EXECUTING)
        self.keys = keys
        self.clock = clock
        self.asked_at = asked_at
        self.limits = limits
        """The limits of the API key that asked, to which edits keep."""

    def __repr__(self) -> str:
        return f"<OnJobs: {self.request.action}>"

    async def read(self, db: Database, *, reached: str | None, limit: int) -> Part:
        before = None if reached is None else UUID(reached)
        page = await jobs.list_page(db, self.wanted, before=before, limit=limit)
        end = page.reached or (page.items[-1].id if page.items else before or NIL)
        found = [one for one in page.items if one.created_at <= self.asked_at]
        return Part(items=await self.judge(db, found), reached=str(end), is_last=not page.more)

    async def judge(self, db: Database, found: Sequence[StoredJob]) -> list[Item]:
        """Decide what is to become of jobs."""
        now = await self.clock.now()
        items = await asyncio.to_thread(lambda: [self.item(one, now=now) for one in found])
        return [await self.check(db, one) for one in items]

    def item(self, job: StoredJob, *, now: datetime) -> Item:
        """Decide what is to become of a job."""
        whole = Item(key=str(job.id), job_id=job.id, job=job)
        edit, is_done = None, False
        try:
            match self.request.action:
                case BulkAction.DELETE:
                    pass
                case BulkAction.RUN:
                    check_runnable(job)
                case BulkAction.SKIP:
                    check_skippable(job)
                    is_done = self.is_skipped(job)
                case BulkAction.UNSKIP:
                    is_done = job.skip_runs is None and job.skip_until is None
                case BulkAction.CANCEL:
                    whole = replace(whole, execution_id=job.execution_id)
                    is_done = job.execution_id is None
                case BulkAction.PAUSE:
                    is_done = self.is_paused(job)
                case BulkAction.RESUME:
                    is_done = not job.paused
                case BulkAction.RESCHEDULE:
                    edit = rescheduled(job, self.request)
                case _:
                    edit = draft_edit(job, self.edited, self.keys, now=now, limits=self.limits)
        except (InvalidInput, StateConflict) as error:
            return replace(whole, problem=str(error))
        return replace(whole, edit=edit, is_done=is_done if edit is None else edit.job is None)

    def is_paused(self, job: StoredJob) -> bool:
        """Whether a job is paused by itself already, and no other reason or end is given."""
        says_more = (self.request.why, self.request.up_to) != (None, None)
        return job.paused and not is_held(job) and not says_more

    def is_skipped(self, job: StoredJob) -> bool:
        """Whether all of a job's runs that are to be skipped are skipped already."""
        until = self.request.up_to
        return until is not None and (job.skip_runs, job.skip_until) == (None, until)

    def edited(self, job: StoredJob) -> JobDocument:
        """Return what a job is to become."""
        assert self.request.patch is not None  # noqa: S101 - see BulkRequest.errors
        return patched(document_of(job), self.request.patch)

    async def check(self, db: Database, item: Item) -> Item:
        """Return the item, with a problem if the database knows a reason to refuse its edit.

        The edit would send a named secret to a host that the secret is not bound to, or the
        calendars would close each run.
        """
        edit = item.edit
        if edit is None or edit.job is None:
            return item
        try:
            if edit.has_new_target and edit.referring.fields:
                await check_bindings(db, [edit.referring])
            if judged := to_judge(edit.job, stored(item)):
                await check_calendars(db, [judged])
        except InvalidInput as error:
            return replace(item, problem=str(error))
        return item

    async def write(self, transaction: Runner, part: Part) -> Done:
        wanted = [one for one in part.items if one.problem is None and not one.is_done]
        if not wanted:
            return done_with(part, changed=0)
        match self.request.action:
            case BulkAction.CANCEL:
                ids = [one.job_id for one in wanted]
                cancelled = await bulk.cancel_executing(transaction, ids, retry=self.request.retry)
                return done_with(part, changed=len(cancelled))
            case BulkAction.RUN:
                asked = await bulk.run_now(
                    transaction, [one.job_id for one in wanted], overlap=self.request.asked_overlap
                )
                written = {id for id, is_run in asked.items() if is_run}
            case BulkAction.SKIP | BulkAction.UNSKIP:
                written = await bulk.skip(
                    transaction,
                    [one.job_id for one in wanted],
                    runs=self.request.runs,
                    until=self.request.up_to,
                )
            case BulkAction.PAUSE:
                written = await bulk.pause(
                    transaction,
                    [one.job_id for one in wanted],
                    reason=self.request.why,
                    until=self.request.up_to,
                )
            case BulkAction.RESUME:
                written = await bulk.resume(
                    transaction, [one.job_id for one in wanted], missed=self.request.missed
                )
            case BulkAction.DELETE:
                written = await jobs.delete_many(
                    transaction,
                    [one.job_id for one in wanted],
                    unchanged_since=[stored(one).updated_at for one in wanted],
                )
            case _:
                written = await self.update(transaction, wanted)
        if missing := [one for one in wanted if one.job_id not in written]:
            message = f"the job {missing[0].job_id} was not written"
            raise Held(message)
        return done_with(part, changed=len(wanted))

    async def update(self, transaction: Runner, wanted: Sequence[Item]) -> set[UUID]:
        """Write edits."""
        is_moved = self.request.action is BulkAction.RESCHEDULE
        return await jobs.update_many(
            transaction,
            [planned(one) for one in wanted],
            unchanged_since=[stored(one).updated_at for one in wanted],
            checked=[one.edit is not None and one.edit.has_new_target for one in wanted],
            waiting_for=[stored(one).next_run for one in wanted] if is_moved else None,
        )

    async def preview(self, db: Database) -> BulkPreview:
        count, is_exact = await jobs.count(db, self.wanted)
        page = await jobs.list_page(db, self.wanted, before=None, limit=SAMPLE)
        sample = [shown(one) for one in await self.judge(db, page.items)]
        return BulkPreview(count=count, count_is_exact=is_exact, runs=None, sample=sample)


def stored(item: Item) -> StoredJob:
    assert item.job is not None  # noqa: S101 - items of jobs have theirs
    return item.job


def planned(item: Item) -> PlannedJob:
    assert item.edit is not None  # noqa: S101 - items of edits have theirs
    assert item.edit.job is not None  # noqa: S101 - else there is nothing to write
    return item.edit.job


def rescheduled(job: StoredJob, request: BulkRequest) -> Edit:
    """Move the next run of a job; a one-off that waits for its instant gets another one.

    Raises:
        StateConflict: the job does not wait for a run that could be moved.
        InvalidInput: the instant is out of range.
    """
    refusals = {
        JobState.EXECUTING: "it executes just now, and its next run is not planned yet",
        JobState.RETRYING: "it waits for a retry, which is not moved",
        JobState.INVALID: "it is invalid, so its runs are not planned",
    }
    if refusal := refusals.get(job.state):
        raise StateConflict(refusal)
    if job.next_run is None:
        message = "it has no next run"
        raise StateConflict(message)
    next_run = request.at or job.next_run + timedelta(seconds=request.shift_seconds or 0)
    if error := instant_error(next_run):
        message = f"its next run {error}"
        raise StateConflict(message)
    document: dict[str, Any] = asdict(document_of(job)) | {"paused": job.paused}
    once = job.run_at is not None
    if once:
        document["run_at"] = next_run
    moved = PlannedJob(**document, id=job.id, planned=not once, next_run=next_run)
    return Edit(
        job=None if next_run == job.next_run else moved, referring=Referring(), has_new_target=False
    )


def shown(item: Item) -> BulkSample:
    """Show an item in a preview."""
    job = stored(item)
    problem = item.problem or ("nothing would change" if item.is_done else None)
    edit = item.edit.job if item.edit else None
    after = None
    if edit is not None:
        after = edit.next_run if edit.planned or edit.run_at is None else edit.run_at
        if not edit.planned and edit.run_at is None:
            after = job.next_run
    return BulkSample(
        job_id=job.id,
        job_name=job.name,
        execution_id=item.execution_id,
        next_run=job.next_run,
        next_run_after=after,
        problem=problem,
    )
