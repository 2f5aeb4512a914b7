"""A lease that a person takes away, wholly or in part, is gone; its job runs again."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import LeaseLost, Settled
from app.core.runs.claim import Claim, Settlement
from app.db import Database, claims, evidence, leases
from app.db.database import Runner
from app.db.leases import Extended
from app.db.listener import Session
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.claims import closed_now
from tests.support.instances import StartInstance
from tests.support.sessions import LEASE_SECONDS, claimed_one
from tests.support.sink import Sink, hang, reply
from tests.support.waiting import until

LEASE = (
    "locked_until",
    "locked_by",
    "execution_id",
    "claimed_at",
    "claimed_for",
    "claimed_attempt",
)
ALL_BUT_THE_END = ", ".join(f"{column} = null" for column in LEASE[1:])

FREEING = [
    "locked_until = null",
    "locked_by = null",
    "locked_until = null, locked_by = null",
    "execution_id = null",
    "claimed_at = null",
    "claimed_for = null",
    "claimed_attempt = null",
    "locked_until = null, execution_id = null, claimed_for = null",
    "locked_until = now(), claimed_for = null",
    "locked_until = now() + interval '1 hour', execution_id = null",
    ALL_BUT_THE_END,
    "fence = fence + 1",
    "fence = fence - 1",
    "execution_id = execution_id + 1",
    "claimed_at = claimed_at - interval '1 minute'",
    "locked_until = null, fence = 0",
    "locked_by = null, description = 'stuck since noon'",
]


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is."""
    return any_database


def closed(claim: Claim, *, by: str = "one") -> Settlement:
    return closed_now(claim, by=by, response=by)


@pytest.mark.parametrize("change", FREEING)
async def test_whatever_part_of_a_lease_is_taken_away_all_of_it_is(
    session: Session, db: Database, connection: asyncpg.Connection, change: str
) -> None:
    job_id = await insert_job(connection)
    first = await claimed_one(session)

    await connection.execute(f"update tocsin.jobs set {change} where id = $1", job_id)

    freed = await job_row(connection, job_id)
    assert [freed[column] for column in LEASE] == [None] * len(LEASE)
    assert freed["fence"] >= first.fence
    [lost] = await execution_rows(connection, job_id)
    assert (lost["id"], lost["outcome"], lost["reason"]) == (first.execution_id, "lost", "lease")
    assert (lost["scheduled_for"], lost["attempt"]) == (first.scheduled_for, 1)
    assert "took its lease away from instance one" in lost["error"]

    extension = await leases.extend(db, [first], lease_seconds=LEASE_SECONDS)
    [result] = await claims.settle(db, [closed(first)])
    await evidence.record(db, closed(first).executions)
    assert extension.lost == {job_id}
    assert (result.settled, result.held) == (False, False)

    second = await claimed_one(session, by="two")
    [result] = await claims.settle(db, [closed(second, by="two")])
    assert result.settled
    assert second.scheduled_for == first.scheduled_for
    assert second.fence > first.fence
    executions = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["attempt"], row["instance"]) for row in executions] == [
        ("lost", 1, "one"),
        ("succeeded", 2, "two"),
    ]
    assert "it succeeded later" in executions[0]["error"]


@pytest.mark.parametrize("change", ["locked_until = null", "locked_by = null"])
async def test_whoever_holds_a_freed_lease_is_told_and_others_look(
    session: Session, database_url: str, connection: asyncpg.Connection, change: str
) -> None:
    job_id = await insert_job(connection)
    await claimed_one(session)
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(database_url)
    for channel in ("tocsin_jobs", "tocsin_recalls"):
        await listener.add_listener(channel, lambda *said: heard.put_nowait(f"{said[2]} {said[3]}"))

    await connection.execute(f"update tocsin.jobs set {change}")

    async with asyncio.timeout(10):
        told = {await heard.get(), await heard.get()}
    await listener.close()
    assert told == {"tocsin_jobs ", f"tocsin_recalls {job_id}"}


