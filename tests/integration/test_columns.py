"""The columns that people write stand in one list; whatever else lists them is compared with it."""

import re
from pathlib import Path

import asyncpg
import pytest
from msgspec import json

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


@pytest.mark.parametrize("priority", [0, 1], ids=["as it comes", "not as it comes"])
async def test_the_audit_log_keeps_all_of_them(
    connection: asyncpg.Connection, written: list[str], priority: int
) -> None:
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, priority)
           values ('http', '{}', '2100-01-01', $1)""",
        priority,
    )

    [(keys, are_its)] = await connection.fetch(
        """select array(select jsonb_object_keys(tocsin.audited_columns(j, j.target))),
               tocsin.audited_columns(j, j.target) <@ to_jsonb(j)
           from tocsin.jobs j"""
    )

    assert set(keys) == set(written) | ACTED
    assert are_its


async def test_the_audit_log_compares_all_that_it_keeps(connection: asyncpg.Connection) -> None:
    """Of two jobs that differ in all columns each is a change, with the value that is kept."""
    await connection.execute(
        "insert into tocsin.jobs (kind, target, run_at) values ('http', '{}', '2100-01-01')"
    )

    [(kept, changed, values, differing)] = await connection.fetch(
        """select array(select jsonb_object_keys(tocsin.audited(j)) as key order by key),
               tocsin.audited_changes(j, other),
               (select jsonb_object_agg(key, tocsin.audited_value(other, key))
                from unnest(tocsin.audited_changes(j, other)) as key),
               tocsin.audited(other) - 'target'
           from tocsin.jobs j, lateral (select (jsonb_populate_record(j, (
               select jsonb_object_agg(attname, case
                       when atttypid = 'timestamptz'::regtype then '"2050-01-01T00:00:00+00:00"'
                       when atttypid = 'text[]'::regtype then to_jsonb(array[attname])
                       when atttypid = 'jsonb'::regtype then '{"other": 1}'
                       when atttypid in ('numeric'::regtype, 'int4'::regtype) then to_jsonb(attnum)
                       when atttypid = 'text'::regtype then to_jsonb(attname) end)
               from pg_attribute
               where attrelid = 'tocsin.jobs'::regclass and attnum > 0
                 and atttypid not in ('uuid'::regtype, 'bool'::regtype, 'int8'::regtype)
               ))).*) as other"""
    )

    assert changed == [key for key in kept if key != "target"]
    assert json.decode(values) == json.decode(differing)


@pytest.mark.parametrize("change", ["metadata = '{\"a\": 1.0}'", "backoff_seconds = 5.00"])
async def test_the_audit_log_tells_what_is_equal_and_written_another_way(
    connection: asyncpg.Connection, change: str
) -> None:
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, metadata)
           values ('http', '{}', '2100-01-01', '{"a": 1}')"""
    )

    await connection.execute(f"update tocsin.jobs set {change}")

    [entry] = await connection.fetch("select changed from tocsin.audit_log where action = 'update'")
    assert entry["changed"] == [change.partition(" ")[0]]


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
