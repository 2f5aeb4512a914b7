"""However many jobs cannot be planned or checked, new ones are planned and checked at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.core.facts import Disconnected, Faulted, Planned, PutAside, Settled
from app.core.instance_health import RestingJobs
from app.db import Database
from app.db.resting import list_resting
from app.scheduler import resting
from app.scheduler.isolation import MAX_WAITING
from tests.support.builders import insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.recorder import Recorder
from tests.support.sink import Sink
from tests.support.waiting import until

CROWD = 20_000
MAX_LATE_SECONDS = 2.0
"""On a busy machine; behind a crowd a job would wait for ever."""

DOES = {
    "suppresses": "return null",
    "fails": "raise exception 'not these'",
    "sleeps": "perform pg_sleep(20)",
}
PLANS = "new.tags = '{guilty}' and old.planned_at is null and new.locked_until is null"
VERDICTS = "new.tags = '{guilty}' and old.unchecked and not new.unchecked"
MARKS = "new.tags = '{guilty}' and new.plan_error is not null"


@asynccontextmanager
async def with_crowd(  # noqa: PLR0913 - what makes a crowd
    connection: asyncpg.Connection,
    instance: StartInstance,
    *,
    condition: str,
    does: str,
    columns: str,
    many: int = CROWD,
) -> AsyncIterator[Recorder]:
    """Start an instance beside a crowd that a trigger is against."""
    await connection.execute(
        f"""create function public.mine() returns trigger language plpgsql as
            $$ begin if {condition} then {does}; end if; return new; end $$;
            create trigger mine before update on tocsin.jobs
            for each row execute function public.mine();
            alter table tocsin.jobs disable trigger all;
            insert into tocsin.jobs (kind, target, tags, {columns.partition(" = ")[0]})
            select 'http', '{{"url": "ftp://bad"}}', '{{guilty}}', {columns.partition(" = ")[2]}
            from generate_series(1, {many});
            alter table tocsin.jobs enable trigger all"""
    )
    async with instance(longest_sleep_seconds=5) as (_, facts):
        yield facts
        assert not facts.of(Disconnected)


UNPLANNED = "cron, unchecked = '0 3 1 1 *', false"
UNCHECKED = (
    "run_at, next_run, scheduled_for, planned_at, unchecked = "
    "'2100-01-01', '2100-01-01', '2100-01-01', now(), true"
)


@pytest.mark.parametrize("does", DOES.values(), ids=DOES)
@pytest.mark.alone
async def test_a_new_cron_is_planned_at_once_beside_a_crowd_that_cannot_be(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, does: str
) -> None:
    condition = f"{PLANS} or {MARKS}"
    async with with_crowd(
        connection, instance, condition=condition, does=does, columns=UNPLANNED
    ) as facts:
        for _ in range(5):
            job_id = await insert_job(connection, target={"url": sink.url("/")}, cron="* * * * * *")
            await facts.seen(Settled, job_id=job_id, within=20)
            row = await job_row(connection, job_id)
            assert row["planned_at"] - row["created_at"] < timedelta(seconds=MAX_LATE_SECONDS)
            due = await insert_job(connection, target={"url": sink.url("/")})
            [settled] = await facts.seen(Settled, job_id=due)
            assert (settled.lag_seconds or 0.0) < MAX_LATE_SECONDS


@pytest.mark.parametrize("does", DOES.values(), ids=DOES)
@pytest.mark.alone
async def test_a_new_target_is_checked_at_once_beside_a_crowd_that_cannot_be(
    connection: asyncpg.Connection, instance: StartInstance, does: str
) -> None:
    condition = f"{VERDICTS} or {MARKS}"
    async with with_crowd(connection, instance, condition=condition, does=does, columns=UNCHECKED):
        for _ in range(5):
            job_id = await insert_job(
                connection, target={"url": "ftp://bad"}, run_at=datetime(2100, 1, 1, tzinfo=UTC)
            )

            async def is_refused() -> bool:
                return bool((await job_row(connection, job_id))["plan_error"])  # noqa: B023

            await until(is_refused, "the new target was refused", within=10)
            row = await job_row(connection, job_id)
            assert row["planned_at"] - row["created_at"] < timedelta(seconds=2 * MAX_LATE_SECONDS)


async def test_a_cron_that_is_committed_late_is_found_behind_a_crowd(
    connection: asyncpg.Connection, database_url: str, instance: StartInstance, sink: Sink
) -> None:
    other = await asyncpg.connect(database_url)
    try:
        condition = f"{PLANS} or {MARKS}"
        async with with_crowd(
            connection, instance, condition=condition, does="return null", columns=UNPLANNED
        ) as facts:
            transaction = other.transaction()
            await transaction.start()
            job_id = await insert_job(other, target={"url": sink.url("/")}, cron="* * * * * *")
            await facts.seen(Faulted, where="plan", within=40)
            await insert_job(connection, target={"url": sink.url("/")}, cron="0 0 1 1 *")
            await facts.seen(Planned)
            await transaction.commit()
            await facts.seen(Settled, job_id=job_id, within=10)
    finally:
        await other.close()


async def test_a_crowd_that_cannot_be_planned_is_told_in_a_few_lines_and_to_the_doctor(
    connection: asyncpg.Connection,
    db: Database,
    instance: StartInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resting, "TELL_SECONDS", 0.1)
    condition = f"{PLANS} or {MARKS}"

    async def on_record() -> RestingJobs | None:
        return next(iter(await list_resting(db)), None)

    async with with_crowd(
        connection, instance, condition=condition, does="return null", columns=UNPLANNED, many=2000
    ) as facts:
        [told] = await facts.seen(Faulted, where="plan", within=30)
        named = facts.of(PutAside)
        await until(on_record, "the doctor is told")
        rested = await on_record()

    assert told.error.startswith("2000 jobs can neither be worked off nor put aside")
    assert MAX_WAITING <= len(named) <= 2 * MAX_WAITING
    assert "cannot be planned: a trigger on tocsin.jobs keeps the row" in named[0].error
    assert rested is not None
    assert rested.jobs >= MAX_WAITING


async def test_a_plan_that_is_refused_is_named_in_the_log(
    connection: asyncpg.Connection, instance: StartInstance
) -> None:
    """Two steps that begin together may each plan some of them."""
    async with connection.transaction():
        jobs = [await insert_job(connection, cron="0 0 30 2 *") for _ in range(10)]
    async with instance() as (_, facts):
        await facts.until(lambda: sum(one.refused for one in facts.of(Planned)) == 10, within=10)
        told = max(facts.of(Planned), key=lambda one: one.refused)

    assert told.refusals is not None
    assert sum(f"job {job_id}: cron" in told.refusals for job_id in jobs) == 3
    assert told.refusals.endswith(f"and {told.refused - 3} more")
