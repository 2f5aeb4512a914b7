from datetime import datetime
from uuid import UUID

import pytest
from croniter import CroniterBadCronError, croniter

from app.core.schedule.cron_parser import LONGEST, expanded, parse, parse_cached
from app.errors import InvalidInput

JOB = UUID("018f3c1e-7a11-7cc0-8000-3f1f4e0c6a42")
NOON = datetime(2026, 11, 23, 12)  # noqa: DTZ001 - a wall time; it is a Monday
FAR = datetime(2060, 1, 1)  # noqa: DTZ001


def walls(text: str, count: int = 3, start: datetime = NOON) -> list[str]:
    cron = parse(text, job_id=JOB)
    found = []
    for _ in range(count):
        wall = cron.first_wall(start, FAR)
        if wall is None:
            break
        found.append(f"{wall:%y-%m-%d %H:%M:%S}")
        start = wall.replace(microsecond=1)
    return found


def refusal(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse(text, job_id=JOB)
    (error,) = caught.value.errors
    assert error.field == "cron"
    return error.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", ["26-11-23 12:00:00", "26-11-23 12:01:00", "26-11-23 12:02:00"]),
        ("*/25 * * * *", ["26-11-23 12:00:00", "26-11-23 12:25:00", "26-11-23 12:50:00"]),
        ("5/20 * * * *", ["26-11-23 12:05:00", "26-11-23 12:25:00", "26-11-23 12:45:00"]),
        ("59/20 * * * *", ["26-11-23 12:59:00", "26-11-23 13:59:00", "26-11-23 14:59:00"]),
        ("10-20/5 * * * *", ["26-11-23 12:10:00", "26-11-23 12:15:00", "26-11-23 12:20:00"]),
        ("*/60 * * * *", ["26-11-23 12:00:00", "26-11-23 13:00:00", "26-11-23 14:00:00"]),
        ("55-1 * * * *", ["26-11-23 12:00:00", "26-11-23 12:01:00", "26-11-23 12:55:00"]),
        ("0 3 * * *", ["26-11-24 03:00:00", "26-11-25 03:00:00", "26-11-26 03:00:00"]),
        ("00 03 * * *", ["26-11-24 03:00:00", "26-11-25 03:00:00", "26-11-26 03:00:00"]),
        ("0 22-1 * * *", ["26-11-23 22:00:00", "26-11-23 23:00:00", "26-11-24 00:00:00"]),
        ("30 9,17 * * *", ["26-11-23 17:30:00", "26-11-24 09:30:00", "26-11-24 17:30:00"]),
        ("0 0 31 * *", ["26-12-31 00:00:00", "27-01-31 00:00:00", "27-03-31 00:00:00"]),
        ("0 0 30-2 * *", ["26-11-30 00:00:00", "26-12-01 00:00:00", "26-12-02 00:00:00"]),
        ("0 0 29 2 *", ["28-02-29 00:00:00", "32-02-29 00:00:00", "36-02-29 00:00:00"]),
        ("0 0 L * *", ["26-11-30 00:00:00", "26-12-31 00:00:00", "27-01-31 00:00:00"]),
        ("0 0 L 2 *", ["27-02-28 00:00:00", "28-02-29 00:00:00", "29-02-28 00:00:00"]),
        ("0 0 1,L * *", ["26-11-30 00:00:00", "26-12-01 00:00:00", "26-12-31 00:00:00"]),
        ("0 0 1 JAN,jul *", ["27-01-01 00:00:00", "27-07-01 00:00:00", "28-01-01 00:00:00"]),
        ("0 0 1 Nov-Jan *", ["26-12-01 00:00:00", "27-01-01 00:00:00", "27-11-01 00:00:00"]),
        ("0 0 1 */5 *", ["27-01-01 00:00:00", "27-06-01 00:00:00", "27-11-01 00:00:00"]),
        ("0 9 * * 1-5", ["26-11-24 09:00:00", "26-11-25 09:00:00", "26-11-26 09:00:00"]),
        ("0 9 * * Fri-Sun", ["26-11-27 09:00:00", "26-11-28 09:00:00", "26-11-29 09:00:00"]),
        ("0 9 * * SAT-MON", ["26-11-28 09:00:00", "26-11-29 09:00:00", "26-11-30 09:00:00"]),
        ("0 9 * * 6-7", ["26-11-28 09:00:00", "26-11-29 09:00:00", "26-12-05 09:00:00"]),
        ("0 9 * * 0-7", ["26-11-24 09:00:00", "26-11-25 09:00:00", "26-11-26 09:00:00"]),
        ("0 9 * * MON-SUN/3", ["26-11-26 09:00:00", "26-11-29 09:00:00", "26-11-30 09:00:00"]),
        ("0 9 * * 7", ["26-11-29 09:00:00", "26-12-06 09:00:00", "26-12-13 09:00:00"]),
        ("0 9 * * 0", ["26-11-29 09:00:00", "26-12-06 09:00:00", "26-12-13 09:00:00"]),
        ("0 9 * * 5#3", ["26-12-18 09:00:00", "27-01-15 09:00:00", "27-02-19 09:00:00"]),
        ("0 9 * * fri#1,FRI#3", ["26-12-04 09:00:00", "26-12-18 09:00:00", "27-01-01 09:00:00"]),
        ("0 9 * * 7#5", ["26-11-29 09:00:00", "27-01-31 09:00:00", "27-05-30 09:00:00"]),
        ("0 9 * * L5", ["26-11-27 09:00:00", "26-12-25 09:00:00", "27-01-29 09:00:00"]),
        ("0 13 * * L1", ["26-11-30 13:00:00", "26-12-28 13:00:00", "27-01-25 13:00:00"]),
        ("0 9 * * 5L", ["26-11-27 09:00:00", "26-12-25 09:00:00", "27-01-29 09:00:00"]),
        ("0 9 * * friL", ["26-11-27 09:00:00", "26-12-25 09:00:00", "27-01-29 09:00:00"]),
        ("0 9 * * L7,1#1", ["26-11-29 09:00:00", "26-12-07 09:00:00", "26-12-27 09:00:00"]),
        ("0 0 1 * MON", ["26-11-30 00:00:00", "26-12-01 00:00:00", "26-12-07 00:00:00"]),
        ("0 0 1 * 2#2", ["26-12-01 00:00:00", "26-12-08 00:00:00", "27-01-01 00:00:00"]),
        ("0 0 */30 * MON", ["26-11-30 00:00:00", "26-12-01 00:00:00", "26-12-07 00:00:00"]),
        ("0 0 */1 * MON", ["26-11-30 00:00:00", "26-12-07 00:00:00", "26-12-14 00:00:00"]),
        ("0 0 *,5 * MON", ["26-11-30 00:00:00", "26-12-07 00:00:00", "26-12-14 00:00:00"]),
        ("0 0 ? * MON", ["26-11-30 00:00:00", "26-12-07 00:00:00", "26-12-14 00:00:00"]),
        ("0 0 1 * ?", ["26-12-01 00:00:00", "27-01-01 00:00:00", "27-02-01 00:00:00"]),
        ("*/30 * * * * *", ["26-11-23 12:00:00", "26-11-23 12:00:30", "26-11-23 12:01:00"]),
        ("15 30 9 * * *", ["26-11-24 09:30:15", "26-11-25 09:30:15", "26-11-26 09:30:15"]),
        ("0 0 9 ? * MON-FRI", ["26-11-24 09:00:00", "26-11-25 09:00:00", "26-11-26 09:00:00"]),
        ("0 0 9 1 1 ? 2027", ["27-01-01 09:00:00"]),
        ("0 0 9 1 1 * 2020", []),
        (
            "0 0 9 1 1 * 2028-2040/4",
            ["28-01-01 09:00:00", "32-01-01 09:00:00", "36-01-01 09:00:00"],
        ),
        ("@hourly", ["26-11-23 12:00:00", "26-11-23 13:00:00", "26-11-23 14:00:00"]),
        ("@daily", ["26-11-24 00:00:00", "26-11-25 00:00:00", "26-11-26 00:00:00"]),
        ("@Midnight", ["26-11-24 00:00:00", "26-11-25 00:00:00", "26-11-26 00:00:00"]),
        ("@weekly", ["26-11-29 00:00:00", "26-12-06 00:00:00", "26-12-13 00:00:00"]),
        ("@monthly", ["26-12-01 00:00:00", "27-01-01 00:00:00", "27-02-01 00:00:00"]),
        ("@yearly", ["27-01-01 00:00:00", "28-01-01 00:00:00", "29-01-01 00:00:00"]),
        (" @ANNUALLY ", ["27-01-01 00:00:00", "28-01-01 00:00:00", "29-01-01 00:00:00"]),
        ("  0   3\t* * *  ", ["26-11-24 03:00:00", "26-11-25 03:00:00", "26-11-26 03:00:00"]),
        ("0 0 31 2 *", []),
    ],
)
def test_a_cron_names_these_wall_times(text: str, expected: list[str]):
    assert walls(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' has 0 fields; write 5 (minute, hour"),
        ("03:00", "'03:00' has 1 field; write 5 (minute, hour"),
        ("   ", "has 0 fields"),
        ("* * * *", "has 4 fields"),
        ("* * * * * * * *", "has 8 fields"),
        ("hello", "'hello' has 1 field;"),
        ("@reboot", "'@reboot' is no alias; write a time, or one of @yearly, @annually"),
        ("@every 5m", "'@every 5m' is no alias"),
        ("60 * * * *", "minute '60': write 0-59, such as 0, 0,30, 0-29 or */15"),
        ("* 24 * * *", "hour '24': write 0-23, such as 3"),
        ("* * 0 * *", "day of month '0': write 1-31, such as 1"),
        ("* * 32 * *", "day of month '32': write 1-31"),
        ("* * * 0 *", "month '0': write 1-12 or JAN-DEC, such as 1"),
        ("* * * 13 *", "month '13': write 1-12 or JAN-DEC"),
        ("* * * * 8", "day of week '8': write 0-7 or SUN-SAT, such as 1-5, MON, 5#3 or L5"),
        ("60 * * * * *", "second '60': write 0-59"),
        ("0 0 0 1 1 * 1969", "year '1969': write 1970-2099, such as 2030"),
        ("0 0 0 1 1 * 2100", "year '2100': write 1970-2099"),
        ("0 0 0 1 1 * L", "year 'l': L alone is for the day of month"),
        ("0 0 0 1 1 * H", "year 'h': write 1970-2099"),
        ("-5 * * * *", "minute '-5': write 0-59"),
        ("1.5 * * * *", "minute '1.5': write 0-59"),
        ("0x10 * * * *", "minute '0x10': write 0-59"),
        ("\u0663 * * * *", "minute '\u0663': write 0-59"),
        ("MON * * * *", "minute 'mon': write 0-59"),
        ("* * * MON *", "month 'mon': write 1-12"),
        ("* * * * JAN", "day of week 'jan': write 0-7"),
        ("* * * January *", "month 'january': write 1-12"),
        (
            "*/0 * * * *",
            "minute '*/0': a step is 1-60; for longer intervals there is every_seconds",
        ),
        ("*/90 * * * *", "minute '*/90': a step is 1-60"),
        ("* * * * */8", "day of week '*/8': a step is 1-7"),
        ("*/ * * * *", "minute '*/': write 0-59"),
        ("*/5/5 * * * *", "minute '*/5/5': write 0-59"),
        ("5-5 * * * *", "minute '5-5': a range needs two values; write 5"),
        ("* * * * SUN-SUN", "day of week 'sun-sun': a range needs two values; write sun"),
        ("5-60 * * * *", "minute '5-60': write 0-59"),
        ("50-10/5 * * * *", "minute '50-10/5': a range that wraps around takes no step, H or year"),
        ("0 0 0 1 1 * 2035-2030", "year '2035-2030': a range that wraps around"),
        ("H(30-10) * * * *", "minute 'h(30-10)': a range that wraps around"),
        ("H(5-5) * * * *", "minute 'h(5-5)': a range needs two values; write 5"),
        ("H(0-60) * * * *", "minute 'h(0-60)': write 0-59"),
        ("H/0 * * * *", "minute 'h/0': a step is 1-60"),
        ("H5 * * * *", "minute 'h5': write 0-59"),
        ("1,,2 * * * *", "minute '': write 0-59"),
        ("1, * * * *", "minute '': write 0-59"),
        ("R * * * *", "minute 'r': random values would change with every look; write H"),
        ("R(0-30) * * * *", "minute 'r(0-30)': random values"),
        ("* * 15W * *", "day of month '15w': W, the nearest weekday, is not known"),
        ("* * LW * *", "day of month 'lw': W, the nearest weekday, is not known"),
        ("* * L-3 * *", "day of month 'l-3': days before the last are not known; write L"),
        ("* * * * L", "day of week 'l': L alone is for the day of month; write L5"),
        ("* * * * 5#6", "day of week '5#6': # is for one day of the week and 1-5; write 5#3"),
        ("* * * * 1-5#2", "day of week '1-5#2': # is for one day"),
        ("* * * * 8#2", "day of week '8#2': write 0-7"),
        ("* * * * L9", "day of week 'l9': write 0-7"),
        ("* * 5#2 * *", "day of month '5#2': # is for one day of the week"),
        ("* * * * 1,5#3", "day of week '1,5#3': # and L do not mix with plain days"),
        ("* * * * *,5#3", "day of week '*,5#3': # and L do not mix with plain days"),
        ("? * * * *", "minute '?': write 0-59"),
        ("* * ?,5 * *", "day of month '?': write 1-31"),
        ("61 25 * * *", "minute '61': write 0-59, such as 0, 0,30, 0-29 or */15; hour '25': write"),
        ("0,61,62 * * * *", "minute '62': write 0-59"),
        ("* * * * *; drop", "month '*;': write 1-12 or JAN-DEC"),
        ("0 3 * * * echo", "day of week 'echo': write 0-7"),
        ("0 " * 64 + "0", "... is longer than 128 characters"),
    ],
)
def test_a_cron_outside_the_dialect_is_refused_with_the_remedy(text: str, message: str):
    assert message in refusal(text)


