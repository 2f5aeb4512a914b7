"""The reference of SQL is what the catalog says."""

import asyncpg

from handbook.reference.sql import sql_page


async def test_the_reference_of_sql_has_what_is_in_the_schema_and_its_comments(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        """
        comment on table tocsin.jobs is 'What to do, and when.';
        comment on column tocsin.jobs.cron is 'Five fields | or more.';
        comment on function tocsin.uuid7() is 'A time-ordered id.';
        """
    )

    page = await sql_page(connection)

    tables = await connection.fetch(
        """
        select c.relname from pg_class c
        where c.relnamespace = 'tocsin'::regnamespace and c.relkind in ('r', 'p', 'v')
            and not c.relispartition
        """
    )
    assert all(f"### tocsin.{table['relname']}\n" in page for table in tables)
    assert "### tocsin.jobs\n\nWhat to do, and when.\n" in page
    assert "| `cron` | text |  | yes | Five fields \\| or more. |" in page
    assert "| `uuid7` | A time-ordered id. |" in page
    assert "### tocsin.http_job()\n\n```sql\ntocsin.http_job(name text,\n" in page
    assert "executions_2" not in page
