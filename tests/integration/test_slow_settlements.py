"""What users put on the tables is slow, or fails, when one job is settled or its lease extended.

Nobody else is late, and no other lease is lost.
"""

from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Disconnected, Faulted, LeaseLost, PutAside, Settled
from app.scheduler import apart_settler
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.sink import Sink, late, reply

MAX_LATE_SECONDS = 2.0
"""On a busy machine; a batch that is held up is late by three seconds and more."""
BYSTANDERS = 20
ROUNDS = 3

FUNCTION = """
    create function public.mine() returns trigger language plpgsql as
    $$ begin if {condition} then {does}; end if; return new; end $$;
    {more}"""
SLEEPS = "perform pg_sleep(20)"
RAISES = "raise exception 'not this one'"
ON_JOBS = """create trigger mine before update on tocsin.jobs for each row
             when (old.locked_until is not null and new.locked_until is null)
             execute function public.mine()"""
DEFERRED = """create constraint trigger mine after update on tocsin.jobs
              deferrable initially deferred for each row
              when (old.locked_until is not null and new.locked_until is null)
              execute function public.mine()"""
ON_EXECUTIONS = """create trigger mine before insert on tocsin.executions for each row
                   execute function public.mine()"""
TAGGED = "new.tags = '{guilty}'"
OF_TAGGED = "(select tags = '{guilty}' from tocsin.jobs where id = new.job_id)"
UNMARKED = f"{TAGGED} and new.plan_error is null"

AT_SETTLEMENTS = {
    "a trigger that sleeps": (TAGGED, SLEEPS, ON_JOBS),
    "a trigger that sleeps until the job is put aside": (UNMARKED, SLEEPS, ON_JOBS),
    "a trigger that sleeps in the commit": (TAGGED, SLEEPS, DEFERRED),
    "a trigger that fails": (TAGGED, RAISES, ON_JOBS),
    "a trigger that fails in the commit": (TAGGED, RAISES, DEFERRED),
    "a trigger on the executions that sleeps": (OF_TAGGED, SLEEPS, ON_EXECUTIONS),
    "a trigger on the executions that fails": (OF_TAGGED, RAISES, ON_EXECUTIONS),
}


async def recurring(connection: asyncpg.Connection, sink: Sink, *, guilty: int = 1) -> list[UUID]:
    """Insert jobs that run each second, of which the first are guilty; return the others."""
    jobs = [
        await insert_job(
            connection,
            target={"url": sink.url("/")},
            every_seconds=1,
            tags=["guilty"] if number < guilty else [],
        )
        for number in range(guilty + BYSTANDERS)
    ]
    return jobs[guilty:]


async def latest(connection: asyncpg.Connection, jobs: list[UUID]) -> float:
    """Return the seconds by which the latest run of some jobs was late."""
    late: float = await connection.fetchval(
        """select max(extract(epoch from started_at - scheduled_for))::float8
           from tocsin.executions where job_id = any($1)""",
        jobs,
    )
    return late


@pytest.mark.parametrize("guilty", [1, 10])
@pytest.mark.parametrize("what", AT_SETTLEMENTS.values(), ids=AT_SETTLEMENTS)
@pytest.mark.quiet
async def test_a_job_that_cannot_be_settled_in_time_makes_nobody_late(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    what: tuple[str, str, str],
    guilty: int,
) -> None:
    condition, does, more = what
    await connection.execute(FUNCTION.format(condition=condition, does=does, more=more))
    async with instance(longest_sleep_seconds=5) as (_, facts):
        others = await recurring(connection, sink, guilty=guilty)
        for job_id in others:
            await facts.seen(Settled, job_id=job_id, count=ROUNDS, within=60)
        late = await latest(connection, others)
        assert not facts.of(Disconnected)
        lost = {one.job_id for one in facts.of(LeaseLost)}

    assert late < MAX_LATE_SECONDS
    assert lost.isdisjoint(others)
    for job_id in others:
        rows = await execution_rows(connection, job_id)
        assert {row["outcome"] for row in rows} == {"succeeded"}


