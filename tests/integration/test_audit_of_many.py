"""Each job that a statement edits has its own entry in the audit log, however many there are."""

import asyncpg
import pytest

MANY = 300
ENTRIES = """
select action, entity_name, changed, before, after from tocsin.audit_log where action = 'update'
order by entity_name, id
"""


@pytest.fixture
async def jobs(connection: asyncpg.Connection) -> int:
    """Insert jobs that are a second apart; return how many."""
    await connection.execute(
        """insert into tocsin.jobs (name, kind, target, run_at)
           select 'job ' || lpad(number::text, 3, '0'), 'http', '{"url": "http://h/"}',
               '2100-01-01 00:00Z'::timestamptz + number * interval '1 s'
           from generate_series(1, $1) as number""",
        MANY,
    )
    return MANY


async def calls(connection: asyncpg.Connection, function: str) -> int:
    """Return how often this transaction called a function of Tocsin's; see `track_functions`."""
    return (
        await connection.fetchval(
            """select calls from pg_stat_xact_user_functions
               where schemaname = 'tocsin' and funcname = $1""",
            function,
        )
        or 0
    )


async def names(connection: asyncpg.Connection) -> list[str]:
    return [row["entity_name"] for row in await connection.fetch(ENTRIES)]


async def test_each_of_many_jobs_that_a_statement_edits_has_its_entry(
    connection: asyncpg.Connection, jobs: int
) -> None:
    await connection.execute("update tocsin.jobs set run_at = run_at + interval '1 year'")

    entries = await connection.fetch(
        """select entity_name, changed, before ->> 'run_at' as before, after ->> 'run_at' as after
           from tocsin.audit_log where action = 'update' order by entity_name"""
    )
    created = await connection.fetchval(
        "select count(distinct entity_id) from tocsin.audit_log where action = 'create'"
    )
    assert created == jobs
    assert [tuple(row) for row in entries] == [
        (
            f"job {number:03}",
            ["next_run", "run_at"],
            f"2100-01-01T00:{number // 60:02}:{number % 60:02}+00:00",
            f"2101-01-01T00:{number // 60:02}:{number % 60:02}+00:00",
        )
        for number in range(1, jobs + 1)
    ]


async def test_what_instances_write_calls_nothing_of_the_log(
    connection: asyncpg.Connection, jobs: int
) -> None:
    await connection.execute("set track_functions = 'all'")
    async with connection.transaction():
        await connection.execute(
            """update tocsin.jobs set locked_until = now() + interval '1 min', locked_by = 'one',
                   claimed_at = now(), claimed_for = run_at, claimed_attempt = 1,
                   execution_id = 7"""
        )
        await connection.execute(
            """update tocsin.jobs set locked_until = null, locked_by = null, claimed_at = null,
                   claimed_for = null, claimed_attempt = null, execution_id = null,
                   next_run = null, planned_at = now(), last_outcome = 'succeeded'"""
        )
        called = await calls(connection, "audit_changed_job")
        await connection.execute("update tocsin.jobs set max_attempts = 1 where name = 'job 001'")
        called_by_an_edit = await calls(connection, "audit_changed_job")

    assert called == 0
    assert called_by_an_edit == 1
    assert await names(connection) == ["job 001"]


async def test_rows_that_a_statement_leaves_as_they_are_have_no_entry(
    connection: asyncpg.Connection, jobs: int
) -> None:
    await connection.execute(
        "update tocsin.jobs set timeout_seconds = case when name < 'job 298' then 30 else 31 end"
    )

    assert await names(connection) == ["job 298", "job 299", "job 300"]
    assert jobs == MANY


async def test_a_job_that_gets_another_id_in_the_same_statement_has_its_entry(
    connection: asyncpg.Connection, jobs: int
) -> None:
    await connection.execute("update tocsin.jobs set id = gen_random_uuid(), max_attempts = 1")

    entries = await connection.fetch(
        """select l.entity_name = j.name as same, l.before, l.after
           from tocsin.audit_log l join tocsin.jobs j on j.id = l.entity_id
           where action = 'update'"""
    )
    assert [row["same"] for row in entries] == [True] * jobs


@pytest.mark.parametrize(
    "statement",
    [
        """with one as (update tocsin.jobs set timeout_seconds = 31 where name = 'job 001')
           update tocsin.jobs set next_run = '2100-02-02' where name = 'job 002'""",
        """with one as (update tocsin.jobs set next_run = '2100-02-02' where name = 'job 001')
           update tocsin.jobs set timeout_seconds = 31 where name = 'job 002'""",
        """insert into tocsin.jobs (name, kind, target, run_at)
           select name, kind, target, run_at from tocsin.jobs where name in ('job 001', 'job 002')
           on conflict (name) where name is not null do update set max_attempts = 1""",
    ],
    ids=["an edit of each sort", "the other way round", "an upsert"],
)
async def test_a_statement_that_edits_in_several_ways_has_the_entries_of_all(
    connection: asyncpg.Connection, jobs: int, statement: str
) -> None:
    await connection.execute(statement)

    assert await names(connection) == ["job 001", "job 002"]
    assert jobs == MANY


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_what_a_trigger_of_others_edits_meanwhile_has_its_entry_as_well(
    connection: asyncpg.Connection, jobs: int, moment: str
) -> None:
    await connection.execute(
        f"""create function follow() returns trigger language plpgsql as $$ begin
                update tocsin.jobs set description = 'follows' where name = 'job 300';
                return new;
            end $$;
            create trigger follow {moment} update on tocsin.jobs for each row
                when (new.name = 'job 001' and pg_trigger_depth() = 0)
                execute function follow()"""
    )

    await connection.execute("update tocsin.jobs set max_runs = 3 where name < 'job 003'")

    assert await names(connection) == ["job 001", "job 002", "job 300"]
    assert jobs == MANY


async def test_an_edit_after_one_that_was_undone_has_its_entry(
    connection: asyncpg.Connection, jobs: int
) -> None:
    async with connection.transaction():
        undone = connection.transaction()
        await undone.start()
        await connection.execute("update tocsin.jobs set max_attempts = 1")
        await undone.rollback()
        await connection.execute("update tocsin.jobs set max_attempts = 2 where name = 'job 001'")

    assert await names(connection) == ["job 001"]
    assert jobs == MANY
