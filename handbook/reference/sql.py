"""The tables, views and functions of the schema, as Postgres has them and their comments."""

from collections.abc import Sequence
from functools import cache
from itertools import groupby

import asyncpg

from handbook.places import ROOT
from handbook.tables import code, first_paragraph, table

SCHEMA = ("db/schema.sql", "db/triggers.sql")
RELATIONS = """
select c.relname as name, c.relkind in ('v', 'm') as is_view,
    obj_description(c.oid, 'pg_class') as comment,
    a.attname as column, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as needed,
    pg_get_expr(d.adbin, d.adrelid) as default, col_description(c.oid, a.attnum) as column_comment
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'tocsin'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
    and not c.relispartition
order by is_view, c.relname, a.attnum
"""
FUNCTIONS = """
select p.proname as name, pg_get_function_arguments(p.oid) as arguments,
    pg_get_function_result(p.oid) as result,
    obj_description(p.oid, 'pg_proc') as comment
from pg_proc p
where p.pronamespace = 'tocsin'::regnamespace and p.prorettype <> 'trigger'::regtype
order by p.proname, arguments
"""
Row = asyncpg.Record


async def load_schema(connection: asyncpg.Connection) -> None:
    """Make the schema in an empty database."""
    for name in SCHEMA:
        await connection.execute((ROOT / name).read_text("utf-8"))


def is_shown(name: str) -> bool:
    """Return whether a page of ours calls a function."""
    return f"tocsin.{name}(" in pages()


@cache
def pages() -> str:
    """Return the text of the pages for users: not of the decisions, which name what is within."""
    found = [page for folder in ("", "tutorials") for page in (ROOT / "docs" / folder).glob("*.md")]
    return "".join(page.read_text("utf-8") for page in sorted(found))


def relation_text(name: str, rows: Sequence[Row]) -> str:
    """Return the section of a table or view."""
    columns = [
        (
            code(row["column"]),
            row["type"],
            code(row["default"] or ""),
            "no" if row["needed"] else "yes",
            row["column_comment"] or "",
        )
        for row in rows
    ]
    heads = ("column", "type", "default", "null", "meaning")
    parts = [f"### tocsin.{name}", rows[0]["comment"] or "", table(heads, columns)]
    return "\n\n".join(part for part in parts if part)


def function_text(name: str, rows: Sequence[Row]) -> str:
    """Return the section of the functions of one name."""
    parts = [f"### tocsin.{name}()"]
    for row in rows:
        arguments = row["arguments"].replace(", ", ",\n    ")
        parts += [
            f"```sql\ntocsin.{name}({arguments})\n    returns {row['result']}\n```",
            row["comment"] or "",
        ]
    return "\n\n".join(part for part in parts if part)


async def sql_page(connection: asyncpg.Connection) -> str:
    """Return the page of a database that has the schema."""
    relations = await connection.fetch(RELATIONS)
    functions = await connection.fetch(FUNCTIONS)
    parts = [
        "# SQL",
        (
            "What is in the schema `tocsin`. [SQL](../sql.md) shows how it is used, and "
            "[roles](../security.md#roles) who may do what."
        ),
    ]
    for head, wanted in (("Tables", False), ("Views", True)):
        parts.append(f"## {head}")
        of_kind = (row for row in relations if row["is_view"] is wanted)
        parts += [
            relation_text(name, list(rows))
            for name, rows in groupby(of_kind, key=lambda row: row["name"])
        ]
    by_name = {name: list(rows) for name, rows in groupby(functions, key=lambda row: row["name"])}
    parts.append("## Functions")
    parts += [function_text(name, rows) for name, rows in by_name.items() if is_shown(name)]
    parts += [
        "## Functions of Tocsin itself",
        "What triggers, instances and the API call. They may change with each release.",
        table(
            ("function", "meaning"),
            [
                (code(name), first_paragraph(rows[0]["comment"]))
                for name, rows in by_name.items()
                if not is_shown(name)
            ],
        ),
    ]
    return "\n\n".join(parts)
