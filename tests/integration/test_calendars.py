"""Calendars through both doors, the jobs that use them, and what becomes of their runs."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from app.core.facts import Settled
from app.core.runs.closing import closed
from app.core.runs.outcome import Outcome
from app.core.schedule.calendars import CalendarRules, work_out
from app.core.schedule.spread import effective
from app.db import Database, calendars, claims
from app.db.listener import Session
from app.scheduler.calendars import replan, work_out_all
from app.scheduler.closings import open_due
from app.scheduler.windows import Windows
from tests.support.api import HOURLY, NIGHTLY, fields
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.days import Day
from tests.support.instances import StartInstance
from tests.support.sessions import claimed_one
from tests.support.sink import Sink

ROOT = Path(__file__).parents[2]
DAY = timedelta(days=1)
NOON = {"timezone": "UTC", "weekly": ["* 12:00-13:00"]}
Write = Callable[..., Awaitable[str | None]]


@pytest.fixture(params=["api", "psql"])
def write(
    request: pytest.FixtureRequest,
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    db: Database,
) -> Write:
    """Give what writes a calendar through one of the doors; returns the field that was refused."""

    async def through_api(name: str, **parts: Any) -> str | None:  # noqa: ANN401
        answer = await api.put(f"/v1/calendars/{name}", json=parts)
        if answer.status_code in {200, 201}:
            return None
        assert answer.status_code == 422, answer.text
        [field] = fields(answer)
        return field.partition("[")[0]

    async def through_psql(name: str, **parts: Any) -> str | None:  # noqa: ANN401
        names = ", ".join(f"{part} => ${number}" for number, part in enumerate(parts, start=2))
        try:
            await connection.execute(
                f"select tocsin.calendar($1{', ' if names else ''}{names})", name, *parts.values()
            )
        except asyncpg.CheckViolationError as refused:
            return refused.column_name
        await work_out_all(db)
        error = await connection.fetchval(
            "select error from tocsin.calendars where name = $1", name
        )
        return None if error is None else str(error).partition(":")[0].partition("[")[0]

    return through_api if request.param == "api" else through_psql


async def test_a_calendar_is_made_changed_read_listed_and_deleted(api: httpx.AsyncClient) -> None:
    made = await api.put("/v1/calendars/hours", json=NOON)
    again = await api.put("/v1/calendars/hours", json=NOON | {"weekly": ["MON"]})
    await api.put("/v1/calendars/another", json=NOON)
    page = (await api.get("/v1/calendars?limit=1")).json()
    rest = (await api.get("/v1/calendars", params={"cursor": page["next_cursor"]})).json()
    read = (await api.get("/v1/calendars/hours")).json()
    gone = await api.delete("/v1/calendars/hours")

    assert (made.status_code, again.status_code, gone.status_code) == (201, 200, 204)
    assert made.json()["is_worked_out"]
    assert len(made.json()["times"]) == 10
    assert (read["weekly"], read["error"], read["jobs"]) == (["MON"], None, 0)
    assert [one["name"] for one in (*page["items"], *rest["items"])] == ["another", "hours"]
    assert (await api.get("/v1/calendars/hours")).status_code == 404
    assert (await api.delete("/v1/calendars/hours")).status_code == 404
    entries = (await api.get("/v1/audit?limit=10")).json()["items"]
    assert [one["action"] for one in entries if one["entity_name"] == "hours"] == [
        "delete",
        "update",
        "create",
    ]


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({}, "dates"),
        ({"dates": ["2026-02-30"]}, "dates"),
        ({"dates": ["tomorrow"]}, "dates"),
        ({"dates": ["2020-01-01"]}, "dates"),
        ({"dates": ["2100-01-01"] * 2001}, "dates"),
        ({"weekly": ["MON 9-17"]}, "weekly"),
        ({"weekly": ["MON 09:00-25:00"]}, "weekly"),
        ({"weekly": ["MON"] * 21}, "weekly"),
        ({"holidays": ["germany"]}, "holidays"),
        ({"holidays": ["XX"]}, "holidays"),
        ({"rrules": ["FREQ=SECONDLY"]}, "rrules"),
        ({"rrules": ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"]}, "rrules"),
        ({"ical": "hello"}, "ical"),
        ({"ical": "BEGIN:VCALENDAR\nEND:VCALENDAR\n"}, "ical"),
        ({"weekly": ["MON"], "timezone": "Mars/Base"}, "timezone"),
    ],
)
async def test_bad_parts_are_refused_by_both_doors(
    write: Write, parts: dict[str, Any], field: str
) -> None:
    assert await write("hours", **parts) == field


@pytest.mark.parametrize("name", ["!hours", "a,b", "x" * 101])
async def test_bad_names_are_refused(
    api: httpx.AsyncClient, connection: asyncpg.Connection, name: str
) -> None:
    answer = await api.put(f"/v1/calendars/{name}", json=NOON)

    assert (answer.status_code, fields(answer)) == (422, ["name"])
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await connection.execute("select tocsin.calendar($1, '{MON}')", name)
    assert refused.value.column_name == "name"


async def test_both_doors_lead_to_the_same_times(
    write: Write, connection: asyncpg.Connection, day: Day
) -> None:
    await write("hours", weekly=["MON-FRI 09:00-17:00"], timezone="Europe/Berlin", dates=[day(9)])

    [row] = await connection.fetch("select times from tocsin.calendars")
    rules = CalendarRules(weekly=["MON-FRI 09:00-17:00"], timezone="Europe/Berlin", dates=[day(9)])
    now = datetime.now(UTC)
    found = [(one.lower, one.upper) for one in row["times"] if one.lower > now]
    wanted = [(one.start, one.end) for one in work_out(rules, now=now) if one.start > now]
    assert found[:1000] == wanted[:1000]


@pytest.mark.parametrize(
    ("job", "field"),
    [
        ({"calendars": ["none"]}, "calendars"),
        ({"calendars": ["today", "!today"]}, "calendars"),
        ({"calendars": ["a,b"]}, "calendars[0]"),
        ({"calendars": ["today"] * 21}, "calendars"),
        ({"calendars": ["noon"], "cron": "0 3 * * *", "every_seconds": None}, "calendars"),
        ({"on_closed": "later"}, "on_closed"),
        ({"min_gap_seconds": 0}, "min_gap_seconds"),
        ({"min_gap_seconds": 31_557_601}, "min_gap_seconds"),
    ],
)
async def test_a_job_says_what_is_wrong_with_its_calendars(
    api: httpx.AsyncClient, job: dict[str, Any], field: str, day: Day
) -> None:
    await api.put("/v1/calendars/today", json={"dates": [day(), day(1)]})
    await api.put("/v1/calendars/noon", json=NOON)

    answer = await api.put("/v1/jobs/report", json=HOURLY | job)

    assert answer.status_code == 422
    assert fields(answer) == [field]


@pytest.mark.parametrize(
    "edit",
    [{"calendars": ["noon"]}, {"calendars": ["noon"], "on_closed": "skip", "cron": "15 3 * * *"}],
)
async def test_an_edit_after_which_all_runs_would_be_closed_is_refused(
    api: httpx.AsyncClient, edit: dict[str, Any]
) -> None:
    await api.put("/v1/calendars/noon", json=NOON)
    nightly = NIGHTLY | {"timezone": "UTC"}
    await api.put("/v1/jobs/report", json=nightly)
    await api.put("/v1/jobs/late", json=nightly | {"calendars": ["noon"], "on_closed": "next_open"})
    replaced = {**nightly, "name": "report", **edit}

    answers = [
        await api.patch("/v1/jobs/report", json=edit),
        await api.put("/v1/jobs/report", json=nightly | edit),
        await api.post("/v1/jobs/batch?replace=true", json=[replaced]),
        await api.patch("/v1/jobs/late", json={"on_closed": "skip"}),
    ]
    left = await api.patch("/v1/jobs/report", json={"description": "as it was"})

    assert [(one.status_code, *fields(one)) for one in answers] == [
        (422, "calendars"),
        (422, "calendars"),
        (422, "[0].calendars"),
        (422, "calendars"),
    ]
    assert (left.json()["calendars"], left.json()["cron"]) == (None, "0 3 * * *")


async def test_psql_says_the_same_of_a_job(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database, day: Day
) -> None:
    await api.put("/v1/calendars/today", json={"dates": [day(), day(1)]})
    await api.put("/v1/calendars/noon", json=NOON)

    for calendars_given in (["none"], ["today", "!today"], ["a,b"], ["today"] * 21):
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await insert_job(connection, cron="0 * * * *", calendars=calendars_given)
        assert refused.value.column_name == "calendars"
    run_at = datetime.now(UTC) + 100 * DAY
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert_job(connection, run_at=run_at, calendars=["today"])
    assert refused.value.column_name == "calendars"
    never = await insert_job(connection, cron="0 3 * * *", calendars=["noon"])
    sometimes = await insert_job(connection, cron="30 12 * * *", calendars=["noon"])
    await plan_jobs(db)
    assert (await job_row(connection, never))["plan_error"].startswith("calendars: leave no run")
    assert (await job_row(connection, sometimes))["plan_error"] is None


async def test_a_job_keeps_its_calendars_and_loses_them_by_null(api: httpx.AsyncClient) -> None:
    await api.put("/v1/calendars/noon", json=NOON)

    made = await api.put(
        "/v1/jobs/report",
        json=HOURLY | {"calendars": ["!noon"], "on_closed": "next_open", "min_gap_seconds": 90},
    )
    same = await api.patch("/v1/jobs/report", json={"calendars": ["!noon"]})
    used = (await api.get("/v1/calendars/noon")).json()["jobs"]
    none = await api.patch("/v1/jobs/report", json={"calendars": None, "min_gap_seconds": None})

    job = made.json()
    assert (job["calendars"], job["on_closed"], job["min_gap_seconds"]) == (
        ["!noon"],
        "next_open",
        90.0,
    )
    assert same.json()["updated_at"] == job["updated_at"]
    assert used == 1
    assert none.json()["calendars"] is None
    assert (await api.get("/v1/calendars/noon")).json()["jobs"] == 0


async def test_a_calendar_that_is_used_stays_and_says_by_whom(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/calendars/noon", json=NOON)
    await api.put("/v1/jobs/report", json=HOURLY | {"calendars": ["!noon"]})

    answer = await api.delete("/v1/calendars/noon")

    assert answer.status_code == 409
    assert answer.json()["type"].endswith("calendar-used")
    assert "'report'" in answer.text
    for change in ("delete from tocsin.calendars", "update tocsin.calendars set name = 'other'"):
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(change)
    await api.delete("/v1/jobs/report")
    assert (await api.delete("/v1/calendars/noon")).status_code == 204


async def due_job(connection: asyncpg.Connection, db: Database, **columns: Any) -> Any:  # noqa: ANN401
    """Return a minutely job whose run was due at the last full minute."""
    job_id = await insert_job(connection, name="report", **{"cron": "* * * * *"} | columns)
    await plan_jobs(db)
    await connection.execute(
        """update tocsin.jobs set next_run = date_trunc('minute', now()),
           scheduled_for = date_trunc('minute', now()), planned_at = clock_timestamp()
           where id = $1""",
        job_id,
    )
    return job_id


async def judge(session: Session, db: Database) -> bool:
    """Claim the job that is due, settle it if its run is closed, and return whether it was."""
    claim = await claimed_one(session)
    closing = await calendars.read_closing(db, claim.calendars, at=claim.scheduled_for)
    settlement = closed(claim, closing, now=datetime.now(UTC))
    if settlement is not None:
        [one] = await claims.settle(session, [settlement])
        assert one.settled
    return settlement is not None


async def test_a_run_in_closed_time_is_a_missed_row_and_explained(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database, session: Session, day: Day
) -> None:
    await api.put("/v1/calendars/holiday", json={"dates": [day(-1) + "/" + day(1)]})
    job_id = await due_job(connection, db, calendars=["!holiday"])
    reasons = (await api.get("/v1/jobs/report/explain")).json()["reasons"]
    [told] = [one for one in reasons if one["reason"] == "calendar"]
    due = (await job_row(connection, job_id))["scheduled_for"]

    assert await judge(session, db)

    opens = datetime.fromisoformat(day(2)).replace(tzinfo=UTC)
    assert told["facts"]["calendars"] == ["!holiday"]
    assert datetime.fromisoformat(told["until"]) == opens
    [row, *_] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["reason"], row["scheduled_for"]) == ("missed", "calendar", due)
    past = await api.get("/v1/jobs/report/explain", params={"at": due.isoformat()})
    assert "its calendars were closed" in past.json()["summary"]
    assert (await job_row(connection, job_id))["next_run"] > due


async def test_a_run_that_is_put_off_starts_sooner_once_its_calendar_opens_sooner(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database, session: Session, day: Day
) -> None:
    await api.put("/v1/calendars/holiday", json={"dates": [day(-1) + "/" + day(3)]})
    job_id = await due_job(connection, db, calendars=["!holiday"], on_closed="next_open")
    assert await judge(session, db)
    put_off = (await job_row(connection, job_id))["next_run"]
    told = (await api.get("/v1/jobs/report/explain")).json()["reasons"][0]

    await api.put("/v1/calendars/holiday", json={"dates": [day(-1) + "/" + day(2)]})
    assert await replan(db) == 1
    sooner = await job_row(connection, job_id)
    await api.put("/v1/calendars/holiday", json={"dates": [day(9)]})
    await replan(db)
    now = await job_row(connection, job_id)

    assert put_off == datetime.fromisoformat(day(4)).replace(tzinfo=UTC)
    assert (told["reason"], told["until"][:10]) == ("calendar", day(4))
    assert sooner["next_run"] == put_off - DAY
    assert sooner["scheduled_for"] < sooner["next_run"]
    assert now["next_run"] <= datetime.now(UTC)
    assert not await judge(session, db)


async def test_a_calendar_that_breaks_concerns_its_jobs_alone_and_a_correction_frees_them(
    connection: asyncpg.Connection, db: Database, session: Session, day: Day
) -> None:
    await connection.execute("select tocsin.calendar('days', dates => $1)", [day(3)])
    await work_out_all(db)
    job_id = await due_job(connection, db, calendars=["!days"])
    await connection.execute("update tocsin.calendars set holidays = '{XX}'")
    await work_out_all(db)

    assert await judge(session, db)
    invalid = await job_row(connection, job_id)
    await connection.execute("update tocsin.calendars set holidays = '{DE}'")
    await work_out_all(db)
    await replan(db)
    valid = await job_row(connection, job_id)

    assert invalid["state"] == "invalid"
    assert "'days' cannot be used, correct it: holidays[0]" in invalid["plan_error"]
    assert (valid["state"], valid["plan_error"]) == ("scheduled", None)


async def test_a_run_waits_for_a_calendar_that_has_yet_to_be_worked_out(
    connection: asyncpg.Connection, db: Database, session: Session, day: Day
) -> None:
    await connection.execute("select tocsin.calendar('days', dates => $1)", [day(3)])
    job_id = await due_job(connection, db, calendars=["!days"])

    assert await judge(session, db)

    row = await job_row(connection, job_id)
    assert row["plan_error"] is None
    assert row["next_run"] > row["scheduled_for"]


async def test_many_jobs_are_replanned_in_steps(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
    day: Day,
) -> None:
    monkeypatch.setattr(calendars, "STEP_JOBS", 3)
    await api.put("/v1/calendars/holiday", json={"dates": [day(-1) + "/" + day(3)]})
    for _ in range(7):
        job_id = await insert_job(
            connection, cron="0 0 1 1 *", calendars=["!holiday"], on_closed="next_open"
        )
    await plan_jobs(db)
    await connection.execute(
        """update tocsin.jobs set scheduled_for = now(), next_run = now() + interval '9 days',
           planned_at = clock_timestamp()"""
    )

    await api.put("/v1/calendars/holiday", json={"dates": [day(-1) + "/" + day(1)]})
    steps = []
    while (step := await calendars.replan_step(db)).calendar is not None:
        steps.append((step.seen, step.moved))

    assert steps == [(3, 3), (3, 3), (1, 1), (0, 0)]
    opens = datetime.fromisoformat(day(2)).replace(tzinfo=UTC)
    assert (await job_row(connection, job_id))["next_run"] == opens


async def test_runs_to_come_say_which_of_them_are_closed(api: httpx.AsyncClient, day: Day) -> None:
    await api.put("/v1/calendars/holiday", json={"dates": [day(-1) + "/" + day(1)]})
    job = (await api.put("/v1/jobs/report", json=HOURLY | {"calendars": ["!holiday"]})).json()
    until = (datetime.now(UTC) + 3 * DAY).isoformat()

    coming = (await api.get("/v1/upcoming", params={"until": until, "limit": 100})).json()["items"]
    shown = [
        (
            await api.post("/v1/schedule/preview", json={"cron": "0 12 * * *", "count": 3} | more)
        ).json()
        for more in ({"calendars": ["!holiday"]}, {"job_id": job["id"]}, {})
    ]
    refused = await api.post(
        "/v1/schedule/preview", json={"cron": "0 12 * * *", "calendars": ["none"]}
    )

    assert shown[0].get("runs"), shown[0]
    opens = day(2)
    marked = {one["at"][:10]: one["closed_until"] for one in coming}
    assert {day: until and until[:10] for day, until in marked.items() if day < opens} == {
        date: opens for date in marked if date < opens
    }
    assert marked[opens] is None
    assert any(one["closed_until"] for one in shown[0]["runs"])
    assert shown[0]["runs"] == shown[1]["runs"]
    assert all(one["closed_until"] is None for one in shown[2]["runs"])
    assert (refused.status_code, fields(refused)) == (422, ["calendars"])


async def test_a_closed_run_cuts_no_other_off(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database, session: Session, day: Day
) -> None:
    await api.put("/v1/calendars/holiday", json={"dates": [day(-1) + "/" + day(1)]})
    await due_job(connection, db, calendars=["!holiday"], overlap="cancel_other")
    claim = await claimed_one(session)

    due = await open_due(db, Windows(), claim, claim.scheduled_for + timedelta(minutes=1))

    assert due == datetime.fromisoformat(day(2)).replace(tzinfo=UTC)


async def test_the_run_that_cuts_another_off_is_judged_by_its_instant_and_starts_spread(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database, session: Session, day: Day
) -> None:
    await api.put("/v1/calendars/noon", json=NOON)
    columns = {"overlap": "cancel_other", "jitter_seconds": 3000}
    await due_job(connection, db, calendars=["noon"], cron="0 * * * *", **columns)
    claim = await claimed_one(session)
    noon = datetime.fromisoformat(day(1)).replace(hour=12, tzinfo=UTC)

    due = await open_due(db, Windows(), claim, noon - timedelta(hours=3))

    assert due == effective(claim.schedule, noon, job_id=claim.job_id)
    assert due > noon


async def test_an_instance_sees_calendars_of_psql_and_keeps_to_them(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, day: Day
) -> None:
    """A run beside the plan is carried out in closed time too."""
    async with instance() as (_, facts):
        days = f"{day()}/{day(1)}"
        await connection.execute("select tocsin.calendar('days', dates => $1)", [days])
        columns = {"target": {"url": sink.url()}, "every_seconds": 0.2}
        job_id = await insert_job(connection, **columns, calendars=["!days"])
        other = await insert_job(connection, **columns)
        await facts.seen(Settled, job_id=other)
        await facts.seen(Settled, job_id=job_id, outcome=Outcome.MISSED)
        await connection.fetch("select tocsin.run_now($1)", job_id)
        await facts.seen(Settled, job_id=job_id, outcome=Outcome.SUCCEEDED)

    rows = await execution_rows(connection, job_id)
    assert {(row["outcome"], row["reason"]) for row in rows} == {
        ("missed", "calendar"),
        ("succeeded", None),
    }


async def test_the_examples_of_the_page_work(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database
) -> None:
    page = (ROOT / "docs" / "calendars.md").read_text("utf-8")
    statements = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    [job] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)

    await connection.execute(statements[0])
    await work_out_all(db)
    for statement in statements[1:]:
        await connection.execute(statement)
    made = await api.post("/v1/jobs", json=json.loads(job))
    await plan_jobs(db)

    rows = await connection.fetch("select name, plan_error, min_gap_seconds from tocsin.jobs")
    assert {(row["name"], row["plan_error"], row["min_gap_seconds"]) for row in rows} == {
        ("report", None, 300),
        ("clean-up", None, None),
    }
    assert made.json()["calendars"] == ["!business-hours"]
    read = (await api.get("/v1/calendars")).json()["items"]
    assert [(one["name"], one["error"], one["jobs"]) for one in read] == [
        ("business-hours", None, 2),
        ("holidays", None, 1),
    ]
    examples = re.findall(r"^\| `(\w+)` \| (`[^|]*`)", page, re.MULTILINE)
    for field, texts in examples[:4]:
        document = {field: [one.strip("`") for one in texts.split(", ")]}
        answer = await api.put(f"/v1/calendars/try-{field}", json=document)
        assert answer.status_code == 201, answer.text
