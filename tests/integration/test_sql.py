"""SQL as an interface: jobs by name, verbs, and views."""

import asyncpg
import pytest

from tests.support.builders import insert_job

URL = "http://127.0.0.1:9/"


async def stored(connection: asyncpg.Connection, name: str = "x") -> asyncpg.Record:
    row = await connection.fetchrow("select * from tocsin.jobs where name = $1", name)
    assert row is not None
    return row


@pytest.mark.parametrize("function", ["http_job", "amqp_job"])
async def test_every_column_that_people_write_is_an_option(
    connection: asyncpg.Connection, function: str
) -> None:
    names, written = await connection.fetchrow(
        """select proargnames, tocsin.written_columns() from pg_proc
           where proname = $1 and pronamespace = 'tocsin'::regnamespace""",
        function,
    )

    assert set(written) - {"kind", "resume_missed"} <= set(names)


async def test_options_by_name_are_those_of_the_job(connection: asyncpg.Connection) -> None:
    await connection.execute(
        """select tocsin.http_job('x', $1, body => '{"a": null}', cron => '0 3 * * *',
            timezone => 'Europe/Paris', tags => '{a,b}', metadata => '{"team": null}',
            max_attempts => 2, jitter_seconds => 1.5, overlap => 'skip', ends_at => '2100-01-01',
            target => '{"auth": {"type": "bearer", "token": "t"}}')""",
        URL,
    )

    job = await stored(connection)
    assert (job["cron"], job["timezone"], job["tags"]) == ("0 3 * * *", "Europe/Paris", ["a", "b"])
    assert (job["max_attempts"], job["overlap"], str(job["jitter_seconds"])) == (2, "skip", "1.5")
    assert job["metadata"] == '{"team": null}'
    target = await connection.fetchval("select target - 'auth' from tocsin.jobs")
    assert target == '{"url": "http://127.0.0.1:9/", "json": {"a": null}, "method": "POST"}'


async def test_a_job_that_is_there_keeps_what_is_not_given(connection: asyncpg.Connection) -> None:
    first = await connection.fetchval(
        "select tocsin.http_job('x', $1, cron => '0 3 * * *', description => 'it', priority => 2)",
        URL,
    )
    planned = (await stored(connection))["planned_at"]

    again = await connection.fetchval("select tocsin.http_job('x', $1, priority => 1)", URL + "b")

    job = await stored(connection)
    assert (again, job["cron"], job["description"], job["priority"]) == (
        first,
        "0 3 * * *",
        "it",
        1,
    )
    assert (job["planned_at"], job["run_at"]) == (planned, None)
    await connection.execute("select tocsin.http_job('x', $1, every_seconds => 60)", URL)
    job = await stored(connection)
    assert (job["cron"], int(job["every_seconds"])) == (None, 60)


async def test_options_that_are_null_are_as_good_as_left_out(
    connection: asyncpg.Connection,
) -> None:
    first = await connection.fetchval("select tocsin.http_job('x', $1, target => null)", URL)

    await connection.execute("select tocsin.http_job('x', $1, target => null)", URL + "b")
    again = await connection.fetchval("""select tocsin.put_job('{"name": "x"}')""")

    assert (again, await connection.fetchval("select target ->> 'url' from tocsin.jobs")) == (
        first,
        URL + "b",
    )
    with pytest.raises(asyncpg.CheckViolationError, match="kind is missing"):
        await connection.execute("""select tocsin.put_job('{"name": "y"}')""")


async def test_a_new_job_without_a_schedule_is_due(connection: asyncpg.Connection) -> None:
    await connection.execute("select tocsin.http_job('x', $1)", URL)
    await connection.execute("select tocsin.http_job(null, $1)", URL)
    await connection.execute("select tocsin.amqp_job(null, 'amqp://h/', '', 'q')")

    assert len(await connection.fetch("select * from tocsin.due()")) == 3


async def test_an_option_that_is_none_is_named(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="fence is unknown"):
        await connection.execute("""select tocsin.put_job('{"kind": "http", "fence": 3}')""")
    with pytest.raises(asyncpg.CheckViolationError, match="timezone"):
        await connection.execute("select tocsin.http_job('x', $1, timezone => 'Mars')", URL)


async def test_verbs_act_on_a_job_by_its_name(connection: asyncpg.Connection) -> None:
    id = await insert_job(connection, name="x")

    async def call(verb: str) -> object:
        return await connection.fetchval(f"select tocsin.{verb}")

    assert await call("pause_job('x', 'moved')") == id
    assert (await stored(connection))["paused_at"]
    assert await call("resume_job('x')") == id
    assert await call("skip_next('x')") == id
    assert (await stored(connection))["skip_runs"] == 1
    assert await call("skip_next('x', 0)") == id
    assert (await stored(connection))["skip_runs"] is None
    assert await call(f"run_job('{id}')") == id
    assert (await stored(connection))["pending_runs"] == 1
    assert await call("cancel_job('x')") is None
    assert await call("pause_job('none')") is None


async def test_views_show_how_jobs_stand(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "select tocsin.http_job('soon', $1, run_at => now() + interval '50 minutes')", URL
    )
    await connection.execute(
        "select tocsin.http_job('later', $1, run_at => now() + interval '2 days')", URL
    )
    await connection.execute("select tocsin.http_job('now', $1)", URL)
    await connection.execute(
        "select tocsin.http_job('bad', $1, run_at => now() + interval '30 minutes')", URL
    )
    await connection.execute(
        """update tocsin.jobs set consecutive_failures = 3, last_outcome = 'failed'
           where name = 'bad'"""
    )
    await connection.execute(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome, started_at)
           select id, kind, now() - interval '2 seconds', 1, 'failed', now() - interval '1 second'
           from tocsin.jobs where name = 'bad'"""
    )

    async def names(query: str) -> list[str]:
        return [row["job_name"] for row in await connection.fetch(f"select * from tocsin.{query}")]

    assert await names("upcoming(interval '1 hour')") == ["now", "bad", "soon"]
    assert await names("due()") == ["now"]
    assert await names("failing_jobs") == ["bad"]
    assert await names("recent_executions") == ["bad"]
    row = await connection.fetchrow("select * from tocsin.overview")
    assert (row["due"], row["failing"], row["executing"], row["troubled_last_hour"]) == (1, 1, 0, 1)
