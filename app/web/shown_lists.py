"""A list as a browser shows it: what is asked, which rows there are, and what is told of others."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from msgspec import Struct

from app.db import executions
from app.db.database import Database
from app.errors import FieldError, InvalidInput
from app.jobs.filters import read_execution_filter
from app.web.cells import Cell, version_of
from app.web.job_lists import ON_A_PAGE, find_jobs
from app.web.list_cells import news_cells
from app.web.parameters import ON_A_PAGE as EXECUTIONS_ON_A_PAGE
from app.web.rendering import query_with
from app.web.search import OF_EXECUTIONS, OF_JOBS, searched
from app.wire.pages import EXECUTIONS

Id = UUID | int
"""Of a job or an execution."""


class Open(Struct, frozen=True, kw_only=True):
    """A list as a browser shows it."""

    of: Literal["jobs", "executions"]
    q: str
    sort: str
    cursor: str | None
    shown: tuple[Id, ...]
    """The ids of its rows, in their order."""

    @property
    def address(self) -> str:
        """Return the address of its page."""
        sort = self.sort if self.sort != "newest" else None
        return f"/{self.of}{query_with({}, q=self.q, sort=sort, cursor=self.cursor)}"


def jobs_of(asked: Open) -> Sequence[UUID]:
    """Return the jobs that have rows in a list."""
    return [one for one in asked.shown if isinstance(one, UUID)]


async def find_ids_of_page(reader: Database, asked: Open) -> Sequence[Id]:
    """Find what belongs on the page of a list by now.

    Raises:
        InvalidInput: the search cannot be any more, as the job that it names is gone.
    """
    if asked.of == "jobs":
        search = searched(asked.q, OF_JOBS, words="q")
        return (await find_jobs(reader, search, by=asked.sort, cursor=asked.cursor)).ids
    wanted = await read_execution_filter(
        reader, searched(asked.q, OF_EXECUTIONS, words="job").wanted
    )
    before = EXECUTIONS.read(asked.cursor)
    found = await executions.list_page(reader, wanted, before=before, limit=EXECUTIONS_ON_A_PAGE)
    return [one.id for one in found.items]


def told(asked: Open, found: Sequence[Id], *, root: str) -> Sequence[Cell]:
    """Say how many belong on the page that are not on it."""
    others = [one for one in found if one not in {*asked.shown}]
    words = in_words(asked, others) if others else ""
    return news_cells(words, asked.address, root=root)


def in_words(asked: Open, others: Sequence[Id]) -> str:
    """Say how many belong on a page that are not on it."""
    full = ON_A_PAGE if asked.of == "jobs" else EXECUTIONS_ON_A_PAGE
    count = f"{full}+" if len(others) >= full else f"{len(others)}"
    is_newest = asked.sort == "newest" and not asked.cursor
    if is_newest and {*sorted([*others, *asked.shown])[-len(others) :]} == {*others}:
        return f"{count} new"
    return f"{count} other here now" if count == "1" else f"{count} others here now"


def read_ids(text: str, *, of: type[UUID] | type[int], most: int) -> tuple[Id, ...]:
    """Read the ids of rows.

    Raises:
        InvalidInput: they cannot be.
    """
    try:
        ids = tuple(of(one) for one in text.split(",") if one)
    except ValueError:
        ids = ()
    if len(ids) > most or (text and not ids):
        message = f"must be up to {most} ids that a page of the list shows: load the page anew"
        raise InvalidInput(FieldError(field="shown", message=message))
    return ids


def stream_address(asked: Open, cells: Sequence[Cell]) -> str:
    """Return the address of the stream for a page that shows these cells."""
    ids = [one.hex if isinstance(one, UUID) else str(one) for one in asked.shown]
    has = version_of([*cells, *told(asked, asked.shown, root="")])
    wanted = {"q": asked.q, "sort": asked.sort, "cursor": asked.cursor or ""}
    return f"/live/lists/{asked.of}{query_with(wanted, shown=','.join(ids), has=has)}"
