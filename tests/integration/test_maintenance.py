"""Windows of maintenance through both doors, and what becomes of the runs that are due in them."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.facts import Settled
from app.core.runs.outcome import Outcome
from app.db import Database, maintenance
from app.db.listener import Session
from app.db.queries import query
from app.scheduler.calendars import work_out_all
from app.scheduler.closings import open_due
from app.scheduler.windows import Windows
from tests.support.api import HOURLY, fields
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.instances import StartInstance
from tests.support.sessions import claimed_one
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)


def ahead(hours: float) -> str:
    return (datetime.now(UTC) + hours * HOUR).isoformat()


async def test_a_window_is_laid_listed_and_ended_and_all_of_it_is_on_record(
    api: httpx.AsyncClient,
) -> None:
    laid = await api.post(
        "/v1/maintenance",
        json={"tag": "billing", "ends_at": ahead(2), "on_closed": "next_open", "reason": "moved"},
    )
    planned = await api.post(
        "/v1/maintenance", json={"all": True, "starts_at": ahead(9), "ends_at": ahead(10)}
    )
    listed = (await api.get("/v1/maintenance")).json()["items"]
    ended = await api.delete(f"/v1/maintenance/{laid.json()['id']}")
    again = await api.delete(f"/v1/maintenance/{laid.json()['id']}")

    assert (laid.status_code, planned.status_code) == (201, 201)
    assert [(one["tag"], one["is_under_way"], one["on_closed"]) for one in listed] == [
        ("billing", True, "next_open"),
        (None, False, "skip"),
    ]
    assert listed[1]["next"] == {
        "start": planned.json()["starts_at"],
        "end": planned.json()["ends_at"],
    }
    assert (ended.status_code, again.status_code) == (204, 404)
    assert again.json()["type"].endswith("maintenance-not-found")
    entries = (await api.get("/v1/audit?limit=10")).json()["items"]
    assert [one["action"] for one in entries if one["entity_name"] == "billing"] == [
        "delete",
        "create",
    ]


async def test_a_window_whose_calendar_has_no_time_any_more_has_no_next_one(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/calendars/over", json={"dates": [ahead(7000)[:10]], "timezone": "UTC"})
    await api.post("/v1/maintenance", json={"all": True, "calendar": "over"})
    await connection.execute("update tocsin.calendars set times = '{}'")

    [listed] = (await api.get("/v1/maintenance")).json()["items"]

    assert (listed["calendar"], listed["next"]) == ("over", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "tag"),
        ({"all": True, "tag": "billing", "ends_at": "2190-01-01T00:00:00Z"}, "all"),
        ({"all": True}, "ends_at"),
        ({"all": True, "starts_at": "2190-01-01T00:00:00Z"}, "ends_at"),
        ({"all": True, "ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"all": True, "ends_at": "2300-01-01T00:00:00Z"}, "ends_at"),
        ({"all": True, "calendar": "none"}, "calendar"),
        ({"all": True, "calendar": "sundays", "ends_at": "2190-01-01T00:00:00Z"}, "calendar"),
        ({"tag": "a,b", "ends_at": "2190-01-01T00:00:00Z"}, "tag"),
        ({"all": True, "ends_at": "2190-01-01T00:00:00Z", "on_closed": "later"}, "on_closed"),
        ({"all": True, "ends_at": "2190-01-01T00:00:00Z", "reason": "x" * 1001}, "reason"),
    ],
)
async def test_a_window_that_cannot_be_is_refused_by_both_doors(
    api: httpx.AsyncClient, connection: asyncpg.Connection, body: dict[str, Any], field: str
) -> None:
    await api.put("/v1/calendars/sundays", json={"weekly": ["SUN"]})

    answer = await api.post("/v1/maintenance", json=body)

    assert (answer.status_code, fields(answer)) == (422, [field])
    columns = {name: value for name, value in body.items() if name != "all"}
    if columns and "tag" not in columns | dict.fromkeys(["tag"] * (field == "all")):
        casts = {"starts_at": "::text::timestamptz", "ends_at": "::text::timestamptz"}
        given = ", ".join(
            f"{name} => ${number}{casts.get(name, '')}"
            for number, name in enumerate(columns, start=1)
        )
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await connection.execute(f"select tocsin.maintain({given})", *columns.values())
        assert refused.value.column_name == field


async def test_of_two_who_lay_the_last_window_at_once_one_is_refused(
    connection: asyncpg.Connection, database_url: str
) -> None:
    await connection.execute(
        """set session_replication_role = replica;
           insert into tocsin.maintenance (tag, starts_at, ends_at)
           select 'a', now(), now() + interval '1 hour' from generate_series(1, 199);
           set session_replication_role = origin"""
    )
    lay = "select tocsin.maintain(ends_at => now() + interval '1 hour')"
    other = await asyncpg.connect(database_url)

    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(lay)
    second = asyncio.create_task(other.execute(lay))

    async def waits() -> bool:
        return second.done() or bool(
            await connection.fetchval(
                "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
            )
        )

    await until(waits, "the second one waits")
    await transaction.commit()
    with pytest.raises(asyncpg.CheckViolationError, match="has 200 windows"):
        await second
    await other.close()


async def test_a_calendar_that_a_window_has_stays(api: httpx.AsyncClient) -> None:
    await api.put("/v1/calendars/sundays", json={"weekly": ["SUN"]})
    laid = await api.post("/v1/maintenance", json={"all": True, "calendar": "sundays"})

    refused = await api.delete("/v1/calendars/sundays")
    await api.delete(f"/v1/maintenance/{laid.json()['id']}")

    assert refused.status_code == 409
    assert "maintenance" in refused.json()["detail"]
    assert (await api.delete("/v1/calendars/sundays")).status_code == 204


async def test_runs_to_come_and_explanations_tell_of_it_and_so_does_the_dashboard(
    api: httpx.AsyncClient,
) -> None:
    job = (await api.put("/v1/jobs/report", json=HOURLY | {"tags": ["billing"]})).json()
    other = (await api.put("/v1/jobs/other", json=HOURLY)).json()
    end = datetime.now(UTC) + 5 * HOUR
    await api.post(
        "/v1/maintenance",
        json={"tag": "billing", "ends_at": end.isoformat(), "reason": "they <move>"},
    )

    coming = (await api.get("/v1/upcoming", params={"until": ahead(8), "limit": 100})).json()
    explained = (await api.get("/v1/jobs/report/explain")).json()["reasons"][0]
    pages = [
        (await api.get(path)).text for path in ("/", f"/jobs/{job['id']}", f"/jobs/{other['id']}")
    ]

    closed = {
        one["at"]: one["closed_until"] for one in coming["items"] if one["job_id"] == job["id"]
    }
    assert closed
    for at, closed_until in closed.items():
        assert (closed_until is not None) == (datetime.fromisoformat(at) < end)
    assert all(one["closed_until"] is None for one in coming["items"] if one["job_id"] != job["id"])
    assert explained["reason"] == "maintenance"
    assert explained["facts"]["maintenance_reason"] == "they <move>"
    assert "is missed then" in explained["detail"]
    assert ["they &lt;move&gt;" in page and "Maintenance" in page for page in pages] == [
        True,
        True,
        False,
    ]


async def test_runs_in_a_window_are_missed_or_put_off_and_start_once_it_is_ended(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
) -> None:
    """A run beside the plan is carried out all the same, and so is a job that is not concerned."""
    columns = {"target": {"url": sink.url()}, "every_seconds": 0.3}
    async with instance() as (_, facts):
        windows: dict[str, UUID] = {}
        for word in ("skip", "next_open"):
            windows[word] = await connection.fetchval(
                "select (tocsin.maintain(tag => $1, ends_at => now() + interval '1 hour', "
                "on_closed => $1, reason => 'moved')).id",
                word,
            )
        skip, put_off, other = [
            await insert_job(connection, **columns, tags=tags)
            for tags in (["skip"], ["next_open"], ["none"])
        ]
        await facts.seen(Settled, job_id=other, outcome=Outcome.SUCCEEDED)
        await facts.seen(Settled, job_id=skip, outcome=Outcome.MISSED)
        await facts.seen(Settled, job_id=put_off)
        waiting = await job_row(connection, put_off)
        told = (await api.get(f"/v1/jobs/{put_off}/explain")).json()["reasons"][0]
        await connection.fetch("select tocsin.run_now($1)", skip)
        await facts.seen(Settled, job_id=skip, outcome=Outcome.SUCCEEDED)
        await connection.execute("select tocsin.end_maintenance($1)", windows["next_open"])
        await facts.seen(Settled, job_id=put_off, outcome=Outcome.SUCCEEDED)

    assert waiting["next_run"] - waiting["scheduled_for"] > 0.9 * HOUR
    assert (told["reason"], "starts then" in told["detail"]) == ("maintenance", True)
    rows = await execution_rows(connection, skip)
    assert {(row["outcome"], row["reason"]) for row in rows} == {
        ("missed", "maintenance"),
        ("succeeded", None),
    }
    [error] = {row["error"] for row in rows if row["outcome"] == "missed"}
    assert error.startswith("maintenance (moved) was under way then, until ")
    past = await api.get(
        f"/v1/jobs/{skip}/explain", params={"at": rows[0]["scheduled_for"].isoformat()}
    )
    assert "It was missed: it fell into maintenance." in past.json()["summary"]


async def test_a_window_counts_at_once_while_jobs_are_replanned_for_a_calendar(
    connection: asyncpg.Connection, instance: StartInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_replanning = asyncio.Event()

    async def replan_for_ever(_: Database) -> None:
        is_replanning.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("app.scheduler.calendars.replan", replan_for_ever)
    async with instance() as (started, _):
        async with asyncio.timeout(30):
            await is_replanning.wait()
        await connection.execute(
            "select tocsin.maintain(ends_at => now() + interval '1 hour', reason => 'moved')"
        )

        async def is_known() -> bool:
            return bool(started.windows.spans)

        await until(is_known, "the window is known", within=30)


async def test_what_executes_as_a_window_begins_is_cut_off_by_no_run_that_is_missed(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    async with instance() as (_, facts):
        job_id, failing = [
            await insert_job(
                connection,
                target={"url": sink.on(path, late(seconds, reply(status)))},
                every_seconds=2,
                overlap="cancel_other",
                max_attempts=2,
                backoff_seconds=3,
            )
            for path, seconds, status in (("/", 4.0, 200), ("/failing", 0.5, 500))
        ]
        await sink.arrived(2)
        await connection.execute(
            "select tocsin.maintain(ends_at => now() + interval '1 hour', reason => 'moved')"
        )
        await facts.seen(Settled, job_id=job_id)
        await facts.seen(Settled, job_id=failing, attempt=2)

    row = (await execution_rows(connection, job_id))[0]
    assert (row["outcome"], row["status_code"]) == ("succeeded", 200)
    retried = [one["status_code"] for one in await execution_rows(connection, failing)]
    assert retried[:2] == [500, 500]


async def test_runs_are_missed_for_no_longer_than_the_windows_that_skip_them(
    db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **HOURLY)
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    for start, end, word in ((0, 2, "skip"), (1, 3, "skip"), (3, 4, "next_open")):
        await connection.execute(
            "select tocsin.maintain(starts_at => $1, ends_at => $2, on_closed => $3)",
            noon + start * HOUR,
            noon + end * HOUR,
            word,
        )

    async def over(hours: float) -> datetime:
        at = noon + hours * HOUR
        return (await maintenance.read_closing(db, job_id, at=at, since=at, until=at)).closed_until

    assert [await over(0.5), await over(3.5)] == [noon + 3 * HOUR, noon + 4 * HOUR]


async def test_the_run_that_cuts_another_off_is_the_first_that_no_window_has_missed(
    db: Database, connection: asyncpg.Connection, session: Session
) -> None:
    job_id = await insert_job(connection, cron="* * * * *", overlap="cancel_other")
    await plan_jobs(db)
    await connection.execute("update tocsin.jobs set next_run = date_trunc('minute', now())")
    claim = await claimed_one(session)
    run = claim.scheduled_for + timedelta(minutes=1)
    for start, end, word in ((0, 90, "skip"), (90, 130, "next_open")):
        await connection.execute(
            "select tocsin.maintain(starts_at => $1, ends_at => $2, on_closed => $3)",
            run + timedelta(seconds=start),
            run + timedelta(seconds=end),
            word,
        )
    windows = Windows()
    await windows.read(db)

    assert job_id == claim.job_id
    assert await open_due(db, windows, claim, run) == run + timedelta(seconds=130)
    assert await open_due(db, Windows(), claim, run) == run


MOVED = """
    update tocsin.jobs
    set scheduled_for = $2, next_run = greatest($2, now()) + interval '1 hour', planned_at = now()
    where id = $1
