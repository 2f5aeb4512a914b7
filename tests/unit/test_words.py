from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from app.core.schedule.cron_parser import parse
from app.core.schedule.cron_words import cron_in_words
from app.core.schedule.schedule import Schedule
from app.core.schedule.words import describe
from tests.support.wall_times import meant, promised

JOB = UUID("018f3c1e-7a11-7cc0-8000-3f1f4e0c6a42")
CRONS = (Path(__file__).parents[1] / "support" / "crons.txt").read_text("utf-8").splitlines()
"""Of the periodic jobs of Kubernetes, and of the tests of other parsers."""
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
        ("*/45 * * * *", "At minutes 0 and 45 of every hour"),
        ("0 */5 * * *", "At 00:00, 05:00, 10:00, 15:00 and 20:00"),
        ("*/45 * * * * *", "At seconds 0 and 45 of every minute"),
        ("0 */2 * * *", "Every 2 hours, from 00:00 on"),
        ("30 1/6 * * *", "Every 6 hours, from 01:30 on"),
        ("0 */12 * * *", "At 00:00 and 12:00"),
        ("5/15 * * * *", "Every 15 minutes, beginning at minute 5"),
        ("10-50/20 * * * *", "Every 20 minutes, beginning at minute 10"),
        ("10-40/20 * * * *", "At minutes 10 and 30 of every hour"),
        ("5/7 * * * *", "At minutes 5, 12, 19, 26, 33, 40, 47 and 54 of every hour"),
        ("59/20 * * * *", "Every hour, at minute 59"),
        ("15 30 * * * *", "Every hour, at minute 30 and second 15"),
        ("15 * * * * *", "Every minute, at second 15"),
        ("0 9-17 * * *", "Every hour from 09:00 through 17:00"),
        ("0 9-17/3 * * *", "At 09:00, 12:00 and 15:00"),
        ("*/5 9-17 * * 1-5", "Every 5 minutes from 09:00 through 17:55, Monday through Friday"),
        ("0 22-2 * * *", "At 00:00, 01:00, 02:00, 22:00 and 23:00"),
        (
            "*/20 1-3,9 * * *",
            "Every 20 minutes from 01:00 through 03:40 and from 09:00 through 09:40",
        ),
        ("*/30 */5 * * *", "At minutes 0 and 30 of hours 0, 5, 10, 15 and 20"),
        ("* 5 3 * * *", "At every second of minute 5 of hour 3"),
        ("0 0 1 * 1-5", "At 00:00, on day 1 of the month, or on Monday through Friday"),
        ("0 0 1,15 * 1,3", "At 00:00, on days 1 or 15 of the month, or on Monday or Wednesday"),
        (
            "0 0 13 * 5#2",
            "At 00:00, on day 13 of the month, or on the second Friday of the month",
        ),
        ("0 0 L * 1", "At 00:00, on the last day of the month, or on Monday"),
        ("0 0 1 * 1L", "At 00:00, on day 1 of the month, or on the last Monday of the month"),
        ("0 0 */10 * MON", "At 00:00, on days 1, 11, 21 or 31 of the month, or on Monday"),
        ("0 0 */1 * MON", "At 00:00, only on Monday"),
        ("0 0 1-31 * MON", "At 00:00"),
        ("0 9 1,L * *", "At 09:00, on day 1 and the last day of the month"),
        (
            "0 9 * * 5#3,1#1",
            "At 09:00, on the first Monday and the third Friday of the month",
        ),
        ("0 9 * * 5/2", "At 09:00, only on Friday"),
        ("0 9 * * FRI-MON", "At 09:00, Friday through Monday"),
        ("0 9 * NOV-FEB *", "At 09:00, only from November through February"),
        ("*,5 * * * *", "Every minute"),
        ("0 0 0 ? * ? 2030-2099/3", "At 00:00, only every 3 years from 2030 through 2099"),
        ("@daily", "At 00:00"),
        ("@hourly", "Every hour"),
    ],
)
def test_a_cron_is_described_in_a_sentence_with_its_zone(cron: str, words: str):
    schedule = Schedule(cron=cron, timezone="Europe/Paris")

    assert describe(schedule, job_id=JOB) == f"{words}, in Europe/Paris"


@pytest.mark.parametrize("cron", ["99 * * * *", "* * 15W * *", "@reboot", "hello", ""])
def test_a_cron_outside_the_dialect_is_shown_as_written(cron: str):
    assert describe(Schedule(cron=cron), job_id=JOB) == f"Cron {cron}, in UTC"


def test_the_values_that_h_has_for_the_job_are_said():
    cron = parse("H H(2-4) * * *", job_id=JOB)
    (hour,), (minute,) = cron.hours, cron.minutes

    words = describe(Schedule(cron="H H(2-4) * * *"), job_id=JOB)

    assert words == f"At {hour:02}:{minute:02} (H differs from job to job), in UTC"


@pytest.mark.parametrize("text", CRONS)
def test_a_sentence_promises_exactly_the_times_and_days_that_its_cron_has(text: str):
    cron = parse(text, job_id=JOB)

    sentence = cron_in_words(cron)

    assert promised(sentence) == meant(cron)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("*/15 * * * *", "0,15,30,45 * * * *"),
        ("0 9 * * 7", "0 9 * * SUN"),
        ("0 9 * * 1-5", "0 9 * * mon,tue,wed,thu,fri"),
        ("0 9 1-31 * *", "0 9 * * *"),
        ("0 9 1 * 0-7", "0 9 * * *"),
        ("30 9 * * *", "0 30 9 ? * * *"),
        ("@hourly", "0 0-23 * * *"),
    ],
)
def test_crons_that_mean_the_same_read_the_same(one: str, other: str):
    assert cron_in_words(parse(one, job_id=JOB)) == cron_in_words(parse(other, job_id=JOB))


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
    assert describe(Schedule(every_seconds=seconds), job_id=JOB) == words


def test_a_one_off_is_described_by_its_instant():
    assert describe(Schedule(run_at=NOON), job_id=JOB) == "Once, at 2026-11-23 12:00 UTC"
    assert (
        describe(Schedule(run_at=NOON.replace(second=5)), job_id=JOB)
        == "Once, at 2026-11-23 12:00:05 UTC"
    )


def test_the_bounds_are_part_of_the_sentence():
    schedule = Schedule(every_seconds=60, starts_at=NOON, ends_at=NOON.replace(year=2027))

    assert describe(schedule, job_id=JOB) == (
        "Every minute, from 2026-11-23 12:00 UTC, until 2027-11-23 12:00 UTC"
    )


def test_no_schedule_is_never():
    assert describe(Schedule(), job_id=JOB) == "Never"
