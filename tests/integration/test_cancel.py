"""An execution that is cancelled is on record as such, once; what follows goes on as it is to."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from app.core.runs.claim import Claim, RetryPolicy
from app.core.runs.outcome import Outcome
from app.core.runs.retry import backoff_seconds
from app.db import Database, claims, evidence, leases
from app.db.listener import Session
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs, run_rows
from tests.support.claims import closed_now
from tests.support.sessions import LEASE_SECONDS, claimed_one, look_once
from tests.support.waiting import until

CANCEL = "select * from tocsin.cancel($1)"
CANCEL_AND_RETRY = "select * from tocsin.cancel($1, retry => true)"
LEASE = ("locked_until", "locked_by", "execution_id", "claimed_at", "claimed_for")
FAR = datetime(2100, 1, 1, tzinfo=UTC)
PAST = datetime(2026, 1, 1, 3, tzinfo=UTC)
EXPIRE = (
    "update tocsin.jobs set locked_until = now() - interval '1 ms' where locked_until is not null"
)


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is."""
    return any_database


@pytest.fixture
async def person(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def let_go(db: Database, claim: Claim, *, by: str = "one") -> set[int]:
    """What the holder does once its settlement had no effect."""
    return await evidence.free_cancelled(db, [claim], instance=by)


async def test_a_one_off_that_is_cancelled_is_over_and_on_record(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, consecutive_failures=0)
    claim = await claimed_one(session)

    [answer] = await connection.fetch(CANCEL, claim.execution_id)

    [row] = await execution_rows(connection, job_id)
    assert dict(answer) == dict(row)
    assert (row["id"], row["outcome"], row["reason"]) == (
        claim.execution_id,
        "cancelled",
        "cancelled",
    )
    assert (row["attempt"], row["scheduled_for"], row["fence"]) == (
        1,
        claim.scheduled_for,
        claim.fence,
    )
    assert (row["instance"], row["started_at"]) == ("one", claim.claimed_at)
    assert "cancelled this execution on instance one" in row["error"]
    assert await let_go(db, claim) == {claim.execution_id}
    job = await job_row(connection, job_id)
    assert [job[name] for name in LEASE] == [None] * len(LEASE)
    assert (job["next_run"], job["runs"], job["attempt"]) == (None, 1, 0)
    assert (job["last_outcome"], job["last_finished_at"]) == ("cancelled", row["finished_at"])
    assert job["consecutive_failures"] == 0
    assert (await look_once(session)).claims == []


async def test_what_is_cancelled_before_its_instant_has_not_begun(
    session: Session, connection: asyncpg.Connection
) -> None:
    run_at = await connection.fetchval("select now() + interval '0.9 s'")
    job_id = await insert_job(connection, run_at=run_at)
    [claim] = (
        await claims.look(
            session,
            limit=1,
            ahead_seconds=1.0,
            lease_seconds=LEASE_SECONDS,
            kinds=("http",),
            instance="one",
        )
    ).claims

    await connection.fetch(CANCEL, claim.execution_id)

    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["started_at"], row["instance"]) == ("cancelled", None, "one")
    assert row["finished_at"] < run_at


async def test_the_holder_is_told_that_its_lease_is_lost_and_nothing_is_claimed_before_it_lets_go(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)
    await connection.fetch(CANCEL, claim.execution_id)
    await connection.execute("select tocsin.run_now($1)", job_id)

    told = await leases.extend(db, [claim], lease_seconds=LEASE_SECONDS)
    during = (await look_once(session, by="two")).claims
    wrong = await let_go(db, claim, by="two")
    still = (await look_once(session, by="two")).claims
    await let_go(db, claim)

    assert told.lost == {job_id}
    assert (during, still) == ([], [])
    assert wrong == {claim.execution_id}
    assert (await claimed_one(session, by="two")).run_id is not None


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED])
async def test_what_comes_after_the_cancellation_changes_nothing_and_an_answer_is_kept_as_evidence(
    session: Session, db: Database, connection: asyncpg.Connection, outcome: Outcome
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)
    await connection.fetch(CANCEL, claim.execution_id)
    before = await job_row(connection, job_id)

    late = closed_now(claim, outcome, response="late")
    [result] = await claims.settle(db, [late])
    lost = await evidence.record(db, late.executions)
    await evidence.record(db, late.executions)

    assert (result.settled, result.held, lost) == (False, False, set())
    assert await job_row(connection, job_id) == before
    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["reason"]) == ("cancelled", "cancelled")
    answered = outcome is not Outcome.CANCELLED
    assert row["response"] == ("late" if answered else None)
    assert row["error"].count("later") == int(answered)