"""


async def test_a_window_that_ends_early_starts_what_it_put_off_and_nothing_that_is_yet_to_come(
    db: Database, connection: asyncpg.Connection
) -> None:
    """A job whose starts are spread has gone on to its next run; another one's is put off still."""
    window = await connection.fetchval(
        "select (tocsin.maintain(ends_at => $1, on_closed => 'next_open')).id",
        datetime.now(UTC) + HOUR,
    )
    put_off, went_on = [await insert_job(connection, **HOURLY, jitter_seconds=60) for _ in range(2)]
    for job_id, due in ((put_off, -0.1), (went_on, 24.0)):
        await connection.execute(MOVED, job_id, datetime.now(UTC) + due * HOUR)
        await maintenance.note_put_off(db, job_id, window, until=datetime.now(UTC) + HOUR)
    before = await job_row(connection, went_on)
    await connection.execute("select tocsin.end_maintenance($1)", window)

    assert await maintenance.replan(db) == 2

    assert (await job_row(connection, put_off))["next_run"] <= datetime.now(UTC)
    assert (await job_row(connection, went_on))["next_run"] == before["next_run"]


async def test_a_run_is_not_forgotten_whose_window_ends_just_before_it_is_put_off(
    db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, **HOURLY)
    await connection.execute(
        "update tocsin.jobs set locked_until = now() + interval '1 hour', locked_by = 'me' "
        "where id = $1",
        job_id,
    )
    await maintenance.note_put_off(db, job_id, UUID(int=1), until=datetime.now(UTC) + HOUR)
    assert await maintenance.replan(db) == 0

    await connection.execute(
        """update tocsin.jobs
           set locked_until = null, locked_by = null, scheduled_for = now(),
               next_run = now() + interval '1 hour', planned_at = now()
           where id = $1""",
        job_id,
    )
    assert await maintenance.replan(db) == 1
    assert (await job_row(connection, job_id))["next_run"] <= datetime.now(UTC)


