"""What the README promises, kept by processes: several instances, real Postgres, real receivers."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import aio_pika
import asyncpg
import pytest

from app.scheduler.checking import AGAIN_SECONDS
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.cluster import Processes
from tests.support.sink import Sink
from tests.support.waiting import until

STORM = 5000
IDLE_SECONDS = 35.0
FOUR_A_MINUTE = 4.0 * IDLE_SECONDS / 60
LATE = timedelta(milliseconds=50)


async def test_a_row_typed_in_fires_on_time_while_the_instance_sleeps(
    processes: Processes, connection: asyncpg.Connection, sink: Sink
) -> None:
    await processes.instance()
    lateness = []
    for number in range(5):
        run_at = datetime.now(UTC) + timedelta(seconds=0.5)
        await insert_job(connection, target={"url": sink.url(f"/{number}")}, run_at=run_at)
        request = (await sink.arrived(number + 1))[number]
        lateness.append(datetime.fromtimestamp(request.wall, UTC) - run_at)

    assert min(lateness) >= timedelta(0)
    assert sorted(lateness)[2] < LATE


async def test_five_thousand_jobs_due_at_once_are_each_executed_exactly_once(
    processes: Processes, connection: asyncpg.Connection, sink: Sink
) -> None:
    for _ in range(4):
        await processes.instance()

    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at)
           select 'http', jsonb_build_object('url', $1::text || n), now()
           from generate_series(1, $2::int) n""",
        sink.url("/"),
        STORM,
    )
    recorded = "select count(*) from tocsin.executions where outcome = 'succeeded'"

    async def all_recorded() -> bool:
        return bool(await connection.fetchval(recorded) == STORM)

    await until(all_recorded, "every job was recorded", within=90)
    assert len(sink.requests) == STORM
    assert set(Counter(request.path for request in sink.requests).values()) == {1}
    left = "select count(*) from tocsin.jobs where next_run is not null or locked_until is not null"
    assert await connection.fetchval(left) == 0
    shared_by = "select count(distinct instance) from tocsin.executions"
    assert await connection.fetchval(shared_by) == 4


async def test_a_cron_with_seconds_fires_on_each_second_exactly_once_with_two_instances(
    processes: Processes, connection: asyncpg.Connection, sink: Sink
) -> None:
    await processes.instance()
    await processes.instance()
    target = {"url": sink.url("/second")}

    job_id = await insert_job(connection, cron="* * * * * *", target=target)

    async def ten_fired() -> bool:
        return len(sink.requests) >= 10

    await until(ten_fired, "ten seconds fired", within=20)
    await connection.execute("update tocsin.jobs set paused_at = now()")

    async def settled() -> bool:
        return (await job_row(connection, job_id))["locked_until"] is None

    await until(settled, "the last one settled")
    times = [row["scheduled_for"] for row in await execution_rows(connection, job_id)]
    assert times == [times[0] + timedelta(seconds=second) for second in range(len(times))]
    announced = [request.headers["tocsin-scheduled-for"] for request in sink.requests]
    assert announced == [f"{time:%Y-%m-%dT%H:%M:%S}Z" for time in times]


@pytest.mark.timeout(180)
async def test_a_sleeping_instance_asks_at_most_four_questions_a_minute(
    processes: Processes, connection: asyncpg.Connection, sink: Sink
) -> None:
    await connection.execute("create extension if not exists pg_stat_statements")
    await processes.instance()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await insert_job(connection, target={"url": sink.url("/")}, run_at=tomorrow)
    asked = """select coalesce(sum(calls), 0)::int from pg_stat_statements
               where dbid = (select oid from pg_database where datname = current_database())
                 and query not like '%pg_stat_statements%'"""
    await asyncio.sleep(1 + sum(AGAIN_SECONDS))  # so long after a write targets are looked for
    before = await connection.fetchval(asked)
    await asyncio.sleep(IDLE_SECONDS)
    after = await connection.fetchval(asked)

    assert 1 <= after - before <= FOUR_A_MINUTE


async def test_an_amqp_job_arrives_in_a_queue_with_its_properties(
    processes: Processes, connection: asyncpg.Connection, amqp_url: str
) -> None:
    await processes.instance()
    client = await aio_pika.connect(amqp_url)
    async with client:
        channel = await client.channel()
        queue = await channel.declare_queue("tocsin-e2e", auto_delete=True)
        target = {
            "url": amqp_url,
            "exchange": "",
            "routing_key": queue.name,
            "json": {"total": 3},
            "headers": {"x-tenant": 7},
            "priority": 4,
            "correlation_id": "c-1",
            "reply_to": "answers",
            "type": "invoice",
        }
        job_id = await insert_job(connection, kind="amqp", target=target, name="invoice")
        [execution] = await executed(connection, job_id)
        message = await queue.get()
        await message.ack()

    assert execution["outcome"] == "succeeded"
    run = f"{execution['scheduled_for'].isoformat().replace('+00:00', 'Z')}"
    assert message.body == b'{"total":3}'
    assert message.message_id == f"{job_id}:{run}"
    assert (message.app_id, message.content_type) == ("tocsin", "application/json")
    assert (message.priority, message.correlation_id) == (4, "c-1")
    assert (message.reply_to, message.type) == ("answers", "invoice")
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.headers["x-tenant"] == 7
    assert message.headers["Tocsin-Job-Name"] == "invoice"


async def test_an_unroutable_message_is_a_failed_execution_that_says_why(
    processes: Processes, connection: asyncpg.Connection, amqp_url: str
) -> None:
    await processes.instance()
    target = {"url": amqp_url, "exchange": "", "routing_key": "nobody-has-this-queue", "body": "x"}

    job_id = await insert_job(connection, kind="amqp", target=target, max_attempts=1)

    [execution] = await executed(connection, job_id)
    assert (execution["outcome"], execution["reason"]) == ("failed", "unroutable")
    assert execution["error"] == "no queue takes this exchange and routing key"
    assert (await job_row(connection, job_id))["state"] == "failed"


async def executed(connection: asyncpg.Connection, job_id: object) -> list[asyncpg.Record]:
    """Wait for the first execution of the job."""

    async def any_recorded() -> bool:
        return bool(
            await connection.fetchval(
                "select exists (select from tocsin.executions where job_id = $1)", job_id
            )
        )

    await until(any_recorded, "it was executed", within=15)
    rows: list[asyncpg.Record] = await connection.fetch(
        "select * from tocsin.executions where job_id = $1", job_id
    )
    return rows
