"""What takes too long is interrupted, and what does not costs no timer of its own."""

from typing import Any

import pytest

from app.errors import CancellationCaught, DatabaseUnavailable
from app.scheduler import watch
from app.scheduler.watch import Watch
from app.telemetry import Observers
from tests.support.ticks import ManualTimers, Ticks, turns


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what Postgres was asked to cancel, in order."""
    asked: list[dict[str, Any]] = []

    async def interrupt(_: object, **arguments: Any) -> None:  # noqa: ANN401
        asked.append(arguments)

    monkeypatch.setattr(watch, "interrupt", interrupt)
    return asked


def watch_by(timers: ManualTimers) -> Watch:
    db: Any = None  # nothing is asked of Postgres: see `asked`
    return Watch(
        db, Observers(), application_name="tocsin x", timers=timers, seconds=0.4, locks=True
    )


async def test_statements_that_are_quick_share_one_timer(asked: list[dict[str, Any]]) -> None:
    timers = ManualTimers(Ticks())
    watch = watch_by(timers)
    for _ in range(100):
        with watch:
            await turns()
    assert len(timers.planned) == 1
    await timers.advance(1.0)
    assert not asked
    assert not timers.planned


async def test_a_statement_is_interrupted_when_it_has_taken_its_time_and_again_after_as_long(
    asked: list[dict[str, Any]],
) -> None:
    timers = ManualTimers(Ticks())
    watch = watch_by(timers)
    with watch:
        await timers.advance(0.3)
    with watch:  # the timer of the one before comes while this one still has time
        await timers.advance(0.35)
        assert not asked
        await timers.advance(0.1)
        assert asked == [{"application_name": "tocsin x", "seconds": 0.2, "locks": True}]
        await timers.advance(0.4)
        assert len(asked) == 2
    await timers.advance(1.0)
    assert len(asked) == 2


async def test_a_statement_that_goes_on_although_cancelled_has_its_session_ended(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[dict[str, Any]] = []

    async def interrupt(_: object, **arguments: Any) -> bool:  # noqa: ANN401
        asked.append(arguments)
        return True

    async def end(_: object, **arguments: Any) -> bool:  # noqa: ANN401
        ended.append(arguments)
        return True

    monkeypatch.setattr(watch, "interrupt", interrupt)
    monkeypatch.setattr(watch, "end", end)
    timers = ManualTimers(Ticks())
    watched = watch_by(timers)

    async def go_on() -> None:
        with watched:
            await timers.advance(0.45)
            assert (len(asked), ended) == (1, [])
            await timers.advance(0.4)
            assert ended == [{"application_name": "tocsin x", "seconds": 0.2}]
            raise DatabaseUnavailable("the connection is closed")

    with pytest.raises(CancellationCaught):
        await go_on()
    with pytest.raises(DatabaseUnavailable) as outage, watched:  # another one is an outage again
        raise DatabaseUnavailable("the connection is closed")
    assert not isinstance(outage.value, CancellationCaught)
    assert len(asked) == 1


async def test_a_statement_that_failed_is_watched_no_more(asked: list[dict[str, Any]]) -> None:
    timers = ManualTimers(Ticks())
    watch = watch_by(timers)
    with pytest.raises(ValueError, match="refused"), watch:
        raise ValueError("refused")
    await timers.advance(1.0)
    assert not asked
