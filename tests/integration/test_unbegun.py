"""Runs that were to be dropped or put off, and whose holder died before it did so."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.core.facts import Settled
from app.db import Database
from app.db.listener import Session
from app.scheduler.calendars import work_out_all
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.days import Day, distant_hour
from tests.support.instances import StartInstance
from tests.support.sessions import look_once
from tests.support.sink import Sink

DAY = timedelta(days=1)
LONG_AGO = "clock_timestamp() - interval '1 hour'"


async def due(connection: asyncpg.Connection, db: Database, **columns: Any) -> UUID:  # noqa: ANN401
    """Insert a job that is due now, with a single attempt for each run."""
    daily = {"cron": f"0 {distant_hour()} * * *", "max_attempts": 1}  # no run follows meanwhile
    job_id = await insert_job(connection, **daily | columns)
    await plan_jobs(db)
    await connection.execute(
        """update tocsin.jobs set next_run = now(), scheduled_for = now(),
           planned_at = clock_timestamp() where id = $1 and run_at is null""",
        job_id,
    )
    return job_id


@pytest.fixture
async def closed_days(connection: asyncpg.Connection, db: Database, day: Day) -> None:
    """Make a calendar of the days around now, known to all for long."""
    await connection.execute(
        "select tocsin.calendar('holiday', dates => array[$1::text])", f"{day(-1)}/{day(1)}"
    )
    await work_out_all(db)
    await connection.execute(
        f"update tocsin.calendars set updated_at = {LONG_AGO}, worked_out_at = {LONG_AGO}"
    )


@pytest.mark.usefixtures("closed_days")
async def test_a_run_that_was_to_be_dropped_is_dropped_by_whoever_takes_it_over(
    connection: asyncpg.Connection,
    db: Database,
    session: Session,
    instance: StartInstance,
    sink: Sink,
) -> None:
    await connection.execute(
        f"""insert into tocsin.maintenance (tag, ends_at, updated_at, starts_at)
            values ('billing', now() + interval '1 day', {LONG_AGO}, {LONG_AGO})"""
    )
    target = {"url": sink.url("/dropped")}
    paused = await due(connection, db, target=target, name="paused")
    await connection.execute("select tocsin.pause('paused')")
    await connection.execute("select tocsin.resume('paused', missed => 'skip')")
    closed, put_off, late, too_soon, maintained = [
        await due(connection, db, target=target, **columns)
        for columns in (
            {"calendars": ["!holiday"]},
            {"calendars": ["!holiday"], "on_closed": "next_open"},
            {"cron": None, "run_at": datetime.now(UTC) - DAY, "misfire": "skip"}
            | {"misfire_grace_seconds": 60},
            {"min_gap_seconds": 3600},
            {"tags": ["billing"]},
        )
    ]
    await connection.execute(
        "update tocsin.jobs set last_finished_at = now(), last_outcome = 'succeeded' where id = $1",
        too_soon,
    )
    assert len((await look_once(session, by="dead")).claims) == 6
    await connection.execute("update tocsin.jobs set locked_until = now()")

    async with instance() as (_, facts):
        for job_id in (paused, closed, put_off, late, too_soon, maintained):
            await facts.seen(Settled, job_id=job_id)

    assert not sink.requests
    for job_id, reason in {
        paused: "paused",
        closed: "calendar",
        late: "misfire",
        maintained: "maintenance",
    }.items():
        lost, missed = await execution_rows(connection, job_id)
        assert (lost["outcome"], missed["outcome"], missed["reason"]) == ("lost", "missed", reason)
        row = await job_row(connection, job_id)
        assert (row["attempt"], row["consecutive_failures"]) == (0, 0)
    for job_id in (put_off, too_soon):
        row = await job_row(connection, job_id)
        assert (row["attempt"], row["next_run"] > row["scheduled_for"]) == (0, True)
        assert [one["outcome"] for one in await execution_rows(connection, job_id)] == ["lost"]


@pytest.mark.usefixtures("closed_days")
@pytest.mark.parametrize(
    "meanwhile",
    [
        "update tocsin.jobs set timeout_seconds = 5",
        "update tocsin.calendars set updated_at = clock_timestamp()",
        "update tocsin.executions set outcome = 'failed' where attempt = 1",
    ],
    ids=["the job is edited", "the calendar is changed", "an attempt has ended"],
)
async def test_a_run_that_may_have_begun_has_its_next_attempt_though_it_is_closed(  # noqa: PLR0913
    connection: asyncpg.Connection,
    db: Database,
    session: Session,
    *,
    instance: StartInstance,
    sink: Sink,
    meanwhile: str,
) -> None:
    job_id = await due(
        connection,
        db,
        target={"url": sink.url("/begun")},
        calendars=["!holiday"],
        max_attempts=3,
    )
    for _ in range(2):
        assert (await look_once(session, by="dead")).claims
        await connection.execute("update tocsin.jobs set locked_until = now()")
    await connection.execute(meanwhile)

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    assert len(sink.requests) == 1
    assert [one["attempt"] for one in await execution_rows(connection, job_id)] == [1, 2, 3]


@pytest.mark.usefixtures("closed_days")
async def test_a_run_is_dropped_after_several_holders_died(
    connection: asyncpg.Connection,
    db: Database,
    session: Session,
    instance: StartInstance,
    sink: Sink,
) -> None:
    job_id = await due(connection, db, target={"url": sink.url("/")}, calendars=["!holiday"])
    for _ in range(3):
        assert (await look_once(session, by="dead")).claims
        await connection.execute("update tocsin.jobs set locked_until = now()")

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    assert not sink.requests
    outcomes = [one["outcome"] for one in await execution_rows(connection, job_id)]
    assert outcomes == ["lost", "lost", "lost", "missed"]


async def test_a_window_that_was_moved_meanwhile_drops_no_run_that_may_have_begun(
    connection: asyncpg.Connection,
    db: Database,
    session: Session,
    instance: StartInstance,
    sink: Sink,
) -> None:
    await connection.execute(
        f"""insert into tocsin.maintenance (tag, starts_at, ends_at, updated_at)
            values ('billing', now() + interval '1 day', now() + interval '2 days', {LONG_AGO})"""
    )
    target = {"url": sink.url("/begun")}
    job_id = await due(connection, db, target=target, tags=["billing"], max_attempts=3)
    assert len((await look_once(session, by="dead")).claims) == 1
    await connection.execute(f"update tocsin.maintenance set starts_at = {LONG_AGO}")
    await connection.execute("update tocsin.jobs set locked_until = now()")

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    assert [one["outcome"] for one in await execution_rows(connection, job_id)] == [
        "lost",
        "succeeded",
    ]


@pytest.mark.parametrize(
    "change",
    [
        "select tocsin.end_maintenance(id) from tocsin.maintenance",
        "update tocsin.maintenance set tag = 'b'",
    ],
    ids=["it has ended", "it has gone to another tag"],
)
async def test_no_run_is_missed_that_may_have_begun_while_a_window_kept_the_next_one_away(
    connection: asyncpg.Connection,
    db: Database,
    session: Session,
    instance: StartInstance,
    change: str,
) -> None:
    await connection.execute(
        f"""insert into tocsin.maintenance (tag, starts_at, ends_at, updated_at)
            values ('billing', now() - interval '89 s', now() + interval '1 day', {LONG_AGO})"""
    )
    job_id = await due(
        connection,
        db,
        cron="* * * * *",
        tags=["billing"],
        overlap="cancel_other",
        max_attempts=3,
        misfire_grace_seconds=3600,  # at whichever second of a minute this runs
    )
    await connection.execute(
        """update tocsin.jobs set next_run = now() - interval '90 s',
           scheduled_for = now() - interval '90 s', planned_at = clock_timestamp()"""
    )
    assert len((await look_once(session, by="dead")).claims) == 1
    await connection.execute(change)
    await connection.execute("update tocsin.jobs set locked_until = now()")

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    lost, after = (await execution_rows(connection, job_id))[:2]
    assert (lost["outcome"], lost["attempt"]) == ("lost", 1)
    assert after["attempt"] == 2  # by whatever it ends: it is no run that was missed
    assert after["outcome"] in {"cancelled", "failed"}
