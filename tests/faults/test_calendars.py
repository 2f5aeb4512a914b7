"""Runs in closed time whose holder is killed just before it drops them: none is carried out."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.waiting import until


@pytest.mark.alone
async def test_a_holder_is_killed_between_the_claim_of_a_closed_run_and_its_instant(
    case: Case,
) -> None:
    connection = case.connection
    holder = await case.processes.instance()
    today = datetime.now(UTC).date()
    around = f"{today - timedelta(days=1)}/{today + timedelta(days=1)}"
    await connection.execute("select tocsin.calendar('holiday', dates => array[$1::text])", around)

    async def worked_out() -> bool:
        return bool(await connection.fetchval("select times is not null from tocsin.calendars"))

    await until(worked_out, "the calendar is worked out")
    await connection.execute(
        """update tocsin.calendars set updated_at = now() - interval '1 hour',
           worked_out_at = now() - interval '1 hour'"""
    )
    first_run = datetime.now(UTC) + timedelta(seconds=2)
    jobs = {
        on_closed: await insert_job(
            connection,
            target={"url": case.sink.url("/closed")},
            every_seconds=3600,
            starts_at=first_run,
            max_attempts=1,
            calendars=["!holiday"],
            on_closed=on_closed,
        )
        for on_closed in ("skip", "next_open")
    }
    held = "select count(*) = 2 from tocsin.jobs where execution_id is not null"
    while not await connection.fetchval(held):  # noqa: ASYNC110 - nobody tells in time
        await asyncio.sleep(0.002)  # both are claimed a tenth of a second ahead, or more
    await holder.kill()
    assert datetime.now(UTC) < first_run

    await case.processes.instance()

    async def judged() -> bool:
        return bool(
            await connection.fetchval(
                "select bool_and(execution_id is null and attempt = 0) from tocsin.jobs"
            )
        )

    await until(judged, "both are taken over", within=10 * LEASE_SECONDS)
    assert not [one for one in case.sink.requests if one.path == "/closed"]
    outcomes = [one["outcome"] for one in await execution_rows(connection, jobs["skip"])]
    assert outcomes == ["lost", "missed"]
    put_off = await job_row(connection, jobs["next_open"])
    assert put_off["next_run"].date() == today + timedelta(days=2)
    assert put_off["scheduled_for"] == first_run
