"""psql and `tocsin migrate` do the same, and schema.sql is the sum of the migrations."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.db import Database, migrate
from app.errors import LockedByOthers, RightMissing, SchemaOutdated
from tests.support.builders import insert_job
from tests.support.dump import dumped
from tests.support.history import begin_day, partitions, week_from
from tests.support.postgres import PostgresServer, url_of
from tests.support.psql import run_psql
from tests.support.roles import role

DB = Path(__file__).parents[2] / "db"
EmptyDatabase = Callable[[str], str]


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[EmptyDatabase]:
    """Create empty databases by name."""
    with ExitStack() as stack:

        def create(name: str) -> str:
            run_psql(postgres_server.url, f"create database {name}")
            stack.callback(run_psql, postgres_server.url, f"drop database {name} with (force)")
            return url_of(postgres_server.url, name)

        yield create


async def test_the_schema_is_the_same_where_backslashes_escape(
    empty_database: EmptyDatabase,
) -> None:
    usual, escaping = empty_database("usual_strings"), empty_database("escaping_strings")
    setting = "alter database escaping_strings {} standard_conforming_strings"
    run_psql(escaping, f"{setting.format('set')} = off")

    for url in (usual, escaping):
        run_psql(url, files=(DB / "schema.sql", DB / "triggers.sql"))

    assert run_psql(escaping, "show standard_conforming_strings") == "off"
    run_psql(escaping, setting.format("reset"))  # pg_dump writes strings as the database reads them
    assert dumped(escaping) == dumped(usual)


async def test_schema_sql_is_the_sum_of_the_migrations(empty_database: EmptyDatabase) -> None:
    whole = empty_database("whole_schema")
    run_psql(whole, files=(DB / "schema.sql", DB / "triggers.sql"))
    summed = empty_database("sum_of_migrations")
    run_psql(summed, files=(*sorted((DB / "migrations").glob("*.sql")), DB / "triggers.sql"))

    assert dumped(whole) == dumped(summed)
    versions = "select version, breaking from tocsin.schema_migrations order by version"
    assert run_psql(whole, versions) == run_psql(summed, versions)


async def test_migrate_does_what_psql_does(empty_database: EmptyDatabase) -> None:
    by_psql = empty_database("by_psql")
    run_psql(by_psql, files=(DB / "schema.sql", DB / "triggers.sql"))
    by_command = empty_database("by_command")

    applied = await migrate.migrate(by_command)

    assert list(applied) == list(migrate.migrations())
    assert dumped(by_psql) == dumped(by_command)


def test_a_dry_run_prints_what_psql_can_apply_and_changes_nothing(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    printed, migrated = empty_database("by_printed_sql"), empty_database("by_migrate")
    monkeypatch.setenv("TOCSIN_DATABASE_URL", printed)

    dry = CliRunner().invoke(main, ["migrate", "--dry-run"])
    before = run_psql(printed, "select to_regnamespace('tocsin') is null")
    script = tmp_path / "migrate.sql"
    script.write_text(dry.stdout)
    run_psql(printed, files=(script,))
    asyncio.run(migrate.migrate(migrated))
    monkeypatch.setenv("TOCSIN_DATABASE_URL", migrated)
    again = CliRunner().invoke(main, ["migrate", "--dry-run"])

    assert (dry.exit_code, before) == (7, "t")
    assert dumped(printed) == dumped(migrated)
    assert (again.exit_code, again.stdout) == (0, "")


async def test_migrate_makes_the_partitions_of_the_coming_week(
    empty_database: EmptyDatabase,
) -> None:
    url = empty_database("a_week")
    await migrate.migrate(url)
    connection = await asyncpg.connect(url)
    made = await partitions(connection)

    today = await begin_day(connection)
    await connection.close()

    assert len(made) == len(week_from(today))
    assert len(made - set(week_from(today))) <= 1  # midnight may have passed


async def test_migrating_again_changes_nothing(empty_database: EmptyDatabase) -> None:
    url = empty_database("twice")
    await migrate.migrate(url)
    before = dumped(url)

    assert list(await migrate.migrate(url)) == []
    assert dumped(url) == before


async def test_migrations_that_run_at_once_wait_for_each_other(
    empty_database: EmptyDatabase,
) -> None:
    url = empty_database("at_once")

    applied = await asyncio.gather(*(migrate.migrate(url) for _ in range(4)))

    assert sorted(len(versions) for versions in applied)[:3] == [0, 0, 0]


async def test_an_instance_refuses_a_database_without_our_schema(
    empty_database: EmptyDatabase,
) -> None:
    async with Database.connect(empty_database("bare"), application_name="test") as db:
        with pytest.raises(SchemaOutdated, match="run `tocsin migrate`"):
            await migrate.check(db)


async def test_an_instance_refuses_a_newer_schema_only_when_it_is_breaking(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with Database.connect(database_url, application_name="test") as db:
        await connection.execute("insert into tocsin.schema_migrations values (8000, false)")
        await migrate.check(db)
        await connection.execute("insert into tocsin.schema_migrations values (9000, true)")
        with pytest.raises(SchemaOutdated, match="9000"):
            await migrate.check(db)


async def test_triggers_can_be_applied_again_at_any_time(database_url: str) -> None:
    before = dumped(database_url)

    run_psql(database_url, files=(DB / "triggers.sql",))

    assert dumped(database_url) == before


async def test_with_nothing_to_do_no_lock_is_waited_for(empty_database: EmptyDatabase) -> None:
    url = empty_database("nothing_to_do")
    await migrate.migrate(url)
    connection = await asyncpg.connect(url)

    async with connection.transaction():
        await connection.execute(
            """lock table tocsin.jobs, tocsin.executions, tocsin.api_keys, tocsin.audit_log,
               tocsin.secrets in access exclusive mode"""
        )
        applied = await migrate.migrate(url, patience_seconds=0)

    await connection.close()
    assert list(applied) == []


async def test_what_was_changed_by_hand_is_put_right(empty_database: EmptyDatabase) -> None:
    url = empty_database("by_hand")
    await migrate.migrate(url)
    whole = dumped(url)
    run_psql(
        url,
        """drop trigger jobs_900_wake_update on tocsin.jobs;
           create or replace function tocsin.state(job tocsin.jobs) returns text language sql
           stable as $$ select 'mine' $$""",
    )

    await migrate.migrate(url)

    assert dumped(url) == whole


async def test_beside_an_open_writer_it_gives_up_and_names_who_is_in_the_way(
    empty_database: EmptyDatabase,
) -> None:
    url = empty_database("beside_a_writer")
    await migrate.migrate(url)
    run_psql(url, "drop trigger jobs_900_wake_update on tocsin.jobs")
    before = dumped(url)
    writer = await asyncpg.connect(url, server_settings={"application_name": "somebody's shell"})

    async with writer.transaction():
        await insert_job(writer)
        pid = writer.get_server_pid()
        with pytest.raises(LockedByOthers, match=rf"process {pid} \(somebody's shell") as refused:
            await migrate.migrate(url, patience_seconds=0)
        unchanged = dumped(url) == before
    await migrate.migrate(url, patience_seconds=0)

    await writer.close()
    assert "jobs" in str(refused.value)
    assert unchanged
    assert dumped(url) != before


@pytest.mark.parametrize("breaking", ["false", "true"])
async def test_an_older_tocsin_leaves_a_newer_schema_and_its_functions_alone(
    empty_database: EmptyDatabase, breaking: str
) -> None:
    url = empty_database("newer_schema")
    await migrate.migrate(url)
    run_psql(
        url,
        f"""insert into tocsin.schema_migrations values (8000, {breaking});
            create or replace function tocsin.state(job tocsin.jobs) returns text language sql
            stable as $$ select 'newer' $$""",
    )
    newer = dumped(url)

    with pytest.raises(SchemaOutdated, match="schema version 8000"):
        await migrate.migrate(url)

    assert dumped(url) == newer


async def test_an_older_release_leaves_the_functions_of_a_newer_one_alone(
    empty_database: EmptyDatabase,
) -> None:
    url = empty_database("newer_release")
    await migrate.migrate(url)
    run_psql(
        url,
        """update tocsin.schema_functions set release = '90.10.0';
           create or replace function tocsin.state(job tocsin.jobs) returns text language sql
           stable as $$ select 'newer' $$""",
    )
    newer = dumped(url)

    with pytest.raises(SchemaOutdated, match=r"of Tocsin 90\.10\.0"):
        await migrate.migrate(url)

    assert dumped(url) == newer


async def test_a_schema_made_beforehand_is_used_by_a_role_that_may_make_none(
    empty_database: EmptyDatabase,
) -> None:
    url = empty_database("made_beforehand")
    connection = await asyncpg.connect(url)
    async with role(connection, url, "create schema tocsin authorization {role}") as owner:
        applied = await migrate.migrate(owner)

        assert list(applied) == list(migrate.migrations())
        assert list(await migrate.migrate(owner)) == []
    await connection.close()


async def test_a_role_that_may_make_no_schema_is_told_so(empty_database: EmptyDatabase) -> None:
    url = empty_database("no_right")
    connection = await asyncpg.connect(url)
    async with role(connection, url, "select 1") as stranger:
        with pytest.raises(RightMissing, match="a role that owns the schema tocsin"):
            await migrate.migrate(stranger)
    await connection.close()


async def test_a_schema_of_somebody_elses_is_not_touched(empty_database: EmptyDatabase) -> None:
    url = empty_database("not_ours")
    run_psql(url, "create schema tocsin; create table tocsin.jobs (note text)")
    before = dumped(url)

    with pytest.raises(SchemaOutdated, match="not one of Tocsin's making"):
        await migrate.migrate(url)

    assert dumped(url) == before


@pytest.mark.parametrize(
    ("older", "newer"), [("0.9.9", "0.10.0"), ("1.2", "1.2.1"), ("0.1.0", "1.0.0rc1")]
)
def test_releases_are_ordered_by_their_numbers(older: str, newer: str) -> None:
    assert migrate.numbers(older) < migrate.numbers(newer)
