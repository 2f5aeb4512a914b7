"""A snapshot is restored under a live instance, whose claims then close none made since."""

from uuid import UUID

import asyncpg
import pytest

from app.core.facts import LeaseLost, Settled
from app.core.runs.claim import Claim, Settlement
from app.db import Database, claims, evidence, leases
from app.db.listener import Session
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.claims import closed_now
from tests.support.instances import StartInstance
from tests.support.sessions import claimed_one
from tests.support.sink import Sink, late, reply

SNAPSHOT = """
create table public.jobs_then as select * from tocsin.jobs;
create table public.executions_then as select * from tocsin.executions;
create table public.last as select last_value, is_called from tocsin.executions_id_seq
"""
RESTORED = """
begin;
set local session_replication_role = replica;
delete from tocsin.jobs;
delete from tocsin.executions;
insert into tocsin.jobs select * from public.jobs_then;
insert into tocsin.executions select * from public.executions_then;
select setval('tocsin.executions_id_seq', last_value, is_called) from public.last;
commit
"""


def closed(claim: Claim, *, by: str) -> Settlement:
    return closed_now(claim, by=by, response=f"of {by}")


async def claimed_twice(
    session: Session, connection: asyncpg.Connection, *, by: tuple[str, str]
) -> tuple[UUID, Claim, Claim]:
    """Claim a job, take it back to what it was, and claim it again under the same numbers."""
    job_id = await insert_job(connection)
    await connection.execute(SNAPSHOT)
    before = await claimed_one(session, by=by[0])
    await connection.execute(RESTORED)
    since = await claimed_one(session, by=by[1])
    assert (before.fence, before.execution_id) == (since.fence, since.execution_id)
    return job_id, before, since


@pytest.mark.parametrize("by", [("one", "two"), ("one", "one")], ids=["another", "the same"])
async def test_a_claim_of_before_neither_extends_nor_settles_the_one_made_since(
    session: Session, db: Database, connection: asyncpg.Connection, by: tuple[str, str]
) -> None:
    job_id, before, since = await claimed_twice(session, connection, by=by)
    held = await job_row(connection, job_id)

    extension = await leases.extend(db, [before], lease_seconds=600.0)
    late = closed(before, by=by[0])
    [result] = await claims.settle(db, [late])
    kept = await evidence.record(db, late.executions)
    again = await evidence.record(db, late.executions)

    assert (extension.lost, result.settled, result.held) == ({job_id}, False, False)
    assert await job_row(connection, job_id) == held
    assert kept == {before.execution_id}
    assert again == set()

    [result] = await claims.settle(db, [closed(since, by=by[1])])
    assert result.settled
    rows = await execution_rows(connection, job_id)
    assert sorted((row["outcome"], row["instance"], row["response"]) for row in rows) == [
        ("lost", by[0], f"of {by[0]}"),
        ("succeeded", by[1], f"of {by[1]}"),
    ]
    assert len({row["id"] for row in rows}) == 2
    assert since.execution_id in {row["id"] for row in rows if row["outcome"] == "succeeded"}


async def test_both_in_one_batch_close_only_the_one_that_holds(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id, before, since = await claimed_twice(session, connection, by=("one", "one"))
    wrong = closed(before, by="one")
    right = closed(since, by="one")

    await claims.settle(db, [wrong, right])

    row = await job_row(connection, job_id)
    assert (row["locked_until"], row["runs"]) == (None, 1)
    assert row["last_finished_at"] == right.last_finished_at
    assert len(await execution_rows(connection, job_id)) == 2


async def test_what_came_of_a_claim_of_before_is_kept_though_its_number_is_anothers_now(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id, before, _ = await claimed_twice(session, connection, by=("one", "two"))
    await connection.execute("update tocsin.jobs set locked_until = null")
    late = closed(before, by="one")

    await claims.settle(db, [late])
    await evidence.record(db, late.executions)

    rows = await execution_rows(connection, job_id)
    assert sorted((row["outcome"], row["instance"], row["response"]) for row in rows) == [
        ("lost", "one", "of one"),
        ("lost", "two", None),
    ]
    assert len({row["id"] for row in rows}) == 2


async def test_an_instance_that_lives_through_a_restore_runs_again_what_was_taken_back(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    url = sink.on("/slow", late(3.0, reply(200)), reply(200))
    job_id = await insert_job(connection, target={"url": url})
    await connection.execute(SNAPSHOT)
    async with instance() as (_, facts):
        await sink.arrived()
        await connection.execute(RESTORED)
        await connection.execute("select pg_notify('tocsin_jobs', '')")
        await facts.seen(Settled, job_id=job_id, outcome="succeeded", within=30)
        await facts.seen(LeaseLost, job_id=job_id, within=30)

    assert len(sink.requests) == 2
    assert len({request.headers["idempotency-key"] for request in sink.requests}) == 1
    rows = await execution_rows(connection, job_id)
    assert sorted(row["outcome"] for row in rows) == ["lost", "succeeded"]
    assert (await job_row(connection, job_id))["runs"] == 1
