"""The roles of db/roles.sql can do what they are for, and what they lack is named."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from time import monotonic

import asyncpg
import pytest

from app.core.facts import UpkeepFailed
from app.db import Database, rights
from app.db.rights import Purpose
from app.errors import RightMissing
from app.scheduler.upkeep import keep_up_once
from app.telemetry import Observers
from tests.support.builders import insert_job
from tests.support.history import begin_day, finished_jobs, name_of, old_day, partitions
from tests.support.recorder import Recorder
from tests.support.roles import documented, name_in, role

GRANTS = documented("tocsin_instance")


@pytest.fixture
async def scheduler_url(database_url: str, connection: asyncpg.Connection) -> AsyncIterator[str]:
    async with role(connection, database_url, GRANTS) as url:
        yield url


async def lacking(url: str) -> list[tuple[Purpose, str]]:
    async with Database.connect(url, application_name="test") as db:
        return [(one.purpose, one.right) for one in await rights.list_lacking(db)]


async def test_the_documented_role_of_an_instance_does_the_upkeep_of_a_new_day(
    connection: asyncpg.Connection, scheduler_url: str
) -> None:
    today = name_of(await begin_day(connection))
    old = await old_day(connection, datetime(2020, 1, 1, tzinfo=UTC).date())
    await finished_jobs(connection, 50, days_ago=40)
    await connection.execute(f"drop table tocsin.{today}")
    recorder = Recorder()

    done = await keep_up_once(
        scheduler_url, Observers(recorder), instance="test", retention_days=30, clock=monotonic
    )

    assert (done, recorder.of(UpkeepFailed)) == (True, [])
    left = await partitions(connection)
    assert (old in left, today in left) == (False, True)
    assert await connection.fetchval("select count(*) from tocsin.jobs") == 0


async def test_the_documented_roles_lack_nothing_of_what_they_are_for(
    database_url: str, connection: asyncpg.Connection, scheduler_url: str
) -> None:
    of_scheduler = {purpose for purpose, _ in await lacking(scheduler_url)}
    async with role(connection, database_url, documented("tocsin_api")) as url:
        of_api = {purpose for purpose, _ in await lacking(url)}

    assert not of_scheduler & {Purpose.INSTANCE, Purpose.UPKEEP}
    assert not of_api & {Purpose.API, Purpose.SIGHT}
    assert await lacking(database_url) == []


@pytest.mark.parametrize(
    ("revoked", "named"),
    [
        ("usage on schema tocsin", "USAGE on schema tocsin"),
        ("update on tocsin.jobs", "UPDATE on tocsin.jobs"),
        ("insert on tocsin.executions", "INSERT on tocsin.executions"),
        ("select on tocsin.schema_migrations", "SELECT on tocsin.schema_migrations"),
        (
            "usage on sequence tocsin.executions_id_seq",
            "USAGE on sequence tocsin.executions_id_seq",
        ),
    ],
)
async def test_each_right_that_an_instance_cannot_do_without_is_named(
    connection: asyncpg.Connection, scheduler_url: str, revoked: str, named: str
) -> None:
    await connection.execute(f"revoke {revoked} from {name_in(scheduler_url)}")

    async with Database.connect(scheduler_url, application_name="test") as db:
        with pytest.raises(RightMissing, match=named):
            await rights.check(db)


@pytest.mark.parametrize(
    ("revoked", "named"),
    [
        ("delete on tocsin.jobs", "DELETE on tocsin.jobs"),
        ("update on tocsin.upkeep", "UPDATE on tocsin.upkeep"),
        (
            "execute on function tocsin.add_partition",
            "EXECUTE on function tocsin.add_partition",
        ),
    ],
)
async def test_each_right_that_only_the_upkeep_needs_is_a_warning(
    connection: asyncpg.Connection, scheduler_url: str, revoked: str, named: str
) -> None:
    await connection.execute(f"revoke {revoked} from {name_in(scheduler_url)}")

    async with Database.connect(scheduler_url, application_name="test") as db:
        warning = await rights.check(db)

    assert warning.endswith(f"lacks {named}")


async def test_the_documented_role_of_programs_may_set_all_that_a_person_decides(
    database_url: str, connection: asyncpg.Connection
) -> None:
    decided = await connection.fetch(
        """select column_name::text from information_schema.columns
           where table_schema = 'tocsin' and table_name = 'jobs' and column_name <> 'id'
             and ordinal_position <= (
                 select ordinal_position from information_schema.columns
                 where table_schema = 'tocsin' and table_name = 'jobs'
                   and column_name = 'paused_at')"""
    )

    async with role(connection, database_url, documented("tocsin_writer")) as url:
        program = await asyncpg.connect(url)
        job_id = await insert_job(program, max_attempts=3, timeout_seconds=5, misfire="skip")
        await program.execute("update tocsin.jobs set max_attempts = 7 where id = $1", job_id)
        refused = await program.fetch(
            """select c, p from unnest($1::text[]) c, unnest('{insert,update}'::text[]) p
               where not has_column_privilege('tocsin.jobs', c, p)""",
            [row["column_name"] for row in decided],
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await program.execute("update tocsin.jobs set fence = 9")
        await program.close()

    assert refused == []
    assert len(decided) > 20
