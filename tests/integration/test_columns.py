"""The columns that people write stand in one list; whatever else lists them is compared with it."""

import re
from pathlib import Path

import asyncpg
import pytest

from app.core.jobs.job import DOCUMENT_FIELDS, StoredJob
from app.db.queries import query

ROOT = Path(__file__).parents[2]
STAMPS = {"id", "created_at", "updated_at", "edited_at"}
ACTED = {"skip_runs", "skip_until", "resume_missed"}
"""What an action of the API writes, and a settlement as well: apart from the list."""


@pytest.fixture
async def written(connection: asyncpg.Connection) -> list[str]:
    """List the columns that people write, from the trigger `jobs_200_sound` of the schema."""
    rows = await connection.fetch(
        """select attname from pg_attribute, pg_trigger
           where tgrelid = 'tocsin.jobs'::regclass and tgname = 'jobs_200_sound'
             and attrelid = tgrelid and attnum = any (tgattr::smallint[]) order by attnum"""
    )
    return [row["attname"] for row in rows if row["attname"] not in STAMPS]


async def test_an_edit_of_any_of_them_that_frees_a_lease_is_planned(
    connection: asyncpg.Connection, written: list[str]
) -> None:
    rows = await connection.fetch(
        """select attname from pg_attribute, pg_trigger
           where tgname = 'jobs_110_plan_freed' and attrelid = tgrelid
             and attnum = any (tgattr::smallint[]) order by attnum"""
    )

    assert [row["attname"] for row in rows] == written


async def test_the_audit_log_keeps_all_of_them(
    connection: asyncpg.Connection, written: list[str]
) -> None:
    await connection.execute(
        "insert into tocsin.jobs (kind, target, run_at) values ('http', '{}', '2100-01-01')"
    )

    keys = await connection.fetchval(
        """select array(select jsonb_object_keys(tocsin.audited_columns(j, j.target)))
           from tocsin.jobs j"""
    )

    assert set(keys) == set(written) | ACTED


async def test_the_audit_log_compares_all_that_it_keeps(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "insert into tocsin.jobs (kind, target, run_at) values ('http', '{}', '2100-01-01')"
    )

    kept, compared = await connection.fetchrow(
        """select array(select jsonb_object_keys(tocsin.audited(j)) as key order by key),
               tocsin.audited_unchanged(j, j)
           from tocsin.jobs j"""
    )

    assert compared == [key for key in kept if key != "target"]


async def test_clients_write_and_read_all_of_them(written: list[str]) -> None:
    api = {"paused_at" if name == "paused" else name for name in DOCUMENT_FIELDS}

    assert api == set(written)
    assert set(DOCUMENT_FIELDS) | ACTED - {"resume_missed"} <= set(StoredJob.__struct_fields__)


async def test_the_queries_of_the_api_write_all_of_them(written: list[str]) -> None:
    queries = (ROOT / "db/queries/jobs.sql").read_text("utf-8")
    insert = queries.partition("insert into tocsin.jobs as j (")[2].partition(")")[0]

    assert set(written) <= set(re.findall(r"\w+", insert))
    for name in ("jobs.update", "jobs.update_many"):
        update = query(name).sql.partition("update tocsin.jobs j")[2].partition("from acting")[0]
        assert set(written) <= set(re.findall(r"\b(\w+) = ", update))


async def test_the_role_of_programs_that_insert_jobs_may_write_all_of_them(
    connection: asyncpg.Connection, written: list[str]
) -> None:
    columns = await connection.fetchval("select tocsin.written_columns()")

    assert set(columns) == set(written) | ACTED
