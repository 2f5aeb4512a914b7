"""What an upgrade has to leave as it was: rows that stood before, and the catalog in the end."""

from collections import Counter

import asyncpg
from msgspec import json

Rows = dict[str, list[dict[str, object]]]
"""Rows by the name of their table."""

TABLES = """
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'tocsin' and c.relkind in ('r', 'p') and not c.relispartition order by 1
"""
AT_REST = {
    "jobs": "name like 'at-rest-%'",
    "executions": "instance is not distinct from 'gone:1:0001' and outcome <> 'lost'",
    "api_keys": "true",
    "secrets": "true",
    "audit_log": "entity_name like 'at-rest-%' or entity_name = 'deleted' or entity <> 'job'",
}
"""The rows that no instance changes, while it runs: a condition for each table."""
AT_REST_SINCE = dict.fromkeys(
    ("calendars", "job_calendars", "maintenance", "flows", "flow_states", "pauses", "bulk_actions"),
    "true",
)
"""The same of tables that an older version may lack."""
OF_USE = {"api_keys": {"last_used_at"}}
"""Columns that change when a row is used."""
DOUBTFUL = """
select c.relname as name
from pg_index i join pg_class c on c.oid = i.indexrelid
where not i.indisvalid and c.relnamespace = 'tocsin'::regnamespace
union all
select conname from pg_constraint
where not convalidated and connamespace = 'tocsin'::regnamespace
"""


async def all_rows(connection: asyncpg.Connection) -> Rows:
    """Read every table."""
    names = [row["relname"] for row in await connection.fetch(TABLES)]
    return {name: await rows_of(connection, name, "true") for name in names}


async def rows_at_rest(connection: asyncpg.Connection) -> Rows:
    """Read what has to stay the same while instances run."""
    names = {row["relname"] for row in await connection.fetch(TABLES)}
    where = AT_REST | {name: one for name, one in AT_REST_SINCE.items() if name in names}
    found = {name: await rows_of(connection, name, one) for name, one in where.items()}
    assert all(found[name] for name in AT_REST), "there is nothing to compare"
    return {
        name: [
            {key: value for key, value in row.items() if key not in OF_USE.get(name, ())}
            for row in rows
        ]
        for name, rows in found.items()
    }


async def rows_of(
    connection: asyncpg.Connection, table: str, where: str
) -> list[dict[str, object]]:
    rows = await connection.fetch(f"select to_jsonb(t) from tocsin.{table} t where {where}")
    return [json.decode(row[0]) for row in rows]


def changed_rows(before: Rows, after: Rows) -> dict[str, list[object]]:
    """Name the rows that are gone or have other values in the columns that both versions have."""
    return {
        name: gone for name, rows in before.items() if (gone := lacking(rows, after.get(name, [])))
    }


def lacking(before: list[dict[str, object]], after: list[dict[str, object]]) -> list[object]:
    """Return those of `before` that `after` does not have."""
    columns = {key for row in before for key in row} & {key for row in after for key in row}

    def in_common(row: dict[str, object]) -> str:
        kept = {key: value for key, value in row.items() if key in columns}
        return json.encode(kept, order="deterministic").decode()

    return list((Counter(map(in_common, before)) - Counter(map(in_common, after))).elements())


async def doubtful(connection: asyncpg.Connection) -> list[str]:
    """Name the indexes and constraints that were never finished."""
    return [row["name"] for row in await connection.fetch(DOUBTFUL)]
