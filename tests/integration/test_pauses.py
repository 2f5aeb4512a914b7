"""Pauses of a job, of a tag and of everything, and how they end."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.facts import Looked
from app.core.runs.resume import resumed
from app.core.runs.transition import released
from app.db import Database, claims, pauses
from app.db.listener import Session
from tests.support.api import HOURLY, JOB, NIGHTLY, fields
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs, run_rows
from tests.support.instances import StartInstance
from tests.support.sessions import claimed_one, look_once
from tests.support.sink import Sink

HOUR = timedelta(hours=1)
LATE = """update tocsin.jobs set next_run = date_trunc('minute', now()) - interval '{}',
          scheduled_for = date_trunc('minute', now()) - interval '{}',
          planned_at = clock_timestamp() where name = 'report'"""


async def late(connection: asyncpg.Connection, by: str) -> None:
    await connection.execute(LATE.format(by, by))


async def ready_to_pause(connection: asyncpg.Connection, db: Database, **columns: Any) -> UUID:  # noqa: ANN401
    job_id = await insert_job(connection, name="report", **{"cron": "* * * * *"} | columns)
    await plan_jobs(db)
    return job_id


async def test_a_pause_says_who_why_and_until_when(api: httpx.AsyncClient) -> None:
    await api.put("/v1/jobs/report", json=NIGHTLY)
    until = "2100-01-01T00:00:00Z"

    answer = await api.post(
        "/v1/jobs/report/pause", json={"reason": "the receiver is moved", "until": until}
    )
    told = (await api.get("/v1/jobs/report/explain")).json()

    assert (answer.status_code, answer.json()["state"]) == (200, "paused")
    pause = answer.json()["pause"]
    assert (pause["reason"], pause["until"], pause["tag"]) == ("the receiver is moved", until, None)
    assert pause["paused_by"]
    reason = told["reasons"][0]
    assert (reason["reason"], reason["until"]) == ("paused", until)
    assert "the receiver is moved" in reason["detail"]
    assert reason["facts"]["paused_by"] == pause["paused_by"]
    resumed_job = (await api.post("/v1/jobs/report/resume")).json()
    assert (resumed_job["pause"], resumed_job["state"]) == (None, "scheduled")


async def test_psql_pauses_and_resumes_as_the_api_does(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/report", json=NIGHTLY)

    await connection.fetch(
        "select * from tocsin.pause('report', 'moved', now() + interval '1 day')"
    )
    job = (await api.get("/v1/jobs/report")).json()
    await connection.fetch("select * from tocsin.resume('report', 'skip')")

    assert (job["paused"], job["pause"]["reason"]) == (True, "moved")
    assert (await api.get("/v1/jobs/report")).json()["pause"] is None
    await connection.execute("update tocsin.jobs set paused_at = now()")
    assert (await api.get("/v1/jobs/report")).json()["pause"]["reason"] is None


@pytest.mark.parametrize(
    ("statement", "column"),
    [
        ("tocsin.pause('report', repeat('x', 1001))", "reason"),
        ("tocsin.pause('report', until => '2020-01-01')", "until"),
        ("tocsin.pause('report', until => 'infinity')", "until"),
        ("tocsin.resume('report', 'never')", "missed"),
        ("tocsin.pause_tag('a,b')", "tag"),
        ("tocsin.pause_all(until => '2020-01-01')", "until"),
    ],
)
async def test_psql_refuses_what_makes_no_pause(
    connection: asyncpg.Connection, statement: str, column: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await connection.fetch(f"select * from {statement}")

    assert refused.value.column_name == column


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("address", "body", "field"),
    [
        ("/v1/jobs/report/pause", {"until": "2020-01-01T00:00:00Z"}, "until"),
        ("/v1/jobs/report/pause", {"until": ""}, "until"),
        ("/v1/flows/crm/pause", {"until": ""}, "until"),
        ("/v1/jobs/report/pause", {"reason": "x" * 1001}, "reason"),
        ("/v1/jobs/report/resume", {"missed": "never"}, "missed"),
        ("/v1/pauses", {}, "tag"),
        ("/v1/pauses", {"tag": "a", "all": True}, "all"),
        ("/v1/pauses", {"tag": "a,b"}, "tag"),
        ("/v1/pauses", {"all": True, "until": "2020-01-01T00:00:00Z"}, "until"),
        ("/v1/pauses", {"tags": ["a"]}, "tags"),
    ],
)
async def test_the_api_refuses_what_makes_no_pause(
    module_api: httpx.AsyncClient, address: str, body: dict[str, Any], field: str
) -> None:
    await module_api.put("/v1/jobs/report", json=HOURLY)

    answer = await module_api.post(address, json=body)

    assert (answer.status_code, fields(answer)) == (422, [field])


@pytest.mark.parametrize(
    ("missed", "dropped", "carried_out"), [("skip", 11, 0), ("once", 10, 1), ("all", 1, 10)]
)
async def test_whoever_resumes_says_what_becomes_of_missed_runs(  # noqa: PLR0913
    *,
    api: httpx.AsyncClient,
    session: Session,
    db: Database,
    connection: asyncpg.Connection,
    missed: str,
    dropped: int,
    carried_out: int,
) -> None:
    job_id = await ready_to_pause(connection, db, misfire="skip", max_catchup=10)
    await late(connection, "10 minutes")
    await api.post("/v1/jobs/report/pause")

    counted = await api.post("/v1/jobs/report/resume", json={"missed": missed, "dry_run": True})
    still = (await job_row(connection, job_id))["state"]
    answer = await api.post("/v1/jobs/report/resume", json={"missed": missed})

    assert still == "paused"
    # A minute may begin in between.
    assert counted.json()["missed"]["missed_runs"] in {11, 12}
    assert counted.json()["missed"]["carried_out"] == carried_out
    assert answer.json()["missed"]["carried_out"] == carried_out
    claim = await claimed_one(session)
    assert claim.is_resumed
    settlement = resumed(claim, now=datetime.now(UTC))
    assert settlement is not None
    await claims.settle(session, [settlement])
    rows = await execution_rows(connection, job_id)
    assert len(rows) in {dropped, dropped + 1}
    assert {(row["outcome"], row["reason"]) for row in rows} == {("missed", "paused")}
    if carried_out:
        again = await claimed_one(session)
        assert again.is_resumed
        assert resumed(again, now=datetime.now(UTC)) is None


async def test_without_a_word_the_misfire_policy_says_it(
    api: httpx.AsyncClient, session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    await ready_to_pause(connection, db)
    await late(connection, "10 minutes")
    await api.post("/v1/jobs/report/pause")

    answer = await api.post("/v1/jobs/report/resume")

    # The latest of those that were late, and the one of this minute, which is not.
    assert answer.json()["missed"]["carried_out"] == 2
    assert not (await claimed_one(session)).is_resumed


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("on_closed", "window", "of_yesterday", "of_today"),
    [("skip", None, 0, True), ("next_open", None, 1, True), ("next_open", "skip", 1, False)],
)
async def test_a_resumption_counts_no_runs_that_were_missed_anyway(  # noqa: PLR0913
    *,
    api: httpx.AsyncClient,
    db: Database,
    connection: asyncpg.Connection,
    on_closed: str,
    window: str | None,
    of_yesterday: int,
    of_today: bool,
) -> None:
    """Calendars close yesterday, and a window perhaps today."""
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - 2 * DAY + HOUR / 2
    days = [f"{day:%Y-%m-%d}" for day in (today - DAY, today + 30 * DAY)]
    await api.put("/v1/calendars/days", json={"dates": days})
    await ready_to_pause(
        connection,
        db,
        cron="30 * * * *",
        calendars=["!days"],
        on_closed=on_closed,
        max_catchup=1000,
    )
    if window:
        span = {
            "all": True,
            "starts_at": today.isoformat(),
            "ends_at": (today + 2 * DAY).isoformat(),
        }
        await api.post("/v1/maintenance", json={**span, "on_closed": window})
    await connection.execute(
        "update tocsin.jobs set next_run = $1, scheduled_for = $1, planned_at = clock_timestamp()",
        first,
    )
    await api.post("/v1/jobs/report/pause")

    answer = await api.post("/v1/jobs/report/resume", json={"missed": "all", "dry_run": True})

    started_today = len([run for run in range(24) if today + run * HOUR + HOUR / 2 <= now])
    wanted = 24 + of_yesterday + started_today * of_today
    assert answer.json()["missed"] == {"missed_runs": wanted, "carried_out": wanted}


async def test_while_everything_is_paused_nothing_is_claimed(
    api: httpx.AsyncClient, session: Session, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="report")
    pause = (await api.post("/v1/pauses", json={"all": True, "reason": "maintenance"})).json()
    await insert_job(connection)

    look = await look_once(session)
    told = (await api.get("/v1/jobs/report/explain")).json()
    listed = (await api.get("/v1/pauses")).json()["items"]
    counted = await api.post(f"/v1/pauses/{pause['id']}/resume", json={"dry_run": True})
    ended = await api.post(f"/v1/pauses/{pause['id']}/resume")
    again = await api.post(f"/v1/pauses/{pause['id']}/resume")

    assert (look.claims, look.paused, look.wakeup_seconds, look.blocked) == ([], True, None, False)
    assert told["reasons"][0]["reason"] == "all_paused"
    assert "maintenance" in told["summary"]
    assert listed == [pause]
    assert (counted.status_code, counted.json()) == (200, {"due_jobs": 2, "dry_run": True})
    assert (ended.status_code, again.status_code) == (200, 404)
    assert len((await look_once(session)).claims) == 2


async def test_a_pause_of_a_tag_holds_its_jobs_and_those_to_come(
    api: httpx.AsyncClient, session: Session, connection: asyncpg.Connection
) -> None:
    before = await insert_job(connection, tags=["billing"], name="before")
    await connection.fetch("select * from tocsin.pause_tag('billing', 'closed')")
    later = await insert_job(connection, tags=["billing"], name="later")
    other = await insert_job(connection, tags=["reports"])
    await connection.fetch("select * from tocsin.run_now($1)", before)

    look = await look_once(session)
    await claims.settle(session, [released(one) for one in look.claims if one.paused])

    assert {one.id for one in look.claims if not one.paused} == {other}
    states = [(await job_row(connection, id))["state"] for id in (before, later)]
    assert states == ["paused", "paused"]
    assert (await look_once(session)).claims == []
    answer = await api.post("/v1/jobs/before/resume")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:tocsin:problem:state-conflict")
    assert (await api.get("/v1/jobs/later")).json()["pause"]["tag"] == "billing"
    await connection.fetch("select tocsin.resume_tag('billing')")
    [run] = await run_rows(connection, before)
    again = (await look_once(session)).claims
    assert {one.id for one in again} == {run["id"], later}
    assert not any(one.paused for one in again)


async def test_a_pause_counts_its_jobs_first_and_changes_nothing(api: httpx.AsyncClient) -> None:
    for tags in (["reports"], ["reports", "nightly"], []):
        job = await api.post("/v1/jobs", json={**HOURLY, "tags": tags})
        assert job.status_code == 201
    await api.post("/v1/jobs", json={**HOURLY, "tags": ["reports"], "paused": True})

    tagged = await api.post("/v1/pauses", json={"tag": "reports", "dry_run": True})
    everything = await api.post("/v1/pauses", json={"all": True, "dry_run": True})

    assert tagged.json() == {"jobs": 2, "dry_run": True}
    assert everything.json() == {"jobs": 3, "dry_run": True}
    assert (await api.get("/v1/pauses")).json()["items"] == []
    assert len((await api.get("/v1/jobs?state=paused")).json()["items"]) == 1


async def test_a_job_with_two_paused_tags_goes_on_when_both_are_resumed(
    connection: asyncpg.Connection, session: Session
) -> None:
    job_id = await insert_job(connection, tags=["a", "b"])
    await connection.execute("select tocsin.pause_tag('a'); select tocsin.pause_tag('b')")

    await connection.fetch("select tocsin.resume_tag('a')")
    held = (await job_row(connection, job_id))["state"]
    await connection.fetch("select tocsin.resume_tag('b')")

    assert held == "paused"
    assert (await claimed_one(session)).id == job_id


async def test_a_job_that_was_paused_by_itself_stays_so_when_its_tag_is_resumed(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection, tags=["a"], name="report")
    await connection.fetch("select * from tocsin.pause('report')")
    await connection.fetch("select * from tocsin.pause_tag('a')")

    await connection.fetch("select tocsin.resume_tag('a')")

    assert (await job_row(connection, job_id))["state"] == "paused"


async def test_a_paused_tag_that_a_job_gets_or_loses_is_obeyed(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/report", json=HOURLY)
    await connection.fetch("select * from tocsin.pause_tag('a')")

    got = await api.patch("/v1/jobs/report", json={"tags": ["a"]})
    held = await api.get("/v1/jobs/report")
    lost = await api.patch("/v1/jobs/report", json={"tags": ["b"]})

    assert got.json()["state"] == "paused"
    assert held.json()["pause"]["tag"] == "a"
    assert lost.json()["state"] == "scheduled"


async def test_an_edit_does_not_outlast_the_end_of_a_pause_of_its_tag(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/report", json=HOURLY | {"tags": ["a"]})
    await connection.fetch("select * from tocsin.pause_tag('a')")

    edited = await api.patch("/v1/jobs/report", json={"description": "edited"})
    await connection.fetch("select tocsin.resume_tag('a')")

    assert edited.json()["state"] == "paused"
    assert (await api.get("/v1/jobs/report")).json()["state"] == "scheduled"


async def test_pauses_that_are_over_end(
    db: Database, session: Session, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="report")
    await insert_job(connection, tags=["a"])
    await connection.execute(
        """select tocsin.pause('report', until => now() + interval '1 hour'),
               tocsin.pause_tag('a', until => now() + interval '1 hour');"""
    )
    await connection.fetch("select tocsin.pause_all(until => now() + interval '30 minutes')")
    ahead = await look_once(session)
    assert ahead.pause_seconds is not None
    assert 0 < ahead.pause_seconds <= 1800

    early = await pauses.end_over(db, believed=None)
    await connection.execute(
        "update tocsin.pauses set ends_at = now() - interval '1 ms' where until is not null"
    )
    over = await look_once(session)
    ended = await pauses.end_over(db, believed=None)

    assert over.pause_seconds is not None
    assert over.pause_seconds <= 0
    assert (early, ended) == (0, 3)
    assert len((await look_once(session)).claims) == 2
    assert await connection.fetch("select * from tocsin.pauses") == []


async def test_a_pause_that_cannot_be_ended_holds_up_no_other(
    db: Database, connection: asyncpg.Connection
) -> None:
    bad = await insert_job(connection, name="bad")
    good = await insert_job(connection, name="good")
    await connection.execute(
        """select tocsin.pause(name, until => now() + interval '1 hour') from tocsin.jobs;
           create function refuse() returns trigger language plpgsql as $$ begin
               if new.name = 'bad' then raise 'no'; end if; return new; end $$;
           create trigger mine before update on tocsin.jobs for each row execute function refuse();
           update tocsin.pauses set ends_at = now() - interval '1 ms';"""
    )

    await pauses.end_over(db, believed=None)

    assert (await job_row(connection, good))["state"] == "scheduled"
    assert (await job_row(connection, bad))["state"] == "paused"
    assert await pauses.end_over(db, believed=None) == 0


async def test_the_audit_log_says_who_paused_what(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job = (await api.put("/v1/jobs/report", json=JOB | {"every_seconds": 60})).json()
    await api.post("/v1/jobs/report/pause", json={"reason": "moved"})
    pause = (await api.post("/v1/pauses", json={"tag": "billing", "reason": "closed"})).json()
    await api.post(f"/v1/pauses/{pause['id']}/resume", json={"missed": "skip"})

    of_job = await api.get("/v1/audit", params={"entity_id": job["id"]})
    of_pause = await api.get("/v1/audit", params={"entity_id": pause["id"]})

    changes = [entry["changed"] for entry in of_job.json()["items"]]
    assert ["pause"] in changes
    assert ["paused_at"] in changes
    entries = of_pause.json()["items"]
    assert [(one["action"], one["entity"], one["entity_name"]) for one in entries] == [
        ("delete", "pause", "billing"),
        ("create", "pause", "billing"),
    ]
    assert entries[1]["after"]["reason"] == "closed"


@pytest.mark.parametrize(
    "pause",
    [
        "select tocsin.pause('report', until => now() + interval '1 second')",
        "select tocsin.pause_all(until => now() + interval '1 second')",
        "select tocsin.pause_tag('a', until => now() + interval '1 second')",
    ],
)
async def test_what_is_paused_for_a_while_goes_on_by_itself(
    instance: StartInstance, sink: Sink, connection: asyncpg.Connection, pause: str
) -> None:
    async with instance(longest_sleep_seconds=3600.0):
        async with connection.transaction():
            await insert_job(connection, name="report", tags=["a"], target={"url": sink.url()})
            await connection.execute(pause)
            ends_at = await connection.fetchval("select max(until) from tocsin.pauses")

        await sink.arrived(1)

        assert await connection.fetchval("select clock_timestamp()") >= ends_at


async def test_an_instance_goes_on_once_everything_is_resumed_in_psql(
    instance: StartInstance, sink: Sink, connection: asyncpg.Connection
) -> None:
    async with instance(longest_sleep_seconds=3600.0) as (_, facts):
        await connection.execute("select tocsin.pause_all('maintenance')")
        await insert_job(connection, target={"url": sink.url()})
        await facts.seen(Looked)
        assert sink.requests == []

        await connection.execute("select tocsin.resume_all()")

        await sink.arrived(1)


async def test_jobs_of_a_flow_obey_the_pauses_as_well(
    instance: StartInstance, sink: Sink, connection: asyncpg.Connection
) -> None:
    async with instance() as (_, facts):
        await connection.execute("select tocsin.pause_all(); select tocsin.pause_tag('a')")
        await insert_job(connection, target={"url": sink.url("/flow")}, flow_key="slow")
        await insert_job(connection, target={"url": sink.url("/tag")}, flow_key="slow", tags=["a"])
        await facts.seen(Looked)
        assert sink.requests == []

        await connection.execute("select tocsin.resume_all()")
        [request] = await sink.arrived(1)
        assert request.path == "/flow"
        await connection.execute("select tocsin.resume_tag('a')")

        assert {one.path for one in await sink.arrived(2)} == {"/flow", "/tag"}
