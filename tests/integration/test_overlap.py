"""Runs that come due while the run before them is unfinished, on real instances."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from operator import itemgetter

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.runs.claim import Claim
from app.core.runs.unexecuted import overlapped
from app.db import Database, claims, evidence
from app.db.listener import Session
from app.scheduler import superseding
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.claims import closed_now
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.sessions import look_once
from tests.support.sink import Sink, hang, late, reply
from tests.support.waiting import until

EVERY = 0.5
LONG_SECONDS = 1.8


async def has_executions(connection: asyncpg.Connection, job_id: str, *, count: int) -> bool:
    rows = await execution_rows(connection, job_id)  # type: ignore[arg-type]
    return len([row for row in rows if row["attempt"] is not None]) >= count


@pytest.mark.parametrize("overlap", ["skip", "buffer_one"])
async def test_runs_that_come_due_meanwhile_are_missed_and_no_two_execute_at_a_time(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, overlap: str
) -> None:
    target = {"url": sink.on("/", late(LONG_SECONDS, reply(200)))}
    async with instance(), instance():
        job_id = await insert_job(
            connection, target=target, every_seconds=EVERY, overlap=overlap, max_attempts=1
        )
        done = partial(has_executions, connection, str(job_id), count=3)
        await until(done, "three runs have ended", within=60)
        await connection.execute("update tocsin.jobs set paused_at = now()")

    rows = await execution_rows(connection, job_id)
    ran = [row for row in rows if row["attempt"] is not None]
    missed = [row for row in rows if row["outcome"] == "missed"]
    assert {row["reason"] for row in missed} == {"overlap"}
    for row in missed:
        before = max(
            (one for one in ran if one["scheduled_for"] < row["scheduled_for"]),
            key=itemgetter("scheduled_for"),
        )
        was_late = before["started_at"] > before["scheduled_for"] + timedelta(seconds=EVERY)
        why = "started late" if was_late else "ran too long"  # late where the machine was busy
        assert row["error"].startswith(f"{why}: the run of "), (row["error"], before)
    for before, after in pairwise(ran):
        assert after["started_at"] >= before["finished_at"]
        waited = after["scheduled_for"] < before["finished_at"]
        assert waited is (overlap == "buffer_one")
    accounted = sorted(row["scheduled_for"] for row in ran + missed)
    steps = {after - before for before, after in pairwise(accounted)}
    assert steps == {timedelta(seconds=EVERY)}, "each run is on record once"


async def test_what_came_due_before_a_cancellation_is_missed_as_well(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(
        connection, cron="* * * * * *", overlap="skip", misfire_grace_seconds=3600
    )
    await plan_jobs(db)
    held = await claim_soon(session)
    await asyncio.sleep(2.1)  # what comes due is time itself
    await connection.fetch("select * from tocsin.cancel($1)", held.execution_id)
    await evidence.free_cancelled(db, [held], instance="one")
    await plan_jobs(db)
    behind = await claim_soon(session)
    settlement = overlapped(behind, now=datetime.now(UTC))
    assert settlement is not None
    await claims.settle(db, [settlement])

    rows = await execution_rows(connection, job_id)
    cancelled, *missed = sorted(rows, key=lambda row: row["scheduled_for"])
    assert cancelled["outcome"] == "cancelled"
    assert {(row["outcome"], row["reason"]) for row in missed} == {("missed", "overlap")}
    planned = (await job_row(connection, job_id))["next_run"]
    accounted = [*(row["scheduled_for"] for row in rows), planned]
    steps = {after - before for before, after in pairwise(sorted(accounted))}
    assert steps == {timedelta(seconds=1)}
    assert missed[-1]["scheduled_for"] <= cancelled["finished_at"] < planned


async def test_an_edit_that_moves_the_plan_makes_no_run_a_missed_one(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=0.1, overlap="skip")
    await plan_jobs(db)
    held = await claim_soon(session)
    await connection.execute(
        "update tocsin.jobs set every_seconds = null, cron = '0 0 1 1 *' where id = $1", job_id
    )
    await asyncio.sleep(0.3)  # what comes due is time itself

    [closed] = await claims.settle(db, [closed_now(held)])

    assert closed.settled
    rows = await execution_rows(connection, job_id)
    assert [row["outcome"] for row in rows] == ["succeeded"]


async def claim_soon(session: Session) -> Claim:
    """Claim the one job once it is due."""
    found: list[Claim] = []

    async def is_found() -> bool:
        found.extend((await look_once(session)).claims)
        return bool(found)

    await until(is_found, "the job is due", within=60)
    return found[0]


async def test_the_examples_of_the_page_are_accepted(
    api: httpx.AsyncClient, psql: Callable[[str], str], connection: asyncpg.Connection
) -> None:
    page = (ROOT / "docs" / "overlap.md").read_text("utf-8")
    [document] = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    statements = re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE)

    answer = await api.post("/v1/jobs", json=json.decode(document))
    for statement in statements:
        await asyncio.to_thread(psql, statement)

    [asked] = re.findall(r"^curl \$TOCSIN(\S+) --json '(.*?)'", page, re.MULTILINE)
    run = await api.post(f"/v1{asked[0]}", json=json.decode(asked[1]))

    assert answer.status_code == 201, answer.text
    assert (run.status_code, run.json()["name"]) == (202, "sync-stock")
    assert answer.json()["overlap"] == "skip"
    rows = await connection.fetch(
        "select name, overlap from tocsin.jobs where run_of is null order by name"
    )
    assert [tuple(row) for row in rows] == [
        ("refresh-prices", "buffer_one"),
        ("sync-stock", "skip"),
    ]


async def test_a_job_that_says_nothing_lets_runs_wait(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=None, cron="0 3 * * *")

    answer = await api.get(f"/v1/jobs/{job_id}")

    assert answer.json()["overlap"] == "buffer_all"


async def test_explain_says_what_becomes_of_what_comes_due_and_what_became_of_it(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="report", every_seconds=0.1, overlap="skip")
    await plan_jobs(db)
    held = await claim_soon(session)

    now = await connection.fetch("select * from tocsin.explain('report')")
    await asyncio.sleep(0.25)  # what comes due is time itself
    await claims.settle(db, [closed_now(held)])
    due = held.scheduled_for + timedelta(seconds=0.1)
    then = await connection.fetch("select * from tocsin.explain($1::uuid, $2)", job_id, due)

    assert "Runs that come due meanwhile are missed (overlap: skip)." in now[0]["detail"]
    assert then[0]["reason"] == "missed"
    assert "the run before it was unfinished. Started late: the run of " in then[0]["detail"]


async def test_the_next_run_cuts_off_the_one_under_way_and_starts_once_that_has_ended(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance(), instance():
        job_id = await insert_job(
            connection,
            target={"url": sink.on("/", hang, hang, reply(200))},
            every_seconds=1,
            overlap="cancel_other",
            timeout_seconds=600,
            misfire_grace_seconds=3600,
        )
        await sink.arrived(3)
        done = partial(has_executions, connection, str(job_id), count=3)
        await until(done, "the third run has ended", within=60)
        await connection.execute("update tocsin.jobs set paused_at = now()")

    rows = await execution_rows(connection, job_id)
    ran = [row for row in rows if row["attempt"] is not None]
    one, two, three = ran[:3]
    for row, after in ((one, two), (two, three)):
        assert (row["outcome"], row["reason"]) == ("cancelled", "overlap")
        assert row["finished_at"] >= row["scheduled_for"] + timedelta(seconds=1)
        assert after["started_at"] >= row["finished_at"]
        assert "overlap is cancel_other" in row["error"]
    assert three["outcome"] == "succeeded"
    assert (await job_row(connection, job_id))["consecutive_failures"] == 0


@pytest.mark.parametrize(
    "edit", ["every_seconds = null, cron = '0 0 1 1 *'", "overlap = 'skip'", "paused_at = now()"]
)
async def test_a_run_goes_on_where_an_edit_lets_none_come_due(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, edit: str
) -> None:
    async with instance():
        job_id = await insert_job(
            connection,
            target={"url": sink.on("/", late(4.0, reply(200)))},
            every_seconds=2,
            overlap="cancel_other",
        )
        await sink.arrived()
        await connection.execute(f"update tocsin.jobs set {edit} where id = $1", job_id)
        done = partial(has_executions, connection, str(job_id), count=1)
        await until(done, "the run has ended", within=60)

    row = (await execution_rows(connection, job_id))[0]
    assert (row["outcome"], row["status_code"]) == ("succeeded", 200)


@pytest.mark.parametrize(
    "held_up",
    [
        "select tocsin.pause_all('a move')",
        "insert into tocsin.flows (flow_key, paused_at) values ('api', now())",
        """insert into tocsin.flow_states (flow_key, held_until)
           values ('api', now() + interval '9 s')
           on conflict (flow_key) do update set held_until = excluded.held_until""",
    ],
    ids=["everything is paused", "its flow is paused", "its flow is held"],
)
async def test_a_run_goes_on_while_none_may_start_in_its_place(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, held_up: str
) -> None:
    async with instance():
        job_id = await insert_job(
            connection,
            target={"url": sink.on("/", late(2.5, reply(200)))},
            every_seconds=1.5,
            overlap="cancel_other",
            flow_key="api",
        )
        await sink.arrived()
        await connection.execute(held_up)
        done = partial(has_executions, connection, str(job_id), count=1)
        await until(done, "the run has ended", within=60)

    row = (await execution_rows(connection, job_id))[0]
    assert (row["outcome"], row["status_code"]) == ("succeeded", 200)


async def test_a_run_is_cut_off_once_the_pause_is_over_in_which_the_next_came_due(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(superseding, "HELD_UP_SECONDS", 0.1)
    async with instance():
        job_id = await insert_job(
            connection,
            target={"url": sink.on("/", hang, reply(200))},
            every_seconds=1.5,
            overlap="cancel_other",
            timeout_seconds=600,
        )
        await sink.arrived()
        await connection.execute("select tocsin.pause_all()")
        await asyncio.sleep(2.0)  # what comes due is time itself
        held = await execution_rows(connection, job_id)
        await connection.execute("select tocsin.resume_all()")
        await sink.arrived(2)

    assert held == []
    assert (await execution_rows(connection, job_id))[0]["reason"] == "overlap"


async def test_a_run_that_is_moved_to_now_cuts_off_the_one_under_way(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance():
        job_id = await insert_job(
            connection,
            target={"url": sink.on("/", hang, reply(200))},
            cron="0 0 1 1 *",
            overlap="cancel_other",
            timeout_seconds=600,
        )
        await connection.execute("update tocsin.jobs set next_run = now() where id = $1", job_id)
        await sink.arrived()
        await connection.execute("update tocsin.jobs set next_run = now() where id = $1", job_id)
        await sink.arrived(2)
        done = partial(has_executions, connection, str(job_id), count=2)
        await until(done, "both runs have ended", within=60)

    rows = await execution_rows(connection, job_id)
    assert [row["outcome"] for row in rows] == ["cancelled", "succeeded"]
    assert rows[1]["started_at"] >= rows[0]["finished_at"]


async def test_a_run_now_is_not_cut_off_and_what_comes_due_waits_for_it(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance():
        job_id = await insert_job(
            connection,
            target={"url": sink.on("/", late(2.0, reply(200)))},
            cron="0 0 1 1 *",
            overlap="cancel_other",
        )
        answer = await api.post(f"/v1/jobs/{job_id}/run")
        await sink.arrived()
        await connection.execute("update tocsin.jobs set next_run = now() where id = $1", job_id)
        done = partial(has_executions, connection, str(job_id), count=2)
        await until(done, "both runs have ended", within=60)

    assert answer.status_code == 202
    rows = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["status_code"]) for row in rows] == [("succeeded", 200)] * 2
    assert rows[1]["started_at"] >= rows[0]["finished_at"]
