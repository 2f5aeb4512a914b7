import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from app.core.schedule import zones
from app.core.schedule.zones import SAMPLING, changes, stretch_at, zone_named
from app.errors import InvalidInput


def refusal(timezone: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        zone_named(timezone)
    (error,) = caught.value.errors
    assert error.field == "timezone"
    return error.message


@pytest.mark.parametrize(
    "timezone", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"]
)
def test_an_iana_name_is_a_zone(timezone: str):
    assert zone_named(timezone).key == timezone


@pytest.mark.parametrize(
    ("timezone", "message"),
    [
        ("Europe/Pariss", "'Europe/Pariss' is no time zone; did you mean Europe/Paris"),
        ("europe/paris", "did you mean Europe/Paris"),
        ("America/NewYork", "did you mean America/New_York"),
        ("Amerika/New York", "did you mean America/New_York"),
        ("Mars/Olympus", "write an IANA name such as Europe/Paris, America/New_York or UTC"),
        ("", "'' is no time zone; write an IANA name"),
        ("Europe", "'Europe' is no time zone"),
        ("+02:00", "'+02:00' is no time zone"),
        ("x" * 10_000, "is no time zone"),
    ],
)
def test_an_unknown_zone_is_refused_with_close_names(timezone: str, message: str):
    assert message in refusal(timezone)
    assert len(refusal(timezone)) < 200


@pytest.mark.parametrize(
    "timezone",
    [
        "../etc/passwd",
        "/etc/localtime",
        "Europe/../../etc/passwd",
        "Europe//Paris",
        "Europe/Paris/",
        "Europe/Paris\x00",
        "Europe/Paris\n",
        "..",
        "right/Europe/Paris",
        "posix/Europe/Paris",
        "localtime",
        "posixrules",
    ],
)
def test_nothing_but_a_zone_reaches_the_file_system(timezone: str, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(zones, "ZoneInfo", asked.append)

    refusal(timezone)

    assert asked == []


def test_a_change_of_offset_is_known_to_the_second():
    (spring, autumn) = changes("America/New_York", 2026)

    assert spring.at == datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert (spring.before, spring.after) == (timedelta(hours=-5), timedelta(hours=-4))
    assert autumn.at == datetime(2026, 11, 1, 6, tzinfo=UTC)


def test_a_change_at_midnight_of_new_year_belongs_to_the_new_year():
    assert changes("Antarctica/Casey", 1968) == ()
    assert [change.at for change in changes("Antarctica/Casey", 1969)] == [
        datetime(1969, 1, 1, tzinfo=UTC)
    ]


def test_an_offset_may_have_odd_seconds():
    (change,) = changes("Africa/Monrovia", 1972)

    assert change.at == datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)
    assert change.before == -timedelta(minutes=44, seconds=30)


def test_a_stretch_ends_where_the_next_begins():
    winter = stretch_at("Europe/Paris", datetime(2026, 1, 1, tzinfo=UTC))
    summer = stretch_at("Europe/Paris", winter.end)

    assert winter.end == summer.start == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert winter.offset == summer.before == timedelta(hours=1)
    assert summer.offset == winter.after == timedelta(hours=2)
    assert summer.wall_before == datetime.fromisoformat("2026-03-29 02:00")
    assert winter.wall_after == datetime.fromisoformat("2026-03-29 03:00")


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Tokyo", "Etc/GMT-14"])
def test_a_zone_without_changes_is_cut_into_long_stretches(timezone: str):
    instant = datetime(2026, 7, 1, tzinfo=UTC)
    stretch = stretch_at(timezone, instant)

    assert instant - stretch.start > timedelta(days=365)
    assert stretch.end - instant > timedelta(days=365)
    assert stretch.offset == stretch.before == stretch.after
    assert stretch.offset == instant.astimezone(ZoneInfo(timezone)).utcoffset()


def test_no_zone_changes_its_offset_twice_within_a_sample():
    """`changes` compares offsets that lie a sample apart, so a nearer pair would escape it."""
    names = resources.files("tzdata").joinpath("zones").read_text().split()

    assert len(names) > 400
    assert min(nearest_changes(name) for name in names) > 2 * SAMPLING


def nearest_changes(name: str) -> timedelta:
    """Read from the zone's file how near two changes of its offset come to each other."""
    instants = list(change_instants(name))
    apart = (later - earlier for earlier, later in pairwise(instants))
    return timedelta(seconds=min(apart, default=10**9))


def change_instants(name: str) -> Iterator[int]:
    """Walk over the changes in the 64-bit half of a TZif file (RFC 9636), in seconds since 1970."""
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    isut, isstd, leap, times, kinds, chars = struct.unpack(">6l", data[20:44])
    second = 44 + times * 5 + kinds * 6 + chars + leap * 8 + isstd + isut
    _, _, _, times, kinds, _ = struct.unpack(">6l", data[second + 20 : second + 44])
    start = second + 44
    instants = struct.unpack(f">{times}q", data[start : start + 8 * times])
    kind_of = data[start + 8 * times : start + 9 * times]
    table = data[start + 9 * times : start + 9 * times + 6 * kinds]
    offsets = [offset for offset, _, _ in struct.iter_unpack(">lbb", table)]
    before = offsets[0]
    for instant, kind in zip(instants, kind_of, strict=True):
        if offsets[kind] != before:
            before = offsets[kind]
            yield instant
