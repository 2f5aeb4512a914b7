"""The jobs that a search finds, in one of three orders, each with a strip of its executions."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from app.core.jobs.job import JobState, StoredJob
from app.db import jobs, pages
from app.db.database import Database, Page
from app.db.jobs import JobFilter
from app.db.pages import ListRow
from app.errors import InvalidInput
from app.jobs.filters import job_filter
from app.web.pictures import STRIP_BARS
from app.web.search import Search
from app.wire.pages import JOBS, JOBS_BY_ENDING, JOBS_BY_NEXT_RUN

ON_A_PAGE = 25
SORTS = {"newest": "Newest", "next_run": "Next run", "failing": "Failing"}
FAILING, ENDED, OTHERS = range(3)
"""The parts of the list by how jobs last ended."""
FIRST = UUID(int=2**128 - 1)
"""Newer than any job."""


class Found(Struct, frozen=True, kw_only=True):
    """A page of the list."""

    ids: Sequence[UUID] = ()
    following: str | None = None
    """The cursor of the next page."""
    error: str = ""
    """What is wrong with the search."""


async def find_jobs(reader: Database, search: Search, *, by: str, cursor: str | None) -> Found:
    """Find a page of jobs."""
    if search.error:
        return Found(error=search.error)
    try:
        wanted = job_filter(search.wanted)
    except InvalidInput as error:
        return Found(error=error.errors[0].message)
    match by:
        case "next_run":
            order = JOBS_BY_NEXT_RUN
            after = order.read(cursor)
            listed = await jobs.list_by_next_run(reader, wanted, after=after, limit=ON_A_PAGE)
            following = order.after(listed.items, more=listed.more, reached=listed.reached)
        case "failing":
            listed = await list_by_ending(reader, wanted, after=JOBS_BY_ENDING.read(cursor))
            following = JOBS_BY_ENDING.write(listed.reached) if listed.more else None
        case _:
            listed = await jobs.list_page(reader, wanted, before=JOBS.read(cursor), limit=ON_A_PAGE)
            following = JOBS.after(listed.items, more=listed.more, reached=listed.reached)
    return Found(ids=[job.id for job in listed.items], following=following)


async def list_by_ending(
    reader: Database, wanted: JobFilter, *, after: tuple[int, UUID] | None
) -> Page[StoredJob]:
    """List jobs by how they last ended: those that fail, those that ended in failure, the others.

    The newest first in each, from the first one behind `after`: the number of such a part, and an
    id. Two indexes serve the first two; the third is searched as the list of the newest is.
    """
    first, before = after or (FAILING, FIRST)
    found: list[StoredJob] = []
    for number, part in by_ending(wanted):
        if number < first:
            continue
        left = ON_A_PAGE - len(found)
        if not left:
            return Page(items=found, more=True, reached=(number, FIRST))
        since = before if number == first else FIRST
        listed = await jobs.list_page(reader, part, before=since, limit=left)
        found += listed.items
        if listed.more:
            reached = listed.reached or listed.items[-1].id
            return Page(items=found, more=True, reached=(number, reached))
    return Page(items=found, more=False)


def by_ending(wanted: JobFilter) -> Iterator[tuple[int, JobFilter]]:
    """Part a filter by how jobs last ended; parts in which none can be are left out."""
    if wanted.failing is not False and wanted.state is not JobState.FAILED:
        yield FAILING, replace(wanted, failing=True)
    if wanted.failing is not True and wanted.state in {None, JobState.FAILED}:
        yield ENDED, replace(wanted, state=JobState.FAILED)
    if wanted.failing is not True and wanted.state is not JobState.FAILED:
        yield OTHERS, replace(wanted, failing=False, has_failed=False)


async def read_rows(reader: Database, ids: Sequence[UUID]) -> dict[UUID, ListRow]:
    """Read jobs and how their last executions ended, without deleted ones."""
    return {one.job.id: one for one in await pages.list_rows(reader, ids, most=STRIP_BARS)}
