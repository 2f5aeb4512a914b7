"""The lists that are open: their rows stay fresh where they stand, and what is new is counted.

A list never moves by itself. For all that are open in a process one thing is read a second: twice
rows, by one statement, and then what belongs on one page, by those that made it. So it costs that
however many look, and each list is looked at less often the more different ones are open.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from time import monotonic
from typing import Any, Literal
from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery
from litestar.response import Stream
from markupsafe import Markup
from msgspec import Struct

from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import executions
from app.db.clock import PolledClock
from app.db.database import Database
from app.errors import DatabaseUnavailable, FieldError, InvalidInput
from app.jobs.filters import execution_filter
from app.single_flight import SingleFlight
from app.timers import Monotonic
from app.web import facts
from app.web.cells import Cell, Cells, cell, version_of
from app.web.facts import Fact
from app.web.job_lists import ON_A_PAGE, SORTS, Row, find_jobs, read_rows
from app.web.live import LOOK_SECONDS, Part, stream, versions_for, while_watched
from app.web.parameters import ON_A_PAGE as EXECUTIONS_ON_A_PAGE
from app.web.pictures import strip
from app.web.rendering import environment, query_with
from app.web.search import MAX_LENGTH, OF_EXECUTIONS, OF_JOBS, searched
from app.wire.pages import EXECUTIONS

Id = UUID | int
"""Of a job or an execution."""
ROWS_SECONDS, FOUND_SECONDS = 0.9, 2.5
"""How old rows, and what belongs on a page, may be before their turn comes."""
TURNS = 3
MOST_ROWS = 100
"""Rows that one statement reads, with 50 executions each: first those that have waited longest."""
KEPT_ROWS = 500
"""Rows whose HTML is kept, of some kilobytes each."""
NEW = "fresh"
"""The element that says what is new."""
SAID = "fresh-said"
"""The one that says it once to those who listen."""
CHANGED = Markup("The list has changed; a link shows it anew.")


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


class Watched:
    """A list that is open, and what belongs on its page by now."""

    def __init__(self, asked: Open, found: Fact[Sequence[Id]]) -> None:
        self.asked = asked
        self.found = found

    def __repr__(self) -> str:
        return f"<Watched: {self.asked.address}, {self.found}>"


class OpenLists:
    """The open lists of one process."""

    def __init__(
        self, reader: Database, polled: PolledClock, *, root: str, clock: Monotonic = monotonic
    ) -> None:
        self.reader = reader
        self.polled = polled
        self.root = root
        self.clock = clock
        self.watched: list[Watched] = []
        self.many: Counter[UUID] = Counter()
        """How many lists show a job."""
        self.rows: dict[UUID, Row | None] = {}
        """Jobs as they were last read; None: it is deleted."""
        self.read_at: dict[UUID, float] = {}
        self.reading = Fact(self.read, seconds=ROWS_SECONDS, clock=clock)
        self.flight = SingleFlight()
        self.looked_at = float("-inf")
        self.looks = 0

    def __repr__(self) -> str:
        return f"<OpenLists: {len(self.watched)} of {len(self.many)} jobs>"

    def open(self, asked: Open) -> Part:
        """Return the live part of a list; as long as it is not ended, the list is looked after."""
        finding = partial(found_ids, self.reader, asked)
        watched = Watched(asked, Fact(finding, seconds=FOUND_SECONDS, clock=self.clock))
        self.watched.append(watched)
        self.many.update(jobs_of(asked))

        async def end() -> None:
            self.watched.remove(watched)
            self.many.subtract(jobs_of(asked))
            for id in [id for id in jobs_of(asked) if not self.many[id]]:
                del self.many[id]
                self.rows.pop(id, None)
                self.read_at.pop(id, None)
            await facts.end([watched.found])

        return Cells(partial(self.cells, watched), end=end)

    async def cells(self, watched: Watched) -> Sequence[Cell]:
        """Make what a list shows by now.

        Raises:
            DatabaseUnavailable: neither its rows can be read nor what belongs on its page.
        """
        await self.flight.run("look", self.is_fresh, self.look)
        asked, found = watched.asked, watched.found
        is_lost = isinstance(self.reading.error, DatabaseUnavailable)
        if is_lost and found.value is None and found.error:
            raise found.error
        at = await self.polled.now()
        made: list[Cell] = []
        for id in jobs_of(asked):
            made += cells_of(id, self.rows, at=at, sort=asked.sort, root=self.root)
        return [*made, *told(asked, found.value, root=self.root)]

    def is_fresh(self) -> bool:
        """Return whether something was looked at within `LOOK_SECONDS`."""
        return self.clock() - self.looked_at < LOOK_SECONDS

    async def look(self) -> None:
        """Read what has waited longest for its turn: rows, and one look in `TURNS` a list."""
        self.looked_at = self.clock()
        self.looks += 1
        turns = [one.found for one in self.watched] if self.looks % TURNS == 0 else [self.reading]
        due: list[Fact[Any]] = [one for one in turns if one.is_due()]
        if due:
            await max(due, key=lambda one: one.waited).seen()

    async def read(self) -> None:
        """Read rows."""
        began = self.clock()
        waiting = sorted(self.many, key=lambda id: self.read_at.get(id, float("-inf")))
        ids = waiting[:MOST_ROWS]
        if not ids:
            return
        found = await read_rows(self.reader, ids)
        for id in ids:
            if self.many[id]:
                self.rows[id], self.read_at[id] = found.get(id), began

    async def end(self) -> None:
        """Stop what is being read."""
        await facts.end([self.reading, *(one.found for one in self.watched)])


def jobs_of(asked: Open) -> Sequence[UUID]:
    """Return the jobs that have rows in a list."""
    return [one for one in asked.shown if isinstance(one, UUID)]


async def found_ids(reader: Database, asked: Open) -> Sequence[Id]:
    """Find what belongs on the page of a list by now.

    Raises:
        InvalidInput: the search cannot be any more, as the job that it names is gone.
    """
    if asked.of == "jobs":
        search = searched(asked.q, OF_JOBS, words="q")
        return (await find_jobs(reader, search, by=asked.sort, cursor=asked.cursor)).ids
    wanted = await execution_filter(reader, searched(asked.q, OF_EXECUTIONS, words="job").wanted)
    before = EXECUTIONS.read(asked.cursor)
    found = await executions.list_page(reader, wanted, before=before, limit=EXECUTIONS_ON_A_PAGE)
    return [one.id for one in found.items]


def macro(root: str, name: str, *given: object) -> Markup:
    """Make the HTML of a cell."""
    made: Callable[..., Markup] = getattr(
        environment(root).get_template("job_cells.html").module, name
    )
    return Markup(made(*given))  # noqa: S704 - escaped by the environment


def named(kind: str, id: UUID) -> str:
    """Name the element of a cell."""
    return f"{kind}-{id.hex}"


@lru_cache(maxsize=KEPT_ROWS)
def still(row: Row, *, sort: str, root: str) -> tuple[Cell, Cell, Cell]:
    """Make the cells of a row that time alone does not change."""
    job = row.job
    return (
        cell(named("what", job.id), macro(root, "what", job, sort if sort != "newest" else None)),
        cell(named("state", job.id), macro(root, "stands", job)),
        cell(named("strip", job.id), strip(row.ended)),
    )


def row_cells(row: Row, *, at: datetime, sort: str, root: str) -> list[Cell]:
    """Make the cells of a row, at an instant."""
    following = cell(named("next", row.job.id), macro(root, "next", row.job, at))
    return [*still(row, sort=sort, root=root), following]


def cells_of(
    id: UUID,
    rows: dict[UUID, Row | None],
    *,
    at: datetime,
    sort: str,
    root: str,
) -> list[Cell]:
    """Make the cells of a job's row; what is not known stays as it is."""
    row = rows.get(id)
    if row:
        return row_cells(row, at=at, sort=sort, root=root)
    names = [named(kind, id) for kind in ("what", "state", "strip", "next")]
    if id not in rows:
        return [cell(name, None) for name in names]
    gone, nothing = macro(root, "gone"), macro(root, "nothing")
    return [cell(*one) for one in zip(names, (None, gone, None, nothing), strict=True)]


