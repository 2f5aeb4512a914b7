"""The queries of a claim's life, one by one, against real Postgres."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec.structs import replace

from app.core.runs.claim import Claim, Settlement
from app.core.runs.outcome import Outcome
from app.core.runs.transition import invalid, released
from app.db import Database, claims, evidence, leases, plans
from app.db.claims import Look
from app.db.listener import Session, open_session
from app.db.plans import Plan
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.claims import closed_now
from tests.support.sessions import LEASE_SECONDS

MINUTE = timedelta(minutes=1)


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is."""
    return any_database


async def look(  # noqa: PLR0913 - as many as the look has
    session: Session,
    *,
    limit: int = 10,
    kinds: tuple[str, ...] = ("http",),
    instance: str = "me",
    ahead_seconds: float = 0.0,
    since: datetime | None = None,
) -> Look:
    return await claims.look(
        session,
        limit=limit,
        ahead_seconds=ahead_seconds,
        lease_seconds=LEASE_SECONDS,
        kinds=kinds,
        instance=instance,
        since=since,
    )


async def claim_of(session: Session, job_id: UUID) -> Claim:
    [claim] = (await look(session)).claims
    assert claim.job_id == job_id
    return claim


def closed(claim: Claim, outcome: Outcome = Outcome.SUCCEEDED, response: str = "") -> Settlement:
    return closed_now(claim, outcome, by="me", response=response)


async def expire(connection: asyncpg.Connection, job_id: UUID) -> None:
    await connection.execute(
        "update tocsin.jobs set locked_until = now() - interval '1 ms' where id = $1", job_id
    )


async def test_a_claim_leases_the_job_and_raises_its_fence(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="one")

    claim = await claim_of(session, job_id)

    row = await job_row(connection, job_id)
    assert (row["locked_by"], row["fence"], row["attempt"]) == ("me", 1, 1)
    assert row["locked_until"] - row["claimed_at"] == timedelta(seconds=LEASE_SECONDS)
    assert (claim.fence, claim.attempt, claim.name) == (1, 1, "one")
    assert claim.execution_id == row["execution_id"]
    assert row["state"] == "executing"


async def test_due_jobs_are_claimed_oldest_first_and_no_more_than_asked(
    session: Session, connection: asyncpg.Connection
) -> None:
    now = await connection.fetchval("select now()")
    late = await insert_job(connection, run_at=now - MINUTE)
    later = await insert_job(connection, run_at=now - 2 * MINUTE)
    await insert_job(connection, run_at=now - MINUTE / 2)

    claimed = (await look(session, limit=2)).claims

    assert {claim.job_id for claim in claimed} == {late, later}


async def test_a_look_from_a_floor_leaves_alone_what_lies_below(
    session: Session, connection: asyncpg.Connection
) -> None:
    now = await connection.fetchval("select now()")
    below = await insert_job(connection, run_at=now - MINUTE)
    above = await insert_job(connection, run_at=now - MINUTE / 4)

    found = await look(session, since=now - MINUTE / 2)
    rest = await look(session)

    assert [claim.job_id for claim in found.claims] == [above]
    assert not found.blocked
    assert [claim.job_id for claim in rest.claims] == [below]


async def test_a_floor_that_lies_ahead_of_a_clock_that_was_set_back_hides_nothing(
    session: Session, connection: asyncpg.Connection
) -> None:
    now = await connection.fetchval("select now()")
    job_id = await insert_job(connection, run_at=now + MINUTE)

    found = await look(session, ahead_seconds=90.0, since=now + 60 * MINUTE)

    assert [claim.job_id for claim in found.claims] == [job_id]


@pytest.mark.parametrize(
    "columns",
    [
        {"paused_at": datetime.now(UTC)},
        {"plan_error": "bad"},
        {"kind": "pigeon"},
        {"run_at": datetime(2100, 1, 1, tzinfo=UTC)},
    ],
    ids=["paused", "invalid", "other-kind", "not-due"],
)
async def test_what_is_not_ours_to_run_is_left(
    session: Session, connection: asyncpg.Connection, columns: dict[str, object]
) -> None:
    await insert_job(connection, **columns)

    assert (await look(session)).claims == []


