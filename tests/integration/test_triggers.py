"""What a person may write in psql: defaults, plans, refusals, and what wakes the instances."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import json

from app.config import Settings
from app.db import Database
from tests.support.builders import insert_job, job_row, plan_jobs
from tests.support.history import begin_day, name_of

QUIET_SECONDS = 0.3
SOON = timedelta(seconds=30)
FAR = timedelta(days=2)


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is."""
    return any_database


@pytest.fixture
async def notified(database_url: str) -> AsyncIterator["Notified"]:
    """Listen as an instance does."""
    connection = await asyncpg.connect(database_url)
    notified = Notified()
    await connection.add_listener("tocsin_jobs", notified)
    yield notified
    await connection.close()


class Notified:
    """Counts notifications."""

    def __init__(self) -> None:
        self.payloads: list[str] = []

    def __call__(self, *notification: object) -> None:
        self.payloads.append(str(notification[-1]))

    async def notifications(self) -> int:
        """Wait long enough for any notification to arrive; return how many did since last asked."""
        await asyncio.sleep(QUIET_SECONDS)
        count = len(self.payloads)
        self.payloads.clear()
        return count


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_one_off_is_due_at_its_instant(connection: asyncpg.Connection) -> None:
    run_at = now() + SOON

    job = await job_row(connection, await insert_job(connection, run_at=run_at))

    assert (job["next_run"], job["scheduled_for"], job["attempt"]) == (run_at, run_at, 0)
    assert job["planned_at"] is not None
    assert job["state"] == "scheduled"


async def test_an_interval_starts_one_interval_after_its_insert_whenever_it_is_planned(
    connection: asyncpg.Connection, db: Database
) -> None:
    job_id = await insert_job(connection, every_seconds=90)
    await connection.fetch("select pg_sleep(0.2)")
    await plan_jobs(db)

    job = await job_row(connection, job_id)
    assert job["next_run"] == job["created_at"] + timedelta(seconds=90)


async def test_an_interval_with_a_past_start_keeps_to_its_grid(
    connection: asyncpg.Connection, db: Database
) -> None:
    starts_at = now() - timedelta(seconds=1000)

    job_id = await insert_job(connection, every_seconds=300, starts_at=starts_at)
    await plan_jobs(db)

    job = await job_row(connection, job_id)
    assert job["next_run"] == starts_at + timedelta(seconds=1200)


@pytest.mark.parametrize("schedule", [{"cron": "0 3 * * *"}, {"every_seconds": 60}])
async def test_a_recurring_job_is_left_to_an_instance(
    connection: asyncpg.Connection, schedule: dict[str, Any]
) -> None:
    job = await job_row(connection, await insert_job(connection, **schedule))

    assert (job["next_run"], job["planned_at"], job["state"]) == (None, None, "scheduled")


