"""Runs that a person skips, through both doors: the API and psql."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.runs.claim import Claim
from app.core.runs.skip import skipped
from app.db import Database, claims
from app.db.listener import Session
from tests.support.api import HOURLY, JOB, LATER, fields
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs, run_rows
from tests.support.claims import closed_now
from tests.support.sessions import claimed_one, look_once

HOUR = timedelta(hours=1)
MAKE_DUE = """update tocsin.jobs set next_run = now(), scheduled_for = now(),
              planned_at = clock_timestamp() where id = $1"""
Skipping = Callable[..., Awaitable[None]]


@pytest.fixture(params=["api", "psql"])
async def skip(
    request: pytest.FixtureRequest, api: httpx.AsyncClient, connection: asyncpg.Connection
) -> Skipping:
    """Give what skips runs of the job `report` through one of the doors."""

    async def through_api(runs: int | None = None, until: datetime | None = None) -> None:
        body = {"runs": runs} if until is None else {"until": until.isoformat()}
        answer = await api.post("/v1/jobs/report/skip", json=body)
        assert answer.status_code == 200, answer.text

    async def through_psql(runs: int | None = None, until: datetime | None = None) -> None:
        rows = await connection.fetch("select * from tocsin.skip('report', $1, $2)", runs, until)
        assert len(rows) == 1

    return through_api if request.param == "api" else through_psql


@pytest.fixture
async def report(connection: asyncpg.Connection, db: Database) -> UUID:
    """Give an hourly job that is due now."""
    job_id = await insert_job(connection, name="report", every_seconds=3600)
    await plan_jobs(db)
    await connection.execute(MAKE_DUE, job_id)
    return job_id


async def settle_as_an_instance(session: Session, claim: Claim) -> bool:
    """Settle a claim as an instance does; return whether its run was skipped."""
    settlement = skipped(claim, now=datetime.now(UTC))
    [closed] = await claims.settle(session, [settlement or closed_now(claim)])
    assert closed.settled
    return settlement is not None


async def test_the_next_runs_are_on_record_and_the_one_after_is_carried_out(
    report: UUID, skip: Skipping, session: Session, connection: asyncpg.Connection
) -> None:
    await skip(2)

    told = []
    for _ in range(3):
        told.append(await settle_as_an_instance(session, await claimed_one(session)))
        await connection.execute(MAKE_DUE, report)

    assert told == [True, True, False]
    rows = await execution_rows(connection, report)
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("missed", "skipped"),
        ("missed", "skipped"),
        ("succeeded", None),
    ]
    row = await job_row(connection, report)
    assert (row["skip_runs"], row["runs"], row["attempt"]) == (None, 1, 0)


async def test_all_runs_before_an_instant_are_skipped(
    report: UUID, skip: Skipping, session: Session
) -> None:
    await skip(until=datetime.now(UTC) + 90 * HOUR)

    claim = await claimed_one(session)

    assert await settle_as_an_instance(session, claim)


async def test_a_skip_takes_the_place_of_the_one_before(
    report: UUID, skip: Skipping, connection: asyncpg.Connection
) -> None:
    await skip(2)
    await skip(until=datetime(2100, 1, 1, tzinfo=UTC))

    row = await job_row(connection, report)

    assert (row["skip_runs"], row["skip_until"].year) == (None, 2100)


async def test_what_has_not_passed_can_be_taken_back(
    report: UUID, skip: Skipping, session: Session, api: httpx.AsyncClient
) -> None:
    await skip(2)
    assert await settle_as_an_instance(session, await claimed_one(session))

    answer = await api.post("/v1/jobs/report/unskip")
    again = await api.post("/v1/jobs/report/unskip", json={})

    assert (answer.status_code, answer.json()["skip_runs"]) == (200, None)
    assert again.json() == answer.json()


async def test_taking_it_back_while_a_claim_waits_for_its_instant_has_the_run_carried_out(
    report: UUID, skip: Skipping, session: Session, connection: asyncpg.Connection
) -> None:
    await skip(1)
    claim = await claimed_one(session)
    await connection.fetch("select * from tocsin.unskip('report')")

    settlement = skipped(claim, now=datetime.now(UTC))
    assert settlement is not None
    await claims.settle(session, [settlement])

    row = await job_row(connection, report)
    assert row["skip_runs"] is None


async def test_runs_skipped_meanwhile_outlast_the_settlement_of_a_run_that_was_skipped(
    report: UUID, skip: Skipping, session: Session, connection: asyncpg.Connection
) -> None:
    await skip(1)
    claim = await claimed_one(session)
    await skip(5)

    assert await settle_as_an_instance(session, claim)

    assert (await job_row(connection, report))["skip_runs"] == 5


async def test_what_is_asked_for_is_carried_out(
    report: UUID, skip: Skipping, session: Session, connection: asyncpg.Connection
) -> None:
    await skip(1)
    await connection.fetch("select * from tocsin.run_now($1)", report)
    [run] = await run_rows(connection, report)

    claim = await claimed_one(session)

    assert claim.id == run["id"]
    assert not await settle_as_an_instance(session, claim)
    assert (await job_row(connection, report))["skip_runs"] == 1


async def test_the_plan_stays_as_it_is(
    report: UUID, skip: Skipping, connection: asyncpg.Connection
) -> None:
    before = await job_row(connection, report)

    await skip(3)

    after = await job_row(connection, report)
    assert after["edited_at"] > before["edited_at"]
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed <= {"skip_runs", "edited_at", "updated_at", "creation", "validated"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "runs"),
        ({"runs": 1, "until": "2100-01-01T00:00:00Z"}, "until"),
        ({"runs": 0}, "runs"),
        ({"runs": 1001}, "runs"),
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": "2200-01-01T00:00:01Z"}, "until"),
        ({"run": 1}, "run"),
        ({"runs": "1"}, "runs"),
    ],
)
async def test_what_cannot_be_skipped_is_refused_by_name(
    api: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    await api.put("/v1/jobs/report", json=HOURLY)

    answer = await api.post("/v1/jobs/report/skip", json=body)

    assert answer.status_code == 422
    assert field in fields(answer)


@pytest.mark.parametrize(
    ("arguments", "column"),
    [
        ("null, null", "skip_runs"),
        ("1, '2100-01-01'", "skip_until"),
        ("0", "skip_runs"),
        ("1001", "skip_runs"),
        ("until => '2020-01-01'", "skip_until"),
        ("until => '2200-01-02'", "skip_until"),
        ("until => 'infinity'", "skip_until"),
    ],
)
async def test_psql_refuses_the_same(
    report: UUID, connection: asyncpg.Connection, arguments: str, column: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await connection.fetch(f"select * from tocsin.skip('report', {arguments})")

    assert refused.value.column_name == column


async def test_a_row_with_such_a_value_is_refused_even_once_it_was_claimed(
    report: UUID, session: Session, connection: asyncpg.Connection
) -> None:
    await claims.settle(session, [closed_now(await claimed_one(session))])

    for change in ("skip_runs = 0", "skip_until = 'infinity'"):
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"update tocsin.jobs set {change} where id = $1", report)


async def test_of_a_job_that_is_over_nothing_is_skipped(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/report", json=LATER)
    await connection.execute("update tocsin.jobs set next_run = null")

    answer = await api.post("/v1/jobs/report/skip", json={"runs": 1})

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:tocsin:problem:state-conflict")
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.fetch("select * from tocsin.skip('report', 1)")


async def test_nobody_skips_what_is_not_there(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    answer = await api.post("/v1/jobs/report/skip", json={"runs": 1})

    assert answer.status_code == 404
    assert await connection.fetch("select * from tocsin.skip('report', 1)") == []
    assert await connection.fetch("select * from tocsin.unskip('report')") == []


async def test_the_audit_log_says_who_skipped(
    api: httpx.AsyncClient, report: UUID, skip: Skipping
) -> None:
    await skip(3)

    answer = await api.get("/v1/audit", params={"entity_id": str(report), "limit": 1})

    [entry] = answer.json()["items"]
    assert entry["changed"] == ["skip_runs"]
    assert (entry["before"], entry["after"]) == ({"skip_runs": None}, {"skip_runs": 3})


async def test_the_runs_to_come_say_which_are_skipped(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/report", json=HOURLY)
    await api.put("/v1/jobs/other", json=HOURLY)
    await api.post("/v1/jobs/report/skip", json={"runs": 2})
    now = await connection.fetchval("select now()")
    until = (now + 4.5 * HOUR).isoformat()

    listed = (await api.get("/v1/upcoming", params={"until": until})).json()["items"]
    counted = (
        await api.get("/v1/upcoming", params={"until": until, "bucket_seconds": 86_400 * 31})
    ).json()["buckets"]

    told = [run["skipped"] for run in listed if run["job_name"] == "report"]
    assert told == [True, True, False, False]
    assert not any(run["skipped"] for run in listed if run["job_name"] == "other")
    assert sum(one["runs"] for one in counted) == 8
    assert sum(one["skipped"] for one in counted) == 2


async def test_a_preview_marks_what_its_job_skips(api: httpx.AsyncClient) -> None:
    job = (await api.put("/v1/jobs/report", json=JOB | {"cron": "0 3 * * *"})).json()
    await api.post("/v1/jobs/report/skip", json={"runs": 2})
    schedule = {"cron": "0 3 * * *", "job_id": job["id"]}

    shown = (await api.post("/v1/schedule/preview", json=schedule)).json()["runs"]
    later = shown[0]["at"]
    from_there = await api.post("/v1/schedule/preview", json=schedule | {"from": later})
    await api.post("/v1/jobs/report/skip", json={"until": shown[3]["at"]})
    until = (await api.post("/v1/schedule/preview", json=schedule)).json()["runs"]

    assert [run["skipped"] for run in shown] == [True, True, False, False, False]
    assert [run["skipped"] for run in from_there.json()["runs"]] == [True, *[False] * 4]
    assert [run["skipped"] for run in until] == [True, True, True, False, False]


async def test_a_skipped_run_is_not_claimed_a_second_time(
    report: UUID, skip: Skipping, session: Session, connection: asyncpg.Connection
) -> None:
    await skip(1)
    assert await settle_as_an_instance(session, await claimed_one(session))

    assert (await look_once(session)).claims == []

    assert len(await execution_rows(connection, report)) == 1
