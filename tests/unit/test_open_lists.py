"""What open lists are sent, and how often each is looked at."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest
from markupsafe import Markup

from app.core.jobs.job import JobState
from app.db.pages import ListedJob, ListRow
from app.errors import AppError, DatabaseUnavailable, InvalidInput, TooManyStreams
from app.web import list_cells, open_lists
from app.web.cells import Cell, Cells, cell, version_of
from app.web.live import Part
from app.web.open_lists import MOST_LISTS, MOST_ROWS, TURNS, OpenLists
from app.web.shown_lists import Open, in_words, read_ids
from app.web.words import from_now

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
IDS = tuple(UUID(int=number) for number in range(1, 4))


async def test_only_pieces_that_a_client_does_not_have_are_sent() -> None:
    shown = [cell("a", Markup("1")), cell("b", Markup("2"))]
    made: Sequence[Cell] = [shown[0], cell("b", Markup("3"))]

    async def make() -> Sequence[Cell]:
        return made

    part = Cells(make)
    await part.renew()
    first = part.news(version_of(shown))
    assert first is not None
    text, seen = first
    assert text == '<hx-partial hx-target="#b" hx-swap="innerMorph">3</hx-partial>'
    assert part.news(seen) is None

    made = [cell("a", None), cell("b", Markup("2"))]
    await part.renew()
    back = part.news(seen)
    assert back is not None
    assert 'target="#a"' not in back[0]
    assert back[1] == version_of(shown)
    assert "#b" in (part.news("of another page") or ("",))[0]


class Simulated:
    """Open lists whose database answers at once, by a clock that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.found_at: dict[str, list[float]] = {}
        self.read_at: dict[UUID, list[float]] = {}
        self.most_read = 0
        self.error: AppError | None = None
        monkeypatch.setattr(open_lists, "find_ids_of_page", self.find)
        monkeypatch.setattr(open_lists, "read_rows", self.read)
        polled: Any = SimpleNamespace(now=self.now)
        self.lists = OpenLists(cast("Any", None), polled, root="", clock=lambda: self.seconds)

    async def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    async def find(self, _reader: object, one: Open) -> Sequence[UUID]:
        if self.error:
            raise self.error
        self.found_at.setdefault(one.q, [0.0]).append(self.seconds)
        return IDS

    async def read(self, _reader: object, ids: Sequence[UUID]) -> dict[UUID, ListRow]:
        if self.error:
            raise self.error
        self.most_read = max(self.most_read, len(ids))
        for id in ids:
            self.read_at.setdefault(id, [0.0]).append(self.seconds)
        return {id: row_of(id) for id in ids}

    def show(self, owner: str, count: int, *, rows: int = 25) -> list[Part]:
        """Have somebody look at so many lists."""
        parts = []
        for number in range(count):
            ids = [uuid5(NAMESPACE_OID, f"{owner} {number} {row}") for row in range(rows)]
            asked = asked_for(f"{owner} {number}", *ids)
            self.lists.views[owner, asked] += 1
            parts.append(self.lists.open(asked))
        return parts

    async def pass_by(self, seconds: int) -> None:
        """Have so many seconds pass, with a look in each."""
        for _ in range(seconds):
            self.seconds += 1
            await self.lists.look()

    def oldest(self, owner: str) -> tuple[float, float]:
        """Return how old a row of somebody's ever was, and what belongs on a page."""
        rows = [id for whose, one in self.lists.views if whose == owner for id in one.shown]
        found = [one.q for whose, one in self.lists.views if whose == owner]
        return (
            max(self.wait(self.read_at.get(cast("UUID", id), [0.0])) for id in rows),
            max(self.wait(self.found_at.get(q, [0.0])) for q in found),
        )

    def wait(self, times: Sequence[float]) -> float:
        """Return the longest time between two, or from the last one to now."""
        return max(later - at for at, later in pairwise([*times, self.seconds]))


def asked_for(q: str, *shown: UUID) -> Open:
    """Ask for a list of jobs."""
    return Open(of="jobs", q=q, sort="newest", cursor=None, shown=shown)


def row_of(id: UUID) -> ListRow:
    """Return a row of a job that runs within five minutes and has run fifty times."""
    job = ListedJob(
        id=id,
        name=f"job-{id.hex}",
        tags=("billing",),
        state=JobState.SCHEDULED,
        failing=False,
        next_run=NOW + timedelta(seconds=id.int % 300),
        cron="*/5 * * * *",
    )
    return ListRow(job=job, outcomes=["succeeded"] * 50, seconds=[1.5] * 50, finished_at=[NOW] * 50)


