"""Runs of a job side by side: each is a row of its own, and the plan of the job goes on."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from app.core.runs.claim import Claim
from app.core.runs.outcome import Outcome
from app.core.runs.parallel import parted, planned_behind
from app.core.schedule.schedule import Schedule
from app.core.schedule.spread import effective
from app.db import Database, claims, evidence, overlap
from app.db.listener import Session
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs, run_rows
from tests.support.claims import closed_now
from tests.support.instances import StartInstance
from tests.support.sessions import look_once
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

RECURS: dict[str, Any] = {"every_seconds": 3600, "overlap": "allow_all"}
DUE = "update tocsin.jobs set next_run = clock_timestamp() where id = $1"


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is."""
    return any_database


async def begun(
    session: Session, db: Database, connection: asyncpg.Connection, job_id: UUID
) -> Claim:
    """Claim the plan's run of a job that is made due, and part it as an instance does."""
    await plan_jobs(db)
    await connection.execute(DUE, job_id)
    [claim] = (await look_once(session)).claims
    return await part(db, claim)


async def part(db: Database, claim: Claim) -> Claim:
    run_id = uuid4()
    edited_at = await overlap.part_run(db, claim, run_id=run_id, following=planned_behind(claim))
    assert edited_at is not None
    return parted(claim, run_id=run_id, edited_at=edited_at)


async def test_a_run_that_starts_leaves_its_job_free_for_the_next_one(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS)

    one = await begun(session, db, connection, job_id)
    two = await begun(session, db, connection, job_id)

    told = await connection.fetch("select * from tocsin.explain($1::uuid)", job_id)
    assert [row["reason"] for row in told[:2]] == ["instance_gone"] * 2
    assert f"the run of {one.scheduled_for:%Y-%m-%d %H:%M:%S} UTC" in told[0]["detail"]
    job = await job_row(connection, job_id)
    assert (job["locked_until"], job["execution_id"], job["attempt"]) == (None, None, 0)
    assert job["next_run"] == two.scheduled_for + timedelta(seconds=3600)
    assert (job["state"], job["pending_runs"]) == ("executing", 0)
    assert [run["request"] for run in await run_rows(connection, job_id)] == ["planned"] * 2
    for claim in (one, two):
        assert (await claims.settle(db, [closed_now(claim)]))[0].settled
    job = await job_row(connection, job_id)
    assert (job["state"], job["runs"], job["last_outcome"]) == ("scheduled", 2, "succeeded")
    rows = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["scheduled_for"]) for row in rows] == [
        ("succeeded", one.scheduled_for),
        ("succeeded", two.scheduled_for),
    ]
    assert len({row["fence"] for row in rows}) == 2
    assert await run_rows(connection, job_id) == []


async def test_the_next_run_of_a_spread_job_is_planned_spread_behind_one_under_way(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    starts_at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=90)
    job_id = await insert_job(connection, **RECURS, starts_at=starts_at, jitter_percent=90)
    nominal = starts_at + timedelta(hours=1)
    await plan_jobs(db)
    await connection.execute(
        "update tocsin.jobs set scheduled_for = $2, next_run = now() where id = $1", job_id, nominal
    )
    [claim] = (await look_once(session)).claims

    one = await part(db, claim)

    job = await job_row(connection, job_id)
    [run] = await run_rows(connection, job_id)
    schedule = Schedule(every_seconds=3600, starts_at=starts_at, jitter_percent=90)
    following = nominal + timedelta(hours=1)
    assert job["scheduled_for"] == following
    assert job["next_run"] == effective(schedule, following, job_id=job_id) > following
    assert (run["scheduled_for"], run["run_at"], one.scheduled_for) == (nominal,) * 3
    assert (run["jitter_seconds"], run["jitter_percent"]) == (None, None)
    assert (await claims.settle(db, [closed_now(one)]))[0].settled
    [row] = await execution_rows(connection, job_id)
    assert row["scheduled_for"] == nominal


async def test_parting_again_after_an_answer_was_lost_says_the_same(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS)
    await plan_jobs(db)
    await connection.execute(DUE, job_id)
    [claim] = (await look_once(session)).claims
    run_id = uuid4()

    answers = [
        await overlap.part_run(db, claim, run_id=run_id, following=planned_behind(claim))
        for _ in range(2)
    ]

    assert answers[0] == answers[1] is not None
    assert len(await run_rows(connection, job_id)) == 1


