"""Every compare-and-set as a written-down race: named steps of two sessions, in a fixed order.

A step that has to wait for another session's lock runs as a task until that session commits.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace

from app.core.runs.claim import Claim, Settlement
from app.core.runs.outcome import Outcome
from app.core.runs.transition import invalid, released
from app.db import Database, claims, evidence, leases, plans
from app.db.listener import Session, open_session
from app.db.plans import Plan
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.claims import closed_now
from tests.support.sessions import LEASE_SECONDS, claimed_one, look_once
from tests.support.waiting import until

HOUR = timedelta(hours=1)
WAITING = """select exists (
    select from pg_locks join pg_database d on d.oid = database
    where locktype = 'advisory' and not granted and datname = current_database())"""


@pytest.fixture
async def person(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A second session, of a person in psql."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def closed(claim: Claim, outcome: Outcome = Outcome.SUCCEEDED) -> Settlement:
    return closed_now(claim, outcome, response=str(claim.fence))


async def recurring(connection: asyncpg.Connection) -> UUID:
    """A job of which one run is due now and the next in an hour."""
    now = await connection.fetchval("select now()")
    return await insert_job(connection, every_seconds=3600, next_run=now)


async def expire(connection: asyncpg.Connection) -> None:
    await connection.execute("update tocsin.jobs set locked_until = now() - interval '1 ms'")


async def outcomes(connection: asyncpg.Connection, job_id: UUID) -> list[tuple[int, str]]:
    return [(row["attempt"], row["outcome"]) for row in await execution_rows(connection, job_id)]


async def test_claim_expire_claim_settle_late_settle(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    late = await claimed_one(session, by="frozen")
    await expire(connection)
    current = await claimed_one(session, by="other")

    [result] = await claims.settle(db, [closed(late)])
    told = await leases.extend(db, [late], lease_seconds=LEASE_SECONDS)

    row = await job_row(connection, job_id)
    assert (result.settled, result.held) == (False, False)
    assert (told.extended, told.lost) == (set(), {job_id})
    assert (row["locked_by"], row["fence"]) == ("other", current.fence)
    [own] = await claims.settle(db, [closed(current)])
    assert own.settled


@pytest.mark.parametrize("late_first", [True, False])
async def test_late_and_current_settlement_in_one_batch(
    session: Session, db: Database, connection: asyncpg.Connection, *, late_first: bool
) -> None:
    job_id = await recurring(connection)
    late = await claimed_one(session)
    await expire(connection)
    current = await claimed_one(session)
    batch = [closed(late, Outcome.FAILED), closed(current)]

    order = 1 if late_first else -1
    results = (await claims.settle(db, batch[::order]))[::order]
    await evidence.record(db, batch[0].executions)

    assert [one.settled for one in results] == [False, True]
    assert await outcomes(connection, job_id) == [(1, "lost"), (2, "succeeded")]
    row = await job_row(connection, job_id)
    assert (row["last_outcome"], row["attempt"], row["runs"]) == ("succeeded", 0, 1)


async def test_claim_expire_settle_unclaimed(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    claim = await claimed_one(session)
    await expire(connection)

    [result] = await claims.settle(db, [closed(claim)])

    assert result.settled, "nobody had taken over: the result counts"
    assert await outcomes(connection, job_id) == [(1, "succeeded")]


async def test_two_looks_at_one_expired_lease(
    session: Session, database_url: str, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    await claimed_one(session, by="frozen")
    await expire(connection)
    async with open_session(database_url, wake=lambda: None, application_name="two") as second:
        looks = await asyncio.gather(
            *(
                claims.look(
                    one,
                    limit=10,
                    ahead_seconds=0.0,
                    lease_seconds=LEASE_SECONDS,
                    kinds=("http",),
                    instance=name,
                )
                for one, name in ((session, "one"), (second, "two"))
            )
        )

    assert sum(len(look.claims) for look in looks) == 1
    assert await outcomes(connection, job_id) == [(1, "lost")]


async def test_claim_ahead_of_the_end_of_a_lease(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    await claimed_one(session, by="holder")

    look = await claims.look(
        session,
        limit=10,
        ahead_seconds=2 * LEASE_SECONDS,
        lease_seconds=LEASE_SECONDS,
        kinds=("http",),
        instance="eager",
    )

    assert look.claims == []
    assert (await job_row(connection, job_id))["locked_by"] == "holder"


async def test_claim_while_somebody_takes_it_over_uncommitted(
    session: Session,
    db: Database,
    connection: asyncpg.Connection,
    person: asyncpg.Connection,
) -> None:
    job_id = await recurring(connection)
    claim = await claimed_one(session)
    takeover = person.transaction()
    await takeover.start()
    await person.execute("update tocsin.jobs set fence = fence + 1 where id = $1", job_id)

    [during] = await claims.settle(db, [closed(claim)])
    extension = await leases.extend(db, [claim], lease_seconds=LEASE_SECONDS)
    await takeover.commit()
    [after] = await claims.settle(db, [closed(claim)])

    assert (during.settled, during.held) == (False, True)
    assert (extension.extended, extension.lost) == (set(), set())
    assert (after.settled, after.held) == (False, False)


EDITS = {
    "next_run": "update tocsin.jobs set next_run = now() + interval '3 h'",
    "every_seconds": "update tocsin.jobs set every_seconds = 10800",
    "cron": "update tocsin.jobs set every_seconds = null, cron = '0 0 1 1 *'",
    "run_at": "update tocsin.jobs set every_seconds = null, run_at = now() + interval '3 h'",
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED])
async def test_edit_commits_between_claim_and_settle(
    session: Session,
    db: Database,
    connection: asyncpg.Connection,
    edit: str,
    outcome: Outcome,
) -> None:
    job_id = await recurring(connection)
    claim = await claimed_one(session)
    await connection.execute(EDITS[edit])
    edited = await job_row(connection, job_id)

    [result] = await claims.settle(db, [closed(claim, outcome)])

    row = await job_row(connection, job_id)
    assert result.settled
    for column in ("next_run", "scheduled_for", "attempt", "planned_at"):
        assert row[column] == edited[column], column
    assert (row["locked_until"], row["last_outcome"]) == (None, outcome)
    assert await outcomes(connection, job_id) == [(1, outcome)]


async def test_settle_keeps_instants_to_the_microsecond_for_a_century(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    due = datetime(2000, 1, 1, 0, 0, 0, 123457, UTC)
    job_id = await insert_job(connection, every_seconds=3600, next_run=due)
    claim = await claimed_one(session)
    later = claim.claimed_at + timedelta(days=36_500, microseconds=1)
    settlement = replace(closed(claim), next_run=later + HOUR, scheduled_for=later)
    run = replace(settlement.executions[0], started_at=claim.claimed_at - timedelta(microseconds=1))

    [result] = await claims.settle(db, [replace(settlement, executions=[run])])

    row = await job_row(connection, job_id)
    [execution] = await execution_rows(connection, job_id)
    assert result.settled
    assert (row["next_run"], row["scheduled_for"]) == (later + HOUR, later)
    assert row["last_finished_at"] == execution["finished_at"] == run.finished_at
    assert (execution["scheduled_for"], execution["started_at"]) == (due, run.started_at)


async def test_settle_locks_a_job_that_was_edited_since_it_began(
    session: Session,
    db: Database,
    connection: asyncpg.Connection,
    person: asyncpg.Connection,
) -> None:
    await insert_job(connection, name="first")
    second = await insert_job(connection, name="second")
    look = await look_once(session)
    settlements = [closed(one) for one in sorted(look.claims, key=lambda one: one.name or "")]
    await connection.execute(
        """create function public.wait() returns trigger language plpgsql as
               'begin perform pg_advisory_xact_lock_shared(1); return new; end';
           create trigger wait before update of runs on tocsin.jobs for each row
               when (new.name = 'first' and new.runs > old.runs) execute function public.wait();
           select pg_advisory_lock(1)"""
    )
    settling = asyncio.create_task(claims.settle(db, settlements))
    await until(lambda: connection.fetchval(WAITING), "the settlement waits")
    await person.execute("update tocsin.jobs set description = 'x' where id = $1", second)
    await connection.execute("select pg_advisory_unlock(1)")

    [first, edited] = await settling
    [again] = await claims.settle(db, settlements[1:])

    assert (first.settled, edited.settled) == (True, False)
    assert (edited.held, edited.suppressed, again.settled) == (True, False, True)
    assert await outcomes(connection, second) == [(1, "succeeded")]


@pytest.mark.parametrize("edit", EDITS)
async def test_settle_meets_an_edit_that_commits_in_the_same_moment(
    session: Session,
    db: Database,
    connection: asyncpg.Connection,
    person: asyncpg.Connection,
    edit: str,
) -> None:
    job_id = await recurring(connection)
    settlement = closed(await claimed_one(session))
    editing = person.transaction()
    await editing.start()
    await person.execute(EDITS[edit])

    [during] = await claims.settle(db, [settlement])
    await editing.commit()
    edited = await job_row(connection, job_id)
    [after] = await claims.settle(db, [settlement])

    assert (during.held, after.settled) == (True, True)
    row = await job_row(connection, job_id)
    assert (row["next_run"], row["planned_at"]) == (edited["next_run"], edited["planned_at"])


async def test_edit_waits_for_a_settlement_and_wins(
    session: Session,
    connection: asyncpg.Connection,
    person: asyncpg.Connection,
    db: Database,
) -> None:
    job_id = await recurring(connection)
    settlement = closed(await claimed_one(session))
    holding = connection.transaction()
    await holding.start()
    await connection.execute("select from tocsin.jobs for update")
    edit = asyncio.create_task(person.execute(EDITS["next_run"]))
    await until(lambda: waits_for_lock(connection), "the edit waits for the lock")
    await holding.rollback()
    await edit

    await claims.settle(db, [settlement])

    row = await job_row(connection, job_id)
    assert row["next_run"] > datetime.now(UTC) + 2 * HOUR


async def waits_for_lock(connection: asyncpg.Connection) -> bool:
    waiting = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"
    return bool(await connection.fetchval(waiting))


@pytest.mark.parametrize("change", ["cron", "next_run"])
async def test_edit_then_the_holder_dies(
    session: Session, connection: asyncpg.Connection, change: str
) -> None:
    job_id = await recurring(connection)
    dead = await claimed_one(session, by="dead")
    await connection.execute(EDITS[change])
    await connection.execute(
        "update tocsin.jobs set next_run = now(), planned_at = now(), plan_error = null"
    )
    await expire(connection)

    taken = await claimed_one(session, by="other")

    [lost] = await execution_rows(connection, job_id)
    assert (lost["id"], lost["outcome"]) == (dead.execution_id, "lost")
    assert (lost["scheduled_for"], lost["attempt"]) == (dead.scheduled_for, 1)
    assert taken.attempt == 1, "what the edit planned is another run"


async def test_run_now_then_the_holder_dies(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    dead = await claimed_one(session, by="dead")
    await connection.execute("select tocsin.run_now($1)", job_id)
    await expire(connection)

    taken = await claimed_one(session, by="other")
    await claims.settle(db, [closed(taken)])
    extra = await claimed_one(session, by="other")

    [lost, _] = await execution_rows(connection, job_id)
    assert (lost["id"], lost["outcome"]) == (dead.execution_id, "lost")
    assert (lost["scheduled_for"], lost["attempt"]) == (dead.scheduled_for, 1)
    assert (taken.scheduled_for, taken.attempt) == (dead.scheduled_for, 2)
    assert extra.attempt == 1, "what was asked for is another run"
    assert extra.scheduled_for > dead.scheduled_for


async def test_correction_commits_before_the_refusal_of_what_it_corrected(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, target={"url": "http://x", "wrong": True})
    refusal = invalid(await claimed_one(session), "target.wrong: is not known")
    await connection.execute("""update tocsin.jobs set target = '{"url": "http://127.0.0.1/"}'""")

    [result] = await claims.settle(db, [refusal])

    row = await job_row(connection, job_id)
    assert (result.settled, row["plan_error"]) == (True, None)
    assert (await claimed_one(session)).attempt == 1


async def test_run_now_twice_during_one_execution(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    settlement = closed(await claimed_one(session))
    await connection.execute("select tocsin.run_now($1)", job_id)
    await connection.execute("select tocsin.run_now($1)", job_id)

    await claims.settle(db, [settlement])
    extra = await claimed_one(session)
    await claims.settle(db, [closed(extra)])
    another = await claimed_one(session)
    await claims.settle(db, [closed(another)])

    row = await job_row(connection, job_id)
    assert (row["next_run"], row["runs"]) == (settlement.next_run, 3)
    assert settlement.executions[0].scheduled_for < extra.scheduled_for < another.scheduled_for


async def test_run_now_while_a_claim_is_given_back_unexecuted(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    claim = await claimed_one(session)
    await connection.execute("select tocsin.run_now($1)", job_id)

    await claims.settle(db, [released(claim)])
    extra = await claimed_one(session)
    await claims.settle(db, [closed(extra)])
    again = await claimed_one(session)

    assert extra.scheduled_for > claim.scheduled_for
    assert (again.scheduled_for, again.attempt) == (claim.scheduled_for, 1)


async def test_replay_during_an_execution_then_the_execution_fails(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    settlement = closed(await claimed_one(session), Outcome.FAILED)
    occurrence = datetime(2026, 1, 2, tzinfo=UTC)
    await connection.execute("select tocsin.run_now($1, $2)", job_id, occurrence)

    await claims.settle(db, [settlement])
    await connection.execute("select tocsin.run_now($1)", job_id)  # its retry comes now
    retry = await claimed_one(session)
    await claims.settle(db, [closed(retry)])
    replay = await claimed_one(session)
    await claims.settle(db, [closed(replay)])

    assert (retry.scheduled_for, retry.attempt) == (settlement.scheduled_for, 2)
    assert (replay.scheduled_for, replay.attempt) == (occurrence, 1)
    row = await job_row(connection, job_id)
    assert row["next_run"] == retry.scheduled_for + HOUR


async def test_pause_commits_between_claim_and_a_failing_settle(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    settlement = closed(await claimed_one(session), Outcome.FAILED)
    await connection.execute("update tocsin.jobs set paused_at = now()")

    [result] = await claims.settle(db, [settlement])

    row = await job_row(connection, job_id)
    assert (row["state"], row["next_run"], row["attempt"]) == ("paused", settlement.next_run, 1)
    assert result.wakeup_seconds is None


async def test_delete_commits_between_claim_and_settle_and_the_name_is_taken_again(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="one")
    settlement = closed(await claimed_one(session))
    await connection.execute("delete from tocsin.jobs")
    again = await insert_job(connection, name="one", run_at=datetime.now(UTC) + HOUR)

    [result] = await claims.settle(db, [settlement])
    lost = await evidence.record(db, settlement.executions)

    assert (result.settled, result.held, lost) == (False, False, set())
    assert await outcomes(connection, job_id) == [(1, "succeeded")]
    assert await outcomes(connection, again) == []


async def test_settle_commits_its_answer_is_lost_somebody_claims_it_settles_again(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    settlement = closed(await claimed_one(session))
    await claims.settle(db, [settlement])
    await connection.execute("update tocsin.jobs set next_run = now()")
    current = await claimed_one(session, by="other")

    [again] = await claims.settle(db, [settlement])
    lost = await evidence.record(db, settlement.executions)

    assert (again.settled, again.held, lost) == (False, False, set())
    row = await job_row(connection, job_id)
    assert (row["fence"], row["locked_by"], row["runs"]) == (current.fence, "other", 1)
    assert await outcomes(connection, job_id) == [(1, "succeeded")]


async def test_look_commits_its_answer_is_lost_the_orphan_is_freed_and_claimed_again(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    orphan = await claimed_one(session)

    orphans = await leases.list_orphans(
        session, instance="one", executing=[], lease_seconds=LEASE_SECONDS
    )
    freed = await leases.free_orphans(session, orphans, instance="one")
    again = await claimed_one(session)
    [late] = await claims.settle(db, [closed(orphan)])

    assert (freed, late.settled) == (1, False)
    assert (again.attempt, again.fence) == (1, orphan.fence + 1)
    assert await outcomes(connection, job_id) == []


async def test_extend_commits_after_the_settlement_of_the_same_claim(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    claim = await claimed_one(session)
    await claims.settle(db, [closed(claim)])

    told = await leases.extend(db, [claim], lease_seconds=LEASE_SECONDS)

    assert told.extended == set()
    assert (await job_row(connection, job_id))["locked_until"] is None


async def test_two_instances_plan_the_same_cron(
    db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, cron="0 3 * * *")
    [first], [second] = await plans.list_unplanned(db), await plans.list_unplanned(db)
    instants = [datetime.now(UTC) + HOUR, datetime.now(UTC) + 2 * HOUR]

    written = [
        await plans.write(
            db,
            [
                Plan(
                    job_id=job_id,
                    edited_at=one.edited_at,
                    cron="0 3 * * *",
                    timezone="UTC",
                    every_seconds=None,
                    next_run=instant,
                    scheduled_for=instant,
                    plan_error=None,
                )
            ],
        )
        for one, instant in zip((first, second), instants, strict=True)
    ]

    assert [len(one.written) for one in written] == [1, 0]
    assert (await job_row(connection, job_id))["next_run"] == instants[0]


async def test_plan_of_a_cron_while_the_old_plan_still_executes(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await recurring(connection)
    settlement = closed(await claimed_one(session))
    await connection.execute(EDITS["cron"])
    [unplanned] = await plans.list_unplanned(db)
    planned_for = datetime.now(UTC) + 5 * HOUR

    await plans.write(
        db,
        [
            Plan(
                job_id=job_id,
                edited_at=unplanned.edited_at,
                cron="0 0 1 1 *",
                timezone="UTC",
                every_seconds=None,
                next_run=planned_for,
                scheduled_for=planned_for,
                plan_error=None,
            )
        ],
    )
    during = await job_row(connection, job_id)
    await claims.settle(db, [settlement])

    row = await job_row(connection, job_id)
    assert during["locked_until"] is not None
    assert (row["next_run"], row["scheduled_for"], row["attempt"]) == (planned_for, planned_for, 0)
    assert row["locked_until"] is None