async def test_the_wake_up_counts_to_the_next_due_time(
    session: Session, connection: asyncpg.Connection
) -> None:
    empty = await look(session)
    await insert_job(connection, run_at=datetime.now(UTC) + MINUTE)
    one = await look(session)

    assert empty.wakeup_seconds is None
    assert one.wakeup_seconds == pytest.approx(60, abs=2)


@pytest.mark.parametrize(
    "columns",
    [
        {"paused_at": datetime.now(UTC)},
        {"plan_error": "bad"},
        {"kind": "pigeon"},
    ],
    ids=["paused", "invalid", "other-kind"],
)
async def test_the_wake_up_filters_as_the_claim_does(
    session: Session, connection: asyncpg.Connection, columns: dict[str, object]
) -> None:
    await insert_job(connection, **columns)

    assert (await look(session)).wakeup_seconds is None


async def test_a_leased_job_counts_from_the_end_of_its_lease(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    await claim_of(session, job_id)

    assert (await look(session)).wakeup_seconds == pytest.approx(LEASE_SECONDS, abs=2)


async def test_a_full_batch_leaves_the_wake_up_open(
    session: Session, connection: asyncpg.Connection
) -> None:
    await insert_job(connection)
    await insert_job(connection)

    first = await look(session, limit=1)

    assert (len(first.claims), first.wakeup_seconds) == (1, None)


async def test_a_job_locked_in_somebodys_transaction_is_skipped_but_shows_as_blocked(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    async with connection.transaction():
        await connection.execute("select from tocsin.jobs where id = $1 for update", job_id)
        locked = await look(session)
    free = await look(session)

    assert (locked.claims, locked.wakeup_seconds, locked.blocked) == ([], None, True)
    assert not free.blocked
    assert [claim.job_id for claim in free.claims] == [job_id]


async def test_an_expired_lease_is_taken_over_and_recorded_as_lost(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    first = await claim_of(session, job_id)
    await expire(connection, job_id)

    [second] = (await look(session, instance="other")).claims

    assert (second.fence, second.attempt, second.scheduled_for) == (2, 2, first.scheduled_for)
    [lost] = await execution_rows(connection, job_id)
    assert (lost["id"], lost["outcome"], lost["reason"]) == (first.execution_id, "lost", "lease")
    assert (lost["fence"], lost["attempt"], lost["instance"]) == (1, 1, "me")
    assert lost["started_at"] == first.claimed_at
    assert "me did not settle" in lost["error"]


@pytest.mark.parametrize("retry", [False, True], ids=["first attempt", "retry"])
@pytest.mark.parametrize(
    "ends", ["expired", "moved and expired", "taken away", "moved and ended for a run"]
)
async def test_no_execution_that_was_claimed_ahead_is_said_to_have_begun_early(
    session: Session,
    connection: asyncpg.Connection,
    ends: str,
    retry: bool,  # noqa: FBT001
) -> None:
    due_at = await connection.fetchval("select now() + interval '0.8 s'")
    job_id = await insert_job(connection, run_at=due_at)
    if retry:
        await connection.execute(
            """begin;
               set local session_replication_role = replica;
               update tocsin.jobs set attempt = 1, scheduled_for = next_run - interval '1 minute';
               commit"""
        )
    [first] = (await look(session, ahead_seconds=1.0)).claims
    assert first.claimed_at < due_at
    assert (first.scheduled_for < due_at) is retry
    if ends == "taken away":
        await connection.execute("update tocsin.jobs set locked_by = null")
    else:
        await connection.execute(
            "select pg_sleep(greatest(0, extract(epoch from $1::timestamptz - clock_timestamp())))",
            due_at,
        )
        await expire(connection, job_id)
    if ends == "moved and expired" and not retry:
        await connection.execute("update tocsin.jobs set run_at = now() - interval '1 hour'")
    if ends.endswith("expired"):
        await look(session, instance="other")
    elif ends == "moved and ended for a run":
        if not retry:
            await connection.execute("update tocsin.jobs set run_at = now() + interval '1 hour'")
        assert await connection.fetchval("select tocsin.end_lease($1, now())", job_id)

    [lost] = await execution_rows(connection, job_id)

    assert lost["outcome"] == "lost"
    assert lost["started_at"] == (lost["finished_at"] if ends == "taken away" else due_at)
    assert lost["started_at"] <= lost["finished_at"]


async def test_settling_frees_the_lease_and_records(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claim_of(session, job_id)

    [result] = await claims.settle(db, [closed(claim, response="done")])

    assert (result.settled, result.held, result.wakeup_seconds) == (True, False, None)
    row = await job_row(connection, job_id)
    assert (row["locked_until"], row["locked_by"], row["next_run"]) == (None, None, None)
    assert (row["state"], row["runs"], row["last_outcome"]) == ("finished", 1, "succeeded")
    [execution] = await execution_rows(connection, job_id)
    assert (execution["outcome"], execution["response"]) == ("succeeded", "done")
    assert execution["id"] == claim.execution_id


async def test_settling_twice_changes_nothing(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    settlement = closed(await claim_of(session, job_id))

    await claims.settle(db, [settlement])
    [again] = await claims.settle(db, [settlement])
    await evidence.record(db, settlement.executions)

    assert (again.settled, again.held) == (False, False)
    assert [row["outcome"] for row in await execution_rows(connection, job_id)] == ["succeeded"]
    assert (await job_row(connection, job_id))["runs"] == 1


async def test_a_settlement_with_an_old_fence_changes_nothing_and_stays_as_evidence(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    late = closed(await claim_of(session, job_id), response="late answer")
    await expire(connection, job_id)
    [current] = (await look(session, instance="other")).claims

    [result] = await claims.settle(db, [late])
    await evidence.record(db, late.executions)

    assert (result.settled, result.held) == (False, False)
    row = await job_row(connection, job_id)
    assert (row["locked_by"], row["fence"], row["runs"]) == ("other", current.fence, 0)
    [lost] = await execution_rows(connection, job_id)
    assert (lost["outcome"], lost["response"]) == ("lost", "late answer")
    assert "it succeeded later" in lost["error"]


async def test_a_look_for_pings_begins_no_attempt_and_a_run_beside_them_does(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, kind="check", target={}, every_seconds=3600)
    await connection.execute("update tocsin.jobs set next_run = now(), scheduled_for = now()")
    for _ in range(2):
        [claim] = (await look(session, kinds=("check",))).claims
        assert (claim.run_id, claim.attempt) == (None, 1)
        await expire(connection, claim.id)
    await connection.execute(
        """update tocsin.jobs set locked_until = null, locked_by = null, claimed_at = null,
           claimed_for = null, claimed_attempt = null, execution_id = null, attempt = 0"""
    )
    await connection.execute("select tocsin.run_now($1)", job_id)

    for attempt in (1, 2):
        [claim] = (await look(session, kinds=("check",))).claims
        assert (claim.job_id, claim.attempt) == (job_id, attempt)
        assert claim.run_id is not None
        await expire(connection, claim.id)


async def test_a_batch_settles_what_it_can(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    jobs = [await insert_job(connection) for _ in range(3)]
    found = {claim.job_id: claim for claim in (await look(session)).claims}
    await connection.execute("delete from tocsin.jobs where id = $1", jobs[0])

    results = await claims.settle(db, [closed(found[job_id]) for job_id in jobs])

    assert [result.settled for result in results] == [False, True, True]


async def test_the_execution_of_a_deleted_job_is_recorded_with_its_true_outcome(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    settlement = closed(await claim_of(session, job_id))
    await connection.execute("delete from tocsin.jobs where id = $1", job_id)

    await claims.settle(db, [settlement])
    await evidence.record(db, settlement.executions)

    assert [row["outcome"] for row in await execution_rows(connection, job_id)] == ["succeeded"]


async def test_a_row_locked_by_somebody_is_reported_as_still_held(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    settlement = closed(await claim_of(session, job_id))
    async with connection.transaction():
        await connection.execute("select from tocsin.jobs where id = $1 for update", job_id)
        [locked] = await claims.settle(db, [settlement])
    [free] = await claims.settle(db, [settlement])

    assert (locked.settled, locked.held) == (False, True)
    assert (free.settled, free.held) == (True, False)


async def test_a_next_run_moved_during_the_execution_is_kept(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=60, next_run=datetime.now(UTC))
    settlement = closed(await claim_of(session, job_id))
    moved_to = datetime.now(UTC) + timedelta(hours=3)
    await connection.execute("update tocsin.jobs set next_run = $2 where id = $1", job_id, moved_to)

    await claims.settle(db, [settlement])

    row = await job_row(connection, job_id)
    assert (row["next_run"], row["scheduled_for"], row["attempt"]) == (moved_to, moved_to, 0)
    assert (row["runs"], row["locked_until"]) == (1, None)


async def test_a_new_cron_typed_during_the_execution_is_planned_afresh(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=60, next_run=datetime.now(UTC))
    settlement = closed(await claim_of(session, job_id))
    await connection.execute(
        "update tocsin.jobs set every_seconds = null, cron = '0 3 * * *' where id = $1", job_id
    )

    await claims.settle(db, [settlement])

    row = await job_row(connection, job_id)
    assert (row["next_run"], row["planned_at"], row["locked_until"]) == (None, None, None)
    assert (await look(session)).unplanned is True


async def test_pausing_during_the_execution_is_kept(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=0.5, next_run=datetime.now(UTC))
    settlement = closed(await claim_of(session, job_id))
    await connection.execute("update tocsin.jobs set paused_at = now() where id = $1", job_id)

    [result] = await claims.settle(db, [settlement])

    assert result.wakeup_seconds is None
    row = await job_row(connection, job_id)
    assert (row["state"], row["next_run"]) == ("paused", settlement.next_run)


async def test_a_run_now_during_the_execution_runs_and_then_hands_over(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600, next_run=datetime.now(UTC))
    settlement = closed(await claim_of(session, job_id))
    await connection.execute("select tocsin.run_now($1)", job_id)

    await claims.settle(db, [settlement])
    extra = await claim_of(session, job_id)
    await claims.settle(db, [closed(extra)])

    assert extra.attempt == 1
    assert extra.scheduled_for > settlement.executions[0].scheduled_for
    row = await job_row(connection, job_id)
    assert (row["next_run"], row["pending_runs"]) == (settlement.next_run, 0)


async def test_a_run_now_keeps_the_planned_run(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await plan_jobs(db)
    planned = (await job_row(connection, job_id))["next_run"]

    await connection.execute("select tocsin.run_now($1)", job_id)
    extra = await claim_of(session, job_id)
    await claims.settle(db, [closed(extra)])

    assert extra.scheduled_for < planned
    assert (await job_row(connection, job_id))["next_run"] == planned


async def test_a_replay_has_the_identity_of_its_run(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600)
    await plan_jobs(db)
    planned = (await job_row(connection, job_id))["next_run"]
    occurrence = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    await connection.execute("select tocsin.run_now($1, $2)", job_id, occurrence)
    replay = await claim_of(session, job_id)
    await claims.settle(db, [closed(replay)])

    assert (replay.scheduled_for, replay.attempt) == (occurrence, 1)
    assert (await job_row(connection, job_id))["next_run"] == planned


async def test_a_run_now_of_a_pending_retry_brings_the_retry_forward(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    first = await claim_of(session, job_id)
    await claims.settle(db, [closed(first, Outcome.FAILED)])
    assert (await job_row(connection, job_id))["state"] == "retrying"

    await connection.execute("select tocsin.run_now($1)", job_id)
    second = await claim_of(session, job_id)

    assert (second.scheduled_for, second.attempt) == (first.scheduled_for, 2)
    assert await connection.fetch("select tocsin.run_now($1, now())", uuid4()) == []


async def test_a_claim_given_back_is_due_as_before(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claim_of(session, job_id)

    await claims.settle(db, [released(claim)])

    again = await claim_of(session, job_id)
    assert (again.attempt, again.fence) == (1, 2)
    assert await execution_rows(connection, job_id) == []


async def test_an_invalid_job_is_not_claimed_until_it_is_corrected(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claim_of(session, job_id)
    await claims.settle(db, [invalid(claim, "target.url: not an address")])
    refused = await look(session)

    await connection.execute(
        """update tocsin.jobs set target = '{"url": "http://127.0.0.1/"}' where id = $1""", job_id
    )
    corrected = await claim_of(session, job_id)

    assert (refused.claims, refused.wakeup_seconds) == ([], None)
    assert corrected.attempt == 1


async def test_extending_moves_the_lease_and_tells_which_are_lost(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    ours, taken, gone = [await insert_job(connection) for _ in range(3)]
    held = (await look(session)).claims
    before = (await job_row(connection, ours))["locked_until"]
    await connection.execute("update tocsin.jobs set fence = 9 where id = $1", taken)
    await connection.execute("delete from tocsin.jobs where id = $1", gone)

    told = await leases.extend(db, held, lease_seconds=LEASE_SECONDS + 60)

    assert (told.extended, told.lost) == ({ours}, {taken, gone})
    assert (await job_row(connection, ours))["locked_until"] > before + MINUTE / 2


async def test_a_lease_whose_row_is_locked_is_neither_extended_nor_lost(
    session: Session, db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    claim = await claim_of(session, job_id)
    async with connection.transaction():
        await connection.execute("select from tocsin.jobs where id = $1 for update", job_id)
        told = await leases.extend(db, [claim], lease_seconds=LEASE_SECONDS)

    assert (told.extended, told.lost) == (set(), set())


async def test_orphaned_claims_are_freed_and_others_are_not(
    session: Session, connection: asyncpg.Connection
) -> None:
    orphan, executing, foreign = [await insert_job(connection) for _ in range(3)]
    held = {claim.job_id: claim for claim in (await look(session)).claims}
    await connection.execute("update tocsin.jobs set locked_by = 'other' where id = $1", foreign)

    orphans = await leases.list_orphans(
        session,
        instance="me",
        executing=[held[executing].execution_id],
        lease_seconds=LEASE_SECONDS,
    )
    freed = await leases.free_orphans(session, orphans, instance="me")

    assert freed == 1
    [again] = (await look(session)).claims
    assert (again.job_id, again.attempt) == (orphan, 1)


async def test_planning_is_compare_and_set_on_the_edit(
    db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, cron="0 3 * * *")
    [unplanned] = await plans.list_unplanned(db)
    plan = Plan(
        job_id=job_id,
        edited_at=unplanned.edited_at,
        cron="0 3 * * *",
        timezone="UTC",
        every_seconds=None,
        next_run=(planned_for := datetime.now(UTC) + MINUTE),
        scheduled_for=planned_for,
        plan_error=None,
    )
    await connection.execute("update tocsin.jobs set cron = '0 4 * * *' where id = $1", job_id)

    outdated = await plans.write(db, [plan])
    [edited] = await plans.list_unplanned(db)
    current = await plans.write(
        db, [replace(plan, edited_at=edited.edited_at, cron=edited.schedule.cron)]
    )

    assert (len(outdated.written), len(current.written)) == (0, 1)
    assert (outdated.suppressed, current.suppressed) == ([], [])
    row = await job_row(connection, job_id)
    assert (row["cron"], row["next_run"], row["scheduled_for"]) == (
        "0 4 * * *",
        plan.next_run,
        plan.next_run,
    )


async def test_four_instances_share_two_thousand_jobs_without_a_duplicate(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at)
           select 'http', '{"url": "x"}', now() from generate_series(1, 2000)"""
    )

    async def claim_all(name: str) -> list[UUID]:
        found: list[UUID] = []
        async with open_session(database_url, wake=lambda: None, application_name=name) as session:
            while batch := (await look(session, limit=37, instance=name)).claims:
                found += [claim.job_id for claim in batch]
        return found

    shares = await asyncio.gather(*(claim_all(f"instance-{number}") for number in range(4)))

    everything = [job_id for share in shares for job_id in share]
    assert len(everything) == len(set(everything)) == 2000
