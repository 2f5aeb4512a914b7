"""Targets that people write in SQL long before their run are judged soon after their COMMIT."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest

from app.core.facts import Settled
from app.db import Database, targets
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.history import finished_jobs
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

FAR = datetime(2100, 1, 1, tzinfo=UTC)
PAST = datetime(2026, 1, 1, tzinfo=UTC)
QUIET_SECONDS = 0.3
MAX_LATE_SECONDS = 3.0
"""On a busy machine; whoever waits for other people's targets waits for longer."""
GOOD = {"url": "http://h/"}
BAD = {"url": "ftp://bad"}
BAD_AMQP = {"url": "amqp://host/", "exchange": "", "routing_key": "queue", "priority": 4711}


async def refused(connection: asyncpg.Connection, job_id: UUID) -> None:
    """Wait until the target of a job is refused."""

    async def is_refused() -> bool:
        return "target" in ((await job_row(connection, job_id))["plan_error"] or "")

    await until(is_refused, "it was refused")


async def checked(connection: asyncpg.Connection, job_id: UUID) -> None:
    """Wait until the target of a job is found to be right."""

    async def is_checked() -> bool:
        job = await job_row(connection, job_id)
        return job["unchecked"] is False and job["plan_error"] is None

    await until(is_checked, "it was checked")


async def retarget(connection: asyncpg.Connection, job_id: UUID, url: str) -> None:
    await connection.execute(
        "update tocsin.jobs set target = jsonb_build_object('url', $2::text) where id = $1",
        job_id,
        url,
    )


