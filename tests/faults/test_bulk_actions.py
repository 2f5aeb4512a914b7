"""Bulk actions while instances are killed, frozen and cancelled: lost 0, twice 0."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.faults.conftest import Case
from tests.support.limited import ask
from tests.support.waiting import until

MANY = 1500
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
GOES_ON_SECONDS = 120.0
"""The longest until another instance goes on and ends: a lease, half of it, and the work itself."""
JOBS = """insert into tocsin.jobs (kind, target, run_at, tags)
    select 'http', jsonb_build_object('url', $1::text), '2100-01-01', '{{bulk}}'
    from generate_series(1, {many})"""
NOTED = (
    "create table public.edits (id uuid not null, at timestamptz default clock_timestamp())",
    """create function public.note() returns trigger language plpgsql as $$ begin
           insert into public.edits values (new.id); return new; end $$""",
    """create trigger note after update of timeout_seconds on tocsin.jobs for each row
       when (old.timeout_seconds <> new.timeout_seconds) execute function public.note()""",
)

SLOW = (
    """create function public.dawdle() returns trigger language plpgsql as $$ begin
           perform pg_sleep(0.3); return null; end $$""",
    """create trigger dawdle after update of timeout_seconds on tocsin.jobs for each statement
       execute function public.dawdle()""",
)


async def progress(connection: asyncpg.Connection, id: UUID) -> dict[str, Any]:
    row = await connection.fetchrow(
        "select b.*, tocsin.state(b) as state from tocsin.bulk_actions b where id = $1", id
    )
    assert row is not None
    return dict(row)


async def reached(connection: asyncpg.Connection, id: UUID, many: int) -> None:
    async def has_come_so_far() -> bool:
        return bool((await progress(connection, id))["matched"] >= many)

    await until(has_come_so_far, f"{many} are done", within=GOES_ON_SECONDS)


async def ended(connection: asyncpg.Connection, id: UUID) -> dict[str, Any]:
    async def has_ended() -> bool:
        return (await progress(connection, id))["ended_at"] is not None

    await until(has_ended, "the action ends", within=GOES_ON_SECONDS)
    return await progress(connection, id)


async def is_amid_a_step(connection: asyncpg.Connection, pid: int) -> None:
    """Wait until an instance, by its process, is inside the transaction of a step."""

    async def sleeps_in_a_trigger() -> bool:
        return bool(
            await connection.fetchval(
                """select exists (select from pg_stat_activity
                   where wait_event = 'PgSleep' and application_name like '%:' || $1 || ':%')""",
                str(pid),
            )
        )

    await until(sleeps_in_a_trigger, "the instance is amid a step", within=GOES_ON_SECONDS)


@pytest.mark.timeout(300)  # two leases have to end, and each time somebody has to come to see it
async def test_an_edit_whose_instances_are_killed_and_frozen_edits_each_job_once(
    case: Case,
) -> None:
    """One is frozen amid a step: Postgres undoes what is left of it."""
    many = 600
    for statement in (*NOTED, *SLOW, JOBS.format(many=many).replace("$1::text", "'http://x.test'")):
        await case.connection.execute(statement)
    first, second = await case.processes.instances(2)

    id = await ask(case.connection, "edit", {"tag": "bulk"}, {"patch": {"timeout_seconds": 31}})
    await reached(case.connection, id, many // 10)
    worker = (await progress(case.connection, id))["locked_by"]
    victim, other = (first, second) if f":{first.process.pid}:" in worker else (second, first)
    await victim.kill()
    await reached(case.connection, id, many // 4)
    await is_amid_a_step(case.connection, other.process.pid)
    other.freeze()
    third = await case.processes.instance()
    await reached(case.connection, id, many // 2)
    other.thaw()
    done = await ended(case.connection, id)

    assert (done["state"], done["matched"], done["changed"]) == ("finished", many, many)
    edits = await case.connection.fetch(
        "select id, count(*) as times from public.edits group by id"
    )
    assert len(edits) == many
    assert {row["times"] for row in edits} == {1}
    assert other.process.returncode is third.process.returncode is None
    assert not other.said("faulted")


async def test_a_backfill_whose_instance_is_killed_asks_for_each_run_once(case: Case) -> None:
    days = 60
    case.sink.on("/backfill", case.ledger.receiver())
    job_id = await case.connection.fetchval(
        """insert into tocsin.jobs (kind, target, every_seconds, starts_at, next_run, tags)
           values ('http', jsonb_build_object('url', $1::text), 86400, $2, '2100-01-01', '{bulk}')
           returning id""",
        case.sink.url("/backfill"),
        BEGIN,
    )
    victim = await case.processes.instance()

    id = await ask(
        case.connection,
        "backfill",
        {"tag": "bulk"},
        {
            "from": BEGIN,
            "to": BEGIN + days * timedelta(days=1),
            "rate_per_second": 40,
        },
    )
    await reached(case.connection, id, 10)
    await victim.kill()
    await case.processes.instances(2)
    done = await ended(case.connection, id)

    assert (done["state"], done["changed"]) == ("finished", days)

    async def are_over() -> bool:
        return not await case.connection.fetchval(
            "select count(*) from tocsin.jobs where run_of = $1", job_id
        )

    await until(are_over, "all runs are over", within=GOES_ON_SECONDS)
    runs = await case.connection.fetch(
        """select scheduled_for, count(*) filter (where outcome = 'succeeded') as done
           from tocsin.executions where job_id = $1 group by 1 order by 1""",
        job_id,
    )
    assert [row["scheduled_for"] for row in runs] == [
        BEGIN + day * timedelta(days=1) for day in range(days)
    ]
    assert {row["done"] for row in runs} == {1}


@pytest.mark.timeout(180)  # two leases have to end: of the executions, and of the actions
async def test_a_cancellation_and_a_redrive_go_on_whose_only_instance_is_killed(case: Case) -> None:
    """The one ends each run once, the other asks for each once, whoever goes on with them."""
    many, days = 120, 3
    case.processes.settings["concurrency"] = 3 * many
    case.sink.on("/redrive", case.ledger.receiver())
    hanging = case.sink.on("/hang", case.ledger.receiver(120.0))
    dead = await case.connection.fetchval(
        """insert into tocsin.jobs (kind, target, every_seconds, starts_at, next_run)
           values ('http', jsonb_build_object('url', $1::text), 86400, $2, '2100-01-01')
           returning id""",
        case.sink.url("/redrive"),
        BEGIN,
    )
    await case.connection.execute(
        """insert into tocsin.executions
               (job_id, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at)
           select $1, 'http', $2::timestamptz + day * interval '1 day', 5, 'failed', 'status',
               now(), now()
           from generate_series(0, $3::integer - 1) as day""",
        dead,
        BEGIN,
        20 * days,
    )
    await case.connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, tags, timeout_seconds, max_attempts)
           select 'http', jsonb_build_object('url', $1::text), now(), '{hang}', 100, 20
           from generate_series(1, $2::integer)""",
        hanging,
        many,
    )
    victim = await case.processes.instance()
    await case.sink.arrived(many)

    redrive = await ask(case.connection, "redrive", {"outcome": "failed"}, {"rate_per_second": 40})
    await reached(case.connection, redrive, 10)
    cancel = await ask(case.connection, "cancel", {"tag": "hang"}, {})
    await reached(case.connection, cancel, many // 4)
    await victim.kill()
    await case.processes.instances(2)
    done = [await ended(case.connection, id) for id in (cancel, redrive)]

    assert {one["state"] for one in done} == {"finished"}
    assert done[1]["changed"] == 20 * days
    rows = await case.connection.fetch(
        """select j.id, count(*) filter (where x.reason = 'cancelled') as times, j.next_run
           from tocsin.jobs j left join tocsin.executions x on x.job_id = j.id
           where j.tags = '{hang}' group by j.id"""
    )
    assert [(row["times"], row["next_run"]) for row in rows] == [(1, None)] * many

    async def are_over() -> bool:
        return not await case.connection.fetchval(
            "select count(*) from tocsin.jobs where run_of = $1", dead
        )

    await until(are_over, "all runs are over", within=GOES_ON_SECONDS)
    runs = await case.connection.fetch(
        """select count(*) filter (where outcome = 'succeeded') as done
           from tocsin.executions where job_id = $1 group by scheduled_for""",
        dead,
    )
    assert [row["done"] for row in runs] == [1] * (20 * days)


async def test_a_cancelled_action_does_nothing_more_whoever_works_on_it(case: Case) -> None:
    for statement in (*NOTED, JOBS.format(many=MANY).replace("$1::text", f"'{case.sink.url()}'")):
        await case.connection.execute(statement)
    await case.processes.instances(2)

    id = await ask(case.connection, "edit", {"tag": "bulk"}, {"patch": {"timeout_seconds": 31}})
    await reached(case.connection, id, MANY // 10)
    await case.connection.execute("select tocsin.cancel_bulk($1)", id)
    at_cancel = await case.connection.fetchval("select count(*) from public.edits")
    await asyncio.sleep(2.0)

    done = await progress(case.connection, id)
    assert done["state"] == "cancelled"
    assert done["changed"] == at_cancel < MANY
    assert await case.connection.fetchval("select count(*) from public.edits") == at_cancel
