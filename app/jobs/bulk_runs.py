"""The work of bulk actions that ask for runs beside the plan: replay, redrive, backfill."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from app.core.jobs.identity import NIL
from app.core.jobs.job import StoredJob, document_of
from app.core.runs.expectation import CHECK
from app.core.schedule.backfill import count_in, runs_in
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import check, normalized
from app.db import Database, bulk, executions, jobs
from app.db.bulk import Done, Room
from app.db.database import Runner
from app.db.executions import ExecutionFilter
from app.db.jobs import JobFilter
from app.errors import FieldError, InvalidInput, JobNotFound
from app.jobs.bulk import Held, Item, Part, done_with
from app.wire.actions import AskedOverlap
from app.wire.bulk import SAMPLE, BulkAction, BulkPreview, BulkRequest, BulkSample
from app.wire.executions import Execution

MAX_WAITING = 10
"""How many runs of one job are asked for at a time. More are once these are over: its plan, which
waits for them, goes on in between."""
BUSY_SECONDS = 0.25
"""How long to wait for runs of a job to end, before more are asked for."""
MAX_COUNTED = 1000
"""The runs of how many jobs a preview counts."""
MAX_RUNS = 1_000_000
"""Up to how many runs of a job a preview counts."""


def refusal(room: Room | None) -> str | None:
    """Say why runs of a job would not be carried out; None if they would."""
    if room is None:
        return "the job was deleted: create it again"
    if room.kind == CHECK:
        return "a check only expects pings, and has nothing to run: run what sends them"
    if room.invalid:
        return "the job is invalid: correct it first"
    return "the job is paused: resume it first" if room.paused else None


def fitting(items: Sequence[Item], rooms: dict[UUID, Room]) -> list[Item]:
    """Return the first items, up to one whose job has runs waiting, or gets too many."""
    asked: Counter[UUID] = Counter()
    for place, item in enumerate(items):
        if item.problem is None:
            if rooms[item.job_id].pending_runs > 0 or asked[item.job_id] == MAX_WAITING:
                return list(items[:place])
            asked[item.job_id] += 1
    return list(items)


async def add(transaction: Runner, part: Part, *, request: str, overlap: AskedOverlap) -> Done:
    """Ask for the runs of a part.

    Raises:
        Held: one of the jobs is locked, or a trigger of users suppressed a run.
        InvalidInput: the overlap that was asked for refuses one of them.
    """
    wanted = [one for one in part.items if one.problem is None]
    if not wanted:
        return done_with(part, changed=0)
    found = await bulk.add_runs(
        transaction,
        [one.job_id for one in wanted],
        [one.run for one in wanted if one.run is not None],
        request=request,
        overlap=overlap,
    )
    if found.held < len(wanted) or found.added < found.held - found.pending:
        message = f"a run of the job {wanted[0].job_id} was not written"
        raise Held(message)
    return done_with(part, changed=found.added)


class OnExecutions:
    """Replays the runs of past executions, those that ended last first, each run once.

    A run stands by its last execution: that has to match. What ends after the action was asked for
    is left alone, so no replay is replayed.
    """

    def __init__(
        self, request: BulkRequest, wanted: ExecutionFilter, *, asked_at: datetime
    ) -> None:
        self.overlap = request.asked_overlap
        until = asked_at if wanted.until is None else min(wanted.until, asked_at)
        if request.action is BulkAction.REDRIVE:
            self.wanted = replace(wanted, until=until, dead_letter=True)
        else:
            self.wanted = replace(wanted, until=until, last_of_run=True)

    def __repr__(self) -> str:
        return f"<OnExecutions: {self.wanted}>"

    async def read(self, db: Database, *, reached: str | None, limit: int) -> Part:
        before = None if reached is None else int(reached)
        page = await executions.list_page(db, self.wanted, before=before, limit=limit)
        rooms = await bulk.find_room(db, [one.job_id for one in page.items])
        items = [item_of(one, rooms) for one in page.items]
        fit = fitting(items, rooms)
        if items and not fit:
            return Part(items=[], reached="", is_last=False, wait_seconds=BUSY_SECONDS)
        if len(fit) < len(items):
            return Part(items=fit, reached=fit[-1].key, is_last=False)
        end = page.reached or (page.items[-1].id if page.items else before or 0)
        return Part(items=items, reached=str(end), is_last=not page.more)

    async def write(self, transaction: Runner, part: Part) -> Done:
        return await add(transaction, part, request="replay", overlap=self.overlap)

    async def preview(self, db: Database) -> BulkPreview:
        outcomes, is_exact = await executions.count(db, self.wanted)
        page = await executions.list_page(db, self.wanted, before=None, limit=SAMPLE)
        rooms = await bulk.find_room(db, [one.job_id for one in page.items])
        sample = [
            BulkSample(
                job_id=one.job_id,
                job_name=one.job_name,
                execution_id=one.id,
                problem=refusal(rooms.get(one.job_id)),
            )
            for one in page.items
        ]
        return BulkPreview(
            count=sum(outcomes.values()),
            count_is_exact=is_exact,
            runs=None,
            outcomes=outcomes,
            sample=sample,
        )


def item_of(execution: Execution, rooms: dict[UUID, Room]) -> Item:
    """Return what there is to do for an execution."""
    return Item(
        key=str(execution.id),
        job_id=execution.job_id,
        execution_id=execution.id,
        run=execution.scheduled_for,
        problem=refusal(rooms.get(execution.job_id)),
    )


class Reached(Struct, frozen=True, kw_only=True):
    """How far a backfill is."""

    job_id: UUID | None = None
    run: datetime | None = None
    """The last run of that job that was asked for; None: all of them were."""

    @classmethod
    def read(cls, text: str | None) -> "Reached":
        """Read what `str` wrote."""
        if text is None:
            return cls()
        id, _, run = text.partition(" ")
        return cls(job_id=UUID(id), run=datetime.fromisoformat(run) if run else None)

    def __str__(self) -> str:
        return f"{self.job_id} {self.run.isoformat()}" if self.run else str(self.job_id)


class Backfill:
    """Asks for the runs that schedules have in a range, job after job, those of a job in order."""

    def __init__(self, request: BulkRequest, wanted: JobFilter, *, asked_at: datetime) -> None:
        assert request.since is not None  # noqa: S101 - see BulkRequest.errors
        assert request.until is not None  # noqa: S101 - as above
        if request.until > asked_at:
            message = "has not come yet: write an instant that has passed"
            raise InvalidInput(FieldError(field="to", message=message))
        self.overlap = request.asked_overlap
        self.since = request.since
        self.until = request.until
        self.wanted = wanted
        self.asked_at = asked_at

    def __repr__(self) -> str:
        return f"<Backfill: from {self.since} to {self.until}>"

    async def read(self, db: Database, *, reached: str | None, limit: int) -> Part:
        at = Reached.read(reached)
        if at.job_id is not None and at.run is not None:
            try:
                return await self.part(db, await jobs.find(db, str(at.job_id)), at, limit=limit)
            except JobNotFound:  # deleted meanwhile
                return Part(items=[], reached=str(at.job_id), is_last=False)
        page = await jobs.list_page(db, self.wanted, before=at.job_id, limit=1)
        for job in page.items:
            if job.created_at <= self.asked_at:
                return await self.part(db, job, Reached(), limit=limit)
            return Part(items=[], reached=str(job.id), is_last=False)
        end = page.reached or at.job_id or NIL
        return Part(items=[], reached=str(end), is_last=not page.more)

    async def part(self, db: Database, job: StoredJob, at: Reached, *, limit: int) -> Part:
        """Return the next runs of a job."""
        room = (await bulk.find_room(db, [job.id])).get(job.id)
        if problem := refusal(room):
            item = Item(key=str(job.id), job_id=job.id, problem=problem)
            return Part(items=[item], reached=str(job.id), is_last=False)
        if room is not None and room.pending_runs > 0:
            return Part(items=[], reached="", is_last=False, wait_seconds=BUSY_SECONDS)
        since = self.since if at.run is None else at.run + TICK
        many = min(limit, MAX_WAITING)
        try:
            runs = await asyncio.to_thread(self.runs, job, room, since, many)
        except InvalidInput as error:
            item = Item(key=str(job.id), job_id=job.id, problem=str(error))
            return Part(items=[item], reached=str(job.id), is_last=False)
        items = [
            Item(key=str(Reached(job_id=job.id, run=run)), job_id=job.id, run=run) for run in runs
        ]
        end = items[-1].key if len(items) == many else str(job.id)
        return Part(items=items, reached=end, is_last=False)

    def runs(
        self, job: StoredJob, room: Room | None, since: datetime, limit: int
    ) -> list[datetime]:
        """List the next runs of a job.

        Raises:
            InvalidInput: the job's schedule cannot be.
        """
        schedule = normalized(document_of(job).schedule())
        check(schedule, job_id=job.id, now=self.asked_at)
        return runs_in(
            schedule,
            job_id=job.id,
            anchor=(room and room.scheduled_for) or job.created_at,
            since=since,
            until=self.until,
            limit=limit,
        )

    async def write(self, transaction: Runner, part: Part) -> Done:
        return await add(transaction, part, request="backfill", overlap=self.overlap)

    async def preview(self, db: Database) -> BulkPreview:
        count, is_exact = await jobs.count(db, self.wanted)
        total = 0
        sample: list[BulkSample] = []
        before: UUID | None = None
        for _ in range(MAX_COUNTED // 50):
            page = await jobs.list_page(db, self.wanted, before=before, limit=50)
            rooms = await bulk.find_room(db, [one.id for one in page.items])
            shown = await asyncio.to_thread(
                lambda: [self.shown(one, rooms.get(one.id)) for one in page.items]  # noqa: B023 - awaited
            )
            total += sum(one.runs or 0 for one in shown)
            sample += shown[: SAMPLE - len(sample)]
            before = page.reached or (page.items[-1].id if page.items else NIL)
            if not page.more:
                return BulkPreview(count=count, count_is_exact=is_exact, runs=total, sample=sample)
        return BulkPreview(count=count, count_is_exact=is_exact, runs=None, sample=sample)

    def shown(self, job: StoredJob, room: Room | None) -> BulkSample:
        """Show a job in the preview, with how many runs it has in the range."""
        problem = refusal(room)
        runs = None
        try:
            schedule = normalized(document_of(job).schedule())
            check(schedule, job_id=job.id, now=self.asked_at)
            runs = count_in(
                schedule,
                job_id=job.id,
                anchor=(room and room.scheduled_for) or job.created_at,
                since=self.since,
                until=self.until,
                limit=MAX_RUNS,
            )
        except InvalidInput as error:
            problem = str(error)
        return BulkSample(
            job_id=job.id,
            job_name=job.name,
            next_run=job.next_run,
            runs=None if problem else runs,
            problem=problem,
        )