async def insert_many(connection: asyncpg.Connection, count: int, *, kind: str, url: str) -> None:
    """Insert one-offs of a far day, in one statement."""
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at)
           select $2, jsonb_build_object('url', $3::text), $4 from generate_series(1, $1)""",
        count,
        kind,
        url,
        FAR,
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"run_at": FAR},
        {"cron": "0 0 1 1 *"},
        {"every_seconds": 86_400},
        {"every_seconds": 30},
        {"run_at": FAR, "paused_at": PAST},
        {"run_at": FAR, "timezone": "Europe/Paris"},
        {"run_at": FAR, "next_run": FAR, "planned_at": PAST},
        {"run_at": FAR, "unchecked": None},
    ],
    ids=["one-off", "cron", "interval", "short", "paused", "zoned", "planned", "unmarked"],
)
async def test_a_target_of_long_before_its_run_is_refused_within_seconds(
    instance: StartInstance, connection: asyncpg.Connection, columns: dict[str, Any]
) -> None:
    async with instance():
        job_id = await insert_job(connection, target=BAD, **columns)
        await refused(connection, job_id)
        first = await job_row(connection, job_id)
        await retarget(connection, job_id, "http://h/")
        await checked(connection, job_id)
        second = await job_row(connection, job_id)
        await retarget(connection, job_id, "ftp://bad")
        await refused(connection, job_id)

    assert (first["state"], "target.url" in first["plan_error"]) == ("invalid", True)
    assert first["next_run"] == second["next_run"]
    assert first["fence"] == 0
    assert await execution_rows(connection, job_id) == []


async def test_a_target_for_a_broker_is_judged_too(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    async with instance():
        job_id = await insert_job(connection, kind="amqp", target=BAD_AMQP, run_at=FAR)
        await refused(connection, job_id)

    assert "target.priority" in (await job_row(connection, job_id))["plan_error"]


async def test_what_the_next_run_would_have_judged_is_judged_when_that_is_put_off(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=50)

    async with instance():
        moved = await insert_job(connection, target=BAD, run_at=soon)
        paused = await insert_job(connection, target=BAD, run_at=soon)
        await connection.execute("update tocsin.jobs set run_at = $2 where id = $1", moved, FAR)
        await connection.execute("update tocsin.jobs set paused_at = now() where id = $1", paused)
        await refused(connection, moved)
        await refused(connection, paused)


async def test_who_takes_the_error_away_without_its_cause_gets_it_again(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    async with instance():
        job_id = await insert_job(connection, target=BAD, run_at=FAR)
        await refused(connection, job_id)
        await connection.execute("update tocsin.jobs set plan_error = null where id = $1", job_id)
        await refused(connection, job_id)


async def test_targets_that_came_without_triggers_or_an_instance_are_judged_at_the_next_look(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    before = await insert_job(connection, target=BAD, run_at=FAR)
    async with instance(longest_sleep_seconds=1):
        await refused(connection, before)
        await connection.execute("set session_replication_role = replica")
        planned = {"run_at": FAR, "next_run": FAR, "scheduled_for": FAR, "planned_at": PAST}
        restored = await insert_job(connection, target=BAD, **planned)
        await refused(connection, restored)


async def test_a_target_is_not_refused_for_what_may_be_set_until_its_run(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    async with instance():
        for url, more in (
            ("http://h/${secret:UNSET}", {}),
            ("http://10.0.0.1/", {"headers": {"Authorization": "Bearer ${secret:UNSET}"}}),
            ("http://h/", {"auth": {"type": "bearer", "token": "encrypted.v2.k.AAAA"}}),
        ):
            job_id = await insert_job(connection, target={"url": url, **more}, run_at=FAR)
            await checked(connection, job_id)


async def test_a_writer_that_notified_nobody_and_commits_late_is_not_forgotten(
    database_url: str, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    other = await asyncpg.connect(database_url)
    async with instance(longest_sleep_seconds=30):
        await connection.execute("begin")
        first = await insert_job(connection, target=BAD, run_at=FAR)
        await connection.execute("commit")
        await other.execute("begin")
        second = await insert_job(other, target=BAD, run_at=FAR)
        await refused(connection, first)
        await other.execute("commit")
        await refused(connection, second)
    await other.close()


async def test_targets_that_others_judge_cost_nothing(
    db: Database, connection: asyncpg.Connection
) -> None:
    soon = await insert_job(connection)
    written = await insert_job(connection, run_at=FAR)
    api = await insert_job(connection, run_at=FAR, unchecked=False)

    marks = [(await job_row(connection, one))["unchecked"] for one in (soon, api, written)]
    found = await targets.list_unchecked(db, kinds=("http", "amqp"), aside=())

    assert marks == [None, False, True]
    assert [one.job_id for one in found] == [written]


async def test_a_job_that_has_finished_is_left_alone(
    connection: asyncpg.Connection, db: Database
) -> None:
    await finished_jobs(connection, 3, days_ago=40)
    await connection.execute("update tocsin.jobs set unchecked = true")

    assert await targets.list_unchecked(db, kinds=("http",), aside=()) == []


async def test_an_edit_by_the_api_of_something_else_leaves_the_target_to_be_checked(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, target=BAD, run_at=FAR)

    answer = await api.patch(f"/v1/jobs/{job_id}", json={"description": "mine"})

    assert answer.status_code == 200
    assert (await job_row(connection, job_id))["unchecked"] is True


async def test_whatever_the_api_writes_it_has_judged(
    api: httpx.AsyncClient, db: Database, connection: asyncpg.Connection
) -> None:
    http = {"kind": "http", "target": {"url": "http://h/"}}
    far = {"run_at": FAR.isoformat()}
    marks = set()
    for document in (http | far, http | {"cron": "0 0 1 1 *"}, http | {"every_seconds": 86_400}):
        job = (await api.put("/v1/jobs/one", json=document)).json()
        for number in range(3):
            patch = {"target": {"url": f"http://h/{number}"}}
            answer = await api.patch(f"/v1/jobs/{job['id']}", json=patch)
            assert answer.status_code == 200
            marks.add((await job_row(connection, UUID(job["id"])))["unchecked"])

    assert True not in marks
    assert await targets.list_unchecked(db, kinds=("http", "amqp"), aside=()) == []


async def test_many_writers_notify_once_until_their_targets_are_checked(
    database_url: str, connection: asyncpg.Connection
) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(database_url)
    for channel in ("tocsin_jobs", "tocsin_targets"):
        await listener.add_listener(channel, lambda *it: heard.append(it[-2]))
    written = [await insert_job(connection, run_at=FAR) for _ in range(20)]
    await asyncio.sleep(QUIET_SECONDS)
    first = heard.copy()
    await connection.execute("update tocsin.jobs set unchecked = false")
    await retarget(connection, written[7], "http://other/")
    await asyncio.sleep(QUIET_SECONDS)
    await listener.close()

    assert first == ["tocsin_targets"]
    assert heard == ["tocsin_targets"] * 2


async def test_a_session_asks_once_a_second_whether_to_notify(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute("set track_functions = 'all'")
    async with connection.transaction():
        began = await connection.fetchval("select clock_timestamp()")
        for _ in range(3):
            await insert_many(connection, 100, kind="http", url="http://h/")
        asked, ended = await connection.fetchrow(
            """select calls, clock_timestamp() from pg_stat_xact_user_functions
               where funcname = 'wake_to_check'"""
        )

    assert asked >= 1
    assert asked <= (ended - began).total_seconds() + 2


async def test_a_notification_that_was_rolled_back_is_sent_by_the_next_writer(
    database_url: str, connection: asyncpg.Connection
) -> None:
    heard = asyncio.Event()
    listener = await asyncpg.connect(database_url)
    await listener.add_listener("tocsin_targets", lambda *_: heard.set())
    for undo in ("rollback", "rollback to before"):
        heard.clear()
        await connection.execute("begin; savepoint before")
        await insert_job(connection, run_at=FAR)
        await connection.execute(undo)
        await insert_job(connection, run_at=FAR)
        if undo != "rollback":
            await connection.execute("commit")

        async with asyncio.timeout(10):
            await heard.wait()
        await connection.execute("delete from tocsin.jobs; set tocsin.woken_to_check = ''")
    await listener.close()


async def test_a_target_written_right_after_another_was_deleted_is_judged(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    async with instance(longest_sleep_seconds=30):
        for _ in range(5):
            first = await insert_job(connection, target=BAD, run_at=FAR)
            await connection.execute("delete from tocsin.jobs where id = $1", first)
        last = await insert_job(connection, target=BAD, run_at=FAR)
        await refused(connection, last)


async def test_targets_to_check_are_read_a_megabyte_at_a_time_as_they_are_written_out(
    db: Database, connection: asyncpg.Connection
) -> None:
    """Stored, each takes a few hundred bytes."""
    await connection.execute(
        """insert into tocsin.jobs (kind, run_at, target)
           select 'http', $1, jsonb_build_object('url', 'http://h/', 'json', '1e131071'::jsonb)
           from generate_series(1, 40)""",
        FAR,
    )

    found = await targets.list_unchecked(db, kinds=("http",), aside=())

    assert found
    assert sum(len(msgspec.json.encode(one.target)) for one in found) <= 2 * 2**20


async def test_a_target_that_is_too_large_to_read_keeps_no_other_from_being_checked(
    db: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute("set session_replication_role = replica")
    await connection.execute(
        """insert into tocsin.jobs
               (kind, run_at, next_run, planned_at, validated, unchecked, target)
           values ('http', $1, $1, $1, true, true,
               '{"url": "http://h/", "json": [1e131071, 1e131071, 1e131071]}')""",
        FAR,
    )
    await connection.execute("reset session_replication_role")
    written = await insert_job(connection, run_at=FAR)

    found = await targets.list_unchecked(db, kinds=("http",), aside=())

    assert [one.job_id for one in found] == [written]


async def test_targets_of_kinds_that_nobody_has_hold_up_no_others(
    db: Database, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    await insert_many(connection, 1000, kind="a_typo", url="x")
    await insert_many(connection, 1000, kind="zzz_typo", url="x")
    async with instance():
        job_id = await insert_job(connection, target=BAD, run_at=FAR)
        await refused(connection, job_id)

    assert await targets.list_unchecked(db, kinds=("http", "amqp"), aside=()) == []


@pytest.mark.alone
async def test_due_jobs_of_a_kind_that_nobody_has_make_no_job_late(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at)
           select 'htpt', '{}', now() - interval '1 hour' from generate_series(1, 1000)"""
    )
    async with instance() as (_, facts):
        for _ in range(20):
            await insert_job(connection, target={"url": sink.url("/")})
        await facts.seen(Settled, count=20, within=60.0)

    late = await connection.fetchval(
        """select extract(epoch from max(e.started_at - j.created_at))
           from tocsin.executions e join tocsin.jobs j on j.id = e.job_id"""
    )
    assert late < MAX_LATE_SECONDS
    assert (
        await connection.fetchval(
            "select count(*) from tocsin.jobs where kind = 'htpt' and fence = 0"
        )
        == 1000
    )


