"""A job at which a statement about many fails is put aside; the others go on as if it were not."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Faulted, PutAside, Settled
from app.core.runs.claim import Claim
from app.core.runs.transition import settled
from app.db import Database, plans
from app.db.isolating import run_by_parts
from app.errors import DatabaseUnavailable, RightMissing
from app.scheduler import internal_errors, runner
from tests.support.builders import execution_rows, insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

BYSTANDERS = 7
UNTIL_BLAMED_SECONDS = 2.0
"""Longer than it takes a few jobs to come due, to be claimed by halves and to be put aside."""
MAX_LATE_SECONDS = 2.0
"""On a busy machine; an instance that gets stuck is late for ever."""

ODD = {
    "a numeric that no double holds": "backoff_seconds = 1e-400",
    "another one": "misfire_grace_seconds = 1e400",
    "an attempt that cannot be counted on": "attempt = 2147483647",
    "a fence that cannot be raised": "fence = 9223372036854775807",
    "an instant before all years": "starts_at = '4000-01-01 BC'",
    "an instant after all years": "ends_at = '200000-01-01'",
}
"""What no constraint lets in, so somebody got it past them."""

REFUSING = {
    "at its claim": "new.locked_until is not null and new.plan_error is null",
    "at its settlement": "new.locked_until is null and new.plan_error is null",
}


async def corrupt(connection: asyncpg.Connection, job_id: UUID, change: str) -> None:
    """Write what Postgres would refuse, as a superuser can."""
    await connection.execute(
        f"""begin;
            alter table tocsin.jobs disable trigger all;
            alter table tocsin.jobs drop constraint jobs_sound;
            alter table tocsin.jobs drop constraint jobs_within_range;
            update tocsin.jobs set validated = true, {change} where id = '{job_id}';
            alter table tocsin.jobs enable trigger all;
            commit"""
    )


async def standing(connection: asyncpg.Connection, job_id: UUID) -> asyncpg.Record:
    """Return how a job stands, without the columns that Python may be unable to read."""
    return await connection.fetchrow(
        """select tocsin.state(j) as state, plan_error, locked_until, execution_id
           from tocsin.jobs j where id = $1""",
        job_id,
    )


async def refuse(connection: asyncpg.Connection, job_id: UUID, *, when: str, by: str) -> None:
    """Have a trigger of a user's refuse one job."""
    await connection.execute(
        f"""create function public.mine() returns trigger language plpgsql as
            $$ begin if new.id = '{job_id}' and {when} then {by}; end if; return new; end $$;
            create trigger mine before update on tocsin.jobs
            for each row execute function public.mine()"""
    )


