from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.core.schedule.occurrences import Interval
from app.core.schedule.schedule import (
    DstGap,
    DstOverlap,
    Schedule,
    check,
    count_runs,
    first_run,
    latest_run,
    normalized,
    run_after,
)
from app.errors import InvalidInput

JOB = UUID("018f3c1e-7a11-7cc0-8000-3f1f4e0c6a42")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FIVE_YEARS = 5 * 365 * 86_400


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def runs(schedule: Schedule, start: str, stop: str) -> list[str]:
    """List the runs in (start, stop], in UTC and without the year and the zone."""
    found = []
    instant = run_after(schedule, at(start), job_id=JOB)
    while instant is not None and instant <= at(stop):
        assert instant.tzinfo is UTC
        assert len(found) < 100
        found.append(f"{instant:%m-%d %H:%M:%S}".removesuffix(":00"))
        instant = run_after(schedule, instant, job_id=JOB)
    return found


def errors_of(schedule: Schedule) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        check(schedule, job_id=JOB, now=NOW)
    return {error.field: error.message for error in caught.value.errors}


# Gaps and overlaps


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (DstGap.RUN_AFTER, ["03-07 07:30", "03-08 07:00", "03-09 06:30"]),
        (DstGap.SKIP, ["03-07 07:30", "03-09 06:30"]),
    ],
)
def test_a_fixed_time_in_the_gap_runs_right_after_it_or_not_at_all(
    gap: DstGap, expected: list[str]
):
    schedule = Schedule(cron="30 2 * * *", timezone="America/New_York", dst_gap=gap)

    assert runs(schedule, "2026-03-07T00:00Z", "2026-03-09T12:00Z") == expected


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        (DstOverlap.FIRST, ["10-31 05:30", "11-01 05:30", "11-02 06:30"]),
        (DstOverlap.LAST, ["10-31 05:30", "11-01 06:30", "11-02 06:30"]),
        (DstOverlap.BOTH, ["10-31 05:30", "11-01 05:30", "11-01 06:30", "11-02 06:30"]),
    ],
)
def test_a_fixed_time_in_the_overlap_runs_first_last_or_in_both(
    overlap: DstOverlap, expected: list[str]
):
    schedule = Schedule(cron="30 1 * * *", timezone="America/New_York", dst_overlap=overlap)

    assert runs(schedule, "2026-10-31T00:00Z", "2026-11-02T12:00Z") == expected


@pytest.mark.parametrize("gap", DstGap)
@pytest.mark.parametrize("overlap", DstOverlap)
def test_a_wildcard_cron_follows_real_time_whatever_the_policies(gap: DstGap, overlap: DstOverlap):
    schedule = Schedule(
        cron="*/30 1-2 * * *", timezone="America/New_York", dst_gap=gap, dst_overlap=overlap
    )

    spring = ["03-08 06:00", "03-08 06:30"]
    autumn = ["11-01 05:00", "11-01 05:30", "11-01 06:00", "11-01 06:30", "11-01 07:00"]
    assert runs(schedule, "2026-03-08T00:00Z", "2026-03-08T12:00Z") == spring
    assert runs(schedule, "2026-11-01T00:00Z", "2026-11-01T12:00Z") == [*autumn, "11-01 07:30"]


def test_all_times_of_a_gap_make_one_run_even_with_a_regular_one_at_its_end():
    schedule = Schedule(cron="0,15,30,45 2,3 * * *", timezone="America/New_York")

    spring = runs(schedule, "2026-03-08T00:00Z", "2026-03-08T12:00Z")

    assert spring == ["03-08 07:00", "03-08 07:15", "03-08 07:30", "03-08 07:45"]
    counted = {"first": at("2026-03-08T07:00Z"), "until": at("2026-03-08T12:00Z"), "limit": 100}
    assert count_runs(schedule, job_id=JOB, **counted) == 4
    before = {"first": at("2026-03-08T06:00Z"), "until": at("2026-03-08T12:00Z"), "limit": 100}
    assert count_runs(schedule, job_id=JOB, **before) == 5


def test_seconds_of_a_fixed_minute_pass_once():
    schedule = Schedule(cron="*/30 59 1 * * *", timezone="America/New_York")

    assert runs(schedule, "2026-11-01T00:00Z", "2026-11-01T12:00Z") == [
        "11-01 05:59",
        "11-01 05:59:30",
    ]


