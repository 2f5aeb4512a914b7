"""Runs that are asked for obey an overlap where that is asked for, and pass by it otherwise."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.runs.claim import Claim
from app.core.runs.outcome import Outcome
from app.db import Database, claims, evidence
from app.db.listener import Session
from tests.support.api import fields
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs, run_rows
from tests.support.bulk import ask, carried_out
from tests.support.claims import closed_now
from tests.support.instances import StartInstance
from tests.support.psql import run_psql
from tests.support.sessions import look_once
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

DUE = "update tocsin.jobs set next_run = clock_timestamp() where id = $1"
ASK = "select * from tocsin.run_now($1, null, $2)"
DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


async def begun(
    session: Session, db: Database, connection: asyncpg.Connection, **columns: object
) -> tuple[UUID, Claim]:
    """Insert a job, and claim a run of its plan."""
    job_id = await insert_job(connection, every_seconds=3600, backoff_seconds=3600, **columns)
    await plan_jobs(db)
    await connection.execute(DUE, job_id)
    [claim] = (await look_once(session)).claims
    return job_id, claim


async def test_with_skip_a_run_is_refused_while_another_is_unfinished(
    session: Session, db: Database, connection: asyncpg.Connection, api: httpx.AsyncClient
) -> None:
    job_id, claim = await begun(session, db, connection, overlap="skip")

    refused = [
        await api.post(f"/v1/jobs/{job_id}/run", json={"overlap": overlap})
        for overlap in ("skip", "as_job")
    ]
    unknown = await api.post(f"/v1/jobs/{job_id}/run", json={"overlap": "never"})
    await claims.settle(db, [closed_now(claim)])
    after = await api.post(f"/v1/jobs/{job_id}/run", json={"overlap": "as_job"})
    [past] = await execution_rows(connection, job_id)
    again = await api.post(f"/v1/executions/{past['id']}/replay", json={"overlap": "skip"})

    assert [answer.status_code for answer in refused] == [409, 409]
    assert "a run of the job is unfinished" in refused[0].json()["detail"]
    assert (unknown.status_code, fields(unknown)) == (422, ["overlap"])
    assert (after.status_code, again.status_code) == (202, 409)
    assert len(await run_rows(connection, job_id)) == 1


async def test_with_skip_a_run_that_waits_for_its_retry_is_unfinished_too(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id, claim = await begun(session, db, connection)
    await claims.settle(db, [closed_now(claim, Outcome.FAILED)])
    waits_until = (await job_row(connection, job_id))["next_run"]

    with pytest.raises(asyncpg.CheckViolationError, match="unfinished"):
        await connection.execute(ASK, job_id, "skip")

    assert (await job_row(connection, job_id))["next_run"] == waits_until
    await connection.execute("select tocsin.run_now($1)", job_id)  # passes by it: retried now
    assert (await job_row(connection, job_id))["next_run"] < waits_until


async def test_with_buffer_one_the_latest_waits_and_those_before_it_are_missed(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id, claim = await begun(session, db, connection, overlap="buffer_one")
    for _ in range(3):
        await connection.execute(ASK, job_id, "as_job")

    [waiting] = await run_rows(connection, job_id)
    missed = await execution_rows(connection, job_id)
    await claims.settle(db, [closed_now(claim)])
    [asked] = (await look_once(session)).claims

    assert (asked.id, asked.scheduled_for) == (waiting["id"], waiting["scheduled_for"])
    assert [(row["outcome"], row["reason"]) for row in missed] == [("missed", "overlap")] * 2
    assert max(row["scheduled_for"] for row in missed) < waiting["scheduled_for"]
    assert "buffer_one" in missed[0]["error"]
    assert (await job_row(connection, job_id))["pending_runs"] == 1


async def test_with_cancel_other_what_is_under_way_is_cut_off_and_the_run_starts_after(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id, claim = await begun(session, db, connection)

    await connection.execute(ASK, job_id, "cancel_other")
    before = (await look_once(session)).claims
    assert await evidence.free_cancelled(db, [claim], instance="one")
    [asked] = (await look_once(session)).claims
    await claims.settle(db, [closed_now(asked)])

    assert before == []
    assert asked.run_id is not None
    cut, carried = await execution_rows(connection, job_id)
    assert (cut["outcome"], cut["reason"]) == ("cancelled", "overlap")
    assert "cancel_other" in cut["error"]
    assert carried["outcome"] == "succeeded"
    assert not (await claims.settle(db, [closed_now(claim)]))[0].settled


async def test_with_cancel_other_a_run_that_waits_for_its_retry_is_given_up(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id, claim = await begun(session, db, connection)
    await claims.settle(db, [closed_now(claim, Outcome.FAILED)])

    await connection.execute(ASK, job_id, "cancel_other")
    await plan_jobs(db)
    [asked] = (await look_once(session)).claims

    job = await job_row(connection, job_id)
    assert (asked.run_id is not None, job["attempt"], job["runs"]) == (True, 0, 1)
    assert job["next_run"] == claim.scheduled_for + timedelta(hours=1)
    assert job["consecutive_failures"] == 1


async def test_with_allow_all_runs_start_beside_each_other_and_the_plan_waits_for_them(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id, claim = await begun(session, db, connection)
    for _ in range(2):
        await connection.execute(ASK, job_id, "allow_all")
    await connection.execute("select tocsin.run_now($1)", job_id)  # waits its turn

    asked = (await look_once(session)).claims
    await claims.settle(db, [closed_now(claim)])
    await connection.execute(DUE, job_id)
    behind = (await look_once(session)).claims
    await claims.settle(db, [closed_now(one) for one in asked])
    [last] = (await look_once(session)).claims
    await claims.settle(db, [closed_now(last)])
    [planned] = (await look_once(session)).claims
    await claims.settle(db, [closed_now(planned)])

    assert len(asked) == 2
    assert behind == []
    assert planned.run_id is None
    rows = await execution_rows(connection, job_id)
    assert {row["outcome"] for row in rows} == {"succeeded"}
    assert len({row["fence"] for row in rows}) == len(rows) == 5
    assert (await job_row(connection, job_id))["pending_runs"] == 0


async def test_runs_beside_others_keep_to_the_bound_and_the_rest_follow(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """create or replace function tocsin.max_parallel_runs() returns integer language sql
           immutable parallel safe return 2"""
    )
    job_id, claim = await begun(session, db, connection)
    for _ in range(3):
        await connection.execute(ASK, job_id, "allow_all")

    first = (await look_once(session)).claims
    await claims.settle(db, [closed_now(first[0])])
    rest = (await look_once(session)).claims

    assert (len(first), len(rest)) == (2, 1)
    assert await connection.fetch("select * from tocsin.unsound_runs()") == []
    assert (await claims.settle(db, [closed_now(claim)]))[0].settled


async def test_runs_asked_for_of_a_job_whose_runs_go_side_by_side_share_no_fence(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600, overlap="allow_all")
    await plan_jobs(db)
    for _ in range(3):
        await connection.execute("select tocsin.run_now($1)", job_id)

    held = (await look_once(session)).claims
    await claims.settle(db, [closed_now(one) for one in held])

    rows = await execution_rows(connection, job_id)
    assert len({row["fence"] for row in rows}) == len(rows) == 3
    assert max(row["fence"] for row in rows) < 2**53, "exact in JavaScript"
    assert (await job_row(connection, job_id))["fence"] == 0


@pytest.mark.parametrize("door", ["api", "psql"])
async def test_a_backfill_side_by_side_carries_out_each_run_once(  # noqa: PLR0913, PLR0917
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    database_url: str,
    door: str,
) -> None:
    sink.default = late(1.0, reply(200))
    await insert_job(
        connection,
        name="report",
        target={"url": sink.url()},
        every_seconds=86_400,
        starts_at=BEGIN,
        next_run=None,
    )
    most = 0

    async def are_carried_out() -> bool:
        nonlocal most
        most = max(most, sink.open)
        return len([one for one in sink.requests if "tocsin-trigger" in one.headers]) == 8

    async with instance():
        if door == "api":
            await ask(
                api,
                action="backfill",
                filter={"job": "report"},
                rate_per_second=1000,
                overlap="allow_all",
                **{"from": BEGIN.isoformat(), "to": (BEGIN + 8 * DAY).isoformat()},
            )
        else:
            run_psql(
                database_url,
                """select tocsin.backfill('report', '2026-01-01 00:00Z', '2026-01-09 00:00Z',
                   rate_per_second => 1000, overlap => 'allow_all')""",
            )
        await until(are_carried_out, "the runs are carried out", within=30)

    asked = [one.headers for one in sink.requests if "tocsin-trigger" in one.headers]
    assert {one["tocsin-trigger"] for one in asked} == {"backfill"}
    assert len({one["tocsin-scheduled-for"] for one in asked}) == 8
    assert most > 1


async def test_a_backfill_of_no_job_and_one_that_would_drop_its_runs_are_refused(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    answer = await api.post(
        "/v1/bulk",
        json={
            "action": "backfill",
            "filter": {"all": True},
            "from": "2026-01-01T00:00:00Z",
            "to": "2026-01-02T00:00:00Z",
            "overlap": "skip",
        },
    )

    assert (answer.status_code, fields(answer)) == (422, ["overlap"])
    with pytest.raises(asyncpg.CheckViolationError, match="is no job: 'report'"):
        await connection.execute(
            "select tocsin.backfill('report', now() - interval '1 day', now())"
        )


async def test_many_are_run_now_but_for_those_that_are_under_way(
    session: Session,
    db: Database,
    connection: asyncpg.Connection,
    api: httpx.AsyncClient,
    instance: StartInstance,
) -> None:
    busy, _ = await begun(session, db, connection)
    idle = await insert_job(connection, every_seconds=3600, target={"url": "http://127.0.0.1:9/"})
    await plan_jobs(db)

    done = await carried_out(
        api, instance, action="run", filter={"all": True}, overlap="skip", rate_per_second=100
    )

    assert (done["changed"], done["failed"]) == (1, 1)
    assert done["problems"][0]["job_id"] == str(busy)
    assert "unfinished" in done["problems"][0]["problem"]
    assert str(idle) != done["problems"][0]["job_id"]


async def test_what_waits_though_nothing_is_in_its_way_is_mended(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await connection.execute("select tocsin.run_now($1)", job_id)
    await connection.execute(
        """set session_replication_role = replica;
           update tocsin.jobs set next_run = null where run_of is not null;
           set session_replication_role = origin"""
    )

    assert await connection.fetchval("select tocsin.mend_runs($1)", job_id)

    [run] = await run_rows(connection, job_id)
    assert run["next_run"] is not None
