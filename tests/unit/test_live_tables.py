"""What an open page of a short list is sent, and how often such lists are read."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec import Struct
from msgspec.structs import replace

from app.db.database import Database
from app.errors import DatabaseUnavailable
from app.web.live import read_seen
from app.web.live_tables import SHOWN, LiveTables, Table

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Action(Struct, frozen=True, kw_only=True):
    """A row of the list of actions on many."""

    id: str
    state: str = "running"
    changed: int = 0
    failed: int = 0
    action: str = "pause"
    asked_at: datetime = NOW - timedelta(hours=3)
    asked_by: str = "ann"


class Simulated:
    """Short lists whose database answers at once, by a clock that is set."""

    def __init__(self, *names: str, most: int = 5) -> None:
        self.seconds = 0.0
        self.listed: dict[str, Sequence[Action]] = {name: [] for name in names}
        self.reads = 0
        self.error: DatabaseUnavailable | None = None
        self.gates: dict[str, asyncio.Event] = {}
        """Lists whose reading waits for these."""
        self.begun = {name: asyncio.Event() for name in names}
        polled: Any = SimpleNamespace(now=self.now)
        self.lists = LiveTables(
            {name: self.table(name, most) for name in names},
            cast("Database", None),
            polled,
            root="",
            clock=lambda: self.seconds,
        )

    async def now(self) -> datetime:
        return NOW

    def table(self, name: str, most: int) -> Table:
        async def read(_reader: Database) -> Sequence[Action]:
            self.reads += 1
            self.begun[name].set()
            if self.error:
                raise self.error
            if gate := self.gates.get(name):
                await gate.wait()
            return self.listed[name]

        return Table(
            address=f"/{name}",
            read=read,
            key=lambda one: str(one.id),
            template="bulk_cells.html",
            columns=("what", "state", "changed", "failed", "asked"),
            told_in="state",
            seconds=1,
            most=most,
        )

    async def seen(self, name: str, shown: Sequence[str]) -> Mapping[str, str | None]:
        """Return what a page that shows these rows has in its elements, a second later."""
        self.seconds += 1
        cells = await self.lists.make_cells(name, shown)
        return {one.id: one.html for one in cells}


async def test_rows_change_where_they_stand_one_that_is_gone_says_so_and_others_are_counted() -> (
    None
):
    lists = Simulated("bulk")
    first, second = Action(id="1"), Action(id="2")
    rows, address = lists.lists.shown("bulk", [second, first], NOW)
    of_second, of_first = rows
    lists.lists.open("bulk", [*rows])
    lists.listed["bulk"] = [Action(id="3"), replace(first, state="done", changed=7)]

    seen = await lists.seen("bulk", [*rows])

    assert address.startswith(f"/live/tables/bulk?shown={of_second}%2C{of_first}&has=")
    assert [*seen][:6:5] == [f"what-{of_second}", f"what-{of_first}"]
    assert seen[f"what-{of_second}"] is None
    assert "deleted" in str(seen[f"state-{of_second}"])
    assert (seen[f"state-{of_first}"], seen[f"changed-{of_first}"]) == ("done", "7")
    assert seen["fresh"] == '<a class="button" href="/bulk">1 new</a>'
    assert seen["fresh-said"]


async def test_a_row_that_others_crowd_out_of_a_full_list_is_not_called_gone() -> None:
    lists = Simulated("bulk", most=2)
    rows, _ = lists.lists.shown("bulk", [Action(id="2"), Action(id="1")], NOW)
    lists.lists.open("bulk", [*rows])
    lists.listed["bulk"] = [Action(id="3"), Action(id="2")]

    seen = await lists.seen("bulk", [*rows])

    assert [seen[f"state-{row}"] for row in rows] == ["running", None]
    assert "1 new" in str(seen["fresh"])


async def test_what_was_read_for_others_before_a_page_was_loaded_does_not_change_that() -> None:
    lists = Simulated("bulk", "flows")
    lists.lists.open("bulk", [])
    await lists.seen("bulk", [])
    lists.seconds += 0.5
    lists.listed["bulk"] = [Action(id="1")]
    rows, _ = lists.lists.shown("bulk", lists.listed["bulk"], NOW)
    part = lists.lists.open("bulk", [*rows])

    await part.renew()
    at_once = part.news("")
    lists.listed["bulk"] = []
    lists.seconds += 1
    await part.renew()
    news = part.news("")

    assert at_once is None
    assert news is not None
    assert "deleted" in news[0]


async def test_of_a_list_that_is_longer_than_a_page_the_first_rows_are_live() -> None:
    lists = Simulated("bulk", most=50)
    lists.listed["bulk"] = [Action(id=str(n)) for n in range(60)]
    rows, address = lists.lists.shown("bulk", lists.listed["bulk"], NOW)
    asked = parse_qs(urlsplit(address).query)
    shown = asked["shown"][0].split(",")
    lists.lists.open("bulk", shown)

    seen = await lists.seen("bulk", shown)

    assert (len(rows), shown) == (60, [*rows][:50])
    assert SHOWN.fullmatch(asked["shown"][0])
    assert read_seen(asked["has"][0])
    assert seen[f"state-{shown[49]}"] == "running"
    assert seen["fresh"] == ""


async def test_a_list_that_is_closed_while_it_is_read_ends_no_other() -> None:
    lists = Simulated("bulk", "flows")
    lists.listed["flows"] = [Action(id="1")]
    gate = lists.gates["bulk"] = asyncio.Event()
    closed = lists.lists.open("bulk", [])
    lists.lists.open("flows", [])
    other = asyncio.create_task(lists.seen("flows", []))
    await lists.begun["bulk"].wait()

    await closed.end()

    assert "1 new" in str((await other)["fresh"])
    assert not gate.is_set()


async def test_of_all_lists_that_are_open_one_is_read_a_second_and_none_without_viewers() -> None:
    lists = Simulated("bulk", "flows", "alerts")
    parts = [lists.lists.open(name, []) for name in ("bulk", "bulk", "flows", "alerts")]
    await lists.seen("bulk", [])  # the first time all of them
    assert lists.reads == 3

    for _ in range(30):
        await lists.seen("bulk", [])
        await lists.lists.make_cells("flows", [])
    assert lists.reads == 33
    assert all(one.age < 4 for one in lists.lists.facts.values())
    for one in parts:
        await one.end()

    assert not lists.lists.watched


async def test_a_page_of_a_list_that_cannot_be_read_says_so() -> None:
    lists = Simulated("bulk")
    rows, _ = lists.lists.shown("bulk", [Action(id="1")], NOW)
    part = lists.lists.open("bulk", [*rows])
    lists.error = DatabaseUnavailable("it is away")
    lists.seconds += 1

    with pytest.raises(DatabaseUnavailable, match="it is away"):
        await part.renew()