@pytest.mark.parametrize(
    ("timezone", "cron", "start", "stop", "expected"),
    [
        (  # half an hour
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-03T00:00Z",
            "2026-10-05T00:00Z",
            ["10-03 15:30", "10-04 15:15"],
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-04T00:00Z",
            "2026-04-06T00:00Z",
            ["04-04 14:45", "04-05 15:15"],
        ),
        (  # two hours
            "Antarctica/Troll",
            "30 1 * * *",
            "2026-03-28T12:00Z",
            "2026-03-30T12:00Z",
            ["03-29 01:00", "03-29 23:30"],
        ),
        (  # at midnight
            "America/Sao_Paulo",
            "0 0 * * *",
            "2018-11-03T12:00Z",
            "2018-11-05T12:00Z",
            ["11-04 03:00", "11-05 02:00"],
        ),
        (  # 30 December never was
            "Pacific/Apia",
            "0 9 * * *",
            "2011-12-29T12:00Z",
            "2012-01-01T00:00Z",
            ["12-29 19:00", "12-30 10:00", "12-30 19:00", "12-31 19:00"],
        ),
        (  # 21 August never was
            "Pacific/Kwajalein",
            "0 0 21 8 *",
            "1993-01-01T00:00Z",
            "1994-12-31T00:00Z",
            ["08-21 12:00", "08-20 12:00"],
        ),
        (  # the clocks go back for Ramadan
            "Africa/Casablanca",
            "30 2 * * *",
            "2026-02-14T12:00Z",
            "2026-02-16T12:00Z",
            ["02-15 01:30", "02-16 02:30"],
        ),
        (
            "Asia/Gaza",
            "30 2 * * *",
            "2026-03-27T12:00Z",
            "2026-03-29T12:00Z",
            ["03-28 00:00", "03-28 23:30"],
        ),
        (  # an offset with odd seconds, until 1972
            "Africa/Monrovia",
            "20 0 * * *",
            "1972-01-06T00:00Z",
            "1972-01-09T00:00Z",
            ["01-06 01:04:30", "01-07 00:44:30", "01-08 00:20"],
        ),
        (  # just after midnight of new year in UTC
            "Africa/Sao_Tome",
            "30 1 * * *",
            "2018-12-31T00:00Z",
            "2019-01-02T12:00Z",
            ["12-31 00:30", "01-01 00:30", "01-02 01:30"],
        ),
    ],
)
def test_fixed_times_survive_the_odd_changes_of_the_world(
    timezone: str, cron: str, start: str, stop: str, expected: list[str]
):
    assert runs(Schedule(cron=cron, timezone=timezone), start, stop) == expected


# Recurring runs


def test_a_one_off_keeps_its_instant_even_when_it_has_passed():
    instant = datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    schedule = Schedule(run_at=instant)

    assert first_run(schedule, job_id=JOB, now=NOW) == instant
    assert first_run(schedule, job_id=JOB, now=NOW).tzinfo is UTC
    assert run_after(schedule, instant - timedelta(days=1), job_id=JOB) is None
    assert latest_run(schedule, job_id=JOB, after=instant, until=NOW) == instant
    assert latest_run(schedule, job_id=JOB, after=NOW, until=instant) is None
    assert count_runs(schedule, job_id=JOB, first=instant, until=NOW, limit=5) == 1
    assert count_runs(schedule, job_id=JOB, first=instant, until=NOW, limit=0) == 0
    assert count_runs(schedule, job_id=JOB, first=NOW, until=instant, limit=5) == 0


def test_a_run_is_strictly_later_than_the_one_before():
    schedule = Schedule(cron="0 12 * * *")
    tick = timedelta(microseconds=1)

    assert run_after(schedule, NOW - tick, job_id=JOB) == NOW
    assert run_after(schedule, NOW, job_id=JOB) == NOW + timedelta(days=1)
    assert first_run(schedule, job_id=JOB, now=NOW) == NOW + timedelta(days=1)


def test_the_bounds_of_a_cron_are_inclusive():
    schedule = Schedule(cron="0 12 * * *", starts_at=NOW, ends_at=NOW + timedelta(days=1))

    assert first_run(schedule, job_id=JOB, now=NOW - timedelta(days=9)) == NOW
    assert run_after(schedule, NOW, job_id=JOB) == NOW + timedelta(days=1)
    assert run_after(schedule, NOW + timedelta(days=1), job_id=JOB) is None
    assert first_run(schedule, job_id=JOB, now=NOW + timedelta(days=1)) is None


def test_an_interval_counts_from_its_last_run():
    schedule = Schedule(every_seconds=90)

    assert first_run(schedule, job_id=JOB, now=NOW) == NOW + timedelta(seconds=90)
    assert run_after(schedule, NOW, job_id=JOB) == NOW + timedelta(seconds=90)


