"""Whatever has a name in the schema says what it is, for those who look by psql."""

import re

import asyncpg

NAMED = """
select c.relname::text as name, obj_description(c.oid, 'pg_class') as comment
from pg_class c
where c.relnamespace = 'tocsin'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and not c.relispartition
union all
select c.relname || '.' || a.attname, col_description(c.oid, a.attnum)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'tocsin'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
  and not c.relispartition
union all
select p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
from pg_proc p where p.pronamespace = 'tocsin'::regnamespace
union all
select t.typname, obj_description(t.oid, 'pg_type')
from pg_type t
where t.typnamespace = 'tocsin'::regnamespace and (t.typtype in ('d', 'e') or t.typrelid in (
    select oid from pg_class where relkind = 'c'))
"""
IDLE = {"a", "an", "and", "at", "for", "in", "is", "it", "its", "job", "of", "the", "this", "to"}
CALLED = (
    *("http_job", "amqp_job", "put_job", "pause_job", "resume_job", "skip_next", "run_job"),
    *("backfill_job", "explain_job"),
)
"""Functions of which a caller has to know what comes back, and when."""


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower())) - IDLE


async def test_all_that_has_a_name_says_what_it_is(connection: asyncpg.Connection) -> None:
    found = {row["name"]: row["comment"] or "" for row in await connection.fetch(NAMED)}

    assert len(found) > 500
    lacking = [name for name, comment in found.items() if not comment]
    assert lacking == [], "say it above the function, or in db/triggers/9_comments.sql"
    empty = [name for name, comment in found.items() if not words(comment) - words(name)]
    assert empty == [], "only repeats the name"
    assert [
        name for name, text in found.items() if "The same" in text[:8] and "." not in name
    ] == []


async def test_functions_that_programs_call_say_what_they_return(
    connection: asyncpg.Connection,
) -> None:
    found = await connection.fetch(
        """select proname, obj_description(oid, 'pg_proc') as text from pg_proc
           where pronamespace = 'tocsin'::regnamespace and proname = any ($1)""",
        CALLED,
    )

    assert {row["proname"] for row in found} == set(CALLED)
    assert [row["proname"] for row in found if "eturns " not in row["text"]] == []
