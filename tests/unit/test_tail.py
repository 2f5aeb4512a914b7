"""What `tocsin executions tail` tells, look by look."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cli.remote import tail
from app.cli.remote.api import Api
from app.cli.remote.errors import UNREACHABLE, CommandFailed
from app.cli.remote.tail import OVERLAP, Tail

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


class Recorded(Api):
    """An API whose executions are those that were recorded so far."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.executions: list[dict[str, Any]] = []
        self.is_away = False

    def record(self, id: int, seconds: float) -> None:
        at = (BEGIN + timedelta(seconds=seconds)).isoformat()
        self.executions.append({"id": id, "finished_at": at})

    def call(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - as the API answers
        return {"items": sorted(self.executions, key=lambda one: -one["id"])[:1]}

    def pages(self, *_: object, query: Any = None, **__: object) -> Iterator[Any]:  # noqa: ANN401
        if self.is_away:
            raise CommandFailed("the API does not answer", exit_code=UNREACHABLE)
        since = datetime.fromisoformat(query.get("from", BEGIN.isoformat()))
        for one in sorted(self.executions, key=lambda one: -one["id"]):
            if datetime.fromisoformat(one["finished_at"]) >= since:
                yield one


def looks(api: Recorded, monkeypatch: pytest.MonkeyPatch, *happenings: Any) -> list[list[int]]:  # noqa: ANN401
    """Return the ids that each look tells, where these things happen between the looks."""
    left = list(happenings)
    query = left.pop(0) if isinstance(left[0], dict) else {}

    def happen(_: float) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    monkeypatch.setattr(tail.time, "sleep", happen)
    told: list[list[int]] = []
    with suppress(KeyboardInterrupt):
        told.extend([one["id"] for one in found] for found in Tail(api, query))
    return told


def test_one_that_took_long_is_told_although_others_that_began_later_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = Recorded()
    api.record(5, 0)

    told = looks(
        api,
        monkeypatch,
        lambda: (api.record(9, 2), api.record(8, 1)),
        lambda: api.record(6, 3),  # which began before those
        lambda: api.record(7, 2.5),  # which was written down late
        lambda: None,
    )

    assert told == [[8, 9], [6], [7]]


def test_an_api_that_is_away_for_a_while_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Recorded()

    def leave() -> None:
        api.is_away = True

    def come_back() -> None:
        api.is_away = False
        api.record(1, 1)

    assert looks(api, monkeypatch, leave, lambda: None, come_back) == [[1]]
    assert capsys.readouterr().err.count("does not answer") == 1


def test_an_end_that_lies_ahead_hides_none_that_comes_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = Recorded()

    told = looks(
        api,
        monkeypatch,
        lambda: api.record(1, 0),  # by a clock that was years ahead
        lambda: api.executions.append({"id": 2, "finished_at": datetime.now(UTC).isoformat()}),
        lambda: None,
    )

    assert told == [[1], [2]]


def test_an_api_that_never_answered_is_no_api_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Recorded()
    api.is_away = True

    with pytest.raises(CommandFailed, match="does not answer"):
        looks(api, monkeypatch, {"from": BEGIN.isoformat()}, lambda: None)


def test_what_ended_before_is_told_only_since_an_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Recorded()
    for id in range(3):
        api.record(id, id * 2 * OVERLAP.total_seconds())
    since = {"from": (BEGIN + OVERLAP).isoformat()}

    assert looks(api, monkeypatch, lambda: None) == []
    assert looks(api, monkeypatch, since, lambda: None) == [[1, 2]]
    with pytest.raises(CommandFailed, match="with a zone"):
        Tail(api, {"from": "tomorrow"})
