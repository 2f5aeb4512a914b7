"""What people write of a calendar, worked out as spans of time."""

from datetime import UTC, datetime, timedelta

import pytest
from dateutil import rrule

from app.core.schedule.calendar_events import bounded
from app.core.schedule.calendars import MAX_SPANS, CalendarRules, gaps, work_out
from app.core.schedule.occurrences import Span
from app.errors import InvalidInput

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
EVENTS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:1
SUMMARY:window
DTSTART;TZID=Europe/Paris:20261201T220000
DTEND;TZID=Europe/Paris:20261202T020000
RRULE:FREQ=WEEKLY;BYDAY=TU{rule}
EXDATE;TZID=Europe/Paris:20261208T220000
END:VEVENT
BEGIN:VEVENT
UID:1
RECURRENCE-ID;TZID=Europe/Paris:20261215T220000
DTSTART;TZID=Europe/Paris:20261216T100000
DURATION:PT1H
END:VEVENT
BEGIN:VEVENT
UID:2
STATUS:CANCELLED
DTSTART;VALUE=DATE:20261203
END:VEVENT
BEGIN:VEVENT
UID:3
DTSTART;VALUE=DATE:20261205
END:VEVENT
END:VCALENDAR
"""


def coming(rules: CalendarRules, many: int = 4) -> list[str]:
    spans = [one for one in work_out(rules, now=NOW) if one.end > NOW]
    return [f"{one.start:%m-%d %H:%M}/{one.end:%m-%d %H:%M}" for one in spans[:many]]


@pytest.mark.parametrize(
    ("rules", "times"),
    [
        (
            CalendarRules(weekly=["MON-FRI 09:00-12:00,13:00-17:00"], timezone="Europe/Berlin"),
            ["11-30 08:00/11-30 11:00", "11-30 12:00/11-30 16:00"],
        ),
        (CalendarRules(weekly=["SAT,SUN"]), ["11-28 00:00/11-30 00:00", "12-05 00:00/12-07 00:00"]),
        (
            CalendarRules(weekly=["SUN-MON 22:00-02:00"]),
            ["11-29 22:00/11-30 02:00", "11-30 22:00/12-01 02:00"],
        ),
        (
            CalendarRules(dates=["2026-12-24", "2026-12-25/2026-12-26"]),
            ["12-24 00:00/12-27 00:00"],
        ),
        (
            CalendarRules(holidays=["DE-BY"], timezone="Europe/Berlin"),
            ["12-24 23:00/12-26 23:00", "12-31 23:00/01-01 23:00", "01-05 23:00/01-06 23:00"],
        ),
        (CalendarRules(rrules=["FREQ=MONTHLY;BYDAY=-1FR"]), ["12-25 00:00/12-26 00:00"]),
        (
            CalendarRules(ical=EVENTS.format(rule="")),
            [
                "12-01 21:00/12-02 01:00",
                "12-05 00:00/12-06 00:00",
                "12-16 09:00/12-16 10:00",
                "12-22 21:00/12-23 01:00",
            ],
        ),
        (
            CalendarRules(ical=EVENTS.format(rule=";UNTIL=20261202T000000Z")),
            ["12-01 21:00/12-02 01:00", "12-05 00:00/12-06 00:00", "12-16 09:00/12-16 10:00"],
        ),
        (
            CalendarRules(ical=EVENTS.format(rule=";COUNT=1"), timezone="Asia/Tokyo"),
            ["12-01 21:00/12-02 01:00", "12-04 15:00/12-05 15:00", "12-16 09:00/12-16 10:00"],
        ),
    ],
)
def test_a_calendar_has_the_time_of_all_its_parts(rules: CalendarRules, times: list[str]) -> None:
    assert coming(rules, len(times)) == times


@pytest.mark.parametrize(
    ("hours", "start", "end"),
    [
        ("SUN 01:30-02:30", "2027-03-14T06:30Z", "2027-03-14T07:00Z"),
        ("SUN 02:15-03:30", "2027-03-14T07:00Z", "2027-03-14T07:30Z"),
        ("SUN 01:30-02:00", "2027-11-07T05:30Z", "2027-11-07T07:00Z"),
        ("SUN 00:00-01:15", "2027-11-07T04:00Z", "2027-11-07T06:15Z"),
    ],
    ids=["end-in-the-gap", "start-in-the-gap", "start-twice", "end-twice"],
)
def test_where_clocks_change_no_time_is_lost_or_invented(hours: str, start: str, end: str) -> None:
    spans = work_out(CalendarRules(weekly=[hours], timezone="America/New_York"), now=NOW)

    assert Span(datetime.fromisoformat(start), datetime.fromisoformat(end)) in spans


@pytest.mark.parametrize(
    ("parts", "field", "remedy"),
    [
        ({}, "dates", "write dates, weekly, holidays, rrules or ical"),
        ({"dates": ["2026-02-30"]}, "dates[0]", "2026-12-24"),
        ({"dates": ["2026-12-24/2026-12-20"]}, "dates[0]", "the first day first"),
        ({"dates": ["2020-01-01"]}, "dates", "a later day"),
        ({"weekly": ["MON", "XYZ 09:00-17:00"]}, "weekly[1]", "MON, TUE"),
        ({"weekly": ["MON 9-17"]}, "weekly[0]", "MON-FRI 09:00-17:00"),
        ({"weekly": ["MON 09:00-25:00"]}, "weekly[0]", "00:00 to 24:00"),
        ({"holidays": ["XX"]}, "holidays[0]", "did you mean"),
        ({"holidays": ["DE-XX"]}, "holidays[0]", "BY"),
        ({"rrules": ["FREQ=SECONDLY"]}, "rrules[0]", "DAILY, WEEKLY"),
        ({"rrules": ["FREQ=DAILY;BYHOUR=1,2"]}, "rrules[0]", "DTSTART"),
        ({"rrules": ["FREQ=DAILY;COUNT=3"]}, "rrules[0]", "without COUNT"),
        ({"rrules": ["FREQ=DAILY;UNTIL=99999"]}, "rrules[0]", "99999"),
        ({"rrules": ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"]}, "rrules", "a later day"),
        ({"rrules": ["FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2;INTERVAL=0"]}, "rrules[0]", "INTERVAL"),
        ({"ical": "hello"}, "ical", "BEGIN:VCALENDAR"),
        ({"ical": EVENTS.format(rule="").replace("DTSTART;", "X;")}, "ical", "it has no DTSTART"),
        ({"ical": "BEGIN:VEVENT\nUID:1\nEND:VEVENT\n"}, "ical", "BEGIN:VCALENDAR"),
        ({"ical": EVENTS.format(rule=";BYSECOND=1,2")}, "ical", "DTSTART"),
        ({"ical": EVENTS.replace("WEEKLY;BYDAY=TU{rule}", "HOURLY")}, "ical", "DAILY, WEEKLY"),
        ({"ical": EVENTS.format(rule="").replace("20261201", "19001201")}, "ical", "later DTSTART"),
        ({"ical": EVENTS.format(rule="").replace("20261202T02", "20261130T02")}, "ical", "DTEND"),
        ({"ical": EVENTS.format(rule=";BYMONTHDAY=" + "1," * 300 + "1")}, "ical", "a shorter one"),
        (
            {
                "ical": EVENTS.format(rule="").replace(
                    "START;TZID=Europe/Paris", "START;TZID=Mars/Base"
                )
            },
            "ical",
            "'Mars/Base' of its DTSTART; write an IANA name",
        ),
        *(
            (
                {"ical": EVENTS.format(rule="").replace("TZID=Europe/Paris", f"TZID={zone}")},
                "ical",
                "an IANA name",
            )
            for zone in ("Europe", "A" * 300, "localtime", "posix/Europe/Paris")
        ),
        ({"timezone": "Mars/Base", "weekly": ["MON"]}, "timezone", "IANA"),
    ],
)
def test_what_makes_no_calendar_is_refused_with_its_field_and_a_remedy(
    parts: dict[str, object], field: str, remedy: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        work_out(CalendarRules(**parts), now=NOW)  # type: ignore[arg-type] # as if from psql

    [error] = refused.value.errors
    assert error.field == field
    assert remedy in error.message
    assert "tzdata" not in error.message, "a path of this host"


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"rrules": ["FREQ=YEARLY"] * 51}, "rrules[50]"),
        (
            {"weekly": [f"* {h:02}:{m:02}-{h:02}:{m + 1:02}" for h in range(3) for m in (0, 20)]},
            "weekly",
        ),
        (
            {
                "weekly": [
                    "* "
                    + ",".join(
                        f"{n // 2:02}:{n % 2 * 30:02}-{n // 2:02}:{n % 2 * 30 + 9:02}"
                        for n in range(41)
                    )
                ]
                * 20
            },
            "weekly",
        ),
        (
            {
                "ical": EVENTS.replace(
                    "END:VCALENDAR", "BEGIN:VEVENT\nDTSTART:20261201T000000Z\nEND:VEVENT\n" * 1000
                ).format(rule="")
                + "END:VCALENDAR\n"
            },
            "ical",
        ),
    ],
    ids=["rules", "hours", "the same hours again and again", "events"],
)
def test_a_huge_calendar_is_refused(parts: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        work_out(CalendarRules(**parts), now=NOW)  # type: ignore[arg-type] # as if from psql

    [error] = refused.value.errors
    assert error.field == field


def test_a_rule_that_never_occurs_is_followed_through_its_years_and_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """dateutil goes on to the year 9999, which takes it a quarter of a minute."""
    years: list[int] = []
    rebuild = rrule._iterinfo.rebuild
    monkeypatch.setattr(
        rrule._iterinfo,
        "rebuild",
        lambda self, year, month: (years.append(year), rebuild(self, year, month)),
    )
    start, last = datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2031-01-01")

    found = list(bounded("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", start, last))

    assert (found, max(years)) == ([], 2033)


def test_the_gaps_of_a_calendar_are_the_rest_of_the_time() -> None:
    hour = timedelta(hours=1)
    spans = [Span(NOW + hour, NOW + 2 * hour), Span(NOW + 3 * hour, NOW + 5 * hour)]

    rest = gaps(spans, since=NOW, until=NOW + 4 * hour)

    assert rest == [Span(NOW, NOW + hour), Span(NOW + 2 * hour, NOW + 3 * hour)]
    assert gaps([], since=NOW, until=NOW + hour) == [Span(NOW, NOW + hour)]
    assert len(spans) < MAX_SPANS
