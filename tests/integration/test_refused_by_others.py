"""What constraints and triggers of users refuse is a problem of the API, and no bug of Tocsin."""

import asyncpg
import httpx
import pytest

from app.core.facts import Faulted
from tests.support.recorder import Recorder

JOB = {"kind": "http", "target": {"url": "http://x"}, "run_at": "2100-01-01T00:00:00Z"}
PREFIX = "urn:tocsin:problem:"
SECRET = {"url": "http://x", "auth": {"type": "bearer", "token": "hunter2"}}


async def trigger(
    connection: asyncpg.Connection, does: str, *, event: str = "update", when: str = "before"
) -> None:
    """Put a trigger of a user's on the jobs."""
    await connection.execute(
        f"""create function public.mine() returns trigger language plpgsql as
            $$ begin {does}; return coalesce(new, old); end $$;
            create trigger mine {when} {event} on tocsin.jobs
            for each row execute function public.mine()"""
    )


async def refer(connection: asyncpg.Connection, *, deferred: str = "") -> None:
    """Have a row of a user's table refer to each job."""
    await connection.execute(
        f"""create table public.orders (job uuid references tocsin.jobs (id) {deferred});
            insert into public.orders select id from tocsin.jobs"""
    )


@pytest.mark.parametrize("deferred", ["", "deferrable initially deferred"])
async def test_a_job_that_a_foreign_key_keeps_is_a_conflict_that_names_it(
    api: httpx.AsyncClient, connection: asyncpg.Connection, faults: Recorder, deferred: str
) -> None:
    await api.put("/v1/jobs/x", json=JOB)
    await refer(connection, deferred=deferred)

    answer = await api.delete("/v1/jobs/x")

    assert (answer.status_code, answer.json()["type"]) == (409, f"{PREFIX}constraint-violated")
    detail = answer.json()["detail"]
    assert "violates foreign key constraint" in detail
    assert "constraint orders_job_fkey, table public.orders" in detail
    assert faults.of(Faulted) == []
    assert (await api.get("/v1/jobs/x")).status_code == 200


async def test_a_unique_index_of_a_user_is_a_conflict_that_names_it(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute("create unique index one_each on tocsin.jobs (description)")
    await api.put("/v1/jobs/x", json=JOB | {"description": "mine"})

    answer = await api.put("/v1/jobs/y", json=JOB | {"description": "mine"})

    assert (answer.status_code, answer.json()["type"]) == (409, f"{PREFIX}constraint-violated")
    assert "constraint one_each, table tocsin.jobs" in answer.json()["detail"]


@pytest.mark.parametrize("note", ["null", "''"])
async def test_a_constraint_of_a_table_that_a_trigger_writes_to_is_a_conflict(
    api: httpx.AsyncClient, connection: asyncpg.Connection, note: str
) -> None:
    await connection.execute(
        """create table public.log (note text not null check (note <> ''));
        grant insert on public.log to public"""
    )
    await trigger(connection, f"insert into public.log values ({note})")
    await api.put("/v1/jobs/x", json=JOB)

    answer = await api.patch("/v1/jobs/x", json={"description": "new"})

    assert (answer.status_code, answer.json()["type"]) == (409, f"{PREFIX}constraint-violated")
    assert "table public.log" in answer.json()["detail"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("using", ["", " using errcode = 'MY001'", " using errcode = '22023'"])
async def test_a_trigger_that_raises_is_told_in_its_own_words(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    faults: Recorder,
    when: str,
    using: str,
) -> None:
    does = f"raise exception 'no edits of %', old.name{using}"
    await trigger(connection, does, event="update or delete", when=when)
    await api.put("/v1/jobs/x", json=JOB)

    answers = [
        await api.patch("/v1/jobs/x", json={"description": "new"}),
        await api.put("/v1/jobs/x", json=JOB | {"description": "new"}),
        await api.post("/v1/jobs/x/pause"),
        await api.post("/v1/jobs/x/run"),
        await api.delete("/v1/jobs/x"),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (422, f"{PREFIX}trigger-refused")
        assert "function public.mine in the database" in answer.json()["detail"]
        assert "no edits of x" in answer.json()["detail"]
    assert faults.of(Faulted) == []


async def test_a_right_that_a_trigger_lacks_is_told(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await trigger(connection, "raise insufficient_privilege using message = 'not yours'")
    await api.put("/v1/jobs/x", json=JOB)

    answer = await api.patch("/v1/jobs/x", json={"description": "new"})

    assert (answer.status_code, answer.json()["type"]) == (422, f"{PREFIX}trigger-refused")
    assert "not yours" in answer.json()["detail"]


async def test_a_table_that_a_trigger_misses_is_told(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await trigger(connection, "insert into public.gone values (1)", event="insert")

    answers = [await api.post("/v1/jobs", json=JOB), await api.post("/v1/jobs/batch", json=[JOB])]

    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (422, f"{PREFIX}trigger-refused")
        assert 'relation "public.gone" does not exist' in answer.json()["detail"]


async def test_a_trigger_that_stumbles_over_a_secret_does_not_tell_it(
    api: httpx.AsyncClient, connection: asyncpg.Connection, faults: Recorder
) -> None:
    await trigger(connection, "perform (new.description)::integer")
    await api.put("/v1/jobs/x", json=JOB | {"target": SECRET})

    answer = await api.patch("/v1/jobs/x", json={"description": "hunter2"})

    assert (answer.status_code, answer.json()["type"]) == (422, f"{PREFIX}trigger-refused")
    assert "SQLSTATE 22P02" in answer.json()["detail"]
    assert "hunter2" not in answer.text + str(faults.facts)


async def test_a_trigger_that_suppresses_a_write_is_told(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await trigger(connection, "return null", event="update or delete")
    made = await api.put("/v1/jobs/x", json=JOB)

    answers = [
        await api.patch("/v1/jobs/x", json={"description": "new"}),
        await api.put("/v1/jobs/x", json=JOB | {"description": "new"}),
        await api.post("/v1/jobs/x/pause"),
        await api.post("/v1/jobs/x/run"),
        await api.delete("/v1/jobs/x"),
        await api.delete("/v1/jobs/x", headers={"If-Match": made.headers["ETag"]}),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (422, f"{PREFIX}trigger-refused")
        assert "the job 'x' stays as it is: a trigger" in answer.json()["detail"]


async def test_a_replay_that_a_trigger_suppresses_says_so_and_not_that_a_retry_is_pending(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = (await api.put("/v1/jobs/x", json=JOB)).json()["id"]
    execution_id = await connection.fetchval(
        """insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome)
           values ($1, 1, 'http', now(), 1, 'failed') returning id""",
        job_id,
    )
    await trigger(connection, "return null")

    suppressed = await api.post(f"/v1/executions/{execution_id}/replay")
    await connection.execute("drop trigger mine on tocsin.jobs")
    await connection.execute(
        """update tocsin.jobs set attempt = 1, next_run = now() + interval '1 hour',
                                  planned_at = clock_timestamp()"""
    )
    pending = await api.post(f"/v1/executions/{execution_id}/replay")

    assert (suppressed.status_code, pending.status_code) == (422, 409)
    assert suppressed.json()["type"] == f"{PREFIX}trigger-refused"
    assert "the job 'x' stays as it is: a trigger" in suppressed.json()["detail"]
    assert "a retry of another run is pending" in pending.json()["detail"]
