"""The calls by which a watch from outside knows that jobs start on time."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic

import asyncpg
import pytest

from app.core.facts import Faulted
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink, hang_up, reply, silent_server
from tests.support.waiting import until

BEATS = {"heartbeat_seconds": 0.05, "heartbeat_late_seconds": 1.0}


async def test_an_instance_beats_at_intervals(instance: StartInstance, sink: Sink) -> None:
    async with instance(heartbeat_url=sink.url("/beat/s3cret"), **BEATS):
        requests = await sink.arrived(3)

    assert {(one.method, one.path) for one in requests} == {("GET", "/beat/s3cret")}


async def test_an_instance_is_silent_while_jobs_are_late(
    instance: StartInstance, sink: Sink, connection: asyncpg.Connection
) -> None:
    late = await insert_job(connection, run_at=datetime.now(UTC) - timedelta(minutes=1))
    async with connection.transaction():  # which keeps the job from being claimed
        await connection.execute("select from tocsin.jobs where id = $1 for update", late)
        async with instance(heartbeat_url=sink.url(), **BEATS):
            await asyncio.sleep(1)  # twenty beats
            silent = len(sink.requests)
            await connection.execute("delete from tocsin.jobs where id = $1", late)
            # Not seen by the instance before this transaction ends.
            assert silent == 0


async def test_an_instance_is_silent_while_planning_is_late(
    instance: StartInstance, sink: Sink, connection: asyncpg.Connection
) -> None:
    late = await insert_job(connection, cron="0 3 * * *")
    async with connection.transaction():  # which keeps the job from being planned
        await connection.execute(
            """alter table tocsin.jobs disable trigger all;
               update tocsin.jobs set edited_at = now() - interval '1 minute',
                   next_run = null, planned_at = null;
               alter table tocsin.jobs enable trigger all"""
        )
    async with connection.transaction():
        await connection.execute("select from tocsin.jobs where id = $1 for update", late)
        async with instance(heartbeat_url=sink.url(), **BEATS):
            await asyncio.sleep(1)  # twenty beats
            assert len(sink.requests) == 0


async def test_an_instance_goes_on_beating_while_everything_is_paused(
    instance: StartInstance, sink: Sink, connection: asyncpg.Connection
) -> None:
    await connection.execute("select tocsin.pause_all('the receiver is moved')")
    await insert_job(connection, run_at=datetime.now(UTC) - timedelta(minutes=1))

    async with instance(heartbeat_url=sink.url("/beat"), **BEATS):
        await sink.arrived(3)


async def test_a_receiver_of_beats_that_never_answers_harms_nothing(
    instance: StartInstance, sink: Sink, connection: asyncpg.Connection
) -> None:
    """It is called by one request at a time, apart from jobs, and ends with the instance."""
    begun = monotonic()
    async with silent_server() as (url, connections), instance(heartbeat_url=url, **BEATS):
        await until(lambda: is_longer(connections, 0), "it is called")
        for _ in range(5):
            await insert_job(connection, target={"url": sink.url()})
        await sink.arrived(5)
        assert len(connections) == 1

    assert monotonic() - begun < 10


async def is_longer(found: list[object], than: int) -> bool:
    return len(found) > than


async def test_beats_begin_again_once_no_job_is_late(
    instance: StartInstance, sink: Sink, connection: asyncpg.Connection
) -> None:
    late = await insert_job(connection, run_at=datetime.now(UTC) - timedelta(minutes=1))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("select from tocsin.jobs where id = $1 for update", late)
    async with instance(heartbeat_url=sink.url(), **BEATS):
        await connection.execute("delete from tocsin.jobs where id = $1", late)
        await transaction.commit()

        await sink.arrived()


@pytest.mark.parametrize(
    ("behaviour", "said"), [(reply(500), "answered with status 500"), (hang_up, "could not be")]
)
async def test_a_beat_that_fails_is_told_without_the_url(
    instance: StartInstance, sink: Sink, behaviour: object, said: str
) -> None:
    sink.default = behaviour  # type: ignore[assignment] # of either sort
    async with instance(heartbeat_url=sink.url("/beat/s3cret"), **BEATS) as (_, facts):
        fault = (await facts.seen(Faulted, count=2))[0]

    assert (fault.where, said in fault.error) == ("heartbeat", True)
    assert "s3cret" not in fault.error


async def test_without_a_url_nothing_is_called(instance: StartInstance, sink: Sink) -> None:
    async with instance() as (one, _):
        names = {task.get_name() for task in asyncio.all_tasks()}

        assert one.settings.heartbeat_url is None
        assert "keep_up" in names
        assert "keep_beating" not in names