def test_a_text_of_the_longest_length_is_read():
    text = "0 3 * * *"

    assert parse(text.ljust(LONGEST), job_id=JOB) == parse(text, job_id=JOB)


def test_a_refusal_shows_only_the_beginning_of_a_long_text():
    assert len(refusal("9" * 500_000)) < 100


def test_what_only_croniter_refuses_is_our_error_too(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise CroniterBadCronError("no such field")

    monkeypatch.setattr(croniter, "expand", refuse)
    parse_cached.cache_clear()
    expanded.cache_clear()

    assert refusal("7 7 7 7 7") == "'7 7 7 7 7' cannot be read: no such field"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H H * * *", ["26-11-23 13:11:00"]),
        ("H H(9-17) * * *", ["26-11-23 13:11:00"]),
        ("H/15 * * * *", ["26-11-23 12:11:00", "26-11-23 12:26:00"]),
        ("H(10-19)/5 * * * *", ["26-11-23 12:11:00", "26-11-23 12:16:00"]),
        ("H(58-59)/60 * * * *", ["26-11-23 12:59:00", "26-11-23 13:59:00"]),
        ("H H H * *", ["26-11-23 13:11:00"]),
        ("0 0 * H H", ["26-12-06 00:00:00"]),
        ("H H H * * *", ["26-11-23 13:11:08"]),
    ],
)
def test_the_times_of_h_never_change_for_a_job(text: str, expected: list[str]):
    """Jobs in databases rely on them: these are the values of the first release."""
    assert walls(text, len(expected)) == expected


