"""Runs beside the plan: each one that was acknowledged is carried out, with its identity."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.runs.claim import Claim
from app.core.runs.misfire import Attendance, missed
from app.core.runs.outcome import Outcome
from app.db import Database, claims
from app.db.listener import Session
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs, run_rows
from tests.support.claims import closed_now
from tests.support.instances import StartInstance
from tests.support.sessions import claimed_one, look_once
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

PAST = datetime(2026, 1, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)
HERE = Attendance(instance="one")
HOUR = timedelta(hours=1)
RUN_NOW = "select tocsin.run_now($1)"
REPLAY = "select tocsin.run_now($1, $2)"


async def carried_out(session: Session, db: Database) -> list[Claim]:
    """Claim and settle until nothing is due; return the claims in their order."""
    done = []
    while found := (await look_once(session)).claims:
        done += found
        await claims.settle(db, [closed_now(claim) for claim in found])
    return done


async def finished(
    connection: asyncpg.Connection,
    session: Session,
    db: Database,
    **schedule: Any,  # noqa: ANN401
) -> tuple[UUID, datetime]:
    """A job whose only, or last, run failed for good, and the instant of that run."""
    job_id = await insert_job(connection, max_attempts=1, **schedule)
    if schedule.keys() & {"every_seconds", "cron"}:
        await plan_jobs(db)
        await connection.execute("update tocsin.jobs set next_run = now()")
    claim = await claimed_one(session)
    await claims.settle(db, [closed_now(claim, Outcome.FAILED)])
    assert (await job_row(connection, job_id))["next_run"] is None
    return job_id, claim.scheduled_for


SOON = datetime(2100, 1, 1, tzinfo=UTC)
SCHEDULES: dict[str, dict[str, Any]] = {
    "one-off": {"run_at": datetime(2026, 11, 1, tzinfo=UTC)},
    "interval, max_runs": {"every_seconds": 3600, "max_runs": 1},
    "cron, max_runs": {"cron": "0 3 * * *", "max_runs": 1},
}


@pytest.mark.parametrize("schedule", SCHEDULES)
async def test_a_replay_of_the_last_run_of_a_job_keeps_its_identity(
    session: Session, db: Database, connection: asyncpg.Connection, schedule: str
) -> None:
    job_id, occurrence = await finished(connection, session, db, **SCHEDULES[schedule])

    await connection.execute(REPLAY, job_id, occurrence)
    [replay] = await carried_out(session, db)

    assert (replay.scheduled_for, replay.attempt) == (occurrence, 1)
    row = await job_row(connection, job_id)
    assert (row["next_run"], row["state"], row["pending_runs"]) == (None, "finished", 0)


async def test_a_replay_of_an_earlier_run_of_a_window_that_has_ended_leads_to_no_other(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    now = datetime.now(UTC)
    job_id = await insert_job(
        connection, every_seconds=60, starts_at=now - DAY, ends_at=now + HOUR, misfire="run_all"
    )
    await connection.execute("update tocsin.jobs set ends_at = $1", now - HOUR)
    occurrence = now - DAY + timedelta(minutes=2)

    await connection.execute(REPLAY, job_id, occurrence)
    [replay] = await carried_out(session, db)

    assert replay.scheduled_for == occurrence
    assert (await job_row(connection, job_id))["next_run"] is None


async def test_a_replay_of_the_planned_instant_keeps_both_runs(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await plan_jobs(db)
    plan = (await job_row(connection, job_id))["next_run"]

    await connection.execute(REPLAY, job_id, plan)
    [replay] = await carried_out(session, db)

    row = await job_row(connection, job_id)
    assert replay.scheduled_for == row["next_run"] == row["scheduled_for"] == plan


@pytest.mark.parametrize(
    "schedule", [{"run_at": SOON}, {"every_seconds": 3600}, {"cron": "0 3 * * *"}]
)
async def test_what_is_asked_for_again_and_again_runs_as_often(
    session: Session, db: Database, connection: asyncpg.Connection, schedule: dict[str, Any]
) -> None:
    job_id = await insert_job(connection, **schedule)
    asked = [PAST, PAST + DAY, PAST]

    for occurrence in asked:
        await connection.execute(REPLAY, job_id, occurrence)
    done = await carried_out(session, db)
    await plan_jobs(db)

    assert [claim.scheduled_for for claim in done] == asked
    row = await job_row(connection, job_id)
    assert row["next_run"] == row["scheduled_for"] > datetime.now(UTC)
    assert (row["pending_runs"], await run_rows(connection, job_id)) == (0, [])


async def test_run_now_over_four_rows_of_one_job_is_four_runs_with_four_identities(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)

    rows = await connection.fetch("select tocsin.run_now($1) from generate_series(1, 4)", job_id)
    done = await carried_out(session, db)

    assert len(rows) == len(done) == 4
    assert len({claim.scheduled_for for claim in done}) == 4
    assert len(await execution_rows(connection, job_id)) == 4


async def test_what_was_asked_for_does_not_wait_for_a_plan_that_was_moved_far_ahead(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await connection.execute("update tocsin.jobs set next_run = now()")
    dead = await claimed_one(session)
    moved_to = datetime(2100, 1, 1, tzinfo=UTC)
    await connection.execute("update tocsin.jobs set next_run = $1", moved_to)
    await connection.execute(REPLAY, job_id, PAST)
    await connection.execute("update tocsin.jobs set locked_until = now() - interval '1 ms'")

    [replay] = await carried_out(session, db)

    assert (replay.scheduled_for, replay.attempt) == (PAST, 1)
    lost, done = await execution_rows(connection, job_id)
    assert (lost["id"], lost["outcome"]) == (dead.execution_id, "lost")
    assert done["id"] == replay.execution_id
    assert (await job_row(connection, job_id))["next_run"] == moved_to


async def test_run_now_over_four_jobs_is_a_run_of_each(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    jobs = {await insert_job(connection, every_seconds=3600) for _ in range(4)}

    rows = await connection.fetch("select tocsin.run_now(id) from tocsin.jobs")

    assert len(rows) == 4
    assert {claim.job_id for claim in await carried_out(session, db)} == jobs


async def test_run_nows_of_one_instant_have_different_identities(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await connection.execute(
        """insert into tocsin.jobs (run_of, kind, target, run_at)
           select $1, 'http', '{}', clock_timestamp() + n * interval '1 microsecond'
           from generate_series(0, 2000) as n""",
        job_id,
    )

    await connection.execute(RUN_NOW, job_id)

    assert await connection.fetchval(
        """select count(distinct scheduled_for) = count(*) from tocsin.jobs
           where run_of is not null"""
    )


async def test_a_one_off_that_is_due_and_a_run_now_are_two_runs(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=PAST)

    await connection.execute(RUN_NOW, job_id)

    done = await carried_out(session, db)
    assert PAST in {claim.scheduled_for for claim in done}
    assert len(done) == 2


async def test_a_one_off_of_later_runs_now_instead_and_what_else_is_asked_for_too(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=SOON)

    await connection.execute(RUN_NOW, job_id)
    await connection.execute(RUN_NOW, job_id)

    assert len(await carried_out(session, db)) == 2
    row = await job_row(connection, job_id)
    assert (row["next_run"], row["state"]) == (None, "finished")


async def test_requests_during_an_execution_come_after_its_retries(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600, backoff_seconds=0)
    await connection.execute("update tocsin.jobs set next_run = now()")
    first = await claimed_one(session)
    await connection.execute(REPLAY, job_id, first.scheduled_for)
    await connection.execute(RUN_NOW, job_id)

    await claims.settle(db, [closed_now(first, Outcome.FAILED)])
    done = await carried_out(session, db)

    assert [(one.scheduled_for, one.attempt) for one in done[:2]] == [
        (first.scheduled_for, 2),
        (first.scheduled_for, 1),
    ]
    assert len(done) == 3
    assert (await job_row(connection, job_id))["next_run"] == first.scheduled_for + HOUR


async def test_a_retry_that_is_due_and_a_run_now_are_two_runs(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await connection.execute("update tocsin.jobs set next_run = now()")
    first = await claimed_one(session)
    await claims.settle(db, [closed_now(first, Outcome.FAILED)])

    await connection.execute(RUN_NOW, job_id)  # brings the retry forward
    await connection.execute(RUN_NOW, job_id)
    done = await carried_out(session, db)

    assert [one.attempt for one in done] == [2, 1]
    assert done[0].scheduled_for == first.scheduled_for < done[1].scheduled_for


async def test_a_run_now_of_a_cron_that_no_instance_has_planned_yet_keeps_its_plan(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, cron="0 3 * * *")

    await connection.execute(RUN_NOW, job_id)
    extra = await claimed_one(session)
    await plan_jobs(db)
    during = await job_row(connection, job_id)
    await claims.settle(db, [closed_now(extra)])

    row = await job_row(connection, job_id)
    assert extra.id != extra.job_id == job_id
    assert during["next_run"] == row["next_run"]
    assert (row["next_run"].hour, row["next_run"].minute) == (3, 0)
    assert row["scheduled_for"] == row["next_run"]


EDITS = {
    "interval": ("every_seconds = 7200", timedelta(seconds=7200)),
    "window": ("starts_at = now() + interval '2 days'", timedelta(days=2)),
    "one-off": ("every_seconds = null, run_at = now() + interval '3 days'", timedelta(days=3)),
}


@pytest.mark.parametrize("executing", [False, True])
@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_of_the_schedule_takes_no_request_away(
    session: Session, db: Database, connection: asyncpg.Connection, edit: str, *, executing: bool
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await connection.execute(REPLAY, job_id, PAST)
    await connection.execute(REPLAY, job_id, PAST + DAY)
    change, wait = EDITS[edit]
    held = (await look_once(session)).claims if executing else []

    await connection.execute(f"update tocsin.jobs set {change}")
    await claims.settle(db, [closed_now(claim) for claim in held])
    done = held + await carried_out(session, db)
    await plan_jobs(db)

    assert [claim.scheduled_for for claim in done] == [PAST, PAST + DAY]
    row = await job_row(connection, job_id)
    assert abs(row["next_run"] - datetime.now(UTC) - wait) < timedelta(minutes=5)
    assert row["scheduled_for"] == row["next_run"]


async def test_an_edit_by_the_api_takes_no_request_away(
    api: httpx.AsyncClient, session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await connection.execute(REPLAY, job_id, PAST)
    await connection.execute(REPLAY, job_id, PAST + DAY)

    answer = await api.patch(
        f"/v1/jobs/{job_id}", json={"every_seconds": None, "cron": "30 4 * * *"}
    )
    done = await carried_out(session, db)

    assert answer.status_code == 200
    assert [claim.scheduled_for for claim in done] == [PAST, PAST + DAY]
    row = await job_row(connection, job_id)
    assert (row["next_run"].hour, row["next_run"].minute) == (4, 30)


async def test_requests_of_a_job_that_is_paused_wait_until_it_goes_on(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await connection.execute("update tocsin.jobs set paused_at = now()")
    await connection.execute(REPLAY, job_id, PAST)
    await connection.execute(REPLAY, job_id, PAST + DAY)
    meanwhile = await carried_out(session, db)

    await connection.execute("update tocsin.jobs set paused_at = null")

    done = await carried_out(session, db)
    assert meanwhile == []
    assert [claim.scheduled_for for claim in done] == [PAST, PAST + DAY]


async def test_a_request_that_waited_for_long_is_not_too_late(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600, misfire="skip")
    await connection.execute(RUN_NOW, job_id)
    await connection.execute(
        """update tocsin.jobs set next_run = now() - interval '1 hour', planned_at = now()
           where run_of is not null"""
    )
    claim = await claimed_one(session)

    assert (claim.id != claim.job_id, claim.job_id) == (True, job_id)
    assert claim.scheduled_for > claim.next_run
    assert missed(claim, now=datetime.now(UTC) + DAY, attendance=HERE) is None


async def test_a_run_that_was_asked_for_and_is_moved_by_hand_stays_the_same_run(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await plan_jobs(db)
    plan = (await job_row(connection, job_id))["next_run"]
    await connection.execute(REPLAY, job_id, PAST)
    await connection.execute(
        "update tocsin.jobs set next_run = now() - interval '1 second' where run_of is not null"
    )

    [replay] = await carried_out(session, db)

    assert replay.scheduled_for == PAST
    assert (await job_row(connection, job_id))["next_run"] == plan


@pytest.mark.parametrize("executing", [False, True])
async def test_what_was_asked_for_is_on_record_when_its_job_is_deleted(
    session: Session, connection: asyncpg.Connection, *, executing: bool
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    asked = [PAST, PAST + DAY, PAST + 2 * DAY]
    for occurrence in asked:
        await connection.execute(REPLAY, job_id, occurrence)
    if executing:
        await look_once(session)

    await connection.execute("delete from tocsin.jobs")

    rows = await execution_rows(connection, job_id)
    assert [row["scheduled_for"] for row in rows] == asked[executing:]
    assert {(row["outcome"], row["reason"]) for row in rows} == {("missed", "deleted")}
    assert await connection.fetchval("select count(*) from tocsin.jobs") == 0


async def test_a_run_out_of_range_is_refused_to_whoever_asks_for_it(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)

    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("select tocsin.run_now($1, 'infinity')", job_id)


async def test_rows_of_requests_that_somebody_deleted_hold_nothing_up(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await connection.execute(REPLAY, job_id, PAST)
    await connection.execute(REPLAY, job_id, PAST)
    [first, second] = await run_rows(connection, job_id)
    await connection.execute("delete from tocsin.jobs where id = $1", second["id"])

    assert len(await carried_out(session, db)) == 1
    assert (await job_row(connection, job_id))["pending_runs"] == 0
    [dropped, _] = sorted(await execution_rows(connection, job_id), key=lambda one: one["outcome"])
    assert (dropped["outcome"], dropped["reason"]) == ("missed", "deleted")
    assert first["scheduled_for"] == dropped["scheduled_for"] == PAST


async def recorded(connection: asyncpg.Connection, job_id: UUID, many: int) -> bool:
    return len(await execution_rows(connection, job_id)) >= many


async def test_replays_over_the_api_all_arrive_with_the_keys_of_their_runs(
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
) -> None:
    sink.on("/rp", reply(404), late(0.2, reply()), late(0.2, reply()), late(0.2, reply()))
    job = {
        "kind": "http",
        "target": {"url": sink.url("/rp")},
        "run_at": "2026-11-28T15:40:00Z",
        "max_attempts": 1,
    }
    async with instance():
        id = (await api.put("/v1/jobs/rp", json=job)).json()["id"]
        await sink.arrived(1)
        await until(lambda: recorded(connection, UUID(id), 1), "its execution is on record")
        [first] = await execution_rows(connection, UUID(id))
        address = f"/v1/executions/{first['id']}/replay"
        answers = [await api.post(address) for _ in range(3)]
        received = await sink.arrived(4)
        await until(lambda: recorded(connection, UUID(id), 4), "the replays are on record")

    assert [answer.status_code for answer in answers] == [202] * 3
    keys = Counter(request.headers["idempotency-key"] for request in received)
    assert keys == {f"{id}:2026-11-28T15:40:00Z": 4}
    rows = await execution_rows(connection, UUID(id))
    assert [row["outcome"] for row in rows] == ["failed", "succeeded", "succeeded", "succeeded"]


async def test_who_asked_for_a_run_that_waits_is_in_its_row_and_in_the_audit_log(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await api.post(f"/v1/jobs/{job_id}/run")
    await api.post(f"/v1/jobs/{job_id}/run")

    [active, waiting] = await run_rows(connection, job_id)
    changes = await connection.fetch(
        "select changed, actor from tocsin.audit_log where action = 'update' order by id"
    )

    assert (active["next_run"] is None, waiting["next_run"] is None) == (False, True)
    assert (waiting["request"], waiting["created_by"]) == ("run_now", "loopback")
    assert [tuple(change) for change in changes] == [(["pending_runs"], "loopback")] * 2
