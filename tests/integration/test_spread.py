"""Runs that start spread: the same for whoever plans, previews, lists or explains them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.schedule.schedule import Schedule
from app.core.schedule.spread import effective
from app.db import Database
from app.db.listener import Session
from app.scheduler.clock_steps import mend
from tests.support.api import HOURLY, JOB
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.sessions import look_once
from tests.support.sink import Sink
from tests.support.waiting import until
from tests.support.zones import ALWAYS_WEST_7, ALWAYS_WEST_8, VANCOUVER, zone_tree

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
SPREAD: dict[str, Any] = {"cron": "0 3 * * *", "timezone": "Europe/Paris", "jitter_percent": 50}


async def plan_of(connection: asyncpg.Connection, job_id: UUID) -> tuple[datetime, datetime]:
    row = await job_row(connection, job_id)
    return row["scheduled_for"], row["next_run"]


def schedule_of(row: asyncpg.Record) -> Schedule:
    """Return the schedule of a cron that a row has."""
    return Schedule(
        cron=row["cron"],
        timezone=row["timezone"],
        jitter_percent=None if row["jitter_percent"] is None else float(row["jitter_percent"]),
        jitter_seconds=None if row["jitter_seconds"] is None else float(row["jitter_seconds"]),
    )


async def test_all_doors_agree_when_a_run_starts_and_which_it_is(
    api: httpx.AsyncClient, db: Database, connection: asyncpg.Connection
) -> None:
    typed = await insert_job(connection, name="typed", **SPREAD)
    await plan_jobs(db)
    posted = (await api.post("/v1/jobs", json=JOB | SPREAD | {"name": "posted"})).json()
    starts = {}

    for job_id in (typed, UUID(posted["id"])):
        row = await job_row(connection, job_id)
        nominal, start = row["scheduled_for"], row["next_run"]
        starts[job_id] = start
        told = (await api.get(f"/v1/jobs/{job_id}")).json()
        preview = await api.post("/v1/schedule/preview", json=SPREAD | {"job_id": str(job_id)})
        days = (
            await api.get("/v1/upcoming", params={"until": (start + 50 * HOUR).isoformat()})
        ).json()
        [first, second, *_] = [run for run in days["items"] if run["job_id"] == str(job_id)]
        explained = (await api.get(f"/v1/jobs/{job_id}/explain")).json()

        assert nominal < start == effective(schedule_of(row), nominal, job_id=job_id)
        assert instants(told, "scheduled_for", "next_run") == (nominal, start)
        assert [instants(run, "at", "effective_at") for run in preview.json()["runs"][:2]] == [
            (nominal, start),
            instants(second, "scheduled_for", "at"),
        ]
        assert instants(first, "scheduled_for", "at") == (nominal, start)
        reason = explained["reasons"][0]
        assert f"Its run of {nominal:%Y-%m-%d %H:%M:%S} UTC is spread: it starts at " in str(reason)
        assert f"{start:%Y-%m-%d %H:%M:%S} UTC" in str(reason)

    assert starts[typed] != starts[UUID(posted["id"])]


async def test_a_run_starts_at_its_effective_instant_and_is_that_of_its_nominal_one(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance(), instance():
        begin = await connection.fetchval("select date_trunc('second', now()) + interval '3 s'")
        columns = {"every_seconds": 1, "starts_at": begin, "max_runs": 4, "jitter_percent": 90}
        job_id = await insert_job(connection, target={"url": sink.url("/spread")}, **columns)
        await until(
            lambda: connection.fetchval(
                "select runs = 4 and locked_until is null from tocsin.jobs where id = $1", job_id
            ),
            "it has run four times",
        )

    schedule = Schedule(every_seconds=1, starts_at=begin, jitter_percent=90)
    rows = await execution_rows(connection, job_id)
    runs = [begin + n * SECOND for n in range(4)]
    assert [row["scheduled_for"] for row in rows] == runs
    assert all(
        row["started_at"] >= effective(schedule, run, job_id=job_id)
        for row, run in zip(rows, runs, strict=True)
    )
    keys = [one.headers["idempotency-key"] for one in sink.requests]
    assert [datetime.fromisoformat(key.partition(":")[2]) for key in keys] == runs
    assert (await job_row(connection, job_id))["next_run"] is None


async def test_nothing_starts_before_its_effective_instant(
    session: Session, connection: asyncpg.Connection
) -> None:
    await insert_job(
        connection,
        every_seconds=3600,
        jitter_seconds=1800,
        scheduled_for=datetime.now(UTC) - SECOND,
        next_run=datetime.now(UTC) + HOUR / 4,
    )

    look = await look_once(session)

    assert look.claims == []
    assert look.wakeup_seconds is not None
    assert 800 < look.wakeup_seconds <= 900


@pytest.mark.parametrize("door", ["api", "psql"])
@pytest.mark.parametrize("jitter", [None, 90])
async def test_a_changed_jitter_spreads_the_same_run_anew(
    api: httpx.AsyncClient,
    db: Database,
    connection: asyncpg.Connection,
    door: str,
    jitter: int | None,
) -> None:
    job = (await api.post("/v1/jobs", json=HOURLY | {"jitter_percent": 20})).json()
    job_id = UUID(job["id"])
    nominal, start = await plan_of(connection, job_id)

    if door == "api":
        answer = await api.patch(f"/v1/jobs/{job_id}", json={"jitter_percent": jitter})
        assert answer.status_code == 200, answer.text
    else:
        await connection.execute("update tocsin.jobs set jitter_percent = $1", jitter)
    await plan_jobs(db)

    schedule = Schedule(every_seconds=3600, jitter_percent=jitter)
    assert await plan_of(connection, job_id) == (
        nominal,
        effective(schedule, nominal, job_id=job_id),
    )
    assert start != (await plan_of(connection, job_id))[1]


@pytest.mark.parametrize(
    "standing",
    [
        "scheduled_for = now() - interval '1 minute', next_run = now() + interval '1 minute'",
        "attempt = 1, next_run = now() + interval '1 minute'",
        "next_run = null",
    ],
    ids=["its instant has come", "it is retried", "it is finished"],
)
async def test_a_changed_jitter_leaves_alone_what_is_not_a_run_to_come(
    db: Database, connection: asyncpg.Connection, standing: str
) -> None:
    job_id = await insert_job(connection, every_seconds=3600, jitter_percent=20)
    await plan_jobs(db)
    await connection.execute(
        f"update tocsin.jobs set {standing}, planned_at = clock_timestamp() where id = $1", job_id
    )
    before = await plan_of(connection, job_id)

    await connection.execute("update tocsin.jobs set jitter_percent = 80")
    await plan_jobs(db)

    assert await plan_of(connection, job_id) == before
    assert (await job_row(connection, job_id))["planned_at"] is not None


async def test_a_changed_jitter_moves_no_run_that_executes(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600, jitter_percent=20)
    await plan_jobs(db)
    await connection.execute("update tocsin.jobs set next_run = now()")
    await look_once(session)
    before = await plan_of(connection, job_id)

    await connection.execute("update tocsin.jobs set jitter_percent = 80")
    await plan_jobs(db)

    assert await plan_of(connection, job_id) == before


async def test_a_run_that_a_person_moves_starts_at_the_instant_that_was_written(
    db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600, jitter_percent=90)
    await plan_jobs(db)
    moved = datetime(2100, 1, 1, tzinfo=UTC)

    await connection.execute("update tocsin.jobs set next_run = $1", moved)
    await plan_jobs(db)

    assert await plan_of(connection, job_id) == (moved, moved)


async def test_newer_zone_rules_move_runs_that_are_spread(
    instance: StartInstance,
    db: Database,
    connection: asyncpg.Connection,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    trees = tmp_path_factory.mktemp("zones")
    west_8 = str(zone_tree(trees / "8", "2025b", ALWAYS_WEST_8))
    west_7 = str(zone_tree(trees / "7", "2026f", ALWAYS_WEST_7))
    columns = {"cron": "0 3 1 6 *", "timezone": VANCOUVER, "jitter_seconds": 3600}
    async with instance(tzdata=west_8):
        job_id = await insert_job(connection, **columns)
        await until(
            lambda: connection.fetchval("select planned_at is not null from tocsin.jobs"),
            "it is planned",
        )
        await until(
            lambda: connection.fetchval("select exists (select from tocsin.zone_rules)"),
            "the rules are noted",
        )
        before = await plan_of(connection, job_id)
    async with instance(tzdata=west_7):
        await until(lambda: differs(connection, job_id, before), "it has moved")
        after = await plan_of(connection, job_id)

    assert (before[0].astimezone(UTC).hour, after[0].astimezone(UTC).hour) == (11, 10)
    schedule = Schedule(**columns)  # type: ignore[arg-type]
    assert after[1] == effective(schedule, after[0], job_id=job_id) > after[0]


async def differs(
    connection: asyncpg.Connection, job_id: UUID, before: tuple[datetime, datetime]
) -> bool:
    return await plan_of(connection, job_id) != before


async def test_a_plan_from_the_future_is_made_anew_with_its_spread(
    db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, cron="0 * * * *", jitter_percent=50)
    await plan_jobs(db)
    right = await plan_of(connection, job_id)
    schedule = Schedule(cron="0 * * * *", jitter_percent=50)
    ahead = right[0] + 100 * HOUR
    await connection.execute(
        """update tocsin.jobs set scheduled_for = $1, next_run = $2,
               planned_at = now() + interval '99 hours'""",
        ahead,
        effective(schedule, ahead, job_id=job_id),
    )

    moved = await mend(db, lease_seconds=60)

    nominal, start = await plan_of(connection, job_id)
    assert moved == 1
    assert nominal == datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + HOUR or (
        nominal == right[0]
    )
    assert start == effective(schedule, nominal, job_id=job_id)


async def test_the_example_of_the_page_of_schedules_runs_within_its_ten_minutes(
    psql: Callable[[str], str], db: Database, connection: asyncpg.Connection
) -> None:
    page = (ROOT / "docs" / "schedules.md").read_text("utf-8")
    [example] = re.findall(r"```sql\n(insert into tocsin.jobs [^`]*jitter_seconds[^`]*)```", page)

    psql(example)
    await plan_jobs(db)

    row = await connection.fetchrow("select * from tocsin.jobs where name = 'morning-report'")
    assert row is not None
    assert row["next_run"] == effective(schedule_of(row), row["scheduled_for"], job_id=row["id"])
    assert timedelta() <= row["next_run"] - row["scheduled_for"] < timedelta(minutes=10)


def instants(found: dict[str, str], *names: str) -> tuple[datetime, ...]:
    return tuple(datetime.fromisoformat(found[name]) for name in names)
