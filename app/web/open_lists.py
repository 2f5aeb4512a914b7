"""The lists that are open: their rows stay fresh where they stand, and what is new is counted.

A list never moves by itself. For all that are open in a process one thing is read a second: twice
rows, by one statement, and then what belongs on one page, by those that made it. So it costs that
however many look. Whoever looks, by API key, has as much of it as anybody else: who has many lists
open waits longer for each, and nobody else does.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Literal, TypeVar
from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from app.api.access import Caller
from app.api.problems import ApiRequest
from app.api.streams import Place, in_place
from app.core.access.api_key import Scope
from app.db.clock import PolledClock
from app.db.database import Database
from app.errors import DatabaseUnavailable, StatementCancelled, TooManyStreams
from app.single_flight import SingleFlight
from app.timers import Monotonic
from app.web import facts
from app.web.cells import Cell, Cells
from app.web.facts import Fact
from app.web.job_lists import ON_A_PAGE, SORTS, read_rows
from app.web.list_cells import NOTHING_TOLD, RowCells, unread
from app.web.live import LOOK_SECONDS, Part, stream, versions_for, while_watched
from app.web.parameters import ON_A_PAGE as EXECUTIONS_ON_A_PAGE
from app.web.search import MAX_LENGTH
from app.web.shown_lists import Id, Open, find_ids_of_page, jobs_of, read_ids, told

T = TypeVar("T")
ROWS_SECONDS, FOUND_SECONDS = 0.9, 2.5
"""How old rows, and what belongs on a page, may be before their turn comes."""
TURNS = 3
MOST_ROWS = 200
"""Rows that one statement reads, with 50 executions each: some 30 ms of Postgres."""
MOST_LISTS = 50
"""The most different lists that are kept fresh for one API key in a process."""

View = tuple[str, Open]
"""A list, and for whom it counts that looks at it."""


class Watched:
    """A list that is open, and what belongs on its page by now."""

    def __init__(self, asked: Open, found: Fact[Sequence[Id]], *, root: str) -> None:
        self.asked = asked
        self.found = found
        self.root = root
        self.told: tuple[Sequence[Id] | None, Sequence[Cell]] = (None, NOTHING_TOLD)
        """What belonged on the page, and the cells that tell of it."""

    def __repr__(self) -> str:
        return f"<Watched: {self.asked.address}, {self.found}>"

    def news(self) -> Sequence[Cell]:
        """Return the cells that say what belongs on the page and is not on it."""
        found = self.found.value
        if found is not None and found is not self.told[0]:
            self.told = (found, told(self.asked, found, root=self.root))
        return self.told[1]


class OpenLists:
    """The open lists of one process."""

    def __init__(
        self, reader: Database, polled: PolledClock, *, root: str, clock: Monotonic = monotonic
    ) -> None:
        self.reader = reader
        self.polled = polled
        self.root = root
        self.clock = clock
        self.views = Counter[View]()
        """How many streams show a list to whom."""
        self.watched: dict[Open, Watched] = {}
        self.many: Counter[UUID] = Counter()
        """How many lists show a job."""
        self.rows: dict[UUID, RowCells] = {}
        """Jobs as they were last read."""
        self.read_at: dict[UUID, float] = {}
        """When jobs were last read, or else shown first."""
        self.turns: dict[str, float] = {}
        """When one of somebody's lists was last found again, or else they came."""
        self.reading = Fact(
            partial(self.read_and_note, self.read), seconds=ROWS_SECONDS, clock=clock
        )
        self.away: DatabaseUnavailable | None = None
        """Why the last reading of all failed, if the database did not answer."""
        self.flight = SingleFlight()
        self.looked_at = float("-inf")
        self.looks = 0

    def __repr__(self) -> str:
        return f"<OpenLists: {len(self.watched)} of {len(self.many)} jobs>"

    def shown(
        self, sent: AsyncGenerator[bytes, None], asked: Open, *, owner: str
    ) -> AsyncGenerator[bytes, None]:
        """Return the stream of a list as one that counts for `owner`.

        Raises:
            TooManyStreams: `owner` looks at as many different lists as one may.
        """
        theirs = {one for whose, one in self.views if whose == owner}
        if asked not in theirs and len(theirs) >= MOST_LISTS:
            message = (
                f"{len(theirs)} different lists are open with this API key, as many as one process "
                "keeps fresh for it: close some, or take another key for each program and person"
            )
            raise TooManyStreams(message)
        return in_place(Place(self.views, (owner, asked)), sent)

    def open(self, asked: Open) -> Part:
        """Return the live part of a list; as long as it is not ended, the list is looked after."""
        finding = partial(self.read_and_note, partial(find_ids_of_page, self.reader, asked))
        found = Fact(finding, seconds=FOUND_SECONDS, clock=self.clock)
        found.tried = self.clock()  # the page has just been found: nobody gains a turn by a new one
        watched = self.watched[asked] = Watched(asked, found, root=self.root)
        self.many.update(jobs_of(asked))
        for id in jobs_of(asked):
            self.read_at.setdefault(id, self.clock())

        async def end() -> None:
            del self.watched[asked]
            self.many.subtract(jobs_of(asked))
            for id in [id for id in jobs_of(asked) if not self.many[id]]:
                del self.many[id]
                self.rows.pop(id, None)
                self.read_at.pop(id, None)
            await facts.end([watched.found])

        return Cells(partial(self.make_cells, watched), end=end)

    async def make_cells(self, watched: Watched) -> Sequence[Cell]:
        """Make what a list shows by now.

        Raises:
            DatabaseUnavailable: the database is away, or what the list shows cannot be read.
        """
        await self.flight.run("look", self.is_fresh, self.look)
        asked = watched.asked
        error = self.away or (self.reading if jobs_of(asked) else watched.found).error
        if isinstance(error, DatabaseUnavailable):
            raise error
        at = await self.polled.now()
        made: list[Cell] = []
        for id in jobs_of(asked):
            row = self.rows.get(id)
            made += row.at(at, sort=asked.sort) if row else unread(id)
        return [*made, *watched.news()]

    def is_fresh(self) -> bool:
        """Return whether something was looked at within `LOOK_SECONDS`."""
        return self.clock() - self.looked_at < LOOK_SECONDS

    async def look(self) -> None:
        """Read rows, or one look in `TURNS`, and where there are no rows, a list."""
        now = self.looked_at = self.clock()
        self.looks += 1
        owned = self.owned()
        self.turns = {owner: self.turns.get(owner, now) for owner in owned}
        if self.many and self.looks % TURNS:
            if self.reading.is_due():
                await self.reading.see()
            return
        due = {
            owner: ripe
            for owner, lists in owned.items()
            if (ripe := [one.found for one in lists if one.found.is_due()])
        }
        if due:
            owner = min(due, key=lambda one: self.turns[one])
            self.turns[owner] = now
            await max(due[owner], key=lambda one: one.waited).see()

    def owned(self) -> dict[str, list[Watched]]:
        """Return the lists that each looks at."""
        owned: dict[str, list[Watched]] = {}
        for owner, asked in self.views:
            if asked in self.watched:
                owned.setdefault(owner, []).append(self.watched[asked])
        return owned

    async def read(self) -> None:
        """Read rows."""
        began = self.clock()
        shown = [
            [id for one in lists for id in jobs_of(one.asked)] for lists in self.owned().values()
        ]
        ids = next_rows(shown, self.read_at, most=MOST_ROWS)
        if not ids:
            return
        found = await read_rows(self.reader, ids)
        for id in ids:
            if self.many[id]:
                self.read_at[id] = began
                had, row = self.rows.get(id), found.get(id)
                if had is None or had.row != row:
                    self.rows[id] = RowCells(id, row, root=self.root)

    async def read_and_note(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read something, and note whether the database answers."""
        try:
            value = await read()
        except StatementCancelled:
            self.away = None
            raise
        except DatabaseUnavailable as error:
            self.away = error
            raise
        self.away = None
        return value

    async def end(self) -> None:
        """Stop what is being read."""
        await facts.end([self.reading, *(one.found for one in self.watched.values())])


def next_rows(
    shown: Sequence[Sequence[UUID]], read_at: Mapping[UUID, float], *, most: int
) -> list[UUID]:
    """Return the jobs to be read next, of those that each of some owners is shown.

    All have a job read before anybody has two, each the one that was read longest ago.
    """
    places: dict[UUID, int] = {}
    for ids in shown:
        for place, id in enumerate(sorted({*ids}, key=lambda id: read_at[id])):
            places[id] = min(place, places.get(id, place))
    return sorted(places, key=lambda id: (places[id], read_at[id]))[:most]


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
    """Stream what changes of a list; `shown`: the ids on the page, `has`: what it shows of them.

    Raises:
        TooManyStreams: the caller has as many streams, or different lists, as one may have.
    """
    is_of_jobs = of == "jobs"
    most = ON_A_PAGE if is_of_jobs else EXECUTIONS_ON_A_PAGE
    ids = read_ids(shown, of=UUID if is_of_jobs else int, most=most)
    by = sort if is_of_jobs and sort in SORTS else "newest"
    asked = Open(of=of, q=q[:MAX_LENGTH], sort=by, cursor=cursor, shown=ids)
    lists: OpenLists = state.lists
    caller: Caller = request.scope["user"]
    sent = partial(versions_for, request, state, has=has)
    streamed = while_watched(state.list_parts, asked, partial(lists.open, asked), sent)
    return stream(request, state, lists.shown(streamed, asked, owner=caller.limited_as))
