"""The list of jobs, and the page of one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery
from msgspec import Struct

from app.api.access import Caller
from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.jobs.job import SCHEDULE_FIELDS, Job, StoredJob
from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import Schedule, normalized, run_after
from app.core.schedule.zones import zone_named
from app.db import audit, executions, explanations, jobs, pages
from app.db.database import Database
from app.db.executions import ExecutionFilter
from app.errors import InvalidInput
from app.jobs.filters import job_filter
from app.jobs.shown import masked_job
from app.web.parameters import Reader
from app.web.pictures import STRIP_BARS, Ended
from app.web.rendering import page
from app.web.search import OF_JOBS, Search, searched
from app.wire.audit import AuditEntry
from app.wire.executions import Execution
from app.wire.pages import JOBS, JOBS_BY_NEXT_RUN

ON_A_PAGE = 25
RUNS_AHEAD = 10
EDITS = 10
SORTS = {"newest": "Newest", "next_run": "Next run"}


class Row(Struct, frozen=True, kw_only=True):
    """A job in the list."""

    job: StoredJob
    ended: Sequence[Ended]


class AheadRun(Struct, frozen=True, kw_only=True):
    """A run to come: the instant, and what clocks of the job's zone show then."""

    at: datetime
    local: datetime
    skipped: bool


class Run(Struct, frozen=True, kw_only=True):
    """The executions of one run, the last attempt first."""

    scheduled_for: datetime
    attempts: Sequence[Execution]


@get("/jobs", opt={"scope": Scope.READ})
async def jobs_page(  # noqa: PLR0913 - one parameter for each of the query's
    *,
    request: ApiRequest,
    reader: Reader,
    clock: Clock,
    q: FromQuery[str] = "",
    sort: FromQuery[str] = "newest",
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List the jobs that a search finds."""
    search = searched(q, OF_JOBS, words="q")
    rows, following, error = await found_jobs(reader, search, by=sort, cursor=cursor)
    return page(
        request,
        "jobs.html",
        status=422 if error else 200,
        search=search,
        error=error,
        rows=rows,
        sort=sort if sort in SORTS else "newest",
        sorts=SORTS,
        following=following,
        cursor=cursor,
        at=await clock.now(),
    )


async def found_jobs(
    reader: Database, search: Search, *, by: str, cursor: str | None
) -> tuple[list[Row], str | None, str]:
    """Find a page of jobs with their strips; return also the next cursor, and what is wrong."""
    if search.error:
        return [], None, search.error
    try:
        wanted = job_filter(search.wanted)
    except InvalidInput as error:
        return [], None, error.errors[0].message
    if by == "next_run":
        after = JOBS_BY_NEXT_RUN.read(cursor)
        listed = await jobs.list_by_next_run(reader, wanted, after=after, limit=ON_A_PAGE)
        following = JOBS_BY_NEXT_RUN.after(listed.items, more=listed.more, reached=listed.reached)
    else:
        listed = await jobs.list_page(reader, wanted, before=JOBS.read(cursor), limit=ON_A_PAGE)
        following = JOBS.after(listed.items, more=listed.more, reached=listed.reached)
    ended = await strips(reader, [job.id for job in listed.items])
    return [Row(job=job, ended=ended.get(job.id, ())) for job in listed.items], following, ""


async def strips(reader: Database, ids: Sequence[UUID]) -> dict[UUID, Sequence[Ended]]:
    """Return how the last executions of jobs ended, the oldest first."""
    found = await pages.list_strips(reader, ids, most=STRIP_BARS)
    return {
        id: [
            Ended(*one)
            for one in zip(strip.outcomes, strip.seconds, strip.finished_at, strict=True)
        ][::-1]
        for id, strip in found.items()
    }


@get("/jobs/{job:str}", opt={"scope": Scope.READ})
async def job_page(
    request: ApiRequest, reader: Reader, clock: Clock, job: FromPath[str]
) -> Response[bytes]:
    """Show why a job has not run or when it will, what it does, and what it did."""
    stored = await jobs.find(reader, job)
    now = await clock.now()
    ended = await executions.list_page(
        reader, ExecutionFilter(job_id=stored.id), before=None, limit=STRIP_BARS
    )
    caller: Caller = request.scope["user"]
    success = next((one for one in ended if one.outcome is Outcome.SUCCEEDED), None)
    shown = masked_job(stored)
    return page(
        request,
        "job.html",
        job=shown,
        target=pretty(shown.target),
        metadata=pretty(shown.metadata) if shown.metadata else "",
        explained=await explanations.explain(reader, str(stored.id)),
        ahead=runs_ahead(shown),
        strip_of=[Ended(str(one.outcome), one.duration_seconds, one.finished_at) for one in ended][
            ::-1
        ],
        runs=by_run(ended.items),
        more=ended.more,
        last_success=success,
        edits=await edits(reader, stored.id) if Scope.ADMIN in caller.scopes else None,
        at=now,
    )


async def edits(reader: Database, id: UUID) -> Sequence[AuditEntry]:
    """List the last changes of a job."""
    return (await audit.list_page(reader, entity_id=id, before=None, limit=EDITS)).items


def pretty(value: object) -> str:
    """Write JSON out for people; numbers keep all their digits."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def runs_ahead(job: Job) -> list[AheadRun]:
    """List the next runs of a job's schedule, from the one that is planned."""
    run = job.next_run
    runs: list[AheadRun] = []
    skips = job.skip_runs or 0
    try:
        schedule = normalized(Schedule(**{name: getattr(job, name) for name in SCHEDULE_FIELDS}))
        zone = zone_named(schedule.timezone)
        left = RUNS_AHEAD if job.max_runs is None else min(RUNS_AHEAD, job.max_runs - job.runs)
        while run is not None and len(runs) < left:
            is_skipped = len(runs) < skips or (job.skip_until is not None and run < job.skip_until)
            runs.append(AheadRun(at=run, local=run.astimezone(zone), skipped=is_skipped))
            run = run_after(schedule, run, job_id=job.id)
    except InvalidInput:
        pass  # the explanation says what is wrong with the schedule
    return runs


def by_run(listed: Sequence[Execution]) -> list[Run]:
    """Gather executions, the newest first, by their runs."""
    found: dict[datetime, list[Execution]] = {}
    for one in listed:
        found.setdefault(one.scheduled_for, []).append(one)
    return [Run(scheduled_for=at, attempts=attempts) for at, attempts in found.items()]
