"""Upkeep on a database on which others have made things of their own: it does what can be done."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from time import monotonic

import asyncpg
import pytest

from app.core.facts import Pruned, UpkeepFailed
from app.db import upkeep as upkeep_of_db
from app.db.database import Runner
from app.db.upkeep import Place, count_pages, open_session
from app.scheduler.pruning import (
    MAX_ENTRIES,
    MAX_PAGES,
    MIN_PAGES,
    STEP_SECONDS,
    following,
    prune_pages,
)
from app.scheduler.upkeep import keep_up_once
from app.telemetry import Observers
from tests.support.alerts import insert_rule
from tests.support.builders import insert_job
from tests.support.history import begin_day, finished_jobs, name_of, old_day, partitions
from tests.support.recorder import Recorder
from tests.support.roles import name_in, role

FIRST, SECOND = date(2020, 1, 1), date(2020, 1, 2)
HELD_SECONDS = 0.5
"""More than a writer may be kept waiting, and much more than the lock time-out."""


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is."""
    return any_database


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def upkeep(url: str, recorder: Recorder) -> bool:
    return await keep_up_once(
        url, Observers(recorder), instance="test", retention_days=30, clock=monotonic
    )


@pytest.fixture
async def today(connection: asyncpg.Connection) -> date:
    """Have the partitions of the coming week, and a day that lasts as long as the test."""
    return await begin_day(connection)


@pytest.fixture
def day(today: date) -> Callable[[int], str]:
    """Name the partition of today, or of a day ahead."""
    return lambda ahead: name_of(today + timedelta(days=ahead))


async def jobs(connection: asyncpg.Connection) -> int:
    count: int = await connection.fetchval("select count(*) from tocsin.jobs")
    return count


