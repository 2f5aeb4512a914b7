"""A row that lacks a column is refused without a word of what else it has."""

import asyncpg
import pytest

from tests.support.builders import insert_job, job_row

SECRET = """{"url": "https://example.com/", "auth": {"type": "bearer", "token": "hunter2"}}"""
NEEDED = [
    *("kind", "target", "tags", "metadata", "dst_gap", "dst_overlap", "max_attempts"),
    *(
        "backoff_seconds",
        "backoff_max_seconds",
        "timeout_seconds",
        "misfire",
        "max_catchup",
        "overlap",
        "priority",
        "on_closed",
    ),
]


def said(error: asyncpg.PostgresError) -> str:
    return " ".join(str(part) for part in (error.message, error.detail, error.hint, error.context))


@pytest.mark.parametrize("schedule", ["run_at = now()", "every_seconds = 5", "cron = '* * * * *'"])
@pytest.mark.parametrize("column", NEEDED)
async def test_an_insert_without_a_column_names_it_and_shows_no_target(
    connection: asyncpg.Connection, column: str, schedule: str
) -> None:
    kept = {"description": "'hunter2'", "kind": "'http'", "target": f"'{SECRET}'"}
    name, _, value = schedule.partition(" = ")
    values = kept | {name: value} | {column: "null"}

    with pytest.raises(asyncpg.CheckViolationError, match=f"^{column} is missing") as caught:
        await connection.execute(
            f"insert into tocsin.jobs ({', '.join(values)}) values ({', '.join(values.values())})"
        )

    assert caught.value.column_name == column
    assert caught.value.hint
    assert "hunter2" not in said(caught.value)


@pytest.mark.parametrize("column", NEEDED)
async def test_an_edit_that_takes_a_column_away_names_it_and_shows_no_target(
    connection: asyncpg.Connection, column: str
) -> None:
    job_id = await insert_job(connection, description="hunter2")

    with pytest.raises(asyncpg.CheckViolationError, match=f"^{column} is missing") as caught:
        await connection.execute(f"update tocsin.jobs set {column} = null")

    assert "hunter2" not in said(caught.value)
    assert (await job_row(connection, job_id))[column] is not None


async def test_every_column_that_people_write_and_that_has_to_be_there_is_asked_for(
    connection: asyncpg.Connection,
) -> None:
    rows = await connection.fetch(
        """select attname from pg_attribute, pg_trigger
           where tgrelid = 'tocsin.jobs'::regclass and tgname = 'jobs_200_sound'
             and attrelid = tgrelid and attnotnull and attnum = any (tgattr::smallint[])"""
    )

    # Stamps are set anew; the id has a default, and the time zone falls back to UTC.
    others = {"id", "timezone", "created_at", "updated_at", "edited_at"}
    assert {row["attname"] for row in rows} - others == set(NEEDED)