async def test_an_answer_that_was_settled_before_is_not_cancelled(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)
    await claims.settle(db, [closed_now(claim)])
    before = await job_row(connection, job_id)
    notices: list[str] = []
    connection.add_log_listener(lambda _, said: notices.append(str(said)))

    rows = await connection.fetch(CANCEL, claim.execution_id)
    unknown = await connection.fetch(CANCEL, claim.execution_id + 1000)

    assert (rows, unknown) == ([], [])
    assert await job_row(connection, job_id) == before
    [row] = await execution_rows(connection, job_id)
    assert row["outcome"] == "succeeded"
    await asyncio.sleep(0)
    assert ["succeeded" in notices[0], "no such" in notices[1]] == [True, True]


async def test_a_settlement_that_is_being_written_comes_first(
    session: Session, connection: asyncpg.Connection, person: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)
    async with person.transaction():
        await person.execute(
            """update tocsin.jobs set locked_until = null, locked_by = null, claimed_at = null,
               claimed_for = null, claimed_attempt = null, execution_id = null, next_run = null,
               attempt = 0, runs = 1, last_outcome = 'succeeded' where id = $1""",
            job_id,
        )
        cancelling = asyncio.create_task(connection.fetch(CANCEL, claim.execution_id))

        async def waits() -> bool:
            blocked = "select count(*) from pg_locks where not granted"
            return bool(await person.fetchval(blocked))

        await until(waits, "the cancellation waits")

    assert await cancelling == []
    assert (await job_row(connection, job_id))["last_outcome"] == "succeeded"


async def test_of_two_cancellations_at_once_one_is_recorded_and_both_are_told_of_it(
    session: Session, connection: asyncpg.Connection, person: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)

    first, second = await asyncio.gather(
        connection.fetch(CANCEL, claim.execution_id),
        person.fetch(CANCEL_AND_RETRY, claim.execution_id),
    )
    third = await connection.fetch(CANCEL, claim.execution_id)

    assert first == second == third
    assert len(await execution_rows(connection, job_id)) == 1
    entries = await connection.fetch("select * from tocsin.audit_log where action = 'update'")
    assert len(entries) == 1


async def test_another_attempt_follows_after_the_backoff_where_it_is_asked_for(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, max_attempts=2, backoff_seconds=100)
    claim = await claimed_one(session)

    await connection.fetch(CANCEL_AND_RETRY, claim.execution_id)

    job = await job_row(connection, job_id)
    assert 80 <= (job["next_run"] - job["last_finished_at"]).total_seconds() <= 120
    assert (job["scheduled_for"], job["attempt"], job["runs"]) == (claim.scheduled_for, 1, 0)
    assert job["state"] == "executing", "until the holder has cut it off"
    await let_go(db, claim)
    assert (await job_row(connection, job_id))["state"] == "retrying"
    await connection.execute("update tocsin.jobs set next_run = now()")
    again = await claimed_one(session)
    assert (again.attempt, again.scheduled_for) == (2, claim.scheduled_for)

    await connection.fetch(CANCEL_AND_RETRY, again.execution_id)

    job = await job_row(connection, job_id)
    assert (job["next_run"], job["runs"], job["attempt"]) == (None, 1, 0)
    rows = await execution_rows(connection, job_id)
    assert [(row["outcome"], row["attempt"]) for row in rows] == [
        ("cancelled", 1),
        ("cancelled", 2),
    ]


@pytest.mark.parametrize("attempt", [1, 2, 7, 63, 64, 1000])
@pytest.mark.parametrize(("backoff", "most"), [(0, 10), (5, 3600), (0.25, 31536000)])
@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
async def test_the_backoff_is_that_of_any_attempt(
    connection: asyncpg.Connection, attempt: int, backoff: float, most: float, jitter: float
) -> None:
    policy = RetryPolicy(max_attempts=9, backoff_seconds=backoff, backoff_max_seconds=most)

    seconds = await connection.fetchval(
        "select tocsin.backoff_seconds($1, $2::float8::numeric, $3::float8::numeric, $4)",
        attempt,
        float(backoff),
        float(most),
        jitter,
    )

    assert seconds == pytest.approx(backoff_seconds(attempt, policy, jitter=jitter))


