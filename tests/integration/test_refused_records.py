"""Jobs go on although what users put on `tocsin.executions` refuses to take what came of them."""

from datetime import UTC, datetime

import asyncpg
import pytest

from app.core.facts import Faulted, Settled
from app.db.listener import Session
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.sessions import look_once
from tests.support.sink import Sink

REFUSING = {
    "a trigger that raises": """
        create function public.mine() returns trigger language plpgsql as
        $$ begin raise exception 'refused'; end $$;
        create trigger mine before insert on tocsin.executions
        for each row execute function public.mine()""",
    "a trigger that lacks a table": """
        create function public.mine() returns trigger language plpgsql as
        $$ begin insert into public.nowhere values (new.id); return new; end $$;
        create trigger mine after insert on tocsin.executions
        for each row execute function public.mine()""",
    "a check": "alter table tocsin.executions add constraint mine check (status_code <> 200)",
    "a foreign key": """
        create table public.mine (id uuid primary key);
        alter table tocsin.executions add constraint mine
        foreign key (job_id) references public.mine""",
    "no partition": """
        do $$ declare one text; begin
            for one in select partition from tocsin.partitions() loop
                execute format('drop table tocsin.%I', one);
            end loop;
        end $$""",
}


@pytest.mark.parametrize("what", REFUSING.values(), ids=REFUSING)
async def test_jobs_go_on_although_no_execution_can_be_recorded(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, what: str
) -> None:
    async with instance() as (_, facts):
        await connection.execute(what)
        job_id = await insert_job(
            connection, target={"url": sink.url("/")}, run_at=None, every_seconds=0.2
        )
        await facts.seen(Settled, job_id=job_id, count=3, within=10.0)
        [told, *_] = await facts.seen(Faulted, where="record")
        row = await job_row(connection, job_id)

    assert (row["plan_error"], row["last_outcome"]) == (None, "succeeded")
    assert row["runs"] >= 2
    assert told.error
    assert await execution_rows(connection, job_id) == []


@pytest.mark.parametrize("what", REFUSING.values(), ids=REFUSING)
async def test_jobs_of_the_dead_go_on_although_no_execution_can_be_recorded_as_lost(
    connection: asyncpg.Connection,
    session: Session,
    instance: StartInstance,
    sink: Sink,
    what: str,
) -> None:
    job_id = await insert_job(connection, target={"url": sink.url("/")}, run_at=datetime.now(UTC))
    look = await look_once(session, by="dead")
    await connection.execute("update tocsin.jobs set locked_until = now()")
    await connection.execute(what)
    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id, within=10.0)
        await facts.seen(Faulted, where="record")
        row = await job_row(connection, job_id)

    assert [one.job_id for one in look.claims] == [job_id]
    assert (row["plan_error"], row["last_outcome"]) == (None, "succeeded")
