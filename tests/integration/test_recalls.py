"""Whoever edits a job before it starts is obeyed, though an instance holds its claim already."""

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Settled
from app.scheduler.admission import MAX_RESERVE
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

AHEAD_SECONDS = 1.0


@pytest.fixture(autouse=True)
def _far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claim long enough before the instant for all that the tests do in between."""
    monkeypatch.setattr("app.scheduler.poller.AHEAD_SECONDS", AHEAD_SECONDS)


async def is_claimed(connection: asyncpg.Connection, job_id: UUID) -> bool:
    return (await job_row(connection, job_id))["locked_until"] is not None


async def claimed_job(connection: asyncpg.Connection, sink: Sink, **columns: object) -> UUID:
    """Insert a job that is due soon, and wait until an instance holds its claim."""
    run_at: datetime = await connection.fetchval("select clock_timestamp()")
    job_id = await insert_job(
        connection,
        target={"url": sink.url("/as-it-was")},
        run_at=run_at + timedelta(seconds=AHEAD_SECONDS * 0.9),
        **columns,
    )
    await until(partial(is_claimed, connection, job_id), "the job was claimed ahead")
    return job_id


async def test_another_target_is_what_is_called(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance() as (_, facts):
        job_id = await claimed_job(connection, sink)
        await connection.execute(
            "update tocsin.jobs set target = jsonb_build_object('url', $2::text) where id = $1",
            job_id,
            sink.url("/as-it-is"),
        )
        await facts.seen(Settled, job_id=job_id, outcome="succeeded")

    assert [request.path for request in sink.requests] == ["/as-it-is"]
    [execution] = await execution_rows(connection, job_id)
    assert (execution["outcome"], execution["attempt"]) == ("succeeded", 1)


@pytest.mark.parametrize(
    "edit",
    [
        "update tocsin.jobs set paused_at = now() where id = $1",
        "update tocsin.jobs set run_at = now() + interval '1 hour' where id = $1",
        "delete from tocsin.jobs where id = $1",
    ],
    ids=["paused", "put off", "deleted"],
)
async def test_a_job_that_is_not_to_run_any_more_does_not(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, edit: str
) -> None:
    async with instance() as (_, facts):
        job_id = await claimed_job(connection, sink)
        await connection.execute(edit, job_id)
        after = await claimed_job(connection, sink)
        await facts.seen(Settled, job_id=after, outcome="succeeded", within=10)

    assert len(sink.requests) == 1
    assert await execution_rows(connection, job_id) == []


async def test_what_others_notify_does_no_harm(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance() as (_, facts):
        await connection.execute("select pg_notify('tocsin_recalls', 'no id')")
        job_id = await claimed_job(connection, sink)
        await facts.seen(Settled, job_id=job_id, outcome="succeeded")

    assert len(sink.requests) == 1


async def test_what_is_held_for_later_does_not_hold_up_what_is_due(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.scheduler.poller.AHEAD_SECONDS", 4 * AHEAD_SECONDS)
    async with instance(concurrency=1) as (_, facts):
        run_at = datetime.now(UTC) + timedelta(seconds=3 * AHEAD_SECONDS)
        target = {"url": sink.url("/later")}
        later = [
            await insert_job(connection, target=target, run_at=run_at)
            for _ in range(1 + MAX_RESERVE)
        ]
        for one in later:
            await until(partial(is_claimed, connection, one), "it was claimed ahead")
        job_id = await insert_job(connection, target={"url": sink.url("/now")})
        await facts.seen(Settled, job_id=job_id, outcome="succeeded")

    assert sink.requests[0].path == "/now"
