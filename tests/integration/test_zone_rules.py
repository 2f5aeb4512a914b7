"""Time zone rules that change between releases move what was planned by the older ones."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Faulted, Replanned
from app.core.schedule.zone_rules import choose_rules
from app.db import Database, zones
from app.scheduler.zones import replan
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.waiting import until
from tests.support.zones import ALWAYS_WEST_7, ALWAYS_WEST_8, VANCOUVER, zone_tree

OLD, NEW = "2025b", "2026f"
HOUR = timedelta(hours=1)


@pytest.fixture
def west_8(tmp_path: Path) -> str:
    return str(zone_tree(tmp_path / "8", OLD, ALWAYS_WEST_8))


@pytest.fixture
def west_7(tmp_path: Path) -> str:
    return str(zone_tree(tmp_path / "7", NEW, ALWAYS_WEST_7))


async def yearly(
    connection: asyncpg.Connection, cron: str = "0 3 1 6 *", **columns: object
) -> UUID:
    return await insert_job(connection, cron=cron, timezone=VANCOUVER, **columns)


async def plan_of(connection: asyncpg.Connection, job_id: UUID) -> tuple[datetime, datetime]:
    row = await connection.fetchrow(
        "select next_run, scheduled_for from tocsin.jobs where id = $1", job_id
    )
    assert row is not None
    return row["next_run"], row["scheduled_for"]


async def hours_of(connection: asyncpg.Connection, job_id: UUID) -> tuple[int, int]:
    next_run, scheduled_for = await plan_of(connection, job_id)
    return next_run.astimezone(UTC).hour, scheduled_for.astimezone(UTC).hour


async def is_at(connection: asyncpg.Connection, job_id: UUID, *, hour: int) -> bool:
    return await hours_of(connection, job_id) == (hour, hour)


async def rules_noted(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("select exists (select from tocsin.zone_rules)"))


async def is_planned(connection: asyncpg.Connection) -> None:
    async def planned() -> bool:
        return not await connection.fetchval(
            """select count(*) from tocsin.jobs
            where (planned_at is null or unchecked) and plan_error is null"""
        )

    await until(planned, "all jobs are planned, and their targets checked")


async def test_newer_rules_move_plans_and_nothing_else(
    instance: StartInstance, connection: asyncpg.Connection, west_8: str, west_7: str
) -> None:
    async with instance(tzdata=west_8):
        plain, paused, moved, retrying, run_now, elsewhere = [
            await yearly(connection, **columns)
            for columns in ({}, {"paused_at": datetime.now(UTC)}, {}, {}, {}, {})
        ]
        await connection.execute(
            "update tocsin.jobs set timezone = 'Asia/Tokyo' where id = $1", elsewhere
        )
        await is_planned(connection)
        await connection.execute(
            "update tocsin.jobs set next_run = next_run + interval '1 hour' where id = $1", moved
        )
        await connection.execute(
            """update tocsin.jobs set attempt = 2, planned_at = clock_timestamp(),
                   next_run = next_run + interval '7 minutes' where id = $1""",
            retrying,
        )
        await connection.execute(
            """update tocsin.jobs set paused_at = now() where id = $1""",
            run_now,
        )
        await until(lambda: rules_noted(connection), "the rules are noted")
        await connection.execute("select tocsin.run_now($1)", run_now)
    others = {job: await plan_of(connection, job) for job in (moved, retrying, elsewhere)}
    runs = "select * from tocsin.jobs where run_of is not null"
    asked = await connection.fetchrow(runs)
    edited = await connection.fetch("select id, updated_at from tocsin.jobs order by id")

    async with instance(tzdata=west_7) as (_, facts):
        [fact] = await facts.seen(Replanned)

    assert (fact.jobs, fact.rules) == (3, f"{NEW} ({west_7})")
    assert await hours_of(connection, run_now) == (10, 10), "the plan beside a run that waits"
    assert await connection.fetchrow(runs) == asked
    assert await hours_of(connection, plain) == (10, 10)
    assert await hours_of(connection, paused) == (10, 10)
    assert {job: await plan_of(connection, job) for job in others} == others
    assert await connection.fetch("select id, updated_at from tocsin.jobs order by id") == edited


async def test_an_older_instance_moves_nothing_back(
    database_url: str, connection: asyncpg.Connection, west_8: str, west_7: str
) -> None:
    old, new = choose_rules(west_8), choose_rules(west_7)
    async with Database.connect(database_url, application_name="test") as db:
        assert await replan(db, "a", old) == 0
        job = await yearly(connection)
        await put(connection, job, hour=11)
        assert await replan(db, "b", new) == 1
        assert await replan(db, "a", old) == 0
        assert await replan(db, "b", new) == 0

        assert await hours_of(connection, job) == (10, 10)
        await put(connection, job, hour=11)  # as the older instance plans it after a run
        assert await replan(db, "b", new) == 1
        assert await replan(db, "a", old) == 0

    assert await hours_of(connection, job) == (10, 10)


async def test_without_older_instances_jobs_are_walked_over_once(
    database_url: str, connection: asyncpg.Connection, west_8: str, west_7: str
) -> None:
    async with Database.connect(database_url, application_name="test") as db:
        await replan(db, "a", choose_rules(west_8))
        await connection.execute(
            "update tocsin.instance_rules set told_at = now() - interval '3 h'"
        )
        await replan(db, "b", choose_rules(west_7))
        job = await yearly(connection)
        await put(connection, job, hour=11)

        assert await replan(db, "b", choose_rules(west_7)) == 0

    assert await hours_of(connection, job) == (11, 11)


async def test_a_row_that_somebody_has_locked_is_moved_by_the_next_walk(
    database_url: str, connection: asyncpg.Connection, west_8: str, west_7: str
) -> None:
    holder = await asyncpg.connect(database_url)
    async with Database.connect(database_url, application_name="test") as db:
        await replan(db, "a", choose_rules(west_8))
        job = await yearly(connection)
        await put(connection, job, hour=11)
        await connection.execute("delete from tocsin.instance_rules")
        async with holder.transaction():
            await holder.execute("select from tocsin.jobs for update")
            assert await replan(db, "b", choose_rules(west_7)) == 0
        await holder.close()

        assert await replan(db, "b", choose_rules(west_7)) == 1

    assert await hours_of(connection, job) == (10, 10)


async def test_a_row_that_is_locked_for_a_moment_is_moved_by_the_same_walk(
    database_url: str,
    connection: asyncpg.Connection,
    west_8: str,
    west_7: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.db.walks.LOCK_PAUSE_SECONDS", 3)
    holder = await asyncpg.connect(database_url)
    async with Database.connect(database_url, application_name="test") as db:
        await replan(db, "a", choose_rules(west_8))
        locked, free = await yearly(connection), await yearly(connection)
        for job in (locked, free):
            await put(connection, job, hour=11)
        await connection.execute("delete from tocsin.instance_rules")
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("select from tocsin.jobs where id = $1 for update", locked)
        walk = asyncio.create_task(replan(db, "b", choose_rules(west_7)))
        await until(lambda: is_at(connection, free, hour=10), "the other job is moved")
        await transaction.rollback()

        assert await walk == 2
    await holder.close()

    assert await hours_of(connection, locked) == (10, 10)


async def test_one_instance_walks_at_a_time_and_a_walk_that_broke_off_is_made_again(
    database_url: str, connection: asyncpg.Connection, west_8: str, west_7: str
) -> None:
    new = choose_rules(west_7)
    async with Database.connect(database_url, application_name="test") as db:
        await replan(db, "a", choose_rules(west_8))
        job = await yearly(connection)
        await put(connection, job, hour=11)
        await zones.store_zones(db, NEW, new.archive())
        assert await zones.begin_walk(db, NEW) != (False, None)

        assert await replan(db, "b", new) == 0
        await connection.execute(
            "update tocsin.zone_rules set walking_until = now() - interval '1 s'"
        )
        assert await replan(db, "b", new) == 1


async def test_a_walk_reads_all_jobs_in_bounded_steps(
    database_url: str,
    connection: asyncpg.Connection,
    west_8: str,
    west_7: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.db.walks.STEP_JOBS", 10)
    async with Database.connect(database_url, application_name="test") as db:
        await replan(db, "a", choose_rules(west_8))
        for _ in range(25):
            await put(connection, await yearly(connection), hour=11)
            await insert_job(connection)

        assert await replan(db, "b", choose_rules(west_7)) == 25


async def test_a_failure_of_this_ends_no_instance(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    await connection.execute("drop table tocsin.zone_rules")

    async with instance() as (_, facts):
        [fault] = await facts.seen(Faulted)
        assert fault.where == "zones"
        job = await insert_job(connection, cron="0 3 1 6 *", timezone=VANCOUVER)
        await is_planned(connection)

    assert await plan_of(connection, job)


async def put(connection: asyncpg.Connection, job_id: UUID, *, hour: int) -> None:
    """Plan a job as an instance does."""
    at = datetime(datetime.now(UTC).year + 1, 6, 1, hour, tzinfo=UTC)
    await connection.execute(
        """update tocsin.jobs set next_run = $2, scheduled_for = $2,
               planned_at = clock_timestamp() where id = $1""",
        job_id,
        at,
    )
