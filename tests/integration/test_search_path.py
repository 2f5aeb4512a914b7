"""Names in SQL mean what Postgres has, whatever strangers put into a schema they may write to."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.core.facts import Settled
from app.db import Database
from app.db.connecting import connect
from app.db.listener import open_session
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.postgres import SCHEMA
from tests.support.psql import run_psql
from tests.support.recorder import Recorder
from tests.support.sink import Sink

TRAPS = """
create table public.trapped (by_role text, name text);
create function public.sprung(name text) returns void language sql as
    'insert into public.trapped values (current_user, name)';
create function public.num_nonnulls(timestamptz, text, numeric) returns integer language plpgsql as
    $$begin perform public.sprung('num_nonnulls'); return 1; end$$;
create function public.format(text, text) returns text language plpgsql as
    $$begin perform public.sprung('format'); return $1; end$$;
create function public.format(text, text, text) returns text language plpgsql as
    $$begin perform public.sprung('format'); return $1; end$$;
create function public.concat_ws(text, text, text, text) returns text language plpgsql as
    $$begin perform public.sprung('concat_ws'); return $2; end$$;
create function public.jsonb_build_object(text, text, text, text, text, jsonb) returns jsonb
    language plpgsql as $$begin perform public.sprung('jsonb_build_object'); return '{}'; end$$;
create function public.not_less(numeric, integer) returns boolean language plpgsql as
    $$begin perform public.sprung('>='); return true; end$$;
create operator public.>= (leftarg = numeric, rightarg = integer, function = public.not_less);
create operator public.<= (leftarg = numeric, rightarg = integer, function = public.not_less);
"""
"""Each matches an argument list of ours better than what Postgres has."""


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is."""
    return any_database


@pytest.fixture
async def trapped(connection: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection to a database where a stranger has laid traps in `public`."""
    await connection.execute(
        """do $$ begin create role stranger; exception when duplicate_object then null; end $$;
           grant create on schema public to stranger; set role stranger"""
    )
    await connection.execute(TRAPS)
    await connection.execute("grant all on public.trapped to public; reset role")
    await connection.execute("select 7::numeric between 0 and 9")
    await connection.execute("select num_nonnulls(now(), 'x'::text, 1::numeric)")
    sprung = await connection.fetch("delete from public.trapped returning name")
    assert {row["name"] for row in sprung} == {"num_nonnulls", ">="}
    yield connection
    await connection.execute("drop owned by stranger")


async def names_sprung(connection: asyncpg.Connection) -> set[str]:
    return {row["name"] for row in await connection.fetch("select name from public.trapped")}


async def test_every_function_has_a_search_path_of_its_own_or_a_body_bound_at_its_creation(
    connection: asyncpg.Connection,
) -> None:
    functions = await connection.fetch(
        """select oid::regprocedure::text as name, prosqlbody is not null as bound,
               proconfig as settings
           from pg_proc where pronamespace = 'tocsin'::regnamespace"""
    )

    loose = [
        row["name"]
        for row in functions
        if not row["bound"] and "search_path=pg_catalog, pg_temp" not in (row["settings"] or [])
    ]
    assert len(functions) > 20
    assert loose == []


async def test_what_is_bound_is_bound_to_what_is_postgres_s_own(
    trapped: asyncpg.Connection, database_url: str
) -> None:
    """Also where the schema is applied, by psql, on a database with traps in it."""
    await trapped.execute("drop schema tocsin cascade")

    run_psql(database_url, files=SCHEMA)

    outside = await trapped.fetch(
        """select d.objid, d.refobjid from pg_depend d
           where d.classid = 'pg_proc'::regclass
             and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
             and d.objid in (select oid from pg_proc where pronamespace = 'tocsin'::regnamespace)
             and d.refobjid in (
                 select oid from pg_proc where pronamespace = 'public'::regnamespace
                 union all
                 select oid from pg_operator where oprnamespace = 'public'::regnamespace)"""
    )
    assert outside == []
    assert await names_sprung(trapped) == set()


async def test_all_our_connections_look_nowhere_else(database_url: str) -> None:
    connection = await connect(database_url)
    await connection.close()
    async with (
        Database.connect(database_url, application_name="test") as db,
        db.pool.acquire() as pooled,
        open_session(database_url, wake=lambda: None, application_name="test") as session,
    ):
        for one in (pooled, session.connection):
            assert await one.fetchval("show search_path") == "pg_catalog, pg_temp"


async def test_nothing_of_a_stranger_s_runs_while_jobs_are_written_and_executed(
    trapped: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    job_id = await insert_job(
        trapped, name="once", target={"url": sink.url("/")}, backoff_seconds=7
    )
    await trapped.execute("update tocsin.jobs set backoff_seconds = 8, timeout_seconds = 9")
    lost = await insert_job(trapped, target={"url": sink.url("/")})
    await trapped.execute(
        """update tocsin.jobs set locked_until = now() - interval '1 s', locked_by = 'gone',
               claimed_at = now(), claimed_for = now(), claimed_attempt = 1, execution_id = 1
           where id = $1""",
        lost,
    )
    await trapped.execute(
        "select tocsin.http_job('more', $1, body => '{}', every_seconds => 3600)", sink.url("/")
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await insert_job(trapped, kind="HTTP!")

    recorder: Recorder
    async with instance() as (_, recorder):
        await recorder.seen(Settled, job_id=job_id)
        await recorder.seen(Settled, job_id=lost)

    assert await names_sprung(trapped) == set()
