"""Odd values in the tables beside `tocsin.jobs`: refused, or read by everybody who has to."""

from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest

from app.core.facts import Settled
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink

INSTANTS = {
    "polling": ("polling_until",),
    "upkeep": ("done_at", "failed_at"),
    "trusted_clock": ("trusted", "shown"),
    "zone_rules": ("walking_until", "walked_at"),
    "instance_rules": ("told_at",),
    "kinds": ("told_at",),
    "api_keys": ("created_at", "expires_at", "last_used_at", "revoked_at"),
    "sessions": ("created_at", "expires_at"),
    "secrets": ("created_at", "updated_at"),
    "executions": ("scheduled_for", "started_at", "finished_at"),
}
NEVER = ("infinity", "-infinity", "4714-11-24 00:00:00+00 BC", "294276-12-31 00:00:00+00")

ROWS = """
insert into tocsin.polling values (true, now());
insert into tocsin.upkeep values ('jobs', now(), 0, now(), 'an error');
insert into tocsin.trusted_clock values (true, now(), now());
insert into tocsin.zone_rules values ('2020a', '\\x00', now(), now());
insert into tocsin.instance_rules values ('gone', '2020a', 'system', now());
insert into tocsin.kinds values ('pigeon');
insert into tocsin.api_keys (name, prefix, hash, scopes)
values ('one', '000000000000', sha256(''), '{read}');
insert into tocsin.sessions select sha256(''), id, now(), now() from tocsin.api_keys;
insert into tocsin.secrets (name, value) values ('ONE', 'encrypted.v2.00000000.x');
insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, started_at)
values ('00000000-0000-0000-0000-000000000001', 1, 'http', now(), 1, 'failed', now());
"""
"""One sound row of each table."""

ODD = {
    "scopes in lists": "update tocsin.api_keys set scopes = '{{read},{write}}'",
    "scopes without an end": """update tocsin.api_keys
        set scopes = array_fill('read'::text, '{9999}')""",
    "hosts in lists": "update tocsin.secrets set hosts = '{{a,b},{c,d}}'",
    "hosts of megabytes": "update tocsin.secrets set hosts = array[repeat('h', 1000000)]",
    "a token of megabytes": "update tocsin.secrets set value = value || repeat('x', 2000000)",
    "what is shown is no object": "update tocsin.kinds set shown = '[1]'",
    "what is shown grows": """update tocsin.kinds
        set shown = '{"a": 1e130000, "b": 1e130000, "c": 1e130000}'""",
    "a kind that is no name": "update tocsin.kinds set kind = repeat('k', 2000)",
    "a version of megabytes": "update tocsin.instance_rules set version = repeat('9', 2000)",
    "an instance of megabytes": "update tocsin.instance_rules set name = repeat('n', 20000)",
    "rules of megabytes": """update tocsin.zone_rules
        set zones = decode(repeat('00', 20000000), 'hex')""",
    "fewer than none": "update tocsin.upkeep set refused = -1",
    "an error of megabytes": "update tocsin.upkeep set error = repeat('x', 2000000)",
    "an entry that grows": """insert into tocsin.audit_log (action, entity, entity_id, before)
        select 'update', 'job', tocsin.uuid7(),
            ('{"a": [' || repeat('1e130000,', 100) || '1]}')::jsonb""",
    "an actor of megabytes": """insert into tocsin.audit_log (action, entity, entity_id, actor)
        values ('update', 'job', tocsin.uuid7(), repeat('a', 3000000))""",
    "changes of megabytes": """insert into tocsin.audit_log (action, entity, entity_id, changed)
        values ('update', 'job', tocsin.uuid7(), array_fill(repeat('c', 100000), '{100}'))""",
    "an entry without a place": """insert into tocsin.audit_log (id, action, entity, entity_id)
        overriding system value values (9223372036854775807, 'update', 'job', tocsin.uuid7())""",
}


@pytest.fixture
async def rows(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute("select tocsin.add_partitions()")
    await connection.execute(ROWS)
    return connection


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for table, columns in INSTANTS.items() for column in columns],
)
async def test_an_instant_that_is_none_is_refused_by_every_table(
    rows: asyncpg.Connection, table: str, column: str
) -> None:
    for never in NEVER:
        with pytest.raises(asyncpg.CheckViolationError):
            await rows.execute(f"update tocsin.{table} set {column} = '{never}'")


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
async def test_a_value_that_its_readers_cannot_take_is_refused(
    rows: asyncpg.Connection, change: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await rows.execute(change)


async def test_executions_that_no_instance_wrote_are_listed_with_the_others(
    connection: asyncpg.Connection, api: httpx.AsyncClient, instance: StartInstance, sink: Sink
) -> None:
    job_id = await insert_job(connection, target={"url": sink.url("/")})
    await connection.execute(
        """insert into tocsin.executions (
               id, job_id, fence, kind, scheduled_for, attempt, outcome, started_at, status_code,
               instance, response, error)
           select id, $1, -5, repeat('k', 2000000), now(), -7, 'failed', now(), -1,
               repeat('i', 2000000), repeat('r', 30000000), repeat('e', 30000000)
           from unnest(array[9223372036854775807, -1, -9223372036854775808]) as id""",
        job_id,
    )
    later = await insert_job(
        connection,
        target={"url": sink.url("/")},
        run_at=datetime.now(UTC) + timedelta(seconds=1),
    )
    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=later)

    answer = await api.get("/v1/executions")
    page = await api.get(f"/v1/jobs/{job_id}/executions", params={"limit": 1})

    assert (answer.status_code, page.status_code) == (200, 200)
    assert len(answer.content) < 1_000_000
    assert str(later) in {one["job_id"] for one in answer.json()["items"]}