def test_an_interval_with_a_start_stays_on_its_grid():
    schedule = Schedule(every_seconds=90, starts_at=NOW, ends_at=NOW + timedelta(seconds=180))

    assert first_run(schedule, job_id=JOB, now=NOW - timedelta(seconds=1)) == NOW
    assert first_run(schedule, job_id=JOB, now=NOW) == NOW + timedelta(seconds=90)
    assert run_after(schedule, NOW + timedelta(seconds=100), job_id=JOB) == NOW + timedelta(
        seconds=180
    )
    assert run_after(schedule, NOW + timedelta(seconds=180), job_id=JOB) is None


def test_an_interval_has_nothing_before_its_anchor():
    interval = Interval(anchor=NOW, every=timedelta(hours=1))

    assert interval.first(NOW - timedelta(days=1), NOW) is None
    assert interval.last(NOW - timedelta(days=1), NOW) is None
    assert interval.count(NOW - timedelta(days=1), NOW, limit=5) == 0


def test_an_interval_keeps_microseconds_for_ever():
    schedule = Schedule(every_seconds=0.1, starts_at=NOW)

    assert run_after(schedule, NOW + timedelta(days=3650), job_id=JOB) == NOW + timedelta(
        days=3650, seconds=0.1
    )


def test_nothing_runs_after_the_last_instant_of_the_database():
    end = at("2200-01-01T00:00Z")

    assert run_after(Schedule(cron="0 0 1 1 *"), at("2199-02-01T00:00Z"), job_id=JOB) == end
    assert run_after(Schedule(cron="* * * * *"), end, job_id=JOB) is None
    assert run_after(Schedule(every_seconds=FIVE_YEARS), end, job_id=JOB) is None


@pytest.mark.parametrize("cron", ["0 0 31 2,4,6,9,11 *", "0 0 0 1 1 * 2020"])
def test_a_cron_that_never_fires_has_no_run(cron: str):
    schedule = Schedule(cron=cron, timezone="America/New_York")

    assert run_after(schedule, NOW, job_id=JOB) is None


def test_the_29th_of_february_may_be_eight_years_away():
    schedule = Schedule(cron="0 0 29 2 *", timezone="Europe/Paris")

    assert run_after(schedule, at("2096-03-01T00:00Z"), job_id=JOB) == at("2104-02-28T23:00Z")


def test_the_latest_run_is_the_given_one_when_none_follows():
    schedule = Schedule(cron="0 12 * * *")

    assert latest_run(schedule, job_id=JOB, after=NOW, until=NOW) == NOW
    assert latest_run(schedule, job_id=JOB, after=NOW, until=NOW + timedelta(hours=23)) == NOW
    assert latest_run(schedule, job_id=JOB, after=NOW, until=NOW - timedelta(hours=1)) is None


def test_the_latest_run_does_not_pass_the_end():
    ends_at = NOW + timedelta(days=3, hours=1)
    daily = Schedule(cron="0 12 * * *", ends_at=ends_at)
    hourly = Schedule(every_seconds=3600, ends_at=ends_at)

    last = latest_run(daily, job_id=JOB, after=NOW, until=NOW + timedelta(days=9))
    assert last == NOW + timedelta(days=3)
    assert latest_run(hourly, job_id=JOB, after=NOW, until=NOW + timedelta(days=9)) == ends_at
    later = {"after": NOW + timedelta(days=4), "until": NOW + timedelta(days=9)}
    assert latest_run(daily, job_id=JOB, **later) is None


def test_the_latest_run_can_be_the_one_after_a_gap():
    schedule = Schedule(cron="30 2 * * *", timezone="America/New_York")

    last = latest_run(
        schedule, job_id=JOB, after=at("2026-03-07T07:30Z"), until=at("2026-03-09T00:00Z")
    )

    assert last == at("2026-03-08T07:00Z")


def test_the_latest_run_is_found_across_new_year_and_a_change_of_clocks():
    schedule = Schedule(cron="0 12 1 7 *", timezone="Europe/Paris")

    last = latest_run(
        schedule, job_id=JOB, after=at("2024-07-01T10:00Z"), until=at("2026-01-15T00:00Z")
    )

    assert last == at("2025-07-01T10:00Z")


