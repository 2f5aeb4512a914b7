"""Triggers of users on tocsin.jobs: what stamps and fills in is no edit, what refuses is told."""

from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.facts import Faulted, Looked, PutAside, Settled
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

STAMP = "new.updated_at := now()"
FILL = """new.description := coalesce(new.description, 'filled'); new.tags := array['filled'];
          new.metadata := new.metadata || jsonb_build_object('touched', clock_timestamp())"""
NAMES = ["a_first", "jobs_105_between", "set_updated_at"]
"""Before ours, among them, and after them in alphabetical order."""


async def trigger(
    connection: asyncpg.Connection, does: str, *, name: str = "mine", when: str = "before"
) -> None:
    """Put a trigger of a user's on the jobs."""
    await connection.execute(
        f"""create or replace function public.mine() returns trigger language plpgsql as
            $$ begin {does}; return new; end $$;
            create trigger {name} {when} update on tocsin.jobs
            for each row execute function public.mine()"""
    )


async def audited(connection: asyncpg.Connection, job_id: UUID) -> list[str]:
    rows = await connection.fetch(
        "select action from tocsin.audit_log where entity_id = $1 order by id", job_id
    )
    return [row["action"] for row in rows]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("does", [STAMP, f"{STAMP}; {FILL}"], ids=["stamps", "fills in"])
async def test_a_run_under_a_trigger_that_stamps_rows_is_nobodys_edit(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, name: str, does: str
) -> None:
    await trigger(connection, does, name=name)
    slow = sink.on("/slow", late(1.5, reply(200)))
    await connection.execute("listen tocsin_recalls")
    recalls: list[str] = []
    await connection.add_listener("tocsin_recalls", lambda *told: recalls.append(str(told[-1])))

    async with instance(lease_seconds=3, longest_sleep_seconds=30) as (_, facts):
        job_id = await insert_job(connection, target={"url": slow}, every_seconds=0.3)
        created = await job_row(connection, job_id)
        await facts.seen(Settled, job_id=job_id, count=2, within=20)
        looks = len(facts.of(Looked))
        settled = len(facts.of(Settled))

    row = await job_row(connection, job_id)
    assert await audited(connection, job_id) == []
    assert recalls == []
    assert row["edited_at"] == created["edited_at"]
    assert row["creation"] == created["creation"]
    assert looks < 20 * settled
    assert {one["outcome"] for one in await execution_rows(connection, job_id)} == {"succeeded"}


@pytest.mark.parametrize("name", NAMES)
async def test_if_match_names_the_edit_and_not_the_stamp(
    connection: asyncpg.Connection,
    api: httpx.AsyncClient,
    instance: StartInstance,
    sink: Sink,
    name: str,
) -> None:
    await trigger(connection, STAMP, name=name)
    made = await api.put(
        "/v1/jobs/stamped",
        json={"kind": "http", "target": {"url": sink.url("/")}, "every_seconds": 0.2},
    )
    tag = {"If-Match": made.headers["ETag"]}
    async with instance() as (_, facts):
        await facts.seen(Settled, count=2)

        edited = await api.patch("/v1/jobs/stamped", json={"description": "mine"}, headers=tag)
        again = await api.patch("/v1/jobs/stamped", json={"description": "yours"}, headers=tag)

    assert (edited.status_code, again.status_code) == (200, 412)
    shown = (await api.get("/v1/jobs/stamped")).json()
    assert shown["description"] == "mine"
    assert shown["updated_at"] == edited.json()["updated_at"] > made.json()["updated_at"]


@pytest.mark.parametrize("name", NAMES)
async def test_two_edits_of_one_transaction_differ_although_now_does_not(
    connection: asyncpg.Connection, name: str
) -> None:
    await trigger(connection, STAMP, name=name)
    job_id = await insert_job(connection)
    async with connection.transaction():
        edits = []
        for description in ("first", "second"):
            await connection.execute("update tocsin.jobs set description = $1", description)
            edits.append((await job_row(connection, job_id))["edited_at"])

    assert edits[0] < edits[1]
    assert await audited(connection, job_id) == ["create", "update", "update"]


@pytest.mark.parametrize("change", ["updated_at = now()", "edited_at = now()", "name = name"])
async def test_what_changes_nothing_but_a_stamp_is_no_edit(
    connection: asyncpg.Connection, change: str
) -> None:
    await trigger(connection, STAMP, name="a_first")
    job_id = await insert_job(connection)
    created = await job_row(connection, job_id)

    await connection.execute(f"update tocsin.jobs set {change}")

    row = await job_row(connection, job_id)
    assert (row["edited_at"], row["creation"]) == (created["edited_at"], created["creation"])
    assert await audited(connection, job_id) == []