@pytest.mark.parametrize("schedule", [{"every_seconds": 3600}, {"cron": "0 * * * *"}])
async def test_a_job_that_recurs_goes_on_with_the_run_after_the_one_that_was_cancelled(
    session: Session, db: Database, connection: asyncpg.Connection, schedule: dict[str, object]
) -> None:
    job_id = await insert_job(connection, **schedule)
    await plan_jobs(db)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    await connection.execute("update tocsin.jobs set next_run = $1, consecutive_failures = 2", hour)
    claim = await claimed_one(session)

    await connection.fetch(CANCEL, claim.execution_id)
    unplanned = await job_row(connection, job_id)
    await plan_jobs(db)
    planned = await job_row(connection, job_id)

    assert (unplanned["next_run"], unplanned["planned_at"]) == (None, None)
    after = hour + timedelta(hours=1)
    assert (planned["next_run"], planned["scheduled_for"], planned["attempt"]) == (after, after, 0)
    assert (planned["runs"], planned["consecutive_failures"]) == (1, 2)
    assert (await look_once(session)).claims == [], "the holder may have to be cut off yet"
    await let_go(db, claim)
    assert (await claimed_one(session)).scheduled_for == after


async def test_the_last_run_of_max_runs_that_is_cancelled_is_the_last(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=60, max_runs=1)
    await plan_jobs(db)
    await connection.execute("update tocsin.jobs set next_run = now()")
    claim = await claimed_one(session)

    await connection.fetch(CANCEL, claim.execution_id)
    await plan_jobs(db)

    job = await job_row(connection, job_id)
    assert (job["next_run"], job["runs"]) == (None, 1)
    assert job["planned_at"] is not None


@pytest.mark.parametrize("cancel", [CANCEL, CANCEL_AND_RETRY])
async def test_a_plan_that_was_moved_while_it_executed_stays_as_it_was_moved(
    session: Session, connection: asyncpg.Connection, cancel: str
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)
    await connection.execute("update tocsin.jobs set run_at = $1", FAR)

    await connection.fetch(cancel, claim.execution_id)

    job = await job_row(connection, job_id)
    assert (job["next_run"], job["scheduled_for"], job["attempt"]) == (FAR, FAR, 0)
    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["scheduled_for"]) == ("cancelled", claim.scheduled_for)


async def test_the_execution_of_a_holder_that_died_is_cancelled_as_well(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session, by="dead")
    await connection.execute(EXPIRE)

    [row] = await connection.fetch(CANCEL, claim.execution_id)

    assert (row["outcome"], row["instance"]) == ("cancelled", "dead")
    assert (await look_once(session)).claims == []
    job = await job_row(connection, job_id)
    assert (job["next_run"], job["locked_until"]) == (None, None)


async def test_a_holder_that_died_keeps_the_next_run_waiting_no_longer_than_its_lease(
    session: Session, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, backoff_seconds=0)
    claim = await claimed_one(session, by="dead")

    await connection.fetch(CANCEL_AND_RETRY, claim.execution_id)
    during = (await look_once(session)).claims
    await connection.execute(EXPIRE)

    assert during == []
    again = await claimed_one(session)
    assert again.attempt == 2
    rows = await connection.fetch("select outcome from tocsin.executions")
    assert [row["outcome"] for row in rows] == ["cancelled"], "and none is lost"


async def test_a_run_beside_the_plan_that_is_cancelled_is_gone_and_the_next_one_follows(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=FAR, consecutive_failures=3, name="report")
    for day in range(2):
        await connection.execute(
            "select tocsin.run_now($1, $2)", job_id, PAST + timedelta(days=day)
        )
    claim = await claimed_one(session)
    shown = await connection.fetchval(
        "select tocsin.execution_under_way(j) from tocsin.jobs j where id = $1", job_id
    )

    await connection.fetch(CANCEL, claim.execution_id)

    job = await job_row(connection, job_id)
    assert shown == claim.execution_id
    assert (job["last_outcome"], job["runs"], job["consecutive_failures"]) == ("cancelled", 1, 3)
    assert (job["pending_runs"], job["next_run"]) == (1, FAR)
    [left] = await run_rows(connection, job_id)
    assert left["scheduled_for"] == PAST + timedelta(days=1)
    assert (await look_once(session)).claims == [], "the holder may have to be cut off yet"
    await let_go(db, claim)
    follows = await claimed_one(session)
    assert follows.scheduled_for == PAST + timedelta(days=1)
    [row] = await execution_rows(connection, job_id)
    assert (row["id"], row["outcome"], row["reason"]) == (
        claim.execution_id,
        "cancelled",
        "cancelled",
    )
    await claims.settle(db, [closed_now(follows)])
    job = await job_row(connection, job_id)
    assert (job["pending_runs"], job["locked_until"], job["state"]) == (0, None, "scheduled")