def test_a_start_that_was_moved_behind_the_planned_run_is_respected():
    """Somebody edited `starts_at` after the run was planned."""
    schedule = Schedule(every_seconds=60, starts_at=NOW + timedelta(minutes=5))
    until = NOW + timedelta(minutes=6)

    assert latest_run(schedule, job_id=JOB, after=NOW, until=NOW + timedelta(minutes=4)) == NOW
    assert latest_run(schedule, job_id=JOB, after=NOW, until=until) == until
    assert count_runs(schedule, job_id=JOB, first=NOW, until=until, limit=9) == 3


def test_years_of_an_every_second_cron_are_counted_and_bounded_by_arithmetic():
    schedule = Schedule(cron="* * * * * *", timezone="Europe/Paris")
    first = at("2006-01-01T00:00Z")
    seconds = int((NOW - first).total_seconds())

    everything = count_runs(schedule, job_id=JOB, first=first, until=NOW, limit=10**12)
    assert everything == seconds + 1
    assert count_runs(schedule, job_id=JOB, first=first, until=NOW, limit=1000) == 1000
    assert latest_run(schedule, job_id=JOB, after=first, until=NOW) == NOW


def test_intervals_are_counted_by_arithmetic():
    schedule = Schedule(every_seconds=0.1)
    until = NOW + timedelta(days=3650)

    assert count_runs(schedule, job_id=JOB, first=NOW, until=until, limit=10**12) == (
        3650 * 864_000 + 1
    )
    assert count_runs(schedule, job_id=JOB, first=NOW, until=until, limit=7) == 7


def test_planning_a_schedule_that_is_none_is_refused():
    with pytest.raises(InvalidInput, match="exactly one"):
        run_after(Schedule(), NOW, job_id=JOB)


def test_planning_in_an_unknown_zone_is_refused():
    with pytest.raises(InvalidInput, match="timezone"):
        run_after(Schedule(cron="@daily", timezone="Mars/Olympus"), NOW, job_id=JOB)


# Normalizing


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Schedule(cron=" 0   3\t* *  * "), Schedule(cron="0 3 * * *")),
        (
            Schedule(cron="CRON_TZ=Europe/Paris 0 3 * * *"),
            Schedule(cron="0 3 * * *", timezone="Europe/Paris"),
        ),
        (
            Schedule(cron=" TZ=Europe/Paris  @daily ", timezone="Europe/Paris"),
            Schedule(cron="@daily", timezone="Europe/Paris"),
        ),
        (Schedule(cron="TZ=Europe/Paris"), Schedule(cron="", timezone="Europe/Paris")),
        (Schedule(cron="@daily", timezone=" UTC "), Schedule(cron="@daily")),
        (Schedule(every_seconds=5, timezone=" UTC "), Schedule(every_seconds=5)),
        (Schedule(run_at=NOW), Schedule(run_at=NOW)),
        (Schedule(cron="@every 1h30m"), Schedule(every_seconds=5400)),
        (Schedule(cron="@every 90s"), Schedule(every_seconds=90)),
        (Schedule(cron="@Every  1.5h"), Schedule(every_seconds=5400)),
        (Schedule(cron="@every .5s"), Schedule(every_seconds=0.5)),
        (Schedule(cron="@every 1h1m1s1ms1us1ns"), Schedule(every_seconds=3661.001001)),
        (Schedule(cron="@every 250\u00b5s250\u03bcs"), Schedule(every_seconds=0.0005)),
        (
            Schedule(cron="CRON_TZ=Asia/Tokyo @every 5m", ends_at=NOW),
            Schedule(every_seconds=300, timezone="Asia/Tokyo", ends_at=NOW),
        ),
    ],
)
def test_what_people_write_is_brought_to_one_form(given: Schedule, expected: Schedule):
    assert normalized(given) == expected


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        (
            Schedule(cron="TZ=Asia/Tokyo @daily", timezone="Europe/Paris"),
            "timezone",
            "the cron names the zone 'Asia/Tokyo' and there is another; write one of them",
        ),
        (Schedule(cron="TZ=Asia/Tokyo TZ=Asia/Tokyo @daily"), "timezone", "there is another"),
        (Schedule(cron="@every"), "cron", "'' is no duration; write hours, minutes and seconds"),
        (Schedule(cron="@every 5"), "cron", "'5' is no duration"),
        (Schedule(cron="@every 5 m"), "cron", "'5 m' is no duration"),
        (Schedule(cron="@every 1d"), "cron", "'1d' is no duration"),
        (Schedule(cron="@every -5m"), "cron", "'-5m' is no duration"),
        (Schedule(cron="@everyday"), "cron", "'day' is no duration"),
        (
            Schedule(cron="@every 5m", every_seconds=5),
            "every_seconds",
            "cron and every_seconds are given; write exactly one of run_at, cron, every_seconds",
        ),
    ],
)
def test_what_cannot_be_brought_to_one_form_is_refused(given: Schedule, field: str, message: str):
    with pytest.raises(InvalidInput) as caught:
        normalized(given)

    (error,) = caught.value.errors
    assert error.field == field
    assert message in error.message