async def test_the_go_dialect_becomes_columns(connection: asyncpg.Connection, db: Database) -> None:
    zoned_id = await insert_job(connection, cron="CRON_TZ=Europe/Paris 0 3 * * *")
    every_id = await insert_job(connection, cron="@every 1h30m")
    await plan_jobs(db)

    zoned, every = await job_row(connection, zoned_id), await job_row(connection, every_id)

    assert (zoned["cron"], zoned["timezone"]) == ("0 3 * * *", "Europe/Paris")
    assert (every["cron"], every["every_seconds"]) == (None, 5400)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"cron": "* * * * *", "every_seconds": 5}, "every_seconds", "exactly one of run_at"),
    ({"cron": "nonsense"}, "cron", "minute hour day month weekday"),
    ({"cron": "* * * * * * * *"}, "cron", "minute hour day month weekday"),
    ({"cron": "@every never"}, "cron", "@every 1h30m"),
    ({"cron": "0 3 * * *", "timezone": "Mars/Phobos"}, "timezone", "IANA"),
    ({"cron": "0 3 * * *", "timezone": "../etc/passwd"}, "timezone", "IANA"),
    ({"every_seconds": -3}, "every_seconds", "0.1"),
    ({"run_at": datetime(1999, 1, 1, tzinfo=UTC)}, "run_at", "2000 to 2200"),
    ({"target": []}, "target", '{"url"'),
    ({"kind": "HTTP!"}, "kind", "http, amqp"),
    ({"name": "a/b"}, "name", "200 characters"),
    ({"metadata": [1]}, "metadata", '{"team"'),
    ({"max_attempts": 0}, "max_attempts", "1 means no retry"),
    ({"backoff_seconds": -1}, "backoff_seconds", "first retry"),
    ({"backoff_max_seconds": -1}, "backoff_max_seconds", "caps"),
    ({"timeout_seconds": 0}, "timeout_seconds", "one execution"),
    ({"misfire": "panic"}, "misfire", "run_once, skip or run_all"),
    ({"misfire_grace_seconds": -1}, "misfire_grace_seconds", "null"),
    ({"max_catchup": -1}, "max_catchup", "run_all"),
    ({"overlap": "never"}, "overlap", "buffer_one"),
    ({"max_runs": 0, "every_seconds": 5}, "max_runs", "null"),
    ({"dst_gap": "panic"}, "dst_gap", "run_after or skip"),
    ({"dst_overlap": "panic"}, "dst_overlap", "first, last or both"),
    (
        {
            "every_seconds": 5,
            "starts_at": datetime(2030, 1, 2, tzinfo=UTC),
            "ends_at": datetime(2030, 1, 1, tzinfo=UTC),
        },
        "ends_at",
        "window",
    ),
]