async def test_a_run_beside_the_plan_is_tried_again_where_that_is_asked_for(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=FAR, backoff_seconds=0)
    await connection.execute("select tocsin.run_now($1, $2)", job_id, PAST)
    claim = await claimed_one(session)

    await connection.fetch(CANCEL_AND_RETRY, claim.execution_id)
    await let_go(db, claim)

    again = await claimed_one(session)
    assert (again.scheduled_for, again.attempt, again.run_id) == (PAST, 2, claim.run_id)
    job = await job_row(connection, job_id)
    assert (job["last_outcome"], job["pending_runs"], job["runs"]) == ("cancelled", 1, 0)


async def test_a_cancellation_that_is_rolled_back_never_was(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)
    before = await job_row(connection, job_id)

    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch(CANCEL, claim.execution_id)
    await transaction.rollback()

    assert await job_row(connection, job_id) == before
    assert await execution_rows(connection, job_id) == []
    [result] = await claims.settle(db, [closed_now(claim)])
    assert result.settled


async def test_a_lease_that_is_taken_away_after_a_cancellation_in_one_transaction_is_lost(
    session: Session, connection: asyncpg.Connection
) -> None:
    first, second = await insert_job(connection), await insert_job(connection)
    held = {one.job_id: one for one in (await look_once(session)).claims}

    async with connection.transaction():
        await connection.fetch(CANCEL, held[first].execution_id)
        await connection.execute("update tocsin.jobs set locked_until = null where id = $1", second)
        await connection.execute("update tocsin.jobs set description = 'x' where id = $1", second)

    [one] = await execution_rows(connection, first)
    [other] = await execution_rows(connection, second)
    assert (one["outcome"], other["outcome"]) == ("cancelled", "lost")
    assert (await job_row(connection, second))["edited_at"] > held[second].edited_at


async def test_the_audit_log_has_who_cancelled_which_execution_of_which_job(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, run_at=FAR, name="report")
    await connection.execute("select tocsin.run_now($1)", job_id)
    claim = await claimed_one(session)

    await connection.fetch(CANCEL, claim.execution_id)

    entry = (await connection.fetch("select * from tocsin.audit_log order by id"))[-1]
    assert (entry["action"], entry["entity"], entry["entity_id"]) == ("update", "job", job_id)
    assert (entry["entity_name"], entry["changed"]) == ("report", ["execution"])
    assert str(claim.execution_id) in entry["after"]
    assert entry["actor"].startswith("user ")


async def test_a_trigger_of_users_that_suppresses_it_leaves_no_record_either(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claimed_one(session)
    await connection.execute(
        """create function public.keep() returns trigger language plpgsql as
               'begin return null; end';
           create trigger zzz before update on tocsin.jobs
               for each row execute function public.keep()"""
    )

    rows = await connection.fetch(CANCEL, claim.execution_id)

    assert rows == []
    assert await execution_rows(connection, job_id) == []
    assert (await job_row(connection, job_id))["execution_id"] == claim.execution_id


async def test_who_may_not_change_jobs_cannot_cancel(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id: UUID = await insert_job(connection)
    claim = await claimed_one(session)
    role = "tocsin_test_reader"
    await connection.execute(f"drop role if exists {role}")
    await connection.execute(
        f"create role {role}; grant usage on schema tocsin to {role}; "
        f"grant select on all tables in schema tocsin to {role}"
    )
    try:
        async with connection.transaction():
            await connection.execute(f"set local role {role}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.fetch(CANCEL, claim.execution_id)
    finally:
        await connection.execute(f"drop owned by {role}; drop role {role}")

    assert await execution_rows(connection, job_id) == []


async def test_a_job_says_that_its_execution_has_yet_to_be_cut_off(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="report", backoff_seconds=600)
    claim = await claimed_one(session)
    await connection.fetch(CANCEL_AND_RETRY, claim.execution_id)
    explained = "select reason from tocsin.explain('report')"

    during = [row["reason"] for row in await connection.fetch(explained)]
    await connection.execute(EXPIRE)
    over = [row["reason"] for row in await connection.fetch(explained)]
    await let_go(db, claim)
    after = [row["reason"] for row in await connection.fetch(explained)]

    assert during[0] == "cutting_off"
    assert "instance_gone" not in during
    assert over[0] == after[0] == "retrying"
    assert (await job_row(connection, job_id))["locked_until"] is None