@pytest.mark.parametrize("does", [SLEEPS, RAISES], ids=["sleeps", "fails"])
async def test_a_job_that_cannot_be_settled_says_why(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, does: str
) -> None:
    await connection.execute(FUNCTION.format(condition=UNMARKED, does=does, more=ON_JOBS))
    async with instance(longest_sleep_seconds=5) as (_, facts):
        job_id = await insert_job(connection, target={"url": sink.url("/")}, tags=["guilty"])
        [told] = await facts.seen(PutAside, job_id=job_id, where="settle", within=40)

    row = await job_row(connection, job_id)
    assert told.written
    assert row["plan_error"].startswith("cannot be settled: ")
    assert ("takes too long in function public.mine" in row["plan_error"]) == (does == SLEEPS)
    [execution] = await execution_rows(connection, job_id)
    assert execution["status_code"] == 200


async def test_a_job_whose_settlement_is_slow_is_settled_apart_from_then_on(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    sleeps = "perform pg_sleep(0.5)"
    await connection.execute(FUNCTION.format(condition=TAGGED, does=sleeps, more=ON_JOBS))
    async with instance(longest_sleep_seconds=5) as (_, facts):
        job_id = await insert_job(
            connection, target={"url": sink.url("/")}, every_seconds=1, tags=["guilty"]
        )
        await facts.seen(Settled, job_id=job_id, count=3, outcome="succeeded", within=40)
        told = facts.of(Faulted, where=f"settle job {job_id}")
        assert not facts.of(PutAside)

    assert len(told) == 1
    assert {row["outcome"] for row in await execution_rows(connection, job_id)} == {"succeeded"}


@pytest.mark.quiet
async def test_a_settlement_that_waits_for_somebody_s_lock_makes_nobody_late_and_is_made(
    connection: asyncpg.Connection, database_url: str, instance: StartInstance, sink: Sink
) -> None:
    await connection.execute(
        "create table public.log (job_id uuid); grant insert on public.log to public"
    )
    logs = "insert into public.log values (new.id)"
    await connection.execute(FUNCTION.format(condition=TAGGED, does=logs, more=ON_JOBS))
    other = await asyncpg.connect(database_url)
    try:
        async with instance(longest_sleep_seconds=5) as (_, facts):
            async with other.transaction():
                await other.execute("lock table public.log")
                others = await recurring(connection, sink)
                for job_id in others:
                    await facts.seen(Settled, job_id=job_id, count=ROUNDS, within=60)
                late = await latest(connection, others)
            settled = await facts.seen(Settled, count=BYSTANDERS * ROUNDS + 1, within=20)
            assert not facts.of(PutAside)
            guilty = {one.job_id for one in settled} - {*others}
            await facts.until(
                lambda: bool({one.job_id for one in facts.of(Settled)} - {*others}), within=20
            )
    finally:
        await other.close()

    assert late < MAX_LATE_SECONDS
    assert len(guilty) <= 1


async def test_a_crowd_that_cannot_be_settled_leaves_room_for_others(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart_settler, "MAX_PATIENT", 5)
    monkeypatch.setattr(apart_settler, "MAX_UNDER_WAY", 20)
    await connection.execute(FUNCTION.format(condition=TAGGED, does=SLEEPS, more=ON_JOBS))
    async with instance(longest_sleep_seconds=5, concurrency=2) as (_, facts):
        others = await recurring(connection, sink, guilty=60)
        for job_id in others:
            await facts.seen(Settled, job_id=job_id, count=ROUNDS, within=90)


EXTENDED = "old.locked_until is not null and new.locked_until > old.locked_until"
AT_EXTENSIONS = {
    "sleeps": (SLEEPS, "before update on tocsin.jobs"),
    "fails": (RAISES, "before update on tocsin.jobs"),
    "sleeps in the commit": (
        SLEEPS,
        "after update on tocsin.jobs deferrable initially deferred",
    ),
}


@pytest.mark.parametrize("guilty", [1, 10])
@pytest.mark.parametrize("what", AT_EXTENSIONS.values(), ids=AT_EXTENSIONS)
async def test_a_lease_that_cannot_be_extended_in_time_costs_no_other(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    what: tuple[str, str],
    guilty: int,
) -> None:
    does, when = what
    kind = "constraint trigger" if "deferrable" in when else "trigger"
    more = f"""create {kind} mine {when} for each row when ({EXTENDED})
               execute function public.mine()"""
    await connection.execute(FUNCTION.format(condition=TAGGED, does=does, more=more))
    slow = sink.on("/slow", late(6.0, reply(200)))
    async with instance(lease_seconds=3, longest_sleep_seconds=5) as (_, facts):
        jobs = [
            await insert_job(
                connection,
                target={"url": slow},
                tags=["guilty"] if number < guilty else [],
                max_attempts=1,
            )
            for number in range(guilty + BYSTANDERS)
        ]
        for job_id in jobs[guilty:]:
            await facts.seen(Settled, job_id=job_id, outcome="succeeded", within=30)
        await facts.seen(Faulted, where=f"extend the lease of job {jobs[0]}")
        assert not facts.of(Disconnected)

    for job_id in jobs[guilty:]:
        [row] = await execution_rows(connection, job_id)
        assert (row["outcome"], row["attempt"]) == ("succeeded", 1)


async def test_a_lease_is_extended_while_settlements_are_held_up(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    await connection.execute(FUNCTION.format(condition=TAGGED, does=SLEEPS, more=ON_JOBS))
    slow = sink.on("/slow", late(7.0, reply(200)))
    async with instance(lease_seconds=3, longest_sleep_seconds=5) as (_, facts):
        long = await insert_job(connection, target={"url": slow}, max_attempts=1)
        await recurring(connection, sink, guilty=10)
        [settled] = await facts.seen(Settled, job_id=long, within=30)

    assert settled.outcome == "succeeded"


@pytest.mark.parametrize("does", [SLEEPS, RAISES], ids=["sleeps", "fails"])
async def test_a_lease_that_cannot_be_freed_keeps_no_session_from_being_opened(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, does: str
) -> None:
    await connection.execute(FUNCTION.format(condition=TAGGED, does=does, more=ON_JOBS))
    async with instance(longest_sleep_seconds=5) as (one, facts):
        ids = [
            await insert_job(connection, target={"url": sink.url("/")}, tags=tags, paused_at=at)
            for tags in (["guilty"], [])
            for at in [await connection.fetchval("select now()")]
        ]
        await connection.execute("alter table tocsin.jobs disable trigger all")
        await connection.execute(
            """update tocsin.jobs set paused_at = null, locked_until = now() + interval '50 s',
                   locked_by = $1, fence = 1, attempt = 1, claimed_at = now(),
                   claimed_for = next_run,
                   claimed_attempt = 1, execution_id = nextval('tocsin.executions_id_seq')""",
            one.name,
        )
        await connection.execute("alter table tocsin.jobs enable trigger all")
        await connection.execute(
            """select pg_terminate_backend(pid) from pg_stat_activity
               where application_name like 'tocsin scheduler%' and datname = current_database()"""
        )
        await facts.seen(Disconnected)
        await facts.seen(Settled, job_id=ids[1], outcome="succeeded")
        [told] = await facts.seen(Faulted, where="release")
        later = await insert_job(connection, target={"url": sink.url("/")})
        await facts.seen(Settled, job_id=later)
        assert len(facts.of(Disconnected)) == 1

    assert f"job {ids[0]}: " in told.error


async def test_a_draining_instance_settles_what_it_can_although_one_job_takes_long(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    await connection.execute(FUNCTION.format(condition=UNMARKED, does=SLEEPS, more=ON_JOBS))
    slow = sink.on("/slow", late(1.0, reply(200)))
    async with instance(longest_sleep_seconds=5) as (one, _):
        jobs = [
            await insert_job(
                connection, target={"url": slow}, tags=["guilty"] if number == 0 else []
            )
            for number in range(10)
        ]
        await sink.arrived(len(jobs))
        one.stop()

    for job_id in jobs[1:]:
        [row] = await execution_rows(connection, job_id)
        assert row["outcome"] == "succeeded"