@pytest.mark.parametrize(
    ("columns", "field", "remedy"),
    REFUSED,
    ids=[f"{i}-{case[1]}" for i, case in enumerate(REFUSED)],
)
async def test_a_bad_row_is_refused_with_its_column_and_a_remedy(
    connection: asyncpg.Connection, columns: dict[str, Any], field: str, remedy: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert_job(connection, **columns)

    assert refused.value.column_name == field
    assert remedy in refused.value.hint
    assert refused.value.message.startswith(field)


async def test_a_bad_row_is_refused_without_any_trigger_too(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute("alter table tocsin.jobs disable trigger user")
    for columns, field, remedy in REFUSED:
        if field in ("cron", "timezone"):
            continue  # instances judge these, with a plan_error
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await insert_job(connection, **columns)
        assert refused.value.column_name == field
        assert remedy in refused.value.hint


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("by", ["a person", "a replica"])
async def test_a_bad_edit_is_refused_whatever_else_it_sets(
    connection: asyncpg.Connection, *, by: str, claimed: bool
) -> None:
    if by == "a replica":
        await connection.execute("set session_replication_role = replica")
    for columns, field, remedy in REFUSED:
        if field in ("cron", "timezone") or len(columns) > 1 or "every_seconds" in columns:
            continue
        [(name, value)] = columns.items()
        now = await connection.fetchval("select now()")
        planned = {"run_at": now, "next_run": now, "scheduled_for": now, "planned_at": now}
        job_id = await insert_job(connection, **planned)
        if claimed:
            await connection.execute(
                "update tocsin.jobs set validated = true where id = $1", job_id
            )
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await connection.execute(
                f"""update tocsin.jobs set {name} = $2, locked_until = now(), planned_at = now()
                    where id = $1""",
                job_id,
                json.encode(value).decode() if isinstance(value, list | dict) else value,
            )
        assert refused.value.column_name == field
        assert remedy in refused.value.hint


@pytest.mark.parametrize(
    "column", ["next_run", "scheduled_for", "locked_until", "last_finished_at"]
)
async def test_no_instant_of_an_instance_can_be_endless(
    connection: asyncpg.Connection, column: str
) -> None:
    job_id = await insert_job(connection)
    await connection.execute("alter table tocsin.jobs disable trigger user")

    with pytest.raises(asyncpg.CheckViolationError, match="jobs_within_range"):
        await connection.execute(
            f"update tocsin.jobs set {column} = 'infinity', validated = true where id = $1", job_id
        )


async def test_whatever_a_person_writes_is_judged(connection: asyncpg.Connection) -> None:
    unjudged = await connection.fetch(
        """select attname from pg_attribute, pg_trigger
           where attrelid = 'tocsin.jobs'::regclass and attnum > 0 and tgname = 'jobs_200_sound'
             and attnum <= (select attnum from pg_attribute
                 where attrelid = 'tocsin.jobs'::regclass and attname = 'paused_at')
             and attnum <> all (tgattr::smallint[])"""
    )

    assert unjudged == []


async def test_an_edit_that_breaks_a_row_is_refused(connection: asyncpg.Connection) -> None:
    job_id = await insert_job(connection)

    with pytest.raises(asyncpg.CheckViolationError, match="timeout_seconds"):
        await connection.execute(
            "update tocsin.jobs set timeout_seconds = 0, locked_until = now() where id = $1", job_id
        )


@pytest.mark.parametrize(
    ("schedule", "hint"),
    [("null", "exactly one of run_at"), ("'infinity'", "2000 to 2200"), ("'-infinity'", "2000")],
)
async def test_a_one_off_without_a_real_instant_is_refused(
    connection: asyncpg.Connection, schedule: str, hint: str
) -> None:
    statement = f"""insert into tocsin.jobs (kind, target, run_at)
                    values ('http', '{{"url": "x"}}', {schedule})"""

    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await connection.execute(statement)

    assert refused.value.column_name == "run_at"
    assert hint in refused.value.hint


async def test_what_is_due_soon_notifies_and_what_is_far_ahead_does_not(
    connection: asyncpg.Connection, notified: Notified
) -> None:
    await insert_job(connection, run_at=now() + FAR)
    await insert_job(connection, every_seconds=3600, paused_at=now())
    far = await notified.notifications()
    await insert_job(connection, run_at=now() + SOON)
    soon = await notified.notifications()
    await insert_job(connection, cron="0 3 * * *")
    cron = await notified.notifications()
    await insert_job(connection, every_seconds=3600)  # an instance has to plan it
    interval = await notified.notifications()

    assert (far, soon, cron, interval) == (0, 1, 1, 1)


async def test_a_thousand_due_jobs_notify_once(
    connection: asyncpg.Connection, notified: Notified
) -> None:
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at)
           select 'http', '{"url": "x"}', now() from generate_series(1, 1000)"""
    )

    assert await notified.notifications() == 1


async def test_nothing_notifies_before_the_commit_and_nothing_after_a_rollback(
    connection: asyncpg.Connection, notified: Notified
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await insert_job(connection)
    before = await notified.notifications()
    await transaction.rollback()

    assert (before, await notified.notifications()) == (0, 0)


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ("next_run = now()", 1),
        ("next_run = next_run + interval '1 day'", 0),
        ("run_at = now()", 1),
        ("description = 'x'", 0),
        ("paused_at = now()", 0),
        ("cron = '0 4 * * *', run_at = null", 1),
        ("locked_until = now() + interval '1 minute', locked_by = 'x', fence = fence + 1", 0),
        ("plan_error = 'x', planned_at = now()", 0),
    ],
)
async def test_an_update_notifies_only_when_a_job_became_claimable_sooner(
    connection: asyncpg.Connection, notified: Notified, change: str, count: int
) -> None:
    job_id = await insert_job(connection, run_at=now() + FAR)
    await notified.notifications()

    await connection.execute(f"update tocsin.jobs set {change} where id = $1", job_id)

    assert await notified.notifications() == count


async def test_resuming_a_due_job_notifies(
    connection: asyncpg.Connection, notified: Notified
) -> None:
    job_id = await insert_job(connection, paused_at=now())
    paused = await notified.notifications()

    await connection.execute("update tocsin.jobs set paused_at = null where id = $1", job_id)

    assert (paused, await notified.notifications()) == (0, 1)


async def test_an_edit_raises_updated_at_and_an_instances_write_does_not(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection)
    created = (await job_row(connection, job_id))["updated_at"]
    await connection.execute(
        "update tocsin.jobs set locked_until = now() + interval '1 min', locked_by = 'x'"
    )
    claimed = (await job_row(connection, job_id))["updated_at"]
    await connection.execute("update tocsin.jobs set description = 'edited'")
    edited = (await job_row(connection, job_id))["updated_at"]

    assert created == claimed < edited


async def test_a_new_schedule_is_planned_and_clears_the_error(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection, cron="61 * * * *")
    await connection.execute(
        "update tocsin.jobs set plan_error = 'bad minute', planned_at = now() where id = $1", job_id
    )
    invalid = await job_row(connection, job_id)
    run_at = now() + SOON
    await connection.execute(
        "update tocsin.jobs set cron = null, run_at = $2 where id = $1", job_id, run_at
    )
    corrected = await job_row(connection, job_id)

    assert invalid["state"] == "invalid"
    assert (corrected["plan_error"], corrected["next_run"]) == (None, run_at)
    assert corrected["state"] == "scheduled"


async def test_an_edit_of_the_target_does_not_make_a_refused_schedule_right(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection, cron="61 * * * *")
    await connection.execute(
        "update tocsin.jobs set plan_error = 'bad minute', planned_at = now() where id = $1", job_id
    )

    await connection.execute(
        """update tocsin.jobs set target = '{"url": "http://127.0.0.1/"}' where id = $1""", job_id
    )

    job = await job_row(connection, job_id)
    assert (job["planned_at"], job["plan_error"], job["state"]) == (None, None, "scheduled")


async def test_moving_a_pending_retry_keeps_its_run(connection: asyncpg.Connection) -> None:
    job_id = await insert_job(connection)
    before = await job_row(connection, job_id)
    await connection.execute(
        "update tocsin.jobs set attempt = 2, next_run = now() + interval '1 hour', fence = 2, "
        "scheduled_for = scheduled_for, locked_until = now() where id = $1",
        job_id,
    )
    await connection.execute("update tocsin.jobs set locked_until = null where id = $1", job_id)

    await connection.execute("update tocsin.jobs set next_run = now() where id = $1", job_id)
    moved = await job_row(connection, job_id)

    assert (moved["scheduled_for"], moved["attempt"]) == (before["scheduled_for"], 2)


async def test_the_helper_functions_make_and_update_jobs_by_name(
    connection: asyncpg.Connection,
) -> None:
    first = await connection.fetchval(
        "select tocsin.http_job('ping', 'http://127.0.0.1:9000/x', cron => '*/5 * * * *')"
    )
    second = await connection.fetchval(
        "select tocsin.http_job('ping', 'http://127.0.0.1:9000/y', every_seconds => 60)"
    )
    amqp = await connection.fetchval(
        """select tocsin.amqp_job('tell', 'amqp://127.0.0.1/', '', 'queue', '{"a": 1}')"""
    )

    assert first == second
    ping = await job_row(connection, first)
    assert (ping["cron"], ping["every_seconds"]) == (None, 60)
    assert "/y" in ping["target"]
    tell = await job_row(connection, amqp)
    assert tell["kind"] == "amqp"
    assert tell["next_run"] is not None


async def test_partitions_take_over_what_the_default_one_caught(
    connection: asyncpg.Connection,
) -> None:
    partition = f"tocsin.{name_of(await begin_day(connection))}"
    await connection.execute(f"drop table {partition}")
    await connection.execute(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome)
           values (gen_random_uuid(), 'http', now(), 1, 'succeeded')"""
    )

    added = await connection.fetchval("select tocsin.add_partitions(3)")

    assert added == 1
    assert await connection.fetchval("select count(*) from tocsin.executions_default") == 0
    assert await connection.fetchval(f"select count(*) from {partition}") == 1


