"""What the doctor says of the calendars that are used, and of maintenance."""

from datetime import UTC, datetime, timedelta

from app.core.calendar_health import (
    UnderWay,
    UsedCalendar,
    calendars_finding,
    maintenance_finding,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def used(name: str, *, error: str | None = None, ends_in: timedelta | None = None) -> UsedCalendar:
    ends_at = None if ends_in is None else NOW + ends_in
    return UsedCalendar(name=name, error=error, ends_at=ends_at, jobs=1)


def test_calendars_that_have_time_for_long_are_well():
    found = calendars_finding([used("hours", ends_in=timedelta(days=31))], now=NOW)

    assert (found.found, found.remedy) == ("none in use has ended", "")


def test_a_calendar_that_ends_soon_or_has_ended_is_named_and_is_not_grave():
    soon, over = used("soon", ends_in=timedelta(days=2)), used("over")

    found = calendars_finding([soon, over], now=NOW)

    assert found.found == (
        "2 of those in use: 'soon' ends at 2030-01-03 00:00 UTC, 'over' has no time to come"
    )
    assert "PUT /v1/calendars/NAME" in found.remedy
    assert not found.grave


def test_a_calendar_that_cannot_be_worked_out_is_grave():
    found = calendars_finding([used("bad", error="its ics is none")], now=NOW)

    assert "'bad' cannot be worked out (its ics is none)" in found.found
    assert found.grave


def test_maintenance_is_told_of_and_asks_for_nothing():
    window = UnderWay(tag="billing", ends_at=NOW + timedelta(hours=1), reason="moved")
    whole = UnderWay(tag=None, ends_at=NOW + timedelta(hours=2), reason=None)

    found = maintenance_finding([window, whole])

    assert found.found == (
        "what has the tag 'billing' until 2030-01-01 01:00 UTC (moved); "
        "all jobs until 2030-01-01 02:00 UTC"
    )
    assert not found.remedy
    assert maintenance_finding([]).found == "none is under way"
