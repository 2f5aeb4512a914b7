"""Who takes a job over from an instance that died logs whose execution was lost."""

import logging
from datetime import UTC, datetime

import asyncpg

from app.core.facts import Settled, TakenOver
from app.db.listener import Session
from app.telemetry.logs import severity
from tests.support.builders import execution_rows, insert_job
from tests.support.instances import StartInstance
from tests.support.sessions import look_once
from tests.support.sink import Sink


async def test_an_execution_that_a_dead_instance_lost_is_logged_with_whose_it_was(
    connection: asyncpg.Connection, session: Session, instance: StartInstance, sink: Sink
) -> None:
    job_id = await insert_job(
        connection, target={"url": sink.url("/")}, run_at=datetime.now(UTC), name="orphan"
    )
    [claim] = (await look_once(session, by="dead")).claims
    await connection.execute("update tocsin.jobs set locked_until = now()")
    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id)
        [told] = facts.of(TakenOver)

    assert (told.job_id, told.name, told.execution_id, told.lost_by) == (
        job_id,
        "orphan",
        claim.execution_id,
        "dead",
    )
    assert severity(told) == logging.WARNING
    [lost, _] = await execution_rows(connection, job_id)
    assert (lost["id"], lost["outcome"]) == (told.execution_id, "lost")
