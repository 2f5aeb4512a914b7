"""Somebody edits a great many jobs in one statement: what it does not lock stays on time."""

import asyncio
from time import monotonic
from uuid import UUID

import asyncpg
import pytest

from tests.faults.conftest import Case
from tests.support.builders import insert_job
from tests.support.sink import Received, Wire
from tests.support.waiting import until

JOBS = 20_000
LATE_SECONDS = 1.0
BEAT_SECONDS = 5.0
LEASE_SECONDS = 30.0

LATENESS = """
select coalesce(max(extract(epoch from started_at - scheduled_for)), 0)::float8
from tocsin.executions e where not (e.job_id = any($1::uuid[]))
"""
BEAT = """
select max(extract(epoch from clock_timestamp() - (locked_until - $2 * interval '1 s')))::float8
from tocsin.jobs where id = any($1::uuid[]) and locked_until is not null
"""


async def recurring(connection: asyncpg.Connection, count: int) -> None:
    """Insert recurring jobs whose runs are far away."""
    await connection.execute(
        """insert into tocsin.jobs (kind, target, cron, next_run, planned_at)
           select 'http', '{"url": "http://127.0.0.1:9/"}', '0 0 1 1 *',
               now() + interval '1 year', now()
           from generate_series(1, $1)""",
        count,
        timeout=300,
    )


async def forget(connection: asyncpg.Connection, ids: list[UUID]) -> None:
    """Delete jobs that never run, at once and without a trace."""
    await connection.execute("set session_replication_role = replica")
    await connection.execute(
        "delete from tocsin.jobs where id = any($1) and next_run > now() + interval '1 day'", ids
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "change",
    [
        "timeout_seconds = 29",
        "cron = '0 0 1 2 *' where cron is not null",
        "cron = null, run_at = now() + interval '1 year' where cron is not null",
    ],
    ids=["a number", "the schedule, to be planned anew", "the instant"],
)
@pytest.mark.alone
async def test_an_update_of_very_many_jobs_makes_no_other_late(case: Case, change: str) -> None:
    await recurring(case.connection, JOBS)
    seen, answered = asyncio.Event(), case.ledger.receiver()

    async def take_long(wire: Wire, request: Received) -> None:
        await seen.wait()
        await answered(wire, request)

    case.sink.on("/long", take_long)
    await case.processes.instance(lease_seconds=LEASE_SECONDS)
    held = [
        await insert_job(case.connection, target={"url": case.sink.url("/long")}) for _ in range(3)
    ]
    await case.sink.arrived(3)
    person = await asyncpg.connect(case.database_url)
    async with case.load.running(per_second=20):
        with case.ledger.fault("an update of very many jobs"):
            begun = monotonic()
            changed = await person.fetch(
                f"update tocsin.jobs set {change} returning id", timeout=100
            )
            held_up = monotonic() - begun
            beat = await case.connection.fetchval(BEAT, held, LEASE_SECONDS)

        async def planned() -> bool:
            return not await case.connection.fetchval(
                "select exists (select from tocsin.jobs where planned_at is null)"
            )

        await until(planned, "all are planned", within=90)
        late = await case.connection.fetchval(LATENESS, [row["id"] for row in changed])
    seen.set()
    await forget(person, [row["id"] for row in changed if row["id"] not in held])
    await person.close()

    async def ended() -> bool:
        return not await case.connection.fetchval(
            "select exists (select from tocsin.jobs where execution_id is not null)"
        )

    await until(ended, "the long executions have ended", within=60)
    await case.verdict(late=LATE_SECONDS, measured=lambda: late)
    assert len(changed) >= JOBS
    # Rows that the statement itself updates stay locked until it ends, however slow the machine.
    assert beat < LEASE_SECONDS / 3 + max(BEAT_SECONDS, held_up + LATE_SECONDS)