async def record(connection: asyncpg.Connection) -> None:
    await connection.execute(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome)
           values (gen_random_uuid(), 'http', now(), 1, 'succeeded')"""
    )


async def test_it_prunes_what_is_older_than_the_retention_and_nothing_else(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder, day: Callable[[int], str]
) -> None:
    await old_day(connection, FIRST)
    await finished_jobs(connection, 100, days_ago=31)
    await finished_jobs(connection, 10, days_ago=29)
    await insert_job(connection, run_at=datetime.now(UTC) + timedelta(days=1))
    await connection.execute(f"drop table tocsin.{day(7)}")

    done = await upkeep(database_url, recorder)

    assert (done, recorder.of(UpkeepFailed)) == (True, [])
    assert recorder.of(Pruned) == [
        Pruned(partitions_added=1, partitions_dropped=1, jobs_deleted=100)
    ]
    assert await jobs(connection) == 11
    assert await partitions(connection) == {"executions_default", *map(day, range(8))}


async def test_what_expired_since_the_last_walk_is_found_at_the_next(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder
) -> None:
    await upkeep(database_url, recorder)
    await finished_jobs(connection, 100, days_ago=31)

    await upkeep(database_url, recorder)

    assert await jobs(connection) == 0


@pytest.mark.parametrize("deferred", ["", "deferrable initially deferred"], ids=["now", "deferred"])
async def test_a_job_that_a_foreign_key_holds_stays_and_all_others_go(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder, deferred: str
) -> None:
    await finished_jobs(connection, 1000, days_ago=31)
    await connection.execute(
        f"create table invoices (job_id uuid references tocsin.jobs (id) {deferred})"
    )
    await connection.execute("insert into invoices select id from tocsin.jobs limit 1 offset 500")

    done = await upkeep(database_url, recorder)

    assert done
    assert await jobs(connection) == 1
    [told] = recorder.of(UpkeepFailed, step="jobs")
    assert "1 rows refuse to go" in told.error
    assert "invoices" in told.error


async def test_a_trigger_that_refuses_every_deletion_is_told_once(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder
) -> None:
    await finished_jobs(connection, 300, days_ago=31)
    await connection.execute(
        """create function refuse() returns trigger language plpgsql
           as $$ begin raise 'keep them all'; end $$;
           create trigger keep before delete on tocsin.jobs
           for each row execute function refuse()"""
    )
    await old_day(connection, FIRST)

    await upkeep(database_url, recorder)
    await upkeep(database_url, recorder)

    assert await jobs(connection) == 300
    [told] = recorder.of(UpkeepFailed)
    assert told.error == "300 rows refuse to go: keep them all"
    assert name_of(FIRST) not in await partitions(connection)


async def test_a_day_that_a_view_needs_stays_and_the_others_go(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder
) -> None:
    viewed, other = await old_day(connection, FIRST), await old_day(connection, SECOND)
    await connection.execute(f"create view january as select * from tocsin.{viewed}")
    await finished_jobs(connection, 10, days_ago=31)

    done = await upkeep(database_url, recorder)

    assert not done
    [told] = recorder.of(UpkeepFailed)
    assert (told.step, "january" in told.error or viewed in told.error) == ("drop_partitions", True)
    left = await partitions(connection)
    assert (viewed in left, other in left, await jobs(connection)) == (True, False, 0)
    stands = await connection.fetchrow("select * from tocsin.upkeep where step = 'drop_partitions'")
    assert (stands["done_at"], stands["error"]) == (None, told.error)


async def test_a_rule_against_schema_changes_leaves_the_rest_to_be_done(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder, day: Callable[[int], str]
) -> None:
    await old_day(connection, FIRST)
    await finished_jobs(connection, 10, days_ago=31)
    await connection.execute(f"drop table tocsin.{day(0)}")
    await connection.execute(
        """create function frozen() returns event_trigger language plpgsql
           as $$ begin raise 'no changes on Fridays'; end $$;
           create event trigger frozen on ddl_command_start execute function frozen()"""
    )

    done = await upkeep(database_url, recorder)
    await record(connection)

    assert not done
    told = {one.step: one.error for one in recorder.of(UpkeepFailed)}
    assert told == dict.fromkeys(("add_partitions", "drop_partitions"), "no changes on Fridays")
    assert await jobs(connection) == 0
    assert await connection.fetchval("select count(*) from tocsin.executions_default") == 1
    await connection.execute("drop event trigger frozen")
    assert await upkeep(database_url, recorder)
    assert await connection.fetchval("select count(*) from tocsin.executions_default") == 0


STYLES = {
    "german": "set datestyle = 'German, DMY'; set timezone = 'Asia/Kolkata'",
    "sql": "set datestyle = 'SQL, DMY'; set timezone = 'America/St_Johns'",
    "postgres": "set datestyle = 'Postgres, MDY'; set timezone = 'Europe/London'",
    "others": "set intervalstyle = 'sql_standard'; set standard_conforming_strings = off;"
    "set search_path = ''; set timezone = 'Pacific/Chatham'",
}


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
async def test_days_are_the_same_whatever_the_session_writes_dates_like(
    connection: asyncpg.Connection, style: str, day: Callable[[int], str]
) -> None:
    await connection.execute(style)
    await connection.execute(f"drop table tocsin.{day(0)}, tocsin.{day(5)}")
    await record(connection)
    await old_day(connection, FIRST)

    added = await connection.fetchval("select tocsin.add_partitions()")
    pruned = await connection.fetchrow("select * from tocsin.prune(30)")

    assert (added, pruned["partitions"]) == (2, 1)
    assert await connection.fetchval("select count(*) from tocsin.executions_default") == 0
    bounds = await connection.fetch(
        "select ends_at - starts_at as length from tocsin.partitions() where not is_default"
    )
    assert {row["length"] for row in bounds} == {timedelta(days=1)}


async def test_a_table_in_the_place_of_a_partition_is_named_and_the_day_is_recorded_all_the_same(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder, day: Callable[[int], str]
) -> None:
    await connection.execute(f"drop table tocsin.{day(0)}, tocsin.{day(3)}")
    await connection.execute(f"create table tocsin.{day(0)} (note text)")

    done = await upkeep(database_url, recorder)
    await record(connection)

    assert not done
    [told] = recorder.of(UpkeepFailed)
    assert told.error == f"tocsin.{day(0)} exists and is not the partition of that day"
    assert day(3) in await partitions(connection)
    assert await connection.fetchval("select count(*) from tocsin.executions_default") == 1


async def test_a_day_that_a_wider_partition_covers_needs_no_other(
    database_url: str,
    connection: asyncpg.Connection,
    recorder: Recorder,
    today: date,
    day: Callable[[int], str],
) -> None:
    await connection.execute(f"drop table tocsin.{day(2)}, tocsin.{day(3)}")
    start = today + timedelta(days=2)
    await connection.execute(
        f"""create table tocsin.two_days partition of tocsin.executions
            for values from ('{start} 00:00Z') to ('{start + timedelta(days=2)} 00:00Z')"""
    )

    assert await upkeep(database_url, recorder)

    assert recorder.facts == []


async def test_a_default_partition_that_took_too_much_is_not_gone_through_while_others_write(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder, day: Callable[[int], str]
) -> None:
    await connection.execute(f"drop table tocsin.{day(0)}")
    await connection.execute(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome, response)
           select gen_random_uuid(), 'http', now(), 1, 'succeeded', repeat(md5(n::text), 50)
           from generate_series(1, 11000) n"""
    )

    assert not await upkeep(database_url, recorder)
    [told] = recorder.of(UpkeepFailed)
    by_hand = await connection.fetchval("select tocsin.add_partitions()")

    assert "too much to take over while others write" in told.error
    assert by_hand == 1