async def test_rows_that_somebody_has_locked_hold_up_no_others(
    database_url: str, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    await insert_many(connection, 500, kind="http", url="ftp://bad")
    other = await asyncpg.connect(database_url)
    await other.execute("begin; select from tocsin.jobs for update")
    async with instance():
        job_id = await insert_job(connection, target=BAD, run_at=FAR)
        await refused(connection, job_id)
        unjudged = await connection.fetchval("select count(*) from tocsin.jobs where unchecked")
        await other.execute("rollback")

    assert unjudged == 500
    await other.close()


async def test_a_row_that_takes_no_verdict_is_put_aside_and_the_others_are_judged(
    instance: StartInstance, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """create function public.refuse_verdict() returns trigger language plpgsql as
           $$ begin raise exception 'not this one'; end $$;
           create trigger verdicts before update on tocsin.jobs for each row
               when (new.name = 'odd' and new.unchecked is false)
               execute function public.refuse_verdict()"""
    )
    async with connection.transaction():
        odd = await insert_job(connection, name="odd", target=GOOD, run_at=FAR)
        others = [await insert_job(connection, target=BAD, run_at=FAR) for _ in range(5)]

    async def put_aside() -> bool:
        return "not this one" in ((await job_row(connection, odd))["plan_error"] or "")

    async with instance(longest_sleep_seconds=1):
        for one in others:
            await refused(connection, one)
        await until(put_aside, "the odd one says why")


async def test_an_edit_wins_over_the_verdict_on_what_was_before(
    db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, target=BAD, run_at=FAR)
    [found] = await targets.list_unchecked(db, kinds=("http",), aside=())
    await retarget(connection, job_id, "http://h/")

    verdict = targets.Verdict(job_id=job_id, edited_at=found.edited_at, plan_error="target is bad")

    assert (await targets.write_verdicts(db, [verdict])).written == []
    assert (await job_row(connection, job_id))["plan_error"] is None


async def test_a_job_that_is_executing_keeps_its_lease_whatever_its_new_target(
    db: Database, connection: asyncpg.Connection
) -> None:
    leased = await connection.fetchval("select now() + interval '1 minute'")
    job_id = await insert_job(connection, target=GOOD, every_seconds=3600)
    await plan_jobs(db)
    await connection.execute(
        """update tocsin.jobs set planned_at = now(), locked_until = $2, locked_by = 'x',
               execution_id = 1, claimed_at = now(), claimed_for = now(), claimed_attempt = 1
           where id = $1""",
        job_id,
        leased,
    )
    await retarget(connection, job_id, "ftp://bad")
    [found] = await targets.list_unchecked(db, kinds=("http",), aside=())
    verdict = targets.Verdict(job_id=job_id, edited_at=found.edited_at, plan_error="target is bad")

    assert (await targets.write_verdicts(db, [verdict])).written == []
    job = await job_row(connection, job_id)
    assert (job["locked_until"], job["plan_error"], job["unchecked"]) == (leased, None, True)


@pytest.mark.alone
async def test_ten_thousand_targets_to_check_make_no_job_late(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async def all_refused() -> bool:
        return not await connection.fetchval("select bool_or(unchecked) from tocsin.jobs")

    async with instance() as (_, facts):
        await insert_many(connection, 10_000, kind="http", url="ftp://bad")
        on_time = [
            await insert_job(
                connection,
                target={"url": sink.url("/")},
                run_at=datetime.now(UTC) + timedelta(seconds=0.2 * number),
            )
            for number in range(20)
        ]
        await facts.seen(Settled, count=len(on_time), within=60.0)
        await until(all_refused, "all were judged", within=120.0)

    late = await connection.fetchval(
        """select extract(epoch from max(e.started_at - greatest(e.scheduled_for, j.created_at)))
           from tocsin.executions e join tocsin.jobs j on j.id = e.job_id"""
    )
    assert late < MAX_LATE_SECONDS
    assert (
        await connection.fetchval(
            "select count(*) from tocsin.jobs where plan_error like '%target.url%'"
        )
        == 10_000
    )


async def test_nobody_gets_around_the_rules_for_jobs_by_a_mark(
    connection: asyncpg.Connection,
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await insert_job(connection, run_at=FAR, validated=True, unchecked=False, max_attempts=0)
    job_id = await insert_job(connection, run_at=FAR)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(
            """update tocsin.jobs set validated = true, unchecked = false, max_attempts = 0
               where id = $1""",
            job_id,
        )
