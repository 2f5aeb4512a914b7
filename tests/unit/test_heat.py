"""The week that is to come: how many runs each hour and minute has, and who makes them."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.core.jobs.identity import NIL
from app.core.schedule.heat import HOUR, HOURS, Crowd, Heat, heat_of
from app.core.schedule.occurrences import TICK
from app.core.schedule.schedule import Schedule, recurrence_of
from app.core.schedule.zones import zone_named
from app.web.ahead import Picture, Pictures, drawn
from app.web.heat import TIERS, Week, busiest, days, tier
from app.web.labels import names
from app.web.pictures import density

NOW = datetime(2026, 11, 29, 22, 20, tzinfo=UTC)
"""A Sunday."""
DAY = timedelta(days=1)


def crowd(jobs: float = 1, *, at: datetime | None = None, **schedule: Any) -> Crowd:  # noqa: ANN401
    given = {"timezone": "UTC", **schedule}
    return Crowd(schedule=Schedule(**given), at=at, anchor=NOW - DAY, next_run=NOW, jobs=jobs)


def heat(*crowds: Crowd, most: int = 10**6) -> Heat:
    return heat_of(crowds, now=NOW, most=most, named=24, each=2)


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "0 0 * * *"},
        {"cron": "*/5 9-17 * * MON-FRI", "timezone": "America/New_York"},
        {"cron": "30 2 * * *", "timezone": "Asia/Kolkata"},
        {"cron": "*/20 * * * * *"},
        {"cron": "0 12 1 * *"},
        {"cron": "10 22 * * SUN"},
        {"every_seconds": 90_000.0},
        {"every_seconds": 7200.0},
    ],
)
def test_a_week_has_the_runs_that_its_schedule_has(schedule: dict[str, Any]) -> None:
    one = crowd(**schedule)
    counted = heat(one)

    hours, minutes = [0] * HOURS, [0] * 60
    runs = recurrence_of(one.schedule, NIL, anchor=one.anchor)
    end = counted.start + HOURS * HOUR
    run = runs.first(NOW, end)
    while run is not None:
        hours[(run - counted.start) // HOUR] += 1
        minutes[run.astimezone(UTC).minute] += 1
        run = runs.first(run + TICK, end)
    assert counted.hours == hours
    assert counted.minutes == minutes


def test_a_short_interval_is_the_same_in_every_hour() -> None:
    counted = heat(crowd(2, every_seconds=900.0))

    assert counted.hours == [8] * HOURS
    assert [minute for minute, runs in enumerate(counted.minutes) if runs] == [5, 20, 35, 50]
    assert sum(heat(crowd(every_seconds=7.0)).minutes) == pytest.approx(HOURS * 3600 / 7)


def test_one_offs_count_where_they_are_and_late_ones_now() -> None:
    at = NOW + timedelta(hours=3)
    counted = heat(crowd(5, at=at), crowd(2, at=NOW - DAY))

    assert {hour: runs for hour, runs in enumerate(counted.hours) if runs} == {0: 2, 3: 5}
    assert counted.minutes[20] == 7


def test_the_busiest_hours_say_who_makes_them() -> None:
    counted = heat(
        crowd(412, cron="0 0 * * *"), crowd(3, cron="30 0 * * MON"), crowd(9, cron="5 12 * * *")
    )

    busiest = counted.busiest[0]
    assert counted.start + busiest * timedelta(hours=1) == datetime(2026, 11, 30, tzinfo=UTC)
    assert [(one.crowd.schedule.cron, one.runs) for one in counted.makers[busiest]] == [
        ("0 0 * * *", 412),
        ("30 0 * * MON", 3),
    ]
    assert counted.minutes[0] == 7 * 412


def test_jitter_takes_the_runs_of_a_minute_apart() -> None:
    together = heat(crowd(600, cron="0 3 * * *"))
    apart = heat(crowd(600, cron="0 3 * * *", jitter_seconds=1800.0))
    far_apart = heat(crowd(600, cron="0 3 * * *", jitter_seconds=3 * 3600.0))

    assert max(together.minutes) == 7 * 600
    assert max(apart.minutes) < 7 * 600 / 25
    assert sum(apart.hours) == sum(together.hours)
    assert max(far_apart.hours) == 150


def test_an_h_means_other_times_for_each_job() -> None:
    ids = tuple(UUID(int=number) for number in range(1, 9))
    schedule = Schedule(cron="H H * * *", timezone="UTC")

    counted = heat(Crowd(schedule=schedule, anchor=NOW, next_run=NOW, jobs=80, ids=ids))

    assert sum(counted.hours) == pytest.approx(560, abs=10)
    assert max(counted.hours) <= 30


def test_what_is_beyond_the_bound_is_the_rarest_and_is_said() -> None:
    crowds = [crowd(jobs, cron=f"{jobs % 60} * * * *") for jobs in range(1, 60)]

    counted = heat(*crowds, most=5000)

    assert 0 < counted.left_out < sum(range(1, 60)) / 2
    assert sum(counted.hours) > 0


def test_a_cron_that_cannot_be_read_keeps_no_other_from_its_place() -> None:
    wrong = [crowd(cron="61 * * * *"), crowd(cron="0 0 * * *", timezone="Nowhere"), crowd()]

    assert sum(heat(*wrong, crowd(cron="0 0 * * *")).hours) == 7


def test_hours_are_laid_out_by_the_clocks_of_a_zone() -> None:
    week = Week(at=NOW, heat=heat(crowd(4, cron="0 3 * * *")), is_sample=False)

    for name, hour in (("UTC", 3), ("Asia/Tokyo", 12)):
        laid_out = days(week, zone_named(name))
        assert len(laid_out) == 7
        full = [cell.at.hour for day in laid_out for cell in day.cells if cell and cell.runs]
        assert full == [hour] * 7
    assert [day.name for day in days(week, UTC)][:2] == ["Sun", "Mon"]


def week_of_one_an_hour(start: datetime) -> Week:
    hourly = Heat(start=start, hours=[1.0] * HOURS, minutes=[0.0], makers={}, left_out=0)
    return Week(at=start, heat=hourly, is_sample=False)


def test_an_hour_that_clocks_show_twice_has_the_runs_of_both() -> None:
    week = week_of_one_an_hour(datetime(2026, 10, 20, 10, tzinfo=UTC))

    cells = [cell for day in days(week, zone_named("Europe/Paris")) for cell in day.cells if cell]

    assert [(f"{one.at:%a %H}", one.runs) for one in cells if one.runs != 1] == [("Sun 02", 2)]
    assert sum(one.runs for one in cells) == HOURS


def test_the_hour_of_now_is_shown_and_not_that_of_a_week_later_where_clocks_skip_one() -> None:
    start = datetime(2027, 3, 23, 10, tzinfo=UTC)

    laid_out = days(week_of_one_an_hour(start), zone_named("Europe/Paris"))

    assert [cell.at for cell in laid_out[0].cells if cell and cell.at.hour == 11] == [start]


def test_tiers_begin_with_any_run_and_end_with_the_busiest_hour() -> None:
    tiers = [tier(runs, 100) for runs in (0, 0.2, 1, 20, 21, 99, 100)]

    assert tiers == [0, 0, 1, 1, 2, TIERS, TIERS]


@pytest.mark.parametrize("often", [{"every_seconds": 10.0}, {"cron": "*/10 * * * * *"}])
def test_what_runs_all_the_time_does_not_make_all_hours_alike(often: dict[str, Any]) -> None:
    counted = heat(crowd(**often), crowd(20, cron="0 3 * * *"))
    week = Week(at=NOW, heat=counted, is_sample=False)

    tiers = {
        cell.at.hour: cell.tier for day in days(week, UTC) for cell in day.cells if cell is not None
    }

    assert week.steady == 360
    assert {hour for hour, one in tiers.items() if one} == {3}
    assert tiers[3] == TIERS


def test_hours_that_the_same_schedules_make_are_told_together() -> None:
    counted = heat(crowd(40, cron="0 0 * * *"), crowd(30, cron="0 12 * * MON"))
    week = Week(at=NOW, heat=counted, is_sample=False)

    told = busiest(week, zone_named("Asia/Tokyo"))

    assert [(one.at.strftime("%a %H:%M"), one.more, one.runs) for one in told] == [
        ("Mon 09:00", 6, 40),
        ("Mon 21:00", 0, 30),
    ]


async def test_what_comes_is_drawn_once_for_all_who_look_at_a_week(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawings = 0

    def counted(*given: Any, **named: Any) -> Picture:  # noqa: ANN401
        nonlocal drawings
        drawings += 1
        return drawn(*given, **named)

    monkeypatch.setattr("app.web.ahead.drawn", counted)
    noon = crowd(3, cron="0 12 * * *")
    first = Week(at=NOW, heat=heat(noon), is_sample=False, crowds=[noon])
    later = Week(at=NOW + HOUR / 60, heat=heat(noon), is_sample=False, crowds=[noon])
    set_back = Week(at=NOW - HOUR, heat=heat(noon), is_sample=False, crowds=[noon])
    pictures = Pictures()

    seen = await asyncio.gather(*(pictures.see(first, "day") for _ in range(20)))
    other = await pictures.see(later, "day")

    assert drawings == 2
    assert {id(one) for one in seen} == {id(seen[0])}
    assert (seen[0].at, other.at) == (first.at, later.at)
    assert await pictures.see(first, "day") is other, (
        "whoever has the week before sees the newer one"
    )
    assert (await pictures.see(set_back, "day")).at == set_back.at


async def test_spans_with_few_runs_say_whose() -> None:
    given = ((1, 12, ("lunch <1>",)), (2, 18, ("tea", "cake")), (40, 0, ("a", "b")))
    crowds = [
        replace(crowd(jobs, cron=f"0 {hour} * * *"), names=names, anchor=run, next_run=run)
        for jobs, hour, names in given
        for run in [NOW + (datetime(2026, 1, 1, hour, tzinfo=UTC) - NOW) % DAY]
    ]
    crowds.append(replace(crowd(cron="*/10 * * * *"), names=("often, and not drawn",)))
    week = Week(at=NOW, heat=heat(*crowds), is_sample=False, crowds=crowds)

    shown = (await Pictures().see(week, "day")).spans

    assert {one.runs: one.names for one in shown if one.runs} == {
        1: ("lunch <1>",),
        2: ("tea", "cake"),
        40: (),
    }
    assert "UTC: 1 run, lunch &lt;1&gt;</title>" in density(shown, every=HOUR / 4)
    below = names(shown)
    assert re.findall("<text[^>]*>([^<]*)</text>", below) == ["lunch &lt;1&gt;", "tea +1"]
    assert below.count('<g class="wide">') == 1, "a phone has room for one in each half"
