"""The list of jobs, and the page of one."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
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
from app.db import audit, explanations, jobs, maintenance, pages, sets
from app.db.database import Database
from app.errors import DatabaseUnavailable, InvalidInput
from app.jobs.filters import job_filter
from app.jobs.shown import masked_job
from app.web.access import Edit, edit
from app.web.differences import Difference, together
from app.web.facts import Seen, seen_once, told
from app.web.parameters import Reader
from app.web.pictures import STRIP_BARS, Ended
from app.web.rendering import page
from app.web.search import OF_JOBS, Search, searched
from app.web.standing import read_standing
from app.wire.executions import Execution
from app.wire.explanations import Reason
from app.wire.filters import sound
from app.wire.pages import JOBS, JOBS_BY_NEXT_RUN

ON_A_PAGE = 25
RUNS_AHEAD = 10
EDITS = 50
"""Changes that are read: the newest are shown, and all since the last success compared."""
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
    may_see_edits = Scope.ADMIN in caller.scopes
    standing, edited, windows, belongs_to, past = await asyncio.gather(
        read_standing(reader, clock, stored),
        seen_once(edits(reader, shown.id)) if may_see_edits else nothing(),
        seen_once(maintenance.list_under_way(reader, shown.tags)),
        seen_once(sets.set_of(reader, shown.id)),
        became(reader, shown.id, at),
    )
    ended = standing.ended.value or ()
    success = next((one for one in ended if one.outcome is Outcome.SUCCEEDED), None)
    return page(
        request,
        "job.html",
        **standing.context(),
        target=pretty(shown.target),
        metadata=pretty(shown.metadata) if shown.metadata else "",
        maintenance=windows,
        ahead=runs_ahead(shown),
        last_success=success,
        edits=edited,
        belongs_to=belongs_to,
        changes=changes_since(success, ended, edited.value or ()),
        past=past,
    )


async def nothing() -> Seen[Sequence[Edit]]:
    """Stand for what a caller may not see."""
    return Seen(value=None, at=None)


async def edits(reader: Database, id: UUID) -> Sequence[Edit]:
    """List the last changes of a job, the newest first."""
    found = await audit.list_page(reader, entity_id=id, before=None, limit=EDITS)
    return [edit(entry) for entry in found.items]


def changes_since(
    success: Execution | None, ended: Sequence[Execution], edited: Sequence[Edit]
) -> list[Difference]:
    """Say what was changed between the last success and now, where other ends have followed it."""
    if success is None or success is ended[0]:
        return []
    since = success.started_at or success.finished_at
    return together(
        [one.parts for one in edited if one.entry.at > since and one.entry.action == "update"]
    )


async def became(reader: Database, id: UUID, text: str) -> Past:
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
