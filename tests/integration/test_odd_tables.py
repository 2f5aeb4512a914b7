"""Odd values in the tables beside `tocsin.jobs`: refused, or read by everybody who has to."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product

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
    "executions": ("scheduled_for", "started_at", "finished_at", "missed_until"),
    "pauses": ("until", "paused_at", "ends_at"),
    "checks": ("token_made_at", "started_at", "ended_at", "minute_at"),
    "resting_jobs": ("told_at",),
    "calendars": ("worked_out_at", "created_at", "updated_at"),
    "maintenance": ("starts_at", "ends_at", "created_at", "updated_at"),
    "flows": ("paused_at", "paused_until", "created_at", "updated_at"),
    "flow_states": ("held_until", "waiting_since"),
    "flow_starts": ("granted_at", "latest"),
    "audit_log": ("at",),
    "bulk_actions": ("asked_at", "started_at", "ended_at", "cancelled_at", "locked_until"),
    "alert_channels": ("created_at", "updated_at"),
    "alert_rules": ("created_at", "updated_at", "begun_at"),
    "alert_states": ("since", "last_at", "told_at", "reminded_at"),
    "alerts": ("at", "since", "sent_at", "delivered_at", "failed_at"),
    "alert_cursor": ("marked_at",),
    "sets": ("applied_at", "created_at"),
    "set_members": ("removed_at",),
    "idempotency_keys": ("at",),
}
JUDGED_ELSEWHERE = {"jobs"}
"""By rules about its rows, of which other tests have every column."""
NEVER_READ = {
    "put_off_runs": "compared in SQL alone, where what never comes is never over",
    "schema_migrations": "a note for people",
    "schema_functions": "a note for people",
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
insert into tocsin.pauses (tag) values ('a');
insert into tocsin.checks (job_id) values (gen_random_uuid());
insert into tocsin.resting_jobs (instance, jobs, job_id, problem)
values ('one', 1, gen_random_uuid(), 'slow');
insert into tocsin.calendars (name, weekly) values ('work', '{mon}');
insert into tocsin.maintenance (starts_at, ends_at) values (now(), now() + interval '1 hour');
insert into tocsin.flows (flow_key, max_concurrency) values ('f', 1);
insert into tocsin.flow_states values ('f');
insert into tocsin.flow_starts values ('f', now(), 'one', 1, now());
insert into tocsin.audit_log (action, entity, entity_id) values ('update', 'job', tocsin.uuid7());
insert into tocsin.bulk_actions (action, filter) values ('pause', '{}');
insert into tocsin.alert_channels (name, target) values ('ops', '{"url": "https://example.com/"}');
insert into tocsin.alert_rules (name, events) values ('all', '{failed}');
insert into tocsin.alert_states (rule_id, event, job_id, many, since, last_at)
select id, 'failed', gen_random_uuid(), 1, now(), now() from tocsin.alert_rules;
insert into tocsin.alerts (event) values ('failed');
insert into tocsin.alert_cursor (after_id) values (0) on conflict do nothing;
insert into tocsin.sets (name) values ('site');
insert into tocsin.set_members (kind, name, set_name, applied) values ('flow', 'f', 'site', '{}');
insert into tocsin.idempotency_keys (id, request, owner) values (sha256(''), sha256(''), 'me');
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
    # Without the triggers, which refuse the same in other words, or make rows of their own.
    await connection.execute("set session_replication_role = replica")
    await connection.execute(ROWS)
    return connection


@pytest.mark.parametrize("table", INSTANTS)
async def test_an_instant_that_is_none_is_refused_by_every_table(
    rows: asyncpg.Connection, table: str
) -> None:
    taken = []
    for column, never in product(INSTANTS[table], NEVER):
        with suppress(asyncpg.CheckViolationError):
            await rows.execute(f"update tocsin.{table} set {column} = '{never}'")
            taken.append((column, never))

    assert taken == []
    assert await rows.fetchval(f"select count(*) from tocsin.{table}") > 0


async def test_no_table_with_an_instant_is_left_out_here(connection: asyncpg.Connection) -> None:
    columns = await connection.fetch(
        """select c.relname as table, a.attname as name
           from pg_attribute a join pg_class c on c.oid = a.attrelid
           where c.relnamespace = 'tocsin'::regnamespace and c.relkind in ('r', 'p')
             and not c.relispartition and a.atttypid = 'timestamptz'::regtype
             and not a.attisdropped"""
    )

    there = {(row["table"], row["name"]) for row in columns}
    here = {(table, column) for table, named in INSTANTS.items() for column in named}
    left_out = {table for table, _ in there - here}
    assert here <= there
    assert left_out == JUDGED_ELSEWHERE | NEVER_READ.keys()


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
