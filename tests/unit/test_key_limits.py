"""The limits of an API key, as rules: gaps of schedules, destinations, ends."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.core.access.api_key import Scope
from app.core.access.key_limits import KeyLimits, check_limits, ended, in_words, interval_errors
from app.core.jobs.job import JobDocument
from app.core.schedule.gaps import shortest_gap
from app.core.schedule.schedule import LATEST, Schedule, first_run, normalized, run_after
from app.errors import InvalidInput
from app.jobs.key_limits import target_errors

NOW = datetime(2030, 1, 31, 8, 30, 0, 123456, tzinfo=UTC)
ID = UUID(int=1)
DAY = 86_400
RECURRING = JobDocument(kind="http", target={}, cron="0 3 * * *")


def gap(**fields: Any) -> float | None:  # noqa: ANN401 - of a schedule
    return shortest_gap(normalized(Schedule(**fields)), job_id=ID, now=NOW)


@pytest.mark.parametrize(
    ("cron", "seconds"),
    {
        "* * * * *": 60,
        "*/7 * * * *": 240,  # from minute 56 to the hour
        "0,59 * * * *": 60,
        "0 * * * *": 3600,
        "0 3 * * *": DAY,
        "30 8,17 * * 1-5": 9 * 3600,
        "59,0 23,0 * * *": 60,  # over midnight
        "59,0 23,0 1 * *": 59 * 60,  # no midnight between two days of it
        "59,0 23,0 1,2 1 *": 60,
        "0 0 1,31 * *": DAY,
        "0 0 28,29 2 *": DAY,  # in leap years only
        "0 0 * * 1": 7 * DAY,
        "0 0 29 2 *": 4 * 365 * DAY + DAY,
        "0 0 * * 0#1": 28 * DAY,
        "*/10 * * * * *": 10,
        "0,50 58 * * * *": 50,
        "@hourly": 3600,
        "@every 90s": 90,
        "0 0 0 1 1 * 2031": None,
        "0 0 0 1,2 1 * 2061": DAY,  # far away
        "* * 31 12 *": 60,  # far away, and dense
    }.items(),
)
def test_the_shortest_gap_of_a_cron_is_known(cron: str, seconds: float | None) -> None:
    assert gap(cron=cron) == seconds


@pytest.mark.parametrize("cron", ["H H(8-10) * * *", "*/13 7-9,22 * * 2,4", "5 0,23 1-5 2 *"])
def test_no_two_runs_are_nearer_than_the_gap_and_two_are_that_near(cron: str) -> None:
    schedule = Schedule(cron=cron)
    run, nearest = first_run(schedule, job_id=ID, now=NOW), timedelta.max
    for _ in range(300):
        assert run is not None
        following = run_after(schedule, run, job_id=ID)
        assert following is not None
        nearest, run = min(nearest, following - run), following

    assert nearest.total_seconds() == gap(cron=cron)


def test_a_change_of_the_clocks_makes_no_job_too_frequent() -> None:
    daily = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")  # 23 hours apart in spring

    assert not [
        *interval_errors(daily, KeyLimits(min_interval_seconds=DAY), job_id=ID, now=NOW),
        *interval_errors(
            Schedule(run_at=NOW), KeyLimits(min_interval_seconds=DAY), job_id=ID, now=NOW
        ),
    ]


@pytest.mark.parametrize(
    ("field", "given"), [("every_seconds", {"every_seconds": 299.9}), ("cron", {"cron": "@hourly"})]
)
def test_what_runs_too_often_is_told_with_the_limit_and_the_remedy(
    field: str, given: dict[str, Any]
) -> None:
    limits = KeyLimits(min_interval_seconds=7200 if field == "cron" else 300)

    [error] = interval_errors(Schedule(**given), limits, job_id=ID, now=NOW)

    assert error.field == field
    assert "min_interval_seconds of the API key is" in error.message
    assert "let it run less often" in error.message


HOSTS = KeyLimits(allowed_hosts=("api.example.com", "*.internal.example", "http://10.0.0.7:8080"))


@pytest.mark.parametrize(
    ("kind", "target", "fields"),
    [
        ("http", {"url": "https://api.example.com/x"}, []),
        ("http", {"url": "https://API.example.com./{{ run.id }}", "templates": ["url"]}, []),
        ("http", {"url": "https://api.example.com/${secret:A}?b=***"}, []),
        ("http", {"url": "https://a.internal.example:8443/"}, []),
        ("http", {"url": "http://10.0.0.7:8080/"}, []),
        ("amqp", {"url": "amqp://user:***@a.internal.example/v"}, []),
        ("check", {"grace_seconds": 60}, []),
        ("http", {"url": "http://10.0.0.7:8081/"}, ["target.url"]),
        ("http", {"url": "https://internal.example/"}, ["target.url"]),
        ("http", {"url": "https://api.example.com.evil.example/"}, ["target.url"]),
        ("http", {"url": "https://api.example.com@evil.example/"}, ["target.url"]),
        ("amqp", {"url": "amqps://evil.example/"}, ["target.url"]),
        ("smtp", {"url": "smtps://mail.evil.example"}, ["target.url"]),
        (
            "http",
            {"url": "https://api.example.com/", "auth": {"token_url": "https://evil.example/t"}},
            ["target"],
        ),
        (
            "http",
            {"url": "https://api.example.com/", "follow_redirects": True},
            ["target.follow_redirects"],
        ),
    ],
)
def test_a_target_leads_where_the_key_may_send_to_and_nowhere_else(
    kind: str, target: dict[str, Any], fields: list[str]
) -> None:
    assert [one.field for one in target_errors(kind, target, HOSTS)] == fields


def test_a_recurring_job_without_an_end_gets_one_and_keeps_it() -> None:
    limits = KeyLimits(default_ends_in_seconds=30 * DAY)
    given = ended(RECURRING, limits, now=NOW)
    assert given.ends_at == datetime(2030, 3, 2, 9, tzinfo=UTC)  # rounded up to the hour

    later = NOW + timedelta(days=1)
    assert ended(RECURRING, limits, before=given, now=later) == given  # PUT again
    assert ended(given, limits, before=given, now=later) == given  # PATCH of another field
    over = ended(RECURRING, limits, before=given, now=NOW + timedelta(days=60))
    assert over.ends_at == datetime(2030, 5, 1, 9, tzinfo=UTC)

    starting = replace(RECURRING, starts_at=NOW + timedelta(days=10))
    assert ended(starting, limits, now=NOW).ends_at == datetime(2030, 3, 12, 9, tzinfo=UTC)


def test_an_end_that_is_given_is_behind_the_start_and_one_that_a_job_can_have() -> None:
    limits = KeyLimits(default_ends_in_seconds=30 * DAY)
    given = ended(RECURRING, limits, now=NOW)
    later = replace(RECURRING, starts_at=NOW + timedelta(days=60))
    assert ended(later, limits, before=given, now=NOW).ends_at == NOW.replace(
        month=5, day=1, hour=9, minute=0, microsecond=0
    )
    century = KeyLimits(default_ends_in_seconds=36_500 * DAY)
    assert ended(replace(RECURRING, starts_at=LATEST), century, now=NOW).ends_at == LATEST

    for wrong in (datetime.max.replace(tzinfo=UTC), datetime(2030, 5, 1)):  # noqa: DTZ001
        document = replace(RECURRING, starts_at=wrong)
        assert ended(document, limits, now=NOW) == document  # whose start is refused then


def test_what_has_an_end_or_does_not_recur_is_left_as_it_is() -> None:
    limits = KeyLimits(default_ends_in_seconds=60)
    once = replace(RECURRING, cron=None, run_at=NOW)
    for document in (replace(RECURRING, ends_at=NOW), once):
        assert ended(document, limits, now=NOW) == document
    assert ended(RECURRING, KeyLimits(), now=NOW) == RECURRING

    of_others = replace(RECURRING, description="edited")
    assert ended(of_others, limits, before=RECURRING, now=NOW) == of_others
    assert ended(RECURRING, limits, before=once, now=NOW).ends_at == datetime(
        2030, 1, 31, 8, 31, 1, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("field", "limits"),
    [
        ("max_jobs", KeyLimits(max_jobs=0)),
        ("min_interval_seconds", KeyLimits(min_interval_seconds=0.01)),
        ("default_ends_in_seconds", KeyLimits(default_ends_in_seconds=float("inf"))),
        ("allowed_hosts", KeyLimits(allowed_hosts=())),
        ("allowed_hosts[1]", KeyLimits(allowed_hosts=("a.example", "https://b.example/path"))),
    ],
)
def test_a_limit_that_is_none_is_refused(field: str, limits: KeyLimits) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_limits(limits, [Scope.WRITE])

    assert [one.field for one in refusal.value.errors] == [field]


def test_who_may_make_keys_has_no_limits() -> None:
    with pytest.raises(InvalidInput, match="scopes: admin may make keys without limits"):
        check_limits(KeyLimits(max_jobs=1), [Scope.WRITE, Scope.ADMIN])
    check_limits(KeyLimits(key_id=ID), [Scope.ADMIN])


def test_limits_are_said_in_words() -> None:
    limits = KeyLimits(
        max_jobs=1,
        min_interval_seconds=90,
        allowed_hosts=tuple("abcdefg"),
        default_ends_in_seconds=30 * DAY,
    )
    assert in_words(limits) == [
        "at most 1 job",
        "runs at least 90 seconds apart",
        "only to a, b, c, d, e and 2 more",
        "ends after 30 days",
    ]
    assert in_words(KeyLimits()) == []