async def with_bystanders(
    connection: asyncpg.Connection, sink: Sink, odd: Callable[[UUID], object]
) -> tuple[UUID, list[UUID]]:
    """Insert an odd job among others that are due in the same instant; all of them paused.

    Their targets are checked already: a check would write the odd row before a look meets it.
    """
    due = await connection.fetchval("select now() - interval '1 second'")
    jobs = [
        await insert_job(
            connection,
            target={"url": sink.url("/")},
            run_at=due,
            paused_at=due,
            max_attempts=1,
            unchecked=False,
        )
        for _ in range(BYSTANDERS + 1)
    ]
    guilty = jobs.pop(BYSTANDERS // 2)
    await odd(guilty)  # type: ignore[misc] # an awaitable
    return guilty, jobs


async def no_change(_: UUID) -> None:
    """Leave the job as it is."""


async def resume(connection: asyncpg.Connection) -> datetime:
    """Make all the jobs claimable at once, without judging them; return when that was."""
    async with connection.transaction():
        await connection.execute("alter table tocsin.jobs disable trigger all")
        await connection.execute("update tocsin.jobs set paused_at = null")
        await connection.execute("alter table tocsin.jobs enable trigger all")
    await connection.execute("notify tocsin_jobs")
    at: datetime = await connection.fetchval("select clock_timestamp()")
    return at


async def all_settled(
    connection: asyncpg.Connection, jobs: list[UUID], *, resumed_at: datetime
) -> None:
    """Wait for the bystanders, and see that none of them had to wait for the odd job."""

    async def done() -> bool:
        settled = await connection.fetchval(
            """select count(*) from tocsin.jobs
               where id = any($1) and last_outcome = 'succeeded' and locked_until is null""",
            jobs,
        )
        return bool(settled == len(jobs))

    await until(done, "the bystanders were settled", within=10.0)
    started_at = await connection.fetchval(
        "select max(started_at) from tocsin.executions where job_id = any($1)", jobs
    )
    assert (started_at - resumed_at).total_seconds() < MAX_LATE_SECONDS


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
@pytest.mark.alone
async def test_a_job_that_no_look_can_claim_is_put_aside_and_the_others_are_claimed(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, change: str
) -> None:
    guilty, others = await with_bystanders(
        connection, sink, lambda id: corrupt(connection, id, change)
    )

    async with instance(longest_sleep_seconds=5) as (one, facts):
        resumed_at = await resume(connection)
        await all_settled(connection, others, resumed_at=resumed_at)
        [told] = await facts.seen(PutAside, job_id=guilty)
        alive = len(one.dispatcher or ())

    row = await standing(connection, guilty)
    assert row["plan_error"].startswith("cannot be claimed: ")
    assert "set plan_error to null" in row["plan_error"]
    assert (row["state"], row["locked_until"], alive) == ("invalid", None, 0)
    assert told.written


@pytest.mark.alone
async def test_an_execution_without_its_claim_is_repaired_by_the_next_claim(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    odd, others = await with_bystanders(
        connection, sink, lambda id: corrupt(connection, id, "execution_id = 7")
    )

    async with instance(longest_sleep_seconds=5) as (_, facts):
        resumed_at = await resume(connection)
        await all_settled(connection, others, resumed_at=resumed_at)
        await facts.seen(Settled, job_id=odd, outcome="succeeded")
        [told] = await facts.seen(Faulted, where="record")

    assert "scheduled_for" in told.error, "nothing is known of the execution that was lost"
    row = await standing(connection, odd)
    assert (row["plan_error"], row["execution_id"]) == (None, None)


async def test_an_execution_without_its_claim_is_repaired_by_the_check_of_its_target(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    guilty, _ = await with_bystanders(
        connection, sink, lambda id: corrupt(connection, id, "execution_id = 7, unchecked = true")
    )

    async def repaired() -> bool:
        return (await standing(connection, guilty))["execution_id"] is None

    async with instance(longest_sleep_seconds=5) as (_, facts):
        await until(repaired, "the row was repaired")
        await resume(connection)
        await facts.seen(Settled, job_id=guilty, outcome="succeeded")

    executions = await execution_rows(connection, guilty)
    assert {one["outcome"] for one in executions} == {"lost", "succeeded"}
    assert [one["id"] for one in executions if one["outcome"] == "lost"] == [7]


@pytest.mark.parametrize(
    "by",
    [
        "raise exception 'not this one'",
        "perform 1 / 0",
        "insert into no_such_table values (1)",
        "raise exception using errcode = 'check_violation', message = 'no'",
        "raise insufficient_privilege",
    ],
)
@pytest.mark.parametrize("when", REFUSING.values(), ids=REFUSING)
@pytest.mark.alone
async def test_a_job_that_a_trigger_of_a_user_s_refuses_is_put_aside(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, when: str, by: str
) -> None:
    guilty, others = await with_bystanders(
        connection, sink, lambda id: refuse(connection, id, when=when, by=by)
    )

    async with instance(longest_sleep_seconds=5) as (_, facts):
        resumed_at = await resume(connection)
        await all_settled(connection, others, resumed_at=resumed_at)
        await facts.seen(PutAside, job_id=guilty)

    row = await standing(connection, guilty)
    assert row["plan_error"].startswith("cannot be ")
    assert (row["locked_until"], row["execution_id"]) == (None, None)


async def test_what_came_of_a_job_that_cannot_be_settled_stays_on_record(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    job_id = await insert_job(connection, target={"url": sink.url("/")})
    await refuse(
        connection, job_id, when=REFUSING["at its settlement"], by="raise exception 'not this one'"
    )

    async with instance(longest_sleep_seconds=5) as (_, facts):
        await facts.seen(PutAside, job_id=job_id)

    [execution] = await execution_rows(connection, job_id)
    assert (execution["status_code"], execution["outcome"]) == (200, "lost")
    assert len(sink.requests) == 1


@pytest.mark.alone
async def test_a_job_of_which_not_even_the_error_can_be_written_is_left_alone(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    guilty, others = await with_bystanders(
        connection,
        sink,
        lambda id: refuse(connection, id, when="new.paused_at is null", by="raise exception 'no'"),
    )

    async with instance(longest_sleep_seconds=5) as (one, facts):
        resumed_at = await resume(connection)
        await all_settled(connection, others, resumed_at=resumed_at)
        [told] = await facts.seen(PutAside, job_id=guilty)
        later = await insert_job(connection, target={"url": sink.url("/later")})
        await facts.seen(Settled, job_id=later)
        resting = one.isolation.aside()

    assert (await standing(connection, guilty))["plan_error"] is None
    assert not told.written
    assert "plan_error cannot be set: no" in told.error
    assert resting == [guilty]


async def test_a_trigger_that_refuses_every_job_puts_none_of_them_aside(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    due = await connection.fetchval("select now() + interval '1 second'")
    jobs = [
        await insert_job(connection, target={"url": sink.url("/")}, run_at=due) for _ in range(12)
    ]
    await connection.execute(
        """create function public.mine() returns trigger language plpgsql as
           $$ begin raise exception 'broken'; end $$;
           create trigger mine before update on tocsin.jobs
           for each row execute function public.mine()"""
    )

    async with instance(longest_sleep_seconds=5) as (_, facts):
        [fault] = await facts.seen(Faulted, where="look", within=10.0)

    assert fault.error == "nothing can be claimed: broken"
    invalid = await connection.fetchval(
        "select count(*) from tocsin.jobs where id = any($1) and plan_error is not null", jobs
    )
    assert invalid == 0


NO_JOBS = {
    "an announcement that cannot be read": (
        """alter table tocsin.polling rename to kept;
           create view tocsin.polling as select one, polling_until from tocsin.kept
           union all select true, now() + 1 / (select 0) * interval '1 second'""",
        "drop view tocsin.polling; alter table tocsin.kept rename to polling",
    ),
    "a sequence at its end": (
        "select setval('tocsin.executions_id_seq', 9223372036854775807)",
        "select setval('tocsin.executions_id_seq', 1000)",
    ),
}
"""What makes every look fail, whatever job is due, and what ends that."""


@pytest.mark.parametrize(("breaks", "mends"), NO_JOBS.values(), ids=NO_JOBS)
async def test_a_look_that_fails_for_no_job_puts_none_aside(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, breaks: str, mends: str
) -> None:
    async with instance(longest_sleep_seconds=5) as (_, facts):
        due = await connection.fetchval("select now() + interval '1 second'")
        jobs = [
            await insert_job(connection, target={"url": sink.url("/")}, run_at=due)
            for _ in range(3)
        ]
        await connection.execute(breaks)
        await asyncio.sleep(UNTIL_BLAMED_SECONDS)
        blamed = await connection.fetchval(
            "select count(*) from tocsin.jobs where plan_error is not null"
        )
        await connection.execute(mends)
        for job_id in jobs:
            await facts.seen(Settled, job_id=job_id, within=10.0)

    assert blamed == 0


async def test_a_job_that_cannot_be_read_to_be_planned_is_put_aside(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    guilty, good = [
        await insert_job(connection, target={"url": sink.url("/")}, cron="* * * * * *")
        for _ in range(2)
    ]
    await corrupt(connection, guilty, "ends_at = '200000-01-01'")

    async with instance(longest_sleep_seconds=5) as (_, facts):
        await facts.seen(Settled, job_id=good)
        await facts.seen(PutAside, job_id=guilty)

    row = await standing(connection, guilty)
    assert row["plan_error"].startswith("cannot be planned: ")


async def test_a_lease_that_cannot_be_extended_or_freed_ends_no_instance(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    slow = sink.on("/slow", late(2.5, reply(200)))
    guilty, good = [
        await insert_job(connection, target={"url": slow}, max_attempts=1) for _ in range(2)
    ]
    await refuse(
        connection,
        guilty,
        when="new.locked_until > old.locked_until",
        by="raise exception 'not longer'",
    )

    async with instance(lease_seconds=3, longest_sleep_seconds=1) as (_, facts):
        await facts.seen(Faulted, where=f"extend the lease of job {guilty}", within=10.0)
        [settled, *_] = await facts.seen(Settled, job_id=good, within=10.0)

    assert settled.outcome == "succeeded"


def failing_for(job_id: UUID, real: Callable[..., object]) -> Callable[..., object]:
    """Have a function of ours fail for the claims of one job."""

    def function(claim: Claim, *arguments: object, **options: object) -> object:
        if claim.job_id == job_id:
            raise LookupError(claim.target)
        return real(claim, *arguments, **options)

    return function


@pytest.mark.alone
async def test_a_job_that_our_own_code_fails_at_ends_as_failed_and_says_so(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guilty, others = await with_bystanders(connection, sink, no_change)
    unexecuted = failing_for(guilty, runner.settled_unexecuted)
    monkeypatch.setattr(runner, "settled_unexecuted", unexecuted)

    async with instance(longest_sleep_seconds=5) as (_, facts):
        resumed_at = await resume(connection)
        await all_settled(connection, others, resumed_at=resumed_at)
        await facts.seen(Settled, job_id=guilty)

    [execution] = await execution_rows(connection, guilty)
    assert (execution["outcome"], execution["reason"]) == ("failed", "internal")
    assert execution["error"] == "Tocsin failed: LookupError; its log says where"


@pytest.mark.alone
async def test_a_job_whose_end_cannot_be_worked_out_is_put_aside(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guilty, others = await with_bystanders(connection, sink, no_change)
    for module in (runner, internal_errors):
        monkeypatch.setattr(module, "settled", failing_for(guilty, settled))

    async with instance(longest_sleep_seconds=5) as (_, facts):
        resumed_at = await resume(connection)
        await all_settled(connection, others, resumed_at=resumed_at)
        await facts.seen(Settled, job_id=guilty)

    row = await standing(connection, guilty)
    assert row["plan_error"].startswith("cannot be carried out: LookupError: ")
    assert (row["state"], row["locked_until"]) == ("invalid", None)


async def test_halves_find_each_of_the_guilty_and_spare_the_others() -> None:
    guilty, done, refused, statements = {3, 4, 77}, [], [], 0

    async def run(items: object) -> None:
        nonlocal statements
        statements += 1
        await asyncio.sleep(0)
        if guilty & set(items):  # type: ignore[call-overload]
            raise ValueError
        done.extend(items)  # type: ignore[arg-type]

    await run_by_parts(run, range(100), refused=lambda item, _: refused.append(item))

    assert (set(done), set(refused)) == (set(range(100)) - guilty, guilty)
    assert len(done) == 97
    assert statements < 50


async def test_an_outage_is_nobody_s_error() -> None:
    async def run(_: object) -> None:
        raise DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable):
        await run_by_parts(run, range(100), refused=lambda *_: pytest.fail("blamed"))


async def test_a_right_that_we_lack_is_nobody_s_error(
    connection: asyncpg.Connection, database_url: str
) -> None:
    await connection.execute(
        """do $$ begin create role powerless login password 'x';
                 exception when duplicate_object then null; end $$"""
    )
    address = database_url.rpartition("@")[2]
    async with Database.connect(f"postgresql://powerless:x@{address}", application_name="t") as db:

        async def run(_: object) -> None:
            await plans.list_unplanned_positions(db, after=None, aside=[])

        with pytest.raises(RightMissing):
            await run_by_parts(run, range(100), refused=lambda *_: pytest.fail("blamed"))