async def test_an_edit_that_frees_the_lease_too_is_planned_and_written_to_the_audit_log(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(
        connection, every_seconds=3600, next_run=await connection.fetchval("select now()")
    )
    await claimed_one(session)

    await connection.execute(
        "update tocsin.jobs set locked_until = null, every_seconds = 7200 where id = $1", job_id
    )
    await plan_jobs(db)

    row = await job_row(connection, job_id)
    assert row["next_run"] - row["edited_at"] == timedelta(hours=2)
    actions = await connection.fetch("select action, changed from tocsin.audit_log order by id")
    assert [row["action"] for row in actions] == ["create", "update"]
    assert "every_seconds" in actions[1]["changed"]


async def test_freeing_alone_is_no_edit_of_the_job(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    await claimed_one(session)
    before = await job_row(connection, job_id)

    await connection.execute("update tocsin.jobs set locked_until = null where id = $1", job_id)

    after = await job_row(connection, job_id)
    kept = set(before.keys()) - {*LEASE, "state", "updated_at", "edited_at"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert await connection.fetchval("select count(*) from tocsin.audit_log") == 0


async def test_nobody_makes_up_an_execution_that_no_instance_has_claimed(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection)

    for change in (
        "locked_until = now() + interval '1 hour', execution_id = 7",
        "locked_until = now() + interval '1 hour', claimed_at = now()",
        "execution_id = 7, claimed_at = now(), claimed_for = now(), claimed_attempt = 1",
    ):
        with pytest.raises(
            asyncpg.CheckViolationError, match=r"without a claim|not null"
        ) as refused:
            await connection.execute(f"update tocsin.jobs set {change} where id = $1", job_id)
        assert "set locked_until to null" in str(refused.value.hint)


async def test_a_lease_freed_while_it_executes_ends_that_execution_and_the_job_runs_again(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    url = sink.on("/stuck", hang, reply(200))
    job_id = await insert_job(connection, target={"url": url}, timeout_seconds=600)
    async with instance(lease_seconds=600) as (_, facts):
        await sink.arrived()

        await connection.execute("update tocsin.jobs set locked_until = null where id = $1", job_id)

        await facts.seen(Settled, job_id=job_id, outcome="succeeded", within=30)
        await facts.seen(LeaseLost, job_id=job_id, within=30)

    assert len(sink.requests) == 2
    keys = {request.headers["idempotency-key"] for request in sink.requests}
    assert len(keys) == 1
    executions = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["attempt"]) for row in executions] == [
        ("lost", 1),
        ("succeeded", 2),
    ]
    assert "it cancelled later" in executions[0]["error"]


async def test_another_instance_takes_a_freed_job_over_and_the_holder_is_cut_off(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    url = sink.on("/stuck", hang, hang, reply(200))
    job_id: UUID = await insert_job(connection, target={"url": url}, timeout_seconds=600)
    async with instance(lease_seconds=600) as (_, one), instance(lease_seconds=600) as (_, two):
        for arrived in (1, 2):
            await sink.arrived(arrived)
            await connection.execute(
                "update tocsin.jobs set locked_by = null where id = $1", job_id
            )
        await sink.arrived(3)

        async def both_cut_off() -> bool:
            return len(one.of(LeaseLost, job_id=job_id) + two.of(LeaseLost, job_id=job_id)) == 2

        await until(both_cut_off, "both executions were cut off", within=30)

    executions = await execution_rows(connection, job_id)
    assert [row["outcome"] for row in executions] == ["lost", "lost", "succeeded"]


async def test_a_lease_whose_row_somebody_has_locked_is_tried_again_each_second(
    instance: StartInstance,
    connection: asyncpg.Connection,
    database_url: str,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Extended] = []
    extend = leases.extend

    async def recorded(db: Runner, held: Sequence[Claim], *, lease_seconds: float) -> Extended:
        answers.append(await extend(db, held, lease_seconds=lease_seconds))
        return answers[-1]

    monkeypatch.setattr(leases, "extend", recorded)
    job_id = await insert_job(
        connection, target={"url": sink.on("/stuck", hang)}, timeout_seconds=600
    )
    person = await asyncpg.connect(database_url)
    async with instance(lease_seconds=600, grace_seconds=0.1) as (_, facts):
        await sink.arrived()
        async with person.transaction():
            await person.execute("select from tocsin.jobs where id = $1 for update", job_id)
            await connection.execute("select pg_notify('tocsin_recalls', $1)", str(job_id))

            async def tried() -> bool:
                return len(answers) >= 3

            await until(tried, "the lease was tried three times", within=30)
        before = (await job_row(connection, job_id))["locked_until"]

        async def extended() -> bool:
            return bool((await job_row(connection, job_id))["locked_until"] > before)

        await until(extended, "the lease was extended", within=30)
        lost = facts.of(LeaseLost)
    await person.close()

    assert all(not one.extended | one.lost for one in answers[:3])
    assert lost == []