async def due_jobs(connection: asyncpg.Connection, sink: Sink, *, guilty: int) -> list[UUID]:
    """Insert jobs that a trigger is against, and after them one that it is not; return all."""
    return [
        await insert_job(
            connection, target={"url": sink.url("/")}, tags=["guilty"] if one < guilty else []
        )
        for one in range(guilty + 1)
    ]


@pytest.mark.parametrize("guilty", [1, 30])
@pytest.mark.parametrize(
    "condition",
    ["new.tags = '{guilty}'", "new.tags = '{guilty}' and new.plan_error is null"],
    ids=["ever", "unless it is put aside"],
)
async def test_jobs_whose_claim_a_trigger_suppresses_hold_up_no_other(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    guilty: int,
    condition: str,
) -> None:
    *bad, good = await due_jobs(connection, sink, guilty=guilty)
    await trigger(connection, f"if {condition} then return null; end if")

    async with instance(concurrency=2, longest_sleep_seconds=5) as (_, facts):
        await facts.seen(Settled, job_id=good)
        await facts.until(
            lambda: bool(facts.of(PutAside) or facts.of(Faulted, where="look")), within=10
        )
        later = await insert_job(connection, target={"url": sink.url("/")})
        await facts.seen(Settled, job_id=later)

    assert len(sink.requests) == 2
    assert [await execution_rows(connection, one) for one in bad] == [[]] * guilty


async def test_a_lease_that_ended_is_recorded_once_although_its_job_cannot_be_claimed(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    job_id = await insert_job(connection, target={"url": sink.url("/")})
    await connection.execute(
        """update tocsin.jobs set locked_until = now() - interval '1 s', locked_by = 'gone',
               attempt = 1, fence = 1, execution_id = nextval('tocsin.executions_id_seq'),
               claimed_at = now(), claimed_for = scheduled_for, claimed_attempt = 1"""
    )
    await trigger(connection, "if new.plan_error is null then return null; end if")

    async with instance(longest_sleep_seconds=5) as (_, facts):
        [told] = await facts.seen(PutAside, job_id=job_id)

    assert told.written
    assert "a trigger on tocsin.jobs" in told.error
    assert len(await execution_rows(connection, job_id)) <= 1


async def test_a_settlement_that_a_trigger_suppresses_is_kept_and_told(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    *bad, good = await due_jobs(connection, sink, guilty=30)
    await trigger(
        connection,
        """if new.tags = '{guilty}' and new.locked_until is null and new.plan_error is null
           then return null; end if""",
    )

    async with instance(concurrency=2, longest_sleep_seconds=5) as (_, facts):
        await facts.seen(Settled, job_id=good)
        await facts.seen(PutAside, count=30)

        async def recorded() -> bool:
            lost = "select count(*) = 30 from tocsin.executions where outcome = 'lost'"
            return bool(await connection.fetchval(lost))

        await until(recorded, "what came of them is on record")

    rows = [await execution_rows(connection, job_id) for job_id in bad]
    assert [[(one["status_code"], one["outcome"]) for one in each] for each in rows] == [
        [(200, "lost")]
    ] * 30
    errors = {(await job_row(connection, job_id))["plan_error"] for job_id in bad}
    assert all("cannot be settled: a trigger on tocsin.jobs" in one for one in errors)


async def test_plans_that_a_trigger_suppresses_hold_up_no_other(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    await connection.execute(
        """insert into tocsin.jobs (kind, target, cron, tags)
           select 'http', '{"url": "http://h/"}', '0 0 1 1 *', '{guilty}'
           from generate_series(1, 120)"""
    )
    await trigger(
        connection,
        "if new.tags = '{guilty}' and new.plan_error is null then return null; end if",
    )
    good = await insert_job(connection, target={"url": sink.url("/")}, cron="* * * * * *")

    async with instance(longest_sleep_seconds=5) as (_, facts):
        await facts.seen(Settled, job_id=good)


async def test_a_log_that_a_trigger_keeps_costs_no_run(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    await connection.execute(
        """create table public.log (job_id uuid, next_run timestamptz);
        grant insert on public.log to public"""
    )
    await trigger(connection, "insert into public.log values (new.id, new.next_run)", when="after")
    job_id = await insert_job(connection, target={"url": sink.url("/")})

    async with instance() as (_, facts):
        [settled] = await facts.seen(Settled, job_id=job_id)

    assert settled.outcome == "succeeded"
    assert await connection.fetchval("select count(*) from public.log") == 2
    assert await audited(connection, job_id) == []
