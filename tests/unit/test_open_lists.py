"""What open lists are sent, and how often each is looked at."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import pytest
from markupsafe import Markup

from app.errors import InvalidInput
from app.web import open_lists
from app.web.cells import Cell, Cells, cell, version_of
from app.web.open_lists import MOST_ROWS, Open, OpenLists, in_words, read_ids

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


async def test_of_three_looks_one_is_at_a_list_in_its_turn_and_two_are_at_so_many_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds, asked, read = 0.0, list[str](), list[int]()

    async def found_ids(_reader: object, one: Open) -> Sequence[UUID]:
        asked.append(one.q)
        return ()

    async def read_rows(_reader: object, ids: Sequence[UUID]) -> dict[UUID, Any]:
        read.append(len(ids))
        return {}

    monkeypatch.setattr(open_lists, "found_ids", found_ids)
    monkeypatch.setattr(open_lists, "read_rows", read_rows)
    lists = OpenLists(cast("Any", None), cast("Any", None), root="", clock=lambda: seconds)
    parts = [
        lists.open(
            Open(
                of="jobs",
                q=f"{number}",
                sort="newest",
                cursor=None,
                shown=tuple(UUID(int=number * 100 + each) for each in range(25)),
            )
        )
        for number in range(6)
    ]
    for second in range(60):
        seconds = float(second)
        await lists.look()

    assert (len(asked), len(read)) == (20, 40)
    assert {asked.count(f"{number}") for number in range(6)} == {3, 4}
    assert set(read) == {MOST_ROWS}
    assert len(lists.rows) == 150
    for part in parts:
        await part.end()
    assert (lists.watched, lists.many, lists.rows, lists.read_at) == ([], {}, {}, {})


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