@pytest.mark.parametrize(
    "edit",
    [
        "update tocsin.jobs set overlap = 'skip' where id = $1",
        "update tocsin.jobs set next_run = now() + interval '1 day' where id = $1",
        "update tocsin.jobs set locked_until = null where id = $1",
    ],
)
async def test_a_claim_that_an_edit_has_overtaken_is_not_parted(
    session: Session, db: Database, connection: asyncpg.Connection, edit: str
) -> None:
    job_id = await insert_job(connection, **RECURS)
    await plan_jobs(db)
    await connection.execute(DUE, job_id)
    [claim] = (await look_once(session)).claims
    await connection.execute(edit, job_id)

    answer = await overlap.part_run(db, claim, run_id=uuid4(), following=planned_behind(claim))

    assert answer is None
    assert await run_rows(connection, job_id) == []


async def test_max_runs_counts_those_that_are_under_way(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS, max_runs=2)

    held = [await begun(session, db, connection, job_id) for _ in range(2)]

    job = await job_row(connection, job_id)
    assert (job["next_run"], job["state"]) == (None, "executing")
    await claims.settle(db, [closed_now(claim) for claim in held])
    job = await job_row(connection, job_id)
    assert (job["runs"], job["state"]) == (2, "finished")


async def test_no_more_are_under_way_at_once_than_the_bound(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """create or replace function tocsin.max_parallel_runs() returns integer language sql
           immutable parallel safe return 2"""
    )
    job_id = await insert_job(connection, **RECURS)
    await begun(session, db, connection, job_id)
    await connection.execute(DUE, job_id)
    [second] = (await look_once(session)).claims

    answer = await overlap.part_run(db, second, run_id=uuid4(), following=None)
    await connection.execute(DUE, job_id)

    assert answer is None, "it is carried out as its job's own row"
    assert (await look_once(session)).claims == [], "and what comes due waits"


async def test_runs_that_are_asked_for_keep_to_the_bound_and_the_rest_follow(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """create or replace function tocsin.max_parallel_runs() returns integer language sql
           immutable parallel safe return 2"""
    )
    job_id = await insert_job(connection, **RECURS)
    await plan_jobs(db)
    for _ in range(3):
        await connection.execute("select tocsin.run_now($1)", job_id)

    held = (await look_once(session)).claims
    await claims.settle(db, [closed_now(claim) for claim in held])
    rest = (await look_once(session)).claims

    assert (len(held), len(rest)) == (2, 1)


async def test_a_trigger_that_refuses_the_row_of_a_run_lets_runs_wait_instead(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """create function public.named() returns trigger language plpgsql as $$
           begin if new.name is null then raise exception 'no name'; end if; return new; end $$;
           create trigger named before insert on tocsin.jobs
           for each row execute function public.named()"""
    )
    job_id = await insert_job(connection, **RECURS, name="named")
    await plan_jobs(db)
    await connection.execute(DUE, job_id)
    [claim] = (await look_once(session)).claims

    answer = await overlap.part_run(db, claim, run_id=uuid4(), following=planned_behind(claim))

    assert answer is None
    assert (await claims.settle(db, [closed_now(claim)]))[0].settled


async def test_a_run_that_fails_is_retried_beside_the_others(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS, backoff_seconds=0)
    one = await begun(session, db, connection, job_id)
    two = await begun(session, db, connection, job_id)
    await claims.settle(db, [closed_now(one, Outcome.FAILED)])

    [again] = (await look_once(session)).claims
    await claims.settle(db, [closed_now(again), closed_now(two)])

    assert (again.id, again.attempt, again.scheduled_for) == (one.id, 2, one.scheduled_for)
    rows = await execution_rows(connection, job_id)
    assert sorted((row["attempt"], row["outcome"]) for row in rows) == [
        (1, "failed"),
        (1, "succeeded"),
        (2, "succeeded"),
    ]
    assert len({row["fence"] for row in rows}) == 3