# Checking


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(run_at=NOW),
        Schedule(run_at=at("2000-01-01T00:00Z")),
        Schedule(run_at=at("2200-01-01T00:00Z")),
        Schedule(cron="0 3 * * *", timezone="Europe/Paris"),
        Schedule(cron="0 0 29 2 *"),
        Schedule(cron="H H * * *"),
        Schedule(cron="0 0 0 1 1 * 2035", starts_at=at("2034-01-01T00:00Z")),
        Schedule(cron="@daily", ends_at=at("2020-01-01T00:00Z")),
        Schedule(every_seconds=0.1),
        Schedule(every_seconds=FIVE_YEARS, starts_at=NOW, ends_at=NOW + timedelta(seconds=1)),
    ],
)
def test_a_sound_schedule_passes_and_its_first_run_is_known(schedule: Schedule):
    assert check(schedule, job_id=JOB, now=NOW) == first_run(schedule, job_id=JOB, now=NOW)


@pytest.mark.parametrize(
    ("schedule", "field", "message"),
    [
        (Schedule(), "run_at", "there is no schedule; write exactly one of run_at, cron"),
        (
            Schedule(run_at=NOW, cron="@daily", every_seconds=5),
            "every_seconds",
            "run_at and cron and every_seconds are given; write exactly one",
        ),
        (Schedule(cron="99 * * * *"), "cron", "minute '99': write 0-59"),
        (Schedule(cron="0 0 31 2 *"), "cron", "does not occur in five years; write a date"),
        (Schedule(cron="0 0 0 1 1 * 2020"), "cron", "does not occur in five years"),
        (Schedule(cron="0 0 0 1 1 * 2035"), "cron", "does not occur in five years"),
        (
            Schedule(
                cron="0 30 2 8 3 * 2026-2031",
                timezone="America/New_York",
                dst_gap=DstGap.SKIP,
                starts_at=at("2031-03-09T00:00Z"),
            ),
            "cron",
            "does not occur in five years",
        ),
        (Schedule(cron="@daily", timezone="Europe/Pariss"), "timezone", "Europe/Paris"),
        (Schedule(every_seconds=0), "every_seconds", "0 is out of range; write 0.1 to 157680000"),
        (Schedule(every_seconds=-5.5), "every_seconds", "-5.5 is out of range"),
        (Schedule(every_seconds=0.09), "every_seconds", "0.09 is out of range"),
        (Schedule(every_seconds=FIVE_YEARS + 1), "every_seconds", "157680001 is out of range"),
        (Schedule(every_seconds=float("nan")), "every_seconds", "nan is out of range"),
        (Schedule(every_seconds=float("inf")), "every_seconds", "inf is out of range"),
        (Schedule(run_at=NOW.replace(tzinfo=None)), "run_at", "has no offset from UTC; end it"),
        (Schedule(run_at=at("1999-12-31T23:59Z")), "run_at", "is out of range; write an instant"),
        (Schedule(run_at=at("2200-01-01T00:01Z")), "run_at", "from 2000-01-01 to 2200-01-01"),
        (
            Schedule(cron="@daily", starts_at=NOW, ends_at=NOW),
            "ends_at",
            "is not later than starts_at; write a later one",
        ),
        (
            Schedule(cron="@daily", starts_at=NOW, ends_at=NOW.replace(tzinfo=None)),
            "ends_at",
            "has no offset from UTC",
        ),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(schedule: Schedule, field: str, message: str):
    errors = errors_of(schedule)

    assert list(errors) == [field]
    assert message in errors[field]


def test_every_field_that_is_wrong_is_named_at_once():
    schedule = Schedule(
        cron="99 * * * *",
        timezone="Mars/Olympus",
        every_seconds=0,
        starts_at=NOW.replace(tzinfo=None),
        ends_at=NOW.replace(year=1990),
    )

    assert list(errors_of(schedule)) == [
        "every_seconds",
        "starts_at",
        "ends_at",
        "timezone",
        "cron",
    ]


def test_a_date_is_looked_for_from_the_start_of_the_schedule():
    schedule = Schedule(cron="0 0 0 1 1 * 2035")

    assert "cron" in errors_of(schedule)
    check(replace(schedule, starts_at=at("2031-01-01T00:00Z")), job_id=JOB, now=NOW)