def told(asked: Open, found: Sequence[Id] | None, *, root: str) -> list[Cell]:
    """Say how many belong on the page that are not on it; with None that is not known."""
    if found is None:
        return [cell(NEW, None), cell(SAID, None)]
    others = [one for one in found if one not in {*asked.shown}]
    words = in_words(asked, others) if others else ""
    link = macro(root, "fresh", words, f"{root}{asked.address}")
    said = CHANGED if words else Markup()
    return [cell(NEW, link), cell(SAID, said)]


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


@get("/live/lists/{of:str}", opt={"scope": Scope.READ})
async def live_of_list(  # noqa: PLR0913 - one parameter for each of the query's
    *,
    request: ApiRequest,
    state: State,
    of: FromPath[Literal["jobs", "executions"]],
    q: FromQuery[str] = "",
    sort: FromQuery[str] = "newest",
    cursor: FromQuery[str | None] = None,
    shown: FromQuery[str] = "",
    has: FromQuery[str] = "",
) -> Stream:
    """Stream what changes of a list; `shown`: the ids on the page, `has`: what it shows of them."""
    is_of_jobs = of == "jobs"
    most = ON_A_PAGE if is_of_jobs else EXECUTIONS_ON_A_PAGE
    ids = read_ids(shown, of=UUID if is_of_jobs else int, most=most)
    by = sort if is_of_jobs and sort in SORTS else "newest"
    asked = Open(of=of, q=q[:MAX_LENGTH], sort=by, cursor=cursor, shown=ids)
    lists: OpenLists = state.lists
    sent = partial(versions_for, request, state, has=has)
    return stream(
        request, state, while_watched(state.list_parts, asked, partial(lists.open, asked), sent)
    )