async def test_a_run_now_starts_beside_them(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS)
    await begun(session, db, connection, job_id)

    await connection.execute("select tocsin.run_now($1)", job_id)
    [asked] = (await look_once(session)).claims
    planned = await begun(session, db, connection, job_id)

    assert asked.run_id is not None
    assert planned.scheduled_for != asked.scheduled_for
    assert (await job_row(connection, job_id))["pending_runs"] == 0


async def test_with_another_policy_the_plan_waits_for_those_that_are_under_way(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS)
    held = [await begun(session, db, connection, job_id) for _ in range(2)]

    await connection.execute("update tocsin.jobs set overlap = 'buffer_all' where id = $1", job_id)
    await connection.execute(DUE, job_id)
    counted = (await job_row(connection, job_id))["pending_runs"]
    during = (await look_once(session)).claims
    await claims.settle(db, [closed_now(claim) for claim in held])
    [after] = (await look_once(session)).claims

    assert (counted, during) == (2, [])
    assert after.run_id is None
    assert (await job_row(connection, job_id))["pending_runs"] == 0


async def test_what_waits_its_turn_starts_once_runs_may_go_side_by_side(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await plan_jobs(db)
    for _ in range(3):
        await connection.execute("select tocsin.run_now($1)", job_id)

    await connection.execute("update tocsin.jobs set overlap = 'allow_all' where id = $1", job_id)
    found = (await look_once(session)).claims

    assert len(found) == 3
    assert (await job_row(connection, job_id))["pending_runs"] == 0
    await claims.settle(db, [closed_now(claim) for claim in found])
    assert (await job_row(connection, job_id))["pending_runs"] == 0


async def test_an_edit_and_the_deletion_of_the_job_reach_its_runs(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS, backoff_seconds=3600)
    one = await begun(session, db, connection, job_id)
    await claims.settle(db, [closed_now(one, Outcome.FAILED)])

    await connection.execute("update tocsin.jobs set paused_at = now() where id = $1", job_id)
    [run] = await run_rows(connection, job_id)
    await connection.execute("delete from tocsin.jobs where id = $1", job_id)

    assert run["paused_at"] is not None
    assert await run_rows(connection, job_id) == []


async def test_one_of_them_can_be_cancelled_and_holds_nothing_up(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS)
    one = await begun(session, db, connection, job_id)

    await connection.fetch("select * from tocsin.cancel($1)", one.execution_id)
    two = await begun(session, db, connection, job_id)
    await evidence.free_cancelled(db, [one], instance="one")
    await claims.settle(db, [closed_now(two)])

    rows = await execution_rows(connection, job_id)
    assert {row["outcome"] for row in rows} == {"cancelled", "succeeded"}
    assert await run_rows(connection, job_id) == []


async def test_their_rows_are_found_sound(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **RECURS)
    for _ in range(2):
        await begun(session, db, connection, job_id)

    assert await connection.fetch("select * from tocsin.unsound_runs()") == []
    assert await connection.fetchval("select tocsin.mend_runs($1)", job_id)
    assert len(await run_rows(connection, job_id)) == 2


async def test_instances_carry_out_runs_side_by_side_and_each_once(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    url = sink.on("/", late(2.0, reply(200)))
    most = 0

    async def several() -> bool:
        nonlocal most
        most = max(most, sink.open)
        rows = await execution_rows(connection, job_id)
        return len(rows) >= 6

    async with instance(), instance():
        answer = await api.post(
            "/v1/jobs",
            json={
                "kind": "http",
                "target": {"url": url},
                "cron": "* * * * * *",
                "overlap": "allow_all",
            },
        )
        job_id = UUID(answer.json()["id"])
        await until(several, "six runs have ended", within=60)
        await connection.execute("update tocsin.jobs set paused_at = now()")

    rows = await execution_rows(connection, job_id)
    times = sorted(row["scheduled_for"] for row in rows)
    assert most >= 2, "at once"
    assert times == [times[0] + timedelta(seconds=n) for n in range(len(times))]
    assert {row["outcome"] for row in rows} == {"succeeded"}
    assert any(
        one["started_at"] < two["finished_at"] and two["started_at"] < one["finished_at"]
        for one in rows
        for two in rows
        if one["id"] < two["id"]
    )