async def test_who_has_one_list_open_waits_no_longer_for_those_who_have_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulated = Simulated(monkeypatch)
    parts = [*simulated.show("many", MOST_LISTS), *simulated.show("more", MOST_LISTS)]
    parts += simulated.show("one", 1)
    await simulated.pass_by(90)

    of_one, of_many = simulated.oldest("one"), simulated.oldest("many")
    assert of_one[0] <= 2, "its rows are read at each look at rows"
    assert of_one[1] <= TURNS * 3 + 1, "three owners take turns"
    a_second = (MOST_ROWS - 25) * (TURNS - 1) / TURNS
    assert of_many[0] <= 2 * MOST_LISTS * 25 / a_second + 2
    assert simulated.most_read == MOST_ROWS

    for part in parts:
        await part.end()
    lists = simulated.lists
    assert (lists.watched, lists.many, lists.rows, lists.read_at) == ({}, {}, {}, {})


async def test_who_opens_lists_anew_all_the_time_gains_no_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulated = Simulated(monkeypatch)
    simulated.show("one", 2)
    for number in range(60):
        [brief] = simulated.show(f"brief {number % 2}", 1)
        await simulated.pass_by(1)
        simulated.lists.views[f"brief {number % 2}", asked_of(brief)] -= 1
        simulated.lists.views += Counter()
        await brief.end()

    assert simulated.oldest("one")[1] <= TURNS * 2 * 2


def asked_of(part: Part) -> Open:
    """Return the list that a part shows."""
    asked: Open = cast("Any", part).make_cells.args[0].asked
    return asked


async def test_a_key_has_so_many_different_lists_and_none_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing() -> AsyncGenerator[bytes, None]:
        yield b""

    lists = Simulated(monkeypatch).lists
    kept = [
        lists.shown(nothing(), asked_for(f"{number}"), owner="a") for number in range(MOST_LISTS)
    ]
    kept.append(lists.shown(nothing(), asked_for("0"), owner="a"))
    kept.append(lists.shown(nothing(), asked_for("another"), owner="b"))
    with pytest.raises(TooManyStreams, match="50 different lists are open with this API key"):
        lists.shown(nothing(), asked_for("another"), owner="a")
    del kept
    assert not lists.views


async def test_a_list_says_that_the_database_is_away_and_that_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulated = Simulated(monkeypatch)
    [of_jobs], [of_none] = simulated.show("one", 1), simulated.show("two", 1, rows=0)
    await simulated.pass_by(9)
    for part in (of_jobs, of_none):
        await part.renew()

    simulated.error = DatabaseUnavailable("it is gone")
    await simulated.pass_by(3)
    for part in (of_jobs, of_none):
        with pytest.raises(DatabaseUnavailable, match="it is gone"):
            await part.renew()

    simulated.error = None
    await simulated.pass_by(9)
    for part in (of_jobs, of_none):
        await part.renew()


async def test_cells_are_made_anew_only_where_they_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, said = list[str](), list[str]()

    def draw(root: str, name: str, *given: object) -> Markup:
        (said if name == "next" else drawn).append(name)
        return made(root, name, *given)

    made = list_cells.macro
    monkeypatch.setattr(list_cells, "macro", draw)
    simulated = Simulated(monkeypatch)
    parts = simulated.show("one", 20)
    await simulated.pass_by(9)
    for part in parts:
        await part.renew()
    assert (len(drawn), len(said)) == (2 * 500 + 3, 500)

    drawn.clear()
    said.clear()
    await simulated.pass_by(1)
    for part in parts:
        await part.renew()
    assert drawn == []
    assert 0 < len(said) < 200, "what runs within the minute, and what has another minute now"


def test_words_of_an_instant_change_only_with_what_they_are_told_by() -> None:
    for away in (*range(-200, 200), *range(35_000, 40_000), *range(-90_000, -86_000)):
        at, told = (NOW + timedelta(seconds=one) for one in (away, list_cells.told_as(away)))
        assert from_now(at, NOW) == from_now(told, NOW)


@pytest.mark.parametrize(
    ("sort", "found", "words"),
    [
        ("newest", IDS[2:], "1 new"),
        ("newest", IDS[:1], "1 other here now"),
        ("next_run", IDS[2:], "1 other here now"),
    ],
)
def test_what_is_newer_is_new_and_the_rest_is_here(
    sort: str, found: tuple[UUID, ...], words: str
) -> None:
    asked = Open(of="jobs", q="", sort=sort, cursor=None, shown=IDS[1:2])

    assert in_words(asked, found) == words
    assert in_words(asked, [UUID(int=9 + each) for each in range(25)]).startswith("25+")


@pytest.mark.parametrize("text", ["x", f"{IDS[0].hex},x", ",".join([IDS[0].hex] * 26)])
def test_what_are_no_ids_of_a_page_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="load the page anew"):
        read_ids(text, of=UUID, most=25)
