"""What is told again and again is thinned out."""

from app.telemetry.repeats import MAX_KEYS, MAX_PAUSE_SECONDS, Repeats
from tests.support.ticks import Ticks


def told(seconds: int, clock: Ticks, repeats: Repeats) -> dict[float, int]:
    """Tell the same thing each second; return when it passed, with how many were kept back."""
    passed = {}
    for _ in range(seconds):
        count = repeats.count("the database is away")
        if count is not None:
            passed[clock()] = count
        clock.now += 1.0
    return passed


def test_the_first_time_is_told_and_then_ever_fewer() -> None:
    clock = Ticks()

    passed = told(300, clock, Repeats(clock))

    assert list(passed) == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert sum(passed.values()) + len(passed) == 244


def test_what_stayed_away_is_told_at_once() -> None:
    clock = Ticks()
    repeats = Repeats(clock)
    told(100, clock, repeats)
    clock.now += 3 * MAX_PAUSE_SECONDS

    assert repeats.count("the database is away") == 0


def test_different_things_are_told_apart_and_only_so_many_are_remembered() -> None:
    repeats = Repeats(lambda: 0.0)

    assert [repeats.count(n) for n in range(2 * MAX_KEYS)] == [0] * 2 * MAX_KEYS
    assert len(repeats.told) == MAX_KEYS
    assert repeats.count(2 * MAX_KEYS - 1) is None