def test_h_spreads_jobs_over_the_hour():
    crons = [parse("H * * * *", job_id=UUID(int=number)) for number in range(2000)]

    minutes = [cron.minutes[0] for cron in crons]
    assert set(minutes) == set(range(60))
    assert max(minutes.count(minute) for minute in range(60)) < 70


def test_h_as_a_day_is_in_every_month():
    days = {day for n in range(500) for day in parse("0 0 H * *", job_id=UUID(int=n)).days}

    assert days == set(range(1, 29))


def test_thousands_of_crons_have_croniter_read_each_different_field_once(
    monkeypatch: pytest.MonkeyPatch,
):
    read: list[str] = []
    expand = croniter.expand

    def noted(text: str, *, second_at_beginning: bool) -> object:
        read.append(text)
        return expand(text, second_at_beginning=second_at_beginning)

    monkeypatch.setattr(croniter, "expand", noted)
    for cache in (parse_cached, expanded):
        cache.cache_clear()

    crons = [parse(f"{n % 60} {n // 60} * * MON", job_id=JOB) for n in range(1440)]

    assert {(cron.hours, cron.minutes) for cron in crons} == {
        ((n // 60,), (n % 60,)) for n in range(1440)
    }
    assert len(read) == 60 + 24 + 5


def test_crons_without_h_are_shared_by_jobs():
    assert parse("5 5 * * THU", job_id=JOB) is parse("5 5 * * THU", job_id=UUID(int=1))
    assert parse("H 5 * * THU", job_id=JOB) is not parse("H 5 * * THU", job_id=UUID(int=1))


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("30 2 * * *", True),
        ("0,30 1,2 * * *", True),
        ("* 30 2 * * *", True),
        ("H H * * *", True),
        ("H(0-29) 2 * * *", True),
        ("@daily", True),
        ("@hourly", False),
        ("*/30 2 * * *", False),
        ("0-30 2 * * *", False),
        ("5/10 2 * * *", False),
        ("30 1-3 * * *", False),
        ("H/30 2 * * *", False),
    ],
)
def test_fixed_times_have_neither_star_nor_step_nor_range(text: str, *, fixed: bool):
    assert parse(text, job_id=JOB).fixed_times is fixed


def test_the_latest_wall_time_is_found_from_the_end():
    cron = parse("30 9,17 * * MON", job_id=JOB)

    assert cron.last_wall(NOON.replace(year=2020), NOON) == NOON.replace(hour=9, minute=30)
    assert cron.last_wall(NOON.replace(year=2020), NOON.replace(hour=9, minute=30)) == NOON.replace(
        day=16, hour=17, minute=30
    )
    assert cron.last_wall(NOON.replace(hour=10), NOON) is None
    assert cron.last_wall(NOON, NOON.replace(day=24, hour=0)) == NOON.replace(hour=17, minute=30)


def test_wall_times_are_counted_without_walking_over_them():
    cron = parse("*/20 * * * * *", job_id=JOB)

    assert cron.count_walls(NOON, NOON) == 0
    assert cron.count_walls(NOON, NOON.replace(microsecond=1)) == 1
    assert cron.count_walls(NOON.replace(microsecond=1), NOON.replace(second=20)) == 0
    assert cron.count_walls(NOON, NOON.replace(year=2027)) == 365 * 86_400 // 20
    assert cron.count_walls(NOON.replace(year=2027), NOON) == 0
