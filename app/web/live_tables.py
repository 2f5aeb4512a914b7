"""Short lists whose open pages stay fresh: alerts that fire, instances, flows, actions on many.

As in the lists of `open_lists`, no row moves, comes or goes: it changes where it stands, one that
is gone says so, and those that have come are counted beside a link. Of all such lists that are open
in a process one is read a second, in turn.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import Any

from litestar import get
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Stream
from msgspec import Struct

from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db.clock import PolledClock
from app.db.database import Database
from app.errors import DatabaseUnavailable, FieldError, InvalidInput
from app.single_flight import SingleFlight
from app.timers import Monotonic
from app.web import facts
from app.web.cells import Cell, Cells, cell, version_of
from app.web.facts import Fact, ripest, see_all
from app.web.list_cells import NOTHING_TOLD, macro, news_cells
from app.web.live import LOOK_SECONDS, Part, read_seen, stream, versions_for, while_watched
from app.web.parameters import ON_A_PAGE
from app.web.rendering import query_with

Rows = Mapping[str, Sequence[Cell]]
"""The cells of rows, by the digests of what the rows are of, in their order."""
DIGEST_BYTES = 6
SHOWN = re.compile(r"(?:[0-9a-f]{12}(?:,[0-9a-f]{12}){0,49})?")
"""The rows that a page shows: digests, `ON_A_PAGE` at most."""


class Table(Struct, frozen=True, kw_only=True):
    """A short list: how it is read, and how a row of it is shown."""

    address: str
    """The address of its page."""
    read: Callable[[Database], Awaitable[Sequence[Any]]]
    """Reads what its page shows first: `most`, or more that are as of when the page was loaded."""
    key: Callable[[Any], str]
    """What tells a row from all others, as long as there is such a row."""
    template: str
    """Has a macro for each of `columns`, called with a row and an instant, and `gone`."""
    columns: tuple[str, ...]
    told_in: str
    """The column in which a row says that it is gone."""
    seconds: float
    """How old it may be before its turn to be read comes."""
    most: int = ON_A_PAGE

    def row(self, one: object) -> str:
        """Return the digest by which a row is known."""
        return blake2b(self.key(one).encode(), digest_size=DIGEST_BYTES).hexdigest()

    def rows(self, listed: Sequence[Any], at: object, *, root: str) -> Rows:
        """Make the cells of rows at an instant."""
        return {
            row: [
                cell(f"{name}-{row}", macro(root, name, one, at, template=self.template))
                for name in self.columns
            ]
            for one in listed
            for row in [self.row(one)]
        }

    def gone(self, row: str, *, root: str) -> Sequence[Cell]:
        """Return the cells of a row that is gone: all but one stay as they are."""
        said = macro(root, "gone", template=self.template)
        return [
            cell(f"{name}-{row}", said if name == self.told_in else None) for name in self.columns
        ]

    def unread(self, row: str) -> Sequence[Cell]:
        """Return the cells of a row that nothing is known of."""
        return [cell(f"{name}-{row}", None) for name in self.columns]

    def told(self, many: int, *, root: str) -> Sequence[Cell]:
        """Say how many rows there are that the page does not show."""
        return news_cells(f"{many} new" if many else "", self.address, root=root)


class LiveTables:
    """The short lists of one process."""

    def __init__(
        self,
        tables: Mapping[str, Table],
        reader: Database,
        polled: PolledClock,
        *,
        root: str,
        clock: Monotonic = monotonic,
    ) -> None:
        self.tables = tables
        self.polled = polled
        self.root = root
        self.clock = clock
        self.facts = {
            name: Fact(partial(one.read, reader), seconds=one.seconds, clock=clock)
            for name, one in tables.items()
        }
        self.watched = Counter[str]()
        """How many pages show a list, those that show the same of it once."""
        self.rows: dict[str, Rows] = {}
        """What the lists that are watched show by now."""
        self.flight = SingleFlight()
        self.looked_at = float("-inf")

    def __repr__(self) -> str:
        return f"<LiveTables: {self.watched.total()} watched>"

    def shown(self, name: str, listed: Sequence[Any], at: object) -> tuple[Rows, str]:
        """Return the rows of a page, and the address of the stream that keeps them fresh.

        Of rows beyond `most` nothing is kept fresh.
        """
        table = self.tables[name]
        rows = table.rows(listed, at, root=self.root)
        live = [*rows][: table.most]
        cells = [one for row in live for one in rows[row]]
        has = version_of([*cells, *table.told(0, root="")])
        return rows, f"/live/tables/{name}{query_with({}, shown=','.join(live), has=has)}"

    def open(self, name: str, rows: Sequence[str]) -> Part:
        """Return the live part of a page that shows these rows of a list, read a moment ago."""
        self.watched[name] += 1
        make = partial(self.make_cells, name, rows, since=self.clock())

        async def end() -> None:
            self.watched[name] -= 1
            if not self.watched[name]:
                del self.watched[name]
                await facts.end([self.facts[name]])

        return Cells(make, end=end)

    async def make_cells(
        self, name: str, shown: Sequence[str], *, since: float = float("-inf")
    ) -> Sequence[Cell]:
        """Make what a page shows by now, which has what was read until `since`.

        What was read for others before that is older than the page, which stays as it is.

        Raises:
            DatabaseUnavailable: the list cannot be read.
        """
        await self.flight.run("look", self.is_fresh, self.look)
        table, fact = self.tables[name], self.facts[name]
        if isinstance(fact.error, DatabaseUnavailable):
            raise fact.error
        rows = self.rows.get(name)
        if rows is None or fact.began < since:
            return [*(one for row in shown for one in table.unread(row)), *NOTHING_TOLD]
        is_whole = len(rows) < table.most  # else a row may only have been crowded out by others
        made: list[Cell] = []
        for row in shown:
            if row in rows:
                made += rows[row]
            else:
                made += table.gone(row, root=self.root) if is_whole else table.unread(row)
        return [*made, *table.told(len(rows.keys() - {*shown}), root=self.root)]

    def is_fresh(self) -> bool:
        """Return whether something was looked at within `LOOK_SECONDS`."""
        return self.clock() - self.looked_at < LOOK_SECONDS

    async def look(self) -> None:
        """Read the list whose turn it is, and make the rows of all that are watched."""
        self.looked_at = self.clock()
        await see_all(ripest([self.facts[name] for name in self.watched]))
        at = await self.polled.now()
        self.rows = {
            name: table.rows(value[: table.most], at, root=self.root)
            for name in self.watched
            for table in [self.tables[name]]
            if (value := self.facts[name].value) is not None
        }

    async def end(self) -> None:
        """Stop what is being read."""
        await facts.end(self.facts.values())


@get("/live/tables/{table:str}", opt={"scope": Scope.READ})
async def live_of_table(
    *,
    request: ApiRequest,
    state: State,
    table: FromPath[str],
    shown: FromQuery[str] = "",
    has: FromQuery[str] = "",
) -> Stream:
    """Stream what changes of a short list; `shown`: the rows on the page, `has`: their version."""
    tables: LiveTables = state.tables
    if table not in tables.tables:
        raise NotFoundException
    if not SHOWN.fullmatch(shown):
        message = f"must be up to {ON_A_PAGE} rows that the page shows: load the page anew"
        raise InvalidInput(FieldError(field="shown", message=message))
    rows = tuple(shown.split(",")) if shown else ()
    sent = partial(versions_for, request, state, has=has)
    kept = state.table_parts
    return stream(
        request,
        state,
        while_watched(kept, (table, rows, read_seen(has)), partial(tables.open, table, rows), sent),
    )