async def test_pruning_drops_old_days_and_long_finished_one_offs(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        """create table tocsin.executions_20200101 partition of tocsin.executions
           for values from ('2020-01-01 00:00Z') to ('2020-01-02 00:00Z')"""
    )
    finished = await insert_job(connection)
    await connection.execute(
        """update tocsin.jobs set next_run = null, locked_until = now(), last_outcome = 'succeeded',
               last_finished_at = now() - interval '40 days' where id = $1""",
        finished,
    )
    recurring = await insert_job(connection, every_seconds=60)

    pruned = await connection.fetchrow("select * from tocsin.prune(30)")

    assert (pruned["partitions"], pruned["jobs"]) == (1, 1)
    assert await connection.fetchval("select to_regclass('tocsin.executions_20200101')") is None
    assert await connection.fetchval("select array_agg(id) from tocsin.jobs") == [recurring]


OUT_OF_RANGE: list[tuple[str, str]] = [
    ("backoff_seconds = 1e-400", "backoff_seconds"),
    ("backoff_seconds = 1e-7", "backoff_seconds"),
    ("backoff_max_seconds = 1e-400", "backoff_max_seconds"),
    ("backoff_seconds = 'NaN'", "backoff_seconds"),
    ("timeout_seconds = 'Infinity'", "timeout_seconds"),
    ("misfire_grace_seconds = 1e-310", "misfire_grace_seconds"),
    ("every_seconds = round(90, 101), run_at = null", "every_seconds"),
    ("timeout_seconds = round(1, 400)", "timeout_seconds"),
    ("attempt = 2147483647", "attempt"),
    ("attempt = -1", "attempt"),
    ("fence = 9223372036854775807", "fence"),
    ("fence = -1", "fence"),
    ("runs = 9223372036854775807", "runs"),
    ("consecutive_failures = -1", "consecutive_failures"),
    ("execution_id = 7", "execution_id"),
    ("claimed_at = now()", "execution_id"),
    (
        "execution_id = -7, claimed_at = now(), claimed_for = now(), claimed_attempt = 1",
        "execution_id",
    ),
    (
        "execution_id = 7, claimed_at = now(), claimed_for = now(), claimed_attempt = -1",
        "claimed_attempt",
    ),
    ("last_outcome = 'splendid'", "last_outcome"),
    ("description = repeat('x', 10001)", "description"),
    ("tags = array_fill('x'::text, array[101])", "tags"),
    ("tags = array[repeat('x', 201)]", "tags"),
    ("tags = array[repeat(E'x\\n', 50000)]", "tags"),
    ("cron = repeat('x', 129), run_at = null", "cron"),
    ("locked_by = repeat('x', 501)", "locked_by"),
    ("plan_error = repeat('x', 10001)", "plan_error"),
]