async def test_old_rows_of_the_default_partition_go(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder
) -> None:
    await connection.execute(
        """insert into tocsin.executions (
               job_id, kind, scheduled_for, attempt, outcome, finished_at)
           select gen_random_uuid(), 'http', now(), 1, 'succeeded', now() - n * interval '1 day'
           from generate_series(28, 1000) n"""
    )

    assert await upkeep(database_url, recorder)

    assert await connection.fetchval("select count(*) from tocsin.executions") == 2


@pytest.mark.alone
async def test_a_reader_of_the_history_keeps_nobody_waiting_and_only_puts_off_the_drop(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder, day: Callable[[int], str]
) -> None:
    old = await old_day(connection, FIRST)
    await connection.execute(f"drop table tocsin.{day(7)}")
    reader, writer = [await asyncpg.connect(database_url) for _ in range(2)]
    reading = reader.transaction(isolation="repeatable_read")
    await reading.start()
    await reader.fetch("select count(*) from tocsin.executions")

    longest = 0.0
    passing = asyncio.create_task(upkeep(database_url, recorder))
    while not passing.done():
        began = time.monotonic()
        await record(writer)
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.001)
    done_beside, left = await passing, await partitions(writer)
    await reading.rollback()
    done_after = await upkeep(database_url, recorder)

    assert (done_beside, old in left, day(7) in left) == (False, True, False)
    assert longest < HELD_SECONDS
    assert done_after
    assert {old, day(7)} & await partitions(writer) == {day(7)}
    for one in (reader, writer):
        await one.close()


async def test_one_instance_does_it_and_the_others_leave_it_alone(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder
) -> None:
    await finished_jobs(connection, 10, days_ago=31)
    await connection.execute("select pg_advisory_lock(hashtext('tocsin.upkeep'))")

    assert not await upkeep(database_url, recorder)

    assert (recorder.facts, await jobs(connection)) == ([], 10)


async def test_a_database_that_takes_no_writes_ends_a_pass_and_not_the_instance(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder
) -> None:
    await finished_jobs(connection, 10, days_ago=31)
    await old_day(connection, FIRST)
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {name} set default_transaction_read_only = on")

    assert not await upkeep(database_url, recorder)
    told = {one.step for one in recorder.of(UpkeepFailed)}
    await connection.execute(f"alter database {name} reset default_transaction_read_only")

    assert "drop_partitions" in told
    assert await upkeep(database_url, recorder)
    assert await jobs(connection) == 0


