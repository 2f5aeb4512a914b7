"""The row of a run beside its job's plan follows the job, tells it of the end, and is hidden.

What a person does to such rows in psql holds nothing up for long and runs nothing twice at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import httpx
import pytest
from cryptography.fernet import Fernet

from app.core.runs.claim import Claim
from app.core.runs.outcome import Outcome
from app.core.runs.transition import invalid
from app.db import Database, claims, isolating
from app.db.isolating import Unworkable
from app.db.listener import Session
from app.db.queries import query
from app.vault import rotate
from app.vault.keys import SecretKeys, of_job
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs, run_rows
from tests.support.claims import closed_now
from tests.support.sessions import claimed_one, look_once

FAR = datetime(2100, 1, 1, tzinfo=UTC)
PAST = datetime(2026, 1, 1, 3, tzinfo=UTC)
RUN_NOW = "select tocsin.run_now($1)"
REPLAY = "select tocsin.run_now($1, $2)"
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def person(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a session of its own to a person who keeps a transaction open."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def job_with_runs(connection: asyncpg.Connection, many: int = 1) -> UUID:
    """Insert a job that is planned for 2100, with so many runs that are asked for."""
    job_id = await insert_job(connection, run_at=FAR, name="report")
    for number in range(many):
        await connection.execute(REPLAY, job_id, PAST + number * MINUTE)
    return job_id


async def test_a_run_is_claimed_as_its_job_says_and_under_its_name(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(
        connection, run_at=FAR, name="report", max_attempts=7, backoff_seconds=3, timeout_seconds=2
    )
    await connection.execute(RUN_NOW, job_id)

    claim = await claimed_one(session)

    job = await job_row(connection, job_id)
    assert (claim.job_id, claim.name, claim.kind) == (job_id, "report", "http")
    assert claim.target == job["target"]
    assert (claim.retry.max_attempts, claim.retry.backoff_seconds) == (7, 3.0)
    assert claim.timeout_seconds == 2.0
    assert claim.id not in {job_id, None}


async def test_what_came_of_a_run_is_told_to_its_job_with_its_settlement(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection, many=3)

    seen = []
    for outcome in (Outcome.FAILED, Outcome.CANCELLED, Outcome.SUCCEEDED):
        await connection.execute("update tocsin.jobs set max_attempts = 1")
        await claims.settle(db, [closed_now(await claimed_one(session), outcome)])
        row = await job_row(connection, job_id)
        seen.append((row["last_outcome"], row["consecutive_failures"], row["runs"]))

    assert seen == [("failed", 1, 1), ("cancelled", 2, 2), ("succeeded", 0, 3)]
    row = await job_row(connection, job_id)
    assert (row["pending_runs"], row["next_run"], row["state"]) == (0, FAR, "scheduled")
    rows = await execution_rows(connection, job_id)
    assert [one["outcome"] for one in rows] == ["failed", "cancelled", "succeeded"]
    assert len({one["fence"] for one in rows}) == 3


async def test_a_retry_of_a_run_is_told_to_its_job_too(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection)
    claim = await claimed_one(session)
    executing = await job_row(connection, job_id)

    await claims.settle(db, [closed_now(claim, Outcome.FAILED)])

    row = await job_row(connection, job_id)
    assert (executing["state"], row["state"]) == ("executing", "retrying")
    assert (row["last_outcome"], row["runs"], row["pending_runs"]) == ("failed", 0, 1)


async def test_a_run_of_a_job_that_somebody_has_locked_is_settled_once_that_is_over(
    session: Session, db: Database, connection: asyncpg.Connection, person: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection, many=2)
    run = closed_now(await claimed_one(session))
    await insert_job(connection)
    neighbour = closed_now(await claimed_one(session))

    async with person.transaction():
        await person.execute("select from tocsin.jobs where id = $1 for update", job_id)
        locked, free = await claims.settle(db, [run, neighbour])
    [after] = await claims.settle(db, [run])

    assert (locked.settled, locked.held) == (False, True)
    assert free.settled
    assert after.settled
    row = await job_row(connection, job_id)
    assert (row["runs"], row["pending_runs"]) == (1, 1)
    assert (await claimed_one(session)).scheduled_for == PAST + MINUTE


async def test_a_run_that_somebody_has_locked_when_its_turn_comes_holds_nobody_up(
    session: Session, db: Database, connection: asyncpg.Connection, person: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection, many=3)
    first = closed_now(await claimed_one(session))
    _, second, third = await run_rows(connection, job_id)

    async with person.transaction():
        await person.execute("select from tocsin.jobs where id = $1 for update", second["id"])
        async with asyncio.timeout(30):
            await claims.settle(db, [first])
        overtaking = await claimed_one(session)
        await claims.settle(db, [closed_now(overtaking)])
        meanwhile = (await look_once(session)).claims
    resumed = await connection.fetchval("select tocsin.resume_runs()")

    assert (overtaking.id, meanwhile, resumed) == (third["id"], [], 1)
    assert (await claimed_one(session)).id == second["id"]


async def test_a_run_whose_holder_died_is_lost_and_taken_over_with_its_identity(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection)
    dead = await claimed_one(session, by="dead")
    await connection.execute("update tocsin.jobs set locked_until = now() where run_of is not null")

    taken = await claimed_one(session, by="other")
    [late] = await claims.settle(db, [closed_now(dead, by="dead")])

    [lost] = await execution_rows(connection, job_id)
    assert (lost["id"], lost["outcome"], lost["fence"]) == (dead.execution_id, "lost", dead.fence)
    assert (taken.id, taken.scheduled_for, taken.attempt) == (dead.id, PAST, 2)
    assert (late.settled, late.held) == (False, False)


async def test_an_edit_reaches_the_run_that_is_active(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection, many=2)
    await connection.execute("update tocsin.jobs set backoff_seconds = 0 where id = $1", job_id)
    claim = await claimed_one(session)
    await connection.execute(
        """update tocsin.jobs set target = '{"url": "http://x/new"}' where id = $1""", job_id
    )

    await claims.settle(db, [closed_now(claim, Outcome.FAILED)])
    again = await claimed_one(session)
    await claims.settle(db, [closed_now(again)])
    following = await claimed_one(session)

    assert (again.id, again.attempt, again.target) == (claim.id, 2, '{"url": "http://x/new"}')
    assert following.target == again.target


async def test_a_pause_holds_the_run_that_is_active(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection)
    await connection.execute("update tocsin.jobs set backoff_seconds = 0")
    claim = await claimed_one(session)
    await connection.execute("update tocsin.jobs set paused_at = now() where id = $1", job_id)
    await claims.settle(db, [closed_now(claim, Outcome.FAILED)])
    paused = (await look_once(session)).claims
    state = (await job_row(connection, job_id))["state"]

    await connection.execute("update tocsin.jobs set paused_at = null where id = $1", job_id)

    assert (paused, state) == ([], "paused")
    assert (await claimed_one(session)).attempt == 2


@pytest.mark.parametrize("by", ["settlement", "look"])
async def test_what_is_wrong_with_a_run_is_told_on_its_job_and_holds_both_until_corrected(
    session: Session, db: Database, connection: asyncpg.Connection, by: str
) -> None:
    job_id = await job_with_runs(connection)
    await connection.execute("update tocsin.jobs set next_run = now() where id = $1", job_id)
    claim = await claimed_one(session)
    if by == "settlement":
        await claims.settle(db, [invalid(claim, "target.url: is no URL")])
    else:
        found = Unworkable(job_id=claim.id, fence=claim.fence, problem="target.url: is no URL")
        await isolating.put_aside(db, [found])
    told = await job_row(connection, job_id)
    held = (await look_once(session)).claims

    await connection.execute(
        """update tocsin.jobs set target = '{"url": "http://x/right"}' where id = $1""", job_id
    )

    assert (told["state"], told["plan_error"], held) == ("invalid", "target.url: is no URL", [])
    corrected = await claimed_one(session)
    assert (corrected.id, corrected.target) == (claim.id, '{"url": "http://x/right"}')
    assert (await job_row(connection, job_id))["plan_error"] is None


async def test_a_problem_of_a_run_waits_for_nobody_who_has_its_job_locked(
    session: Session, db: Database, connection: asyncpg.Connection, person: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection)
    claim = await claimed_one(session)

    async with person.transaction():
        await person.execute("select from tocsin.jobs where id = $1 for update", job_id)
        async with asyncio.timeout(30):
            wrong = Unworkable(job_id=claim.id, fence=claim.fence, problem="wrong")
            changed = await isolating.put_aside(db, [wrong])

    assert changed == {claim.id}


# What clients see.


async def test_the_row_of_a_run_is_no_job_to_clients(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection, many=2)
    run, _ = await run_rows(connection, job_id)
    address = f"/v1/jobs/{run['id']}"

    answers = [
        await api.get(address),
        await api.get(f"{address}/executions"),
        await api.patch(address, json={"description": "mine"}),
        await api.delete(address),
        await api.post(f"{address}/run"),
        await api.post(f"{address}/pause"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 6
    listed = (await api.get("/v1/jobs")).json()["items"]
    assert [job["id"] for job in listed] == [str(job_id)]
    stats = (await api.get("/v1/stats")).json()
    assert stats["jobs"] == 1
    log = (await api.get("/v1/audit")).json()["items"]
    assert {entry["entity_id"] for entry in log} == {str(job_id)}
    assert len(await run_rows(connection, job_id)) == 2


@pytest.mark.parametrize("state", ["executing", "retrying", "scheduled"])
async def test_a_job_is_listed_by_how_its_run_stands(
    api: httpx.AsyncClient,
    session: Session,
    db: Database,
    connection: asyncpg.Connection,
    state: str,
) -> None:
    job_id = await job_with_runs(connection)
    if state != "scheduled":
        claim = await claimed_one(session)
        if state == "retrying":
            await claims.settle(db, [closed_now(claim, Outcome.FAILED)])

    listed = (await api.get("/v1/jobs", params={"state": state})).json()["items"]

    assert [(job["id"], job["state"]) for job in listed] == [(str(job_id), state)]
    assert listed[0]["next_run"] == "2100-01-01T00:00:00Z"


async def test_an_execution_of_a_run_counts_once_among_those_under_way(
    api: httpx.AsyncClient, session: Session, connection: asyncpg.Connection
) -> None:
    await job_with_runs(connection, many=2)
    await claimed_one(session)

    stats = (await api.get("/v1/stats")).json()

    assert (stats["jobs"], stats["executing"], stats["retrying"]) == (1, 1, 0)


async def test_pruning_leaves_a_job_with_runs_and_its_runs(
    connection: asyncpg.Connection,
) -> None:
    job_id = await job_with_runs(connection, many=2)
    await connection.execute(
        """update tocsin.jobs set next_run = null, planned_at = now() - interval '90 days',
               last_outcome = 'succeeded', last_finished_at = now() - interval '90 days'
           where id = $1""",
        job_id,
    )

    await connection.execute("select tocsin.prune(30)")

    assert len(await run_rows(connection, job_id)) == 2


async def test_a_rotation_encrypts_what_a_run_is_about_to_send_anew(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    job_id = await insert_job(connection, run_at=FAR)
    token = SecretKeys([old]).encrypt("sesame", of_job(job_id, "target.auth.token"))
    target = f'{{"url": "http://x/", "auth": {{"type": "bearer", "token": "{token}"}}}}'
    await connection.execute("update tocsin.jobs set target = $1", target)
    await connection.execute(RUN_NOW, job_id)

    rotated = await rotate.rotate(db, SecretKeys([new, old]))

    assert (rotated.targets, rotated.undecrypted) == (1, 0)
    sent = str((await claimed_one(session)).target)
    assert token not in sent
    assert sent == (await job_row(connection, job_id))["target"]


# What a person does to the rows.


async def test_a_run_that_is_deleted_by_hand_is_on_record_and_the_next_goes_on(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection, many=2)
    active, waiting = await run_rows(connection, job_id)

    await connection.execute("delete from tocsin.jobs where id = $1", active["id"])

    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["reason"], row["scheduled_for"]) == ("missed", "deleted", PAST)
    assert (await job_row(connection, job_id))["pending_runs"] == 1
    assert (await claimed_one(session)).id == waiting["id"]


async def test_the_lease_of_a_run_is_taken_away_like_that_of_a_job(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection)
    claim = await claimed_one(session)

    await connection.execute("update tocsin.jobs set locked_until = null where run_of = $1", job_id)
    [late] = await claims.settle(db, [closed_now(claim)])

    assert (late.settled, late.held) == (False, False)
    [lost] = await execution_rows(connection, job_id)
    assert (lost["outcome"], lost["job_id"]) == ("lost", job_id)
    assert (await claimed_one(session)).attempt == 2


EDITS = {
    "a schedule": "update tocsin.jobs set run_at = null, cron = '* * * * * *'",
    "a name": "update tocsin.jobs set name = 'other' where run_of is not null",
    "a plan": "update tocsin.jobs set next_run = null where next_run is null",
    "a count": "update tocsin.jobs set pending_runs = 0",
    "a larger count": "update tocsin.jobs set pending_runs = 40",
    "an attempt": "update tocsin.jobs set attempt = 3",
    "an instant of all": "update tocsin.jobs set next_run = now()",
    "a target of all": """update tocsin.jobs set target = '{"url": "http://x/"}'""",
    "a lease of none": "update tocsin.jobs set locked_until = now() - interval '1 s'",
}


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_of_all_rows_neither_doubles_nor_loses_a_run(
    session: Session, db: Database, connection: asyncpg.Connection, edit: str
) -> None:
    job_id = await job_with_runs(connection, many=3)

    await connection.execute(EDITS[edit])
    await plan_jobs(db)

    assert await runs_carried_out(session, db) == [PAST, PAST + MINUTE, PAST + 2 * MINUTE]
    row = await job_row(connection, job_id)
    assert (row["pending_runs"], await run_rows(connection, job_id)) == (0, [])


async def runs_carried_out(session: Session, db: Database) -> list[datetime]:
    """Carry out what is due, one after the other; return which runs beside a plan were."""
    done: list[Claim] = []
    for _ in range(20):
        found = (await look_once(session)).claims
        assert len({one.job_id for one in found}) == len(found), "two executions at a time"
        done += found
        await claims.settle(db, [closed_now(claim) for claim in found])
    return [one.scheduled_for for one in done if one.run_id]


@pytest.mark.parametrize("many", [0, 40])
async def test_a_count_that_is_wrong_past_the_triggers_is_mended_by_the_upkeep(
    session: Session, db: Database, connection: asyncpg.Connection, many: int
) -> None:
    job_id = await job_with_runs(connection, many=2)
    await connection.execute(
        "update tocsin.jobs set pending_runs = $2, planned_at = clock_timestamp() where id = $1",
        job_id,
        many,
    )

    await connection.execute("select tocsin.resume_runs()")

    assert (await job_row(connection, job_id))["pending_runs"] == 2
    assert await runs_carried_out(session, db) == [PAST, PAST + MINUTE]


async def test_a_count_without_runs_is_mended_by_the_upkeep(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    await connection.execute(
        """alter table tocsin.jobs disable trigger user;
           update tocsin.jobs set pending_runs = 7;
           alter table tocsin.jobs enable trigger user"""
    )
    held_up = (await look_once(session)).claims

    await connection.execute("select tocsin.resume_runs()")

    assert held_up == []
    assert (await claimed_one(session)).job_id == job_id


async def test_runs_that_were_all_made_due_past_the_triggers_still_come_one_by_one(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    await job_with_runs(connection, many=3)
    await connection.execute(
        """update tocsin.jobs set next_run = now(), planned_at = clock_timestamp(),
               target = '{"url": "http://x/"}' where run_of is not null"""
    )

    first = await look_once(session, by="one")
    second = await look_once(session, by="two")

    assert len(first.claims) == 1
    assert second.claims == []
    assert first.wakeup_seconds is not None
    await claims.settle(db, [closed_now(first.claims[0])])


@pytest.mark.parametrize(
    "statement",
    [
        """insert into tocsin.jobs (run_of, kind, target, run_at)
           values (tocsin.uuid7(), 'http', '{}', now())""",
        "update tocsin.jobs set run_of = tocsin.uuid7() where run_of is null",
        "update tocsin.jobs set run_of = null where run_of is not null",
        """insert into tocsin.jobs (run_of, request, kind, target, run_at)
           select id, 'because', 'http', '{}', now() from tocsin.jobs where run_of is null""",
        """insert into tocsin.jobs (request, kind, target, run_at)
           values ('replay', 'http', '{}', now())""",
    ],
)
async def test_a_row_that_is_neither_job_nor_run_is_refused(
    connection: asyncpg.Connection, statement: str
) -> None:
    job_id = await job_with_runs(connection)

    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await connection.execute(statement)

    assert refused.value.hint
    assert len(await run_rows(connection, job_id)) == 1


async def test_a_run_that_is_inserted_by_hand_is_a_request(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=FAR, name="report")

    await connection.execute(
        """insert into tocsin.jobs (run_of, kind, target, run_at, name, cron, fence, attempt)
           values ($1, 'amqp', '{"url": "http://elsewhere/"}', $2, 'another', null, 99, 3)""",
        job_id,
        PAST,
    )

    claim = await claimed_one(session)
    job = await job_row(connection, job_id)
    assert (job["pending_runs"], job["name"]) == (1, "report")
    assert (claim.job_id, claim.kind, claim.scheduled_for) == (job_id, "http", PAST)
    assert (claim.target, claim.attempt, claim.fence) == (job["target"], 1, job["fence"] + 1)


async def test_a_request_wakes_the_instances_and_a_plan_that_goes_on_does_too(
    session: Session, db: Database, connection: asyncpg.Connection, database_url: str
) -> None:
    job_id = await job_with_runs(connection)
    await connection.execute("update tocsin.jobs set next_run = now() where id = $1", job_id)
    claim = await claimed_one(session)
    heard = asyncio.Event()
    listener = await asyncpg.connect(database_url)
    try:
        await listener.add_listener("tocsin_jobs", lambda *_: heard.set())
        await claims.settle(db, [closed_now(claim)])
        async with asyncio.timeout(30):
            await heard.wait()
        heard.clear()
        await connection.execute(RUN_NOW, job_id)
        async with asyncio.timeout(30):
            await heard.wait()
    finally:
        await listener.close()


async def found_wrong(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    """Return what the doctor finds wrong with runs: the names of jobs, and the problems."""
    asked = query("doctor.runs")
    rows = await connection.fetch(asked.sql, *asked.arguments({"most": 1000}))
    return [(row["called"], row["problem"]) for row in rows]


PAST_TRIGGERS = {
    "pending_runs is 7, and it has 2": """
        update tocsin.jobs set pending_runs = 7 where run_of is null""",
    "pending_runs is 0, and it has 2": """
        update tocsin.jobs set pending_runs = 0 where run_of is null""",
    "pending_runs is 2, and it has 1": """
        delete from tocsin.jobs where run_of is not null and next_run is null""",
    "a run waits though nothing is in its way": """
        update tocsin.jobs set next_run = null where run_of is not null""",
    "a run that is over was not deleted": """
        update tocsin.jobs set next_run = null, runs = 1, last_outcome = 'succeeded',
            last_finished_at = now() where run_of is not null and next_run is not null""",
    "a run is not what the job says is to be done, or paused when the job is not": """
        update tocsin.jobs set target = '{"url": "http://x/other"}' where run_of is null""",
}


@pytest.mark.parametrize("problem", PAST_TRIGGERS)
async def test_what_is_wrong_with_runs_is_named_by_the_doctor_and_mended_by_the_upkeep(
    session: Session, db: Database, connection: asyncpg.Connection, problem: str
) -> None:
    job_id = await job_with_runs(connection, many=2)
    sound = await found_wrong(connection)
    await connection.execute(
        f"""alter table tocsin.jobs disable trigger user;
            {PAST_TRIGGERS[problem]};
            alter table tocsin.jobs enable trigger user"""
    )

    wrong = await found_wrong(connection)
    resumed = await connection.fetchval("select tocsin.resume_runs()")

    assert (sound, wrong, resumed) == ([], [("report", problem)], 1)
    assert await found_wrong(connection) == []
    row = await job_row(connection, job_id)
    assert row["pending_runs"] == len(await run_rows(connection, job_id)) > 0
    [claim] = (await look_once(session)).claims
    assert (claim.job_id, claim.target) == (job_id, row["target"])
    await claims.settle(db, [closed_now(claim)])
    assert await found_wrong(connection) == []


async def test_a_job_that_is_paused_past_the_triggers_has_its_runs_paused_by_the_upkeep(
    session: Session, connection: asyncpg.Connection
) -> None:
    await job_with_runs(connection)
    await connection.execute(
        """alter table tocsin.jobs disable trigger user;
           update tocsin.jobs set paused_at = now() where run_of is null;
           alter table tocsin.jobs enable trigger user"""
    )
    [(called, _)] = await found_wrong(connection)

    await connection.execute("select tocsin.resume_runs()")

    assert (called, await found_wrong(connection)) == ("report", [])
    assert (await look_once(session)).claims == []


async def test_runs_that_are_left_of_a_job_that_is_gone_are_deleted_and_on_record(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await job_with_runs(connection, many=2)
    await connection.execute(
        """alter table tocsin.jobs disable trigger user;
           delete from tocsin.jobs where run_of is null;
           alter table tocsin.jobs enable trigger user"""
    )
    wrong = await found_wrong(connection)

    await connection.execute("select tocsin.resume_runs()")

    assert wrong == [(str(job_id), "runs are left of a job that is gone")]
    assert (await found_wrong(connection), await run_rows(connection, job_id)) == ([], [])
    rows = await execution_rows(connection, job_id)
    assert {(one["outcome"], one["reason"]) for one in rows} == {("missed", "deleted")}
    assert len(rows) == 2


async def test_a_run_that_refuses_to_be_mended_keeps_the_upkeep_from_no_other(
    connection: asyncpg.Connection,
) -> None:
    for name in ("stubborn", "other"):
        job_id = await insert_job(connection, run_at=FAR, name=name)
        await connection.execute(RUN_NOW, job_id)
    await connection.execute(
        """create function public.never() returns trigger language plpgsql as
           $$ begin raise 'not this one'; end $$;
           create trigger never before update on tocsin.jobs
           for each row when (new.name = 'stubborn') execute function public.never();
           alter table tocsin.jobs disable trigger user;
           update tocsin.jobs set pending_runs = 7 where run_of is null;
           alter table tocsin.jobs enable trigger user"""
    )

    mended = await connection.fetchval("select tocsin.resume_runs()")

    assert mended == 1
    assert await found_wrong(connection) == [("stubborn", "pending_runs is 7, and it has 1")]