@pytest.mark.parametrize(
    ("change", "field"), OUT_OF_RANGE, ids=[change[:50] for change, _ in OUT_OF_RANGE]
)
async def test_no_column_takes_what_an_instance_could_not_work_with(
    connection: asyncpg.Connection, change: str, field: str
) -> None:
    job_id = await insert_job(connection)

    with pytest.raises(asyncpg.CheckViolationError) as by_edit:
        await connection.execute(f"update tocsin.jobs set {change} where id = $1", job_id)
    row = {"kind": "'http'", "target": '\'{"url": "x"}\'', "run_at": "now()"} | parts(change)
    await connection.execute("set session_replication_role = replica")
    with pytest.raises(asyncpg.CheckViolationError) as by_copy:
        await connection.execute(
            f"insert into tocsin.jobs ({', '.join(row)}) values ({', '.join(row.values())})"
        )

    for refused in (by_edit.value, by_copy.value):
        assert refused.column_name == field
        assert refused.hint
        assert refused.message.startswith(field)


def parts(change: str) -> dict[str, str]:
    """Read the columns and the expressions of `a = 1, b = 2`."""
    return dict(part.split(" = ", 1) for part in re.split(r", (?=[a-z_]+ = )", change))


async def test_nobody_can_say_that_a_job_was_judged(connection: asyncpg.Connection) -> None:
    job_id = await insert_job(connection, validated=True)

    with pytest.raises(asyncpg.CheckViolationError):
        await insert_job(connection, validated=True, timeout_seconds=0)
    assert not (await job_row(connection, job_id))["validated"]


async def test_every_instance_looks_twice_within_the_window_in_which_writes_wake_it(
    connection: asyncpg.Connection,
) -> None:
    window = await connection.fetchval("select tocsin.wake_window()")
    in_trigger = await connection.fetchval(
        "select substring(pg_get_triggerdef(oid) from $1)::interval from pg_trigger "
        "where tgname = 'jobs_900_wake_update'",
        r"clock_timestamp\(\) \+ '([^']+)'",
    )

    assert window == in_trigger
    assert window >= 2 * timedelta(seconds=Settings().longest_sleep_seconds)
