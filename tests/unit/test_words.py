from datetime import UTC, datetime

import pytest
from cron_descriptor import ExpressionDescriptor

from app.core.schedule import Schedule
from app.core.words import cron_words, describe

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("* * * * *", "Every minute"),
        ("* * * * * *", "Every second"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("0 3 * * *", "At 03:00"),
        ("30 0 15 * * *", "At 15:00:30"),
        ("0 9,17 * * *", "At 09:00 and 17:00"),
        ("30 9 * * 1-5", "At 09:30, Monday through Friday"),
        ("30 9 * * mon-thu", "At 09:30, Monday through Thursday"),
        ("0 0 9 ? * MON", "At 09:00, only on Monday"),
        ("0 0 9 1 * ?", "At 09:00, on day 1 of the month"),
        ("0 0 * * 7", "At 00:00, only on Sunday"),
        ("0 0 1 * 1", "At 00:00, on day 1 of the month, or on Monday"),
        ("0 0 1 jan,jul *", "At 00:00, on day 1 of the month, only in January and July"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 9 * * 5#3", "At 09:00, on the third Friday of the month"),
        ("0 9 * * L5", "At 09:00, on the last Friday of the month"),
        ("0 9 * * friL", "At 09:00, on the last Friday of the month"),
        (
            "0 0 0 29 2 ? 2028",
            "At 00:00, on day 29 of the month, only in February, only in 2028",
        ),
        ("@daily", "At 00:00"),
        ("@hourly", "Every hour"),
    ],
)
def test_a_cron_is_described_in_a_sentence_with_its_zone(cron: str, words: str):
    schedule = Schedule(cron=cron, timezone="Europe/Paris")

    assert describe(schedule) == f"{words}, in Europe/Paris"


@pytest.mark.parametrize(
    "cron",
    [
        "H * * * *",
        "H(0-29) 3 * * *",
        "0 9 1,L * *",
        "0 9 * * 5#3,1#1",
        "0 9 * * 5/2",
        "*,5 * * * *",
        "99 * * * *",
        "@reboot",
        "hello",
        "",
    ],
)
def test_a_cron_that_has_no_good_words_is_shown_as_written(cron: str):
    assert describe(Schedule(cron=cron)) == f"Cron {cron}, in UTC"


def test_a_failure_of_the_describing_package_is_nobody_elses(monkeypatch: pytest.MonkeyPatch):
    def fail(_: ExpressionDescriptor) -> str:
        raise IndexError

    monkeypatch.setattr(ExpressionDescriptor, "get_description", fail)
    cron_words.cache_clear()

    assert describe(Schedule(cron="0 3 * * *")) == "Cron 0 3 * * *, in UTC"
    cron_words.cache_clear()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "Every 0.25 seconds"),
        (1, "Every second"),
        (60.0, "Every minute"),
        (90, "Every 90 seconds"),
        (300.0, "Every 5 minutes"),
        (3600, "Every hour"),
        (5400, "Every 90 minutes"),
        (86_400, "Every day"),
        (864_000, "Every 10 days"),
        (1_234_567.5, "Every 1234567.5 seconds"),
    ],
)
def test_an_interval_is_described_in_its_largest_unit(seconds: float, words: str):
    assert describe(Schedule(every_seconds=seconds)) == words


def test_a_one_off_is_described_by_its_instant():
    assert describe(Schedule(run_at=NOON)) == "Once, at 2026-11-23 12:00 UTC"
    assert describe(Schedule(run_at=NOON.replace(second=5))) == "Once, at 2026-11-23 12:00:05 UTC"


def test_the_bounds_are_part_of_the_sentence():
    schedule = Schedule(every_seconds=60, starts_at=NOON, ends_at=NOON.replace(year=2027))

    assert describe(schedule) == (
        "Every minute, from 2026-11-23 12:00 UTC, until 2027-11-23 12:00 UTC"
    )


def test_no_schedule_is_never():
    assert describe(Schedule()) == "Never"
