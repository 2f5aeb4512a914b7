"""The clock of the database jumps ahead and back while instances run."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import monotonic

import asyncpg
import pytest

from app.core.facts import ClockSetBack, Settled
from app.db import Database, checks, idempotency, upkeep
from app.scheduler.alerts import Alerting
from app.scheduler.clock_steps import mend
from app.scheduler.upkeep import keep_up_once
from app.telemetry import Observers
from tests.support.alerts import insert_rule, told
from tests.support.builders import insert_job, job_row
from tests.support.faketime import Clock
from tests.support.instances import StartInstance
from tests.support.postgres import PostgresServer
from tests.support.sink import Behaviour, Received, Sink, Wire, reply
from tests.support.waiting import until

MINUTE, DAY = 60.0, 86_400.0
QUICK = {"lease_seconds": 3.0, "longest_sleep_seconds": 1.0}
DIGEST = bytes(32)
LONG_BELIEVED = {"lease_seconds": 60.0, "longest_sleep_seconds": 1.0}
"""So that a jump of the clock is not believed in the time that a test takes."""
HOLD_SECONDS = 3.0
"""The larger of the lease and twice the longest sleep."""


@pytest.fixture
def database_url(stepping: tuple[PostgresServer, Clock]) -> Iterator[str]:
    with stepping[0].database() as url:
        yield url


async def outcomes(connection: asyncpg.Connection) -> list[str]:
    return [
        row["outcome"] for row in await connection.fetch("select outcome from tocsin.executions")
    ]


def held(release: asyncio.Event) -> Behaviour:
    async def behave(wire: Wire, _: Received) -> None:
        await release.wait()
        await wire.write(reply())

    return behave


def times_called(sink: Sink, path: str) -> int:
    return sum(one.path == path for one in sink.requests)


async def calls(sink: Sink, path: str, count: int) -> None:
    async def called() -> bool:
        return times_called(sink, path) >= count

    await until(called, f"{count} calls of {path}", within=30.0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seconds", [5 * MINUTE, 60 * DAY])
async def test_a_clock_that_jumps_ahead_and_back_has_nothing_delivered_twice_or_too_soon(
    instance: StartInstance,
    connection: asyncpg.Connection,
    clock: Clock,
    sink: Sink,
    seconds: float,
) -> None:
    release = asyncio.Event()
    sink.on("/slow", held(release))
    async with instance(**QUICK), instance(**QUICK):
        await insert_job(connection, target={"url": sink.url("/slow")})
        await insert_job(connection, target={"url": sink.url("/beat")}, every_seconds=1)
        tomorrow = await connection.fetchval("select now() + interval '4 minutes'")
        await insert_job(connection, target={"url": sink.url("/later")}, run_at=tomorrow)
        await calls(sink, "/slow", 1)
        await calls(sink, "/beat", 1)

        clock.set(seconds)
        await asyncio.sleep(HOLD_SECONDS - 1.0)
        clock.set(0)
        await calls(sink, "/beat", times_called(sink, "/beat") + 3)
        await asyncio.sleep(2 * HOLD_SECONDS)
        release.set()
        await until(
            lambda: connection.fetchval(
                "select count(*) = 1 from tocsin.executions where scheduled_for is not null"
                " and job_id in (select id from tocsin.jobs where target->>'url' like '%/slow')"
            ),
            "it is settled",
        )

    assert (times_called(sink, "/slow"), times_called(sink, "/later")) == (1, 0)
    assert set(await outcomes(connection)) == {"succeeded"}


@pytest.mark.timeout(120)
async def test_a_clock_that_stays_ahead_is_followed_and_nothing_is_delivered_twice(
    instance: StartInstance, connection: asyncpg.Connection, clock: Clock, sink: Sink
) -> None:
    release = asyncio.Event()
    sink.on("/slow", held(release))
    async with instance(**QUICK), instance(**QUICK):
        await insert_job(connection, target={"url": sink.url("/slow")})
        soon = await connection.fetchval("select now() + interval '4 minutes'")
        await insert_job(connection, target={"url": sink.url("/later")}, run_at=soon)
        await calls(sink, "/slow", 1)

        clock.set(5 * MINUTE)
        await calls(sink, "/later", 1)
        await asyncio.sleep(HOLD_SECONDS)
        release.set()

    assert times_called(sink, "/slow") == 1
    assert set(await outcomes(connection)) == {"succeeded"}


@pytest.mark.timeout(120)
async def test_recurring_jobs_and_retries_go_on_after_a_clock_that_was_ahead_is_set_back(
    instance: StartInstance, connection: asyncpg.Connection, clock: Clock, sink: Sink
) -> None:
    release = asyncio.Event()
    sink.on("/under-way", held(release))
    sink.on("/fails", *[reply(503)] * 2)
    clock.set(60 * DAY)
    async with instance(**QUICK) as (_, facts):
        await insert_job(connection, target={"url": sink.url("/under-way")}, every_seconds=1)
        await insert_job(connection, target={"url": sink.url("/beat")}, every_seconds=1)
        await insert_job(connection, target={"url": sink.url("/cron")}, cron="* * * * * *")
        await insert_job(connection, target={"url": sink.url("/fails")}, backoff_seconds=3)
        daily = await insert_job(connection, target={"url": sink.url("/daily")}, cron="0 3 * * *")
        for path in ("/beat", "/cron", "/fails", "/under-way"):
            await calls(sink, path, 1)

        clock.set(0)
        await facts.seen(ClockSetBack, within=30.0)
        release.set()
        await calls(sink, "/beat", times_called(sink, "/beat") + 3)
        await calls(sink, "/cron", times_called(sink, "/cron") + 3)
        await calls(sink, "/fails", 2)
        await calls(sink, "/under-way", 2)

    moved = await job_row(connection, daily)
    assert timedelta() < moved["next_run"] - datetime.now(UTC) <= timedelta(days=1)
    assert moved["last_finished_at"] is None  # it never ran


@pytest.mark.timeout(120)
async def test_an_instance_that_starts_after_the_clock_was_set_back_puts_plans_right(
    instance: StartInstance, connection: asyncpg.Connection, clock: Clock, sink: Sink
) -> None:
    clock.set(60 * DAY)
    async with instance(**QUICK):
        await insert_job(connection, target={"url": sink.url("/beat")}, every_seconds=1)
        await calls(sink, "/beat", 1)
    dead = await insert_job(
        connection,
        target={"url": sink.url("/held")},
        next_run=await in_60_days(connection),
        every_seconds=3600,
    )
    await connection.execute(
        """update tocsin.jobs set locked_by = 'dead', locked_until = now() + interval '3 s',
               fence = 1, attempt = 1, execution_id = nextval('tocsin.executions_id_seq'),
               claimed_at = now(), claimed_for = next_run, claimed_attempt = 1,
               next_run = now() - interval '60 days', scheduled_for = now() - interval '60 days'
           where id = $1""",
        dead,
    )

    clock.set(0)
    async with instance(**QUICK) as (_, facts):
        await facts.seen(ClockSetBack, within=30.0)
        await calls(sink, "/beat", times_called(sink, "/beat") + 2)
        await calls(sink, "/held", 1)


async def in_60_days(connection: asyncpg.Connection) -> object:
    return await connection.fetchval("select now() + interval '60 days'")


async def test_a_clock_that_is_ahead_costs_no_history(
    database_url: str, connection: asyncpg.Connection, clock: Clock
) -> None:
    async with housekeeper(database_url) as session:
        usual = await followed(session)
        clock.set(60 * DAY)
        passes = [await followed(session) for _ in range(20)]
        clock.set(0)
        again = await followed(session)

    assert all(one - usual < timedelta(days=2.1) for one in passes)
    assert abs(again - usual) < timedelta(minutes=1)


async def test_a_clock_that_is_ahead_costs_no_window_of_maintenance(
    database_url: str, connection: asyncpg.Connection, clock: Clock
) -> None:
    async with housekeeper(database_url) as session:
        await followed(session)
        for days in (-40, 7):
            await connection.execute(
                """insert into tocsin.maintenance (starts_at, ends_at)
                   values (now() + $1 * interval '1 day', now() + ($1 + 1) * interval '1 day')""",
                days,
            )
        clock.set(60 * DAY)
        await connection.execute("select tocsin.replan_maintained(100)")
        clock.set(0)

    left = await connection.fetch(
        "select ends_at > now() as is_yet_to_come from tocsin.maintenance"
    )
    assert [row["is_yet_to_come"] for row in left] == [True]


@pytest.mark.timeout(60)
async def test_a_clock_that_is_ahead_raises_no_alarm(
    instance: StartInstance,
    connection: asyncpg.Connection,
    clock: Clock,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = ("late", "not_succeeded", "backlog")
    passes = Counter[bool]()
    is_ahead = Alerting.is_ahead

    def counted(alerting: Alerting, now: datetime) -> bool:
        passes[ahead := is_ahead(alerting, now)] += 1
        return ahead

    async def passed(*, ahead: bool) -> None:
        many = passes[ahead] + 3

        async def have() -> bool:
            return passes[ahead] >= many

        await until(have, "passes of alerting", within=20)

    monkeypatch.setattr(Alerting, "is_ahead", counted)
    async with instance(**LONG_BELIEVED):
        daily = await insert_job(connection, target={"url": sink.url("/daily")}, cron="0 3 * * *")
        for event in events:
            about = {"job_id": daily} if event == "not_succeeded" else {}
            await insert_rule(connection, name=event, events=(event,), seconds=3600, **about)
        await insert_job(connection, target={"url": sink.url("/failed")})
        await calls(sink, "/failed", 1)

        await passed(ahead=False)
        clock.set(60 * DAY)
        await passed(ahead=True)
        clock.set(0)
        await passed(ahead=False)

    assert await told(connection) == []


async def test_a_clock_that_is_ahead_ends_no_answer_that_is_kept(
    database_url: str, connection: asyncpg.Connection, clock: Clock
) -> None:
    believed = await connection.fetchval("select now() + interval '1 hour'")

    async def pass_over() -> bool:
        return await keep_up_once(
            database_url,
            Observers(),
            instance="test",
            retention_days=30,
            clock=monotonic,
            believed=lambda: believed,
        )

    async with housekeeper(database_url) as session:
        assert await pass_over()
        assert await idempotency.begin(session, DIGEST, request=DIGEST, owner="me") is None
        await idempotency.keep(session, DIGEST, status=200, headers={}, answer=b"")
        clock.set(60 * DAY)
        assert await pass_over()
        kept = await idempotency.begin(session, DIGEST, request=DIGEST, owner="me")
        clock.set(0)

    assert kept is not None


async def test_the_first_pass_trusts_a_clock_as_far_as_days_are_ready(
    database_url: str, clock: Clock
) -> None:
    clock.set(60 * DAY)

    async with housekeeper(database_url) as session:
        kept = await followed(session)
        now = (await session.fetch("instances.clock"))[0]["now"]

    assert now - kept > timedelta(days=80)


async def followed(session: Database) -> datetime:
    """From when on history is kept after one more pass of housekeeping."""
    await upkeep.follow_clock(session)
    return await upkeep.read_keep_from(session, retention_days=30)


def housekeeper(url: str) -> AbstractAsyncContextManager[Database]:
    return Database.connect(url, application_name="test")


async def test_pings_that_came_while_the_clock_was_ahead_hide_nothing_of_those_after(
    db: Database, connection: asyncpg.Connection, clock: Clock
) -> None:
    id = await insert_job(connection, name="backup", kind="check", cron="0 3 * * *", target={})
    token = await connection.fetchval("select tocsin.check_token('backup')")
    digest = sha256(token.encode()).digest()

    async def ping(action: str) -> None:
        said = await connection.fetchval("select tocsin.ping($1, $2)", digest, action)
        assert said == "ok"

    async def status() -> str:
        return str((await checks.find(db, str(id))).status)

    clock.set(60 * DAY)
    await ping("start")
    await ping("success")
    clock.set(0)
    await ping("start")
    assert await status() == "started"
    await connection.execute("select pg_sleep(0.1)")
    await ping("success")
    assert await status() == "up"
    took = await connection.fetchval(
        "select extract(epoch from finished_at - started_at) from tocsin.executions "
        "order by id desc limit 1"
    )
    assert 0.1 <= took < 10


@pytest.mark.timeout(60)
async def test_what_a_target_asks_for_while_the_clock_is_ahead_holds_its_flow_no_longer(
    instance: StartInstance, connection: asyncpg.Connection, clock: Clock, sink: Sink
) -> None:
    release = asyncio.Event()

    async def busy(wire: Wire, _: Received) -> None:
        await release.wait()
        await wire.write(reply(429, headers={"Retry-After": "1"}))

    sink.on("/busy", busy)
    async with instance(**QUICK) as (_, facts):
        await insert_job(
            connection, target={"url": sink.url("/busy")}, flow_key="f", max_attempts=1
        )
        await calls(sink, "/busy", 1)
        clock.set(60 * DAY)
        release.set()
        await facts.seen(Settled)

        async def is_held() -> bool:
            return bool(
                await connection.fetchval("select count(held_until) from tocsin.flow_states")
            )

        await until(is_held, "the flow is held")
        clock.set(0)
        await insert_job(connection, target={"url": sink.url("/next")}, flow_key="f")
        await calls(sink, "/next", 1)


async def test_a_flow_goes_on_whatever_a_clock_that_was_believed_has_left_behind(
    instance: StartInstance, db: Database, connection: asyncpg.Connection, sink: Sink
) -> None:
    await connection.execute(
        """insert into tocsin.flows (flow_key, rate, period_seconds)
           values ('f', 1, 60), ('g', 1, 60);
           insert into tocsin.flow_states (flow_key, held_until, held_for, waiting_since)
           values ('f', now() + interval '60 days', 'it was asked for', now() + interval '60 days'),
               ('h', now() + interval '1 hour', 'it was asked for', null),
               ('i', now() + interval '60 days', 'it was asked for', null);
           insert into tocsin.flow_starts (flow_key, granted_at, instance, many, latest)
           values ('g', now() + interval '60 days', 'gone', 1, now() + interval '60 days')"""
    )

    await mend(db, lease_seconds=3.0)

    kept = await connection.fetch("select * from tocsin.flow_states order by flow_key")
    assert [row["held_until"] is not None for row in kept] == [False, True, False]
    assert [row["waiting_since"] is not None for row in kept] == [True, False, False]
    assert await connection.fetchval("select latest <= clock_timestamp() from tocsin.flow_starts")
    async with instance():
        await insert_job(connection, target={"url": sink.url("/f")}, flow_key="f")
        await calls(sink, "/f", 1)
