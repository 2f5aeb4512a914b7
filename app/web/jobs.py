"""The list of jobs, and the page of one."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromPath, FromQuery
from msgspec import Struct
from msgspec.structs import replace

from app.api.access import Caller
from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.jobs.job import SCHEDULE_FIELDS, Job
from app.core.schedule.schedule import Schedule, normalized, run_after
from app.core.schedule.zones import zone_named
from app.db import calendars, explanations, jobs, maintenance, sets
from app.db.database import Database
from app.errors import DatabaseUnavailable, InvalidInput
from app.jobs.shown import masked_job
from app.web.changes import changes_since, last_success, read_edits
from app.web.facts import see_once, told
from app.web.job_lists import SORTS, find_jobs, read_rows
from app.web.job_preview import clock_notes
from app.web.list_cells import RowCells
from app.web.parameters import Reader
from app.web.rendering import page
from app.web.search import OF_JOBS, searched
from app.web.shown_lists import Open, stream_address
from app.web.standing import read_standing
from app.wire.explanations import Reason
from app.wire.filters import sound

RUNS_AHEAD = 10


class AheadRun(Struct, frozen=True, kw_only=True):
    """A run to come: the instant, and what clocks of the job's zone show then."""

    at: datetime
    local: datetime
    skipped: bool
    closed_until: datetime | None = None
    """Until when the job's calendars are closed then; None: they are not."""


class Past(Struct, frozen=True, kw_only=True):
    """What somebody asks of a run that was due."""

    text: str = ""
    """The instant as its field shows it."""
    error: str = ""
    reasons: Sequence[Reason] = ()


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
    by = sort if sort in SORTS else "newest"
    found = await find_jobs(reader, search, by=by, cursor=cursor)
    read, at = await read_rows(reader, found.ids), await clock.now()
    root = request.app.state.root_path
    rows = [RowCells(id, read[id], root=root).at(at, sort=by) for id in found.ids if id in read]
    shown = tuple(id for id in found.ids if id in read)
    asked = Open(of="jobs", q=search.text, sort=by, cursor=cursor, shown=shown)
    return page(
        request,
        "jobs.html",
        status=422 if found.error else 200,
        search=search,
        error=found.error,
        rows=rows,
        sort=by,
        sorts=SORTS,
        following=found.following,
        cursor=cursor,
        stream=stream_address(asked, [one for row in rows for one in row]),
    )


@get("/jobs/{job:str}", opt={"scope": Scope.READ})
async def job_page(
    request: ApiRequest,
    reader: Reader,
    clock: Clock,
    job: FromPath[str],
    at: FromQuery[str] = "",
) -> Response[bytes]:
    """Show why a job has not run or when it will, what it does, and what it did.

    All but the job itself is read in parts: what takes too long says so where it stands.
    """
    stored = await jobs.find(reader, job)
    shown = masked_job(stored)
    caller: Caller = request.scope["user"]
    ahead = runs_ahead(shown)
    standing, closed, edited, windows, belongs_to, past = await asyncio.gather(
        read_standing(reader, clock, stored),
        see_once(find_closed(reader, shown, [one.at for one in ahead])),
        read_edits(reader, shown.id, may_see=Scope.ADMIN in caller.scopes),
        see_once(maintenance.list_under_way(reader, shown.tags)),
        see_once(sets.find_set_of(reader, shown.id)),
        explain_past(reader, shown.id, at),
    )
    ended = standing.ended.value or ()
    success = last_success(ended)
    return page(
        request,
        "job.html",
        **standing.context(),
        target=pretty(shown.target),
        metadata=pretty(shown.metadata) if shown.metadata else "",
        maintenance=windows,
        ahead=[replace(one, closed_until=(closed.value or {}).get(one.at)) for one in ahead],
        closed=closed,
        clock_notes=await asyncio.to_thread(notes_of, shown, now=standing.at),
        last_success=success,
        edits=edited,
        belongs_to=belongs_to,
        changes=changes_since(success, ended, edited.value or ()),
        past=past,
    )


async def explain_past(reader: Database, id: UUID, text: str) -> Past:
    """Explain what became of the run that was due at an instant, if one is asked for."""
    if not text:
        return Past()
    try:
        given = datetime.fromisoformat(text)
        at = given if given.tzinfo else given.replace(tzinfo=UTC)
        sound(at, "at")
        explained = await explanations.explain(reader, str(id), at=at)
    except ValueError:
        return Past(error="This is no instant: write one such as 2026-11-29T03:00:00.")
    except InvalidInput as error:
        return Past(error=f"This instant {error.errors[0].message}.")
    except DatabaseUnavailable as error:
        return Past(text=text, error=told(error, then="ask again"))
    return Past(text=f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}", reasons=explained.reasons)


def pretty(value: object) -> str:
    """Write JSON out for people; numbers keep all their digits."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


async def find_closed(
    reader: Database, job: Job, runs: Sequence[datetime]
) -> dict[datetime, datetime]:
    """Return until when the calendars of a job are closed at runs; without those they are not."""
    if not job.calendars or not runs:
        return {}
    try:
        return await calendars.find_closed_at(reader, job.calendars, runs)
    except InvalidInput:
        return {}  # the explanation says what is wrong with a calendar


def notes_of(job: Job, *, now: datetime) -> list[str]:
    """Say what changes of clocks do to the runs of a job."""
    try:
        return list(clock_notes(schedule_of(job), job.id, now=now))
    except InvalidInput:
        return []  # the explanation says what is wrong with the schedule


def schedule_of(job: Job) -> Schedule:
    """Return the schedule of a job.

    Raises:
        InvalidInput: it cannot be.
    """
    return normalized(Schedule(**{name: getattr(job, name) for name in SCHEDULE_FIELDS}))


def runs_ahead(job: Job) -> list[AheadRun]:
    """List the next runs of a job's schedule, from the one that is planned."""
    run = job.next_run
    runs: list[AheadRun] = []
    skips = job.skip_runs or 0
    try:
        schedule = schedule_of(job)
        zone = zone_named(schedule.timezone)
        left = RUNS_AHEAD if job.max_runs is None else min(RUNS_AHEAD, job.max_runs - job.runs)
        while run is not None and len(runs) < left:
            is_skipped = len(runs) < skips or (job.skip_until is not None and run < job.skip_until)
            runs.append(AheadRun(at=run, local=run.astimezone(zone), skipped=is_skipped))
            run = run_after(schedule, run, job_id=job.id)
    except InvalidInput:
        pass  # the explanation says what is wrong with the schedule
    return runs