async def test_old_alerts_go_in_steps_but_for_what_goes_on_and_what_is_locked(
    database_url: str,
    connection: asyncpg.Connection,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is told of has been told before: its end refers to it."""
    rule = await insert_rule(connection)
    await connection.execute(
        """insert into tocsin.alerts (at, event, job, channel)
           select now() - interval '31 days', 'failed', 'gone', 'ops' from generate_series(1, 3000)
           union all select now() - interval '29 days', 'failed', 'young', 'ops'
           union all select now() - interval '32 days', 'failed', 'locked', 'ops'"""
    )
    await connection.execute(
        """with told as (
               insert into tocsin.alert_states (
                   rule_id, event, job_id, many, since, last_at, told_at)
               select $1, 'failed', gen_random_uuid(), 1, since, since, since
               from (select now() - interval '40 days' as since) as ago
               returning *)
           insert into tocsin.alerts (at, rule_id, rule, event, job_id, job, since, is_reminder)
           select since, rule_id, 'all', event, job_id, 'going on', since, is_reminder
           from told cross join (values (false), (true)) as each (is_reminder)""",
        rule,
    )
    steps: list[int] = []
    prune_alerts = upkeep_of_db.prune_alerts

    async def count_and_prune(
        session: Runner, *, after: Place, most: int, keep_from: datetime
    ) -> Place | None:
        before = await connection.fetchval("select count(*) from tocsin.alerts")
        last = await prune_alerts(session, after=after, most=most, keep_from=keep_from)
        steps.append(before - await connection.fetchval("select count(*) from tocsin.alerts"))
        return last

    monkeypatch.setattr(upkeep_of_db, "prune_alerts", count_and_prune)
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute("select from tocsin.alerts where job = 'locked' for update")
            assert await upkeep(database_url, recorder)
            left = await connection.fetch("select job from tocsin.alerts order by at")
            assert [row["job"] for row in left] == ["going on", "locked", "young"]
    finally:
        await other.close()

    assert recorder.of(UpkeepFailed) == []
    assert sum(steps) == 3001
    assert max(steps) <= MAX_ENTRIES


async def test_a_role_without_rights_is_told_what_it_lacks_for_each_step(
    database_url: str, connection: asyncpg.Connection, recorder: Recorder, day: Callable[[int], str]
) -> None:
    await connection.execute(f"drop table tocsin.{day(0)}")
    await finished_jobs(connection, 10, days_ago=31)
    grants = "grant usage on schema tocsin to {role}; grant select on tocsin.jobs to {role}"
    async with role(connection, database_url, grants) as url:
        assert not await upkeep(url, recorder)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="prune"):
            await connection.execute(f"set role {name_in(url)}; select tocsin.prune(1)")

    errors = [one.error for one in recorder.of(UpkeepFailed)]
    assert any("permission denied for function add_partition" in error for error in errors)


async def test_nobody_prunes_the_last_day_whatever_rights_they_were_given(
    connection: asyncpg.Connection, day: Callable[[int], str]
) -> None:
    await record(connection)
    await connection.execute("select tocsin.add_partition((now() - interval '2 hours')::date - 1)")

    await connection.execute(
        """select tocsin.drop_partition(partition, 'infinity'), 1 from tocsin.partitions();
           select tocsin.prune_audit_log(0, 1000, 'infinity')"""
    )

    assert day(0) in await partitions(connection)
    assert await connection.fetchval("select count(*) from tocsin.executions") == 1


@pytest.mark.parametrize(
    ("pages", "took", "least", "next_pages"),
    [
        (8, STEP_SECONDS / 10, 1, 16),
        (8, STEP_SECONDS * 0.7, 1, 8),
        (8, STEP_SECONDS * 2, 1, 4),
        (1, STEP_SECONDS * 9, 1, 1),
        (MAX_PAGES, 0.0, 1, MAX_PAGES),
        (1, STEP_SECONDS / 10, MIN_PAGES, MIN_PAGES),
        (4 * MIN_PAGES, STEP_SECONDS * 2, MIN_PAGES, 2 * MIN_PAGES),
        (MIN_PAGES, STEP_SECONDS * 9, MIN_PAGES, MIN_PAGES),
    ],
)
def test_steps_grow_and_shrink_with_the_time_they_take(
    pages: int, took: float, least: int, next_pages: int
) -> None:
    assert following(pages, took=took, least=least) == next_pages


async def test_a_loaded_machine_does_not_have_a_table_walked_page_by_page(
    connection: asyncpg.Connection, database_url: str
) -> None:
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at)
           select 'http', '{"url": "http://127.0.0.1:9/"}', '2100-01-01'
           from generate_series(1, 2000)"""
    )
    asked = 0

    def slow() -> float:
        """Have two tenths of a second pass between two readings, of which each step makes three."""
        nonlocal asked
        asked += 1
        return asked / 5

    async with open_session(database_url, application_name="test") as session:
        assert session is not None
        pages = await count_pages(session, "tocsin.jobs")
        deleted, left = await prune_pages(
            session, "prune_jobs", of="tocsin.jobs", before=datetime.now(UTC), clock=slow
        )

    assert (deleted, left.rows) == (0, 0)
    assert pages > 2 * MIN_PAGES
    assert asked <= 3 * (pages / MIN_PAGES + 1)