async def test_the_examples_of_the_page_work(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database
) -> None:
    page = (ROOT / "docs" / "maintenance.md").read_text("utf-8")
    statements = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)

    for statement in statements:
        for one in filter(str.strip, statement.split(";")):
            await connection.execute(one)
        await work_out_all(db)

    listed = (await api.get("/v1/maintenance")).json()["items"]
    assert {(one["tag"], one["calendar"], one["on_closed"]) for one in listed} == {
        ("billing", None, "next_open"),
        (None, "sunday-night", "skip"),
    }


async def test_many_windows_over_large_calendars_answer_at_once(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        """set session_replication_role = replica;
           insert into tocsin.calendars (name, weekly, timezone, times)
           select 'c' || n, '{MON 09:00-10:00}', 'UTC', range_agg(
               tstzrange(at, at + interval '30 s')) from generate_series(1, 20) as n, lateral (
               select now() - interval '1 year' + k * interval '5 h' + n * interval '1 min' as at
               from generate_series(1, 10000) as k) as starts group by n;
           insert into tocsin.maintenance (tag, calendar)
           select null, 'c' || (1 + n % 20) from generate_series(1, 200) as n;
           set session_replication_role = origin;
           set statement_timeout = '5s'"""
    )
    near = query("maintenance.spans").sql

    [spans] = await connection.fetch(near)
    inside = spans["starts"][-1]
    window = await connection.fetchval("select (tocsin.maintenance_at('{a}', $1)).id", inside)
    opens = await connection.fetchval("select tocsin.maintained_until(null, '{a}', $1)", inside)
    await connection.execute("delete from tocsin.maintenance")
    await connection.execute(
        """delete from tocsin.calendars;
           insert into tocsin.calendars (name, dates)
           select 'c' || n, '{2099-12-24}' from generate_series(1, 21) as n;
           select tocsin.maintain(calendar => 'c' || n) from generate_series(1, 20) as n"""
    )
    with pytest.raises(asyncpg.CheckViolationError, match="one more than the 20"):
        await connection.execute("select tocsin.maintain(calendar => 'c21')")

    assert len(spans["starts"]) == 10_001
    assert window is not None
    assert opens == inside + timedelta(seconds=30)
    assert await connection.fetchval("select count(*) from tocsin.maintenance") == 20
