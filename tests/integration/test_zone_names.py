"""A zone's name is taken, or refused at once, alike in SQL and by the API."""

from collections.abc import Iterator
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest

from app.core.schedule.zone_rules import Rules
from app.core.schedule.zones import InUse, rules_in_use
from app.db import Database, plans
from app.scheduler.planner import planned
from tests.support.api import JOB
from tests.support.builders import insert_job, job_row

CRON = "0 3 * * *"
MISSPELLED = {
    "europe/berlin": "Europe/Berlin",
    "EUROPE/BERLIN": "Europe/Berlin",
    "US/eastern": "US/Eastern",
    "utc": "UTC",
    "Utc": "UTC",
    "etc/gmt+5": "Etc/GMT+5",
    "est5edt": "EST5EDT",
}
NO_ZONES = [
    "posix/Europe/Berlin",
    "right/Europe/Berlin",
    "localtime",
    "posixrules",
    "Factory",
    "ABC5DEF",
    "CET-1CEST",
    "Europe/Berlin5",
    "EUROPE/BERLIN5",
    "Etc/GMT+15",
    "ETC/GMT+15",
    "Europe",
    "Default",
]


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is: each has a tree of zones of its own."""
    return any_database


@pytest.fixture
def knowing() -> Iterator[type[InUse]]:
    """Let the rules of this process be set; those that were are back afterwards."""
    before = rules_in_use()
    yield InUse
    InUse.rules = before


async def refusal_in_sql(connection: asyncpg.Connection, timezone: str) -> str:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert_job(connection, cron=CRON, timezone=timezone)
    assert refused.value.column_name == "timezone"
    return f"{refused.value.args[0]}. {refused.value.hint}"


async def refusal_by_api(api: httpx.AsyncClient, timezone: str) -> str:
    answer = await api.post("/v1/jobs", json=JOB | {"cron": CRON, "timezone": timezone})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "timezone"
    message: str = error["message"]
    return message


async def test_a_zone_in_another_case_is_refused_with_its_spelling(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for timezone, spelling in MISSPELLED.items():
        in_sql = await refusal_in_sql(connection, timezone)
        by_api = await refusal_by_api(api, timezone)
        assert f"{timezone!r} is not known to Postgres. Did you mean {spelling}?" in in_sql
        assert f"{timezone!r} is no time zone; did you mean {spelling}" in by_api


async def test_blanks_around_a_zone_are_left_out(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for timezone in (" Europe/Berlin ", "Europe/Berlin\n", "\tEurope/Berlin"):
        job_id = await insert_job(connection, cron=CRON, timezone=timezone)
        answer = await api.post("/v1/jobs", json=JOB | {"cron": CRON, "timezone": timezone})
        kept = (await job_row(connection, job_id))["timezone"], answer.json()["timezone"]
        assert kept == ("Europe/Berlin", "Europe/Berlin")


async def test_what_postgres_alone_takes_for_a_zone_is_refused(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for timezone in NO_ZONES:
        assert "IANA" in await refusal_in_sql(connection, timezone)
        await refusal_by_api(api, timezone)


async def test_every_zone_that_both_know_is_taken_and_no_other_file_beside_them(
    connection: asyncpg.Connection,
) -> None:
    rows = await connection.fetch("select name from pg_timezone_names")
    theirs, ours = {row["name"] for row in rows}, set(rules_in_use().names)

    taken = set()
    for name in theirs | ours:
        try:
            await connection.execute("select tocsin.check_timezone($1)", name)
            taken.add(name)
        except asyncpg.CheckViolationError:
            pass

    assert len(taken) > 500
    assert taken >= theirs & ours
    assert {name for name in taken - ours if "/" not in name or name.startswith("posix/")} == set()


async def test_the_zone_of_a_session_stays_as_it_was(connection: asyncpg.Connection) -> None:
    await connection.execute("set timezone = 'Asia/Kolkata'")

    async with connection.transaction():
        await insert_job(connection, cron=CRON, timezone="Europe/Berlin")
        within = await connection.fetchval("show timezone")

    assert (within, await connection.fetchval("show timezone")) == ("Asia/Kolkata",) * 2


async def test_a_zone_that_postgres_does_not_know_yet_is_refused_as_such_at_both_doors(
    api: httpx.AsyncClient, connection: asyncpg.Connection, knowing: type[InUse]
) -> None:
    ours = rules_in_use()
    paris = ours.read("Europe/Paris")
    knowing.rules = Rules(
        source="test",
        version="2099a",
        read=lambda name: paris if name == "Mars/Phobos" else ours.read(name),
        names=lambda: [*ours.list_names(), "Mars/Phobos"],
    )

    by_api = await refusal_by_api(api, "Mars/Phobos")

    assert "is not known to Postgres" in by_api
    assert by_api in await refusal_in_sql(connection, "Mars/Phobos")


async def test_a_zone_that_only_postgres_knows_is_told_by_the_instance_and_refused_by_the_api(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database, knowing: type[InUse]
) -> None:
    ours = rules_in_use()
    knowing.rules = Rules(
        source="test",
        version="2001a",
        read=lambda name: None if name == "Asia/Tokyo" else ours.read(name),
        names=lambda: [name for name in ours.list_names() if name != "Asia/Tokyo"],
    )

    job_id = await insert_job(connection, cron=CRON, timezone="Asia/Tokyo")
    for job in await plans.list_unplanned(db):
        await plans.write(db, [planned(job, now=datetime.now(UTC))])

    row = await job_row(connection, job_id)
    assert row["state"] == "invalid"
    by_api = await refusal_by_api(api, "Asia/Tokyo")
    assert "is no time zone" in by_api
    assert row["plan_error"] == f"timezone: {by_api}"
