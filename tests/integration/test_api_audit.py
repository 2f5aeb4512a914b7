"""The audit log: every change of a job or key by anybody, in SQL too, and never a secret."""

import re
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.facts import Settled
from app.db import Database
from app.db.kinds import record_kinds
from app.db.listener import Session
from app.targets.registry import SHOWN
from tests.support.api import LATER, NIGHTLY
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.postgres import PostgresServer
from tests.support.psql import PsqlFailed, run_psql
from tests.support.sessions import look_once
from tests.support.sink import Sink

Psql = Callable[[str], str]

SECRET = "hunter2-and-more"
TARGETS = {
    "http": {
        "url": f"https://ann:{SECRET}@example.com/hook/{SECRET}?token={SECRET}#{SECRET}",
        "method": "PUT",
        "headers": {"X-Api-Key": SECRET, "X-Plain": SECRET},
        "body": SECRET,
        "auth": {"type": "bearer", "token": SECRET},
        "no such field": {"deep": [SECRET]},
    },
    "amqp": {
        "url": f"amqp://ann:{SECRET}/{SECRET}@broker:5672/%2f",
        "exchange": "mails",
        "routing_key": "out",
        "json": {"password": SECRET},
        "headers": {"x": SECRET},
    },
    "other": {"url": "https://example.com", "method": SECRET, "anything": SECRET},
}


@pytest.fixture(autouse=True)
async def told_kinds(database_url: str) -> None:
    """Have an instance's word on what may be kept of targets."""
    async with Database.connect(database_url, application_name="test") as db:
        await record_kinds(db, SHOWN)


async def changes(api: httpx.AsyncClient, **filters: object) -> list[dict[str, Any]]:
    """List what is in the log, oldest first."""
    answer = await api.get("/v1/audit", params={key: str(value) for key, value in filters.items()})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items[::-1]


async def test_a_job_is_followed_from_its_creation_to_its_end(api: httpx.AsyncClient) -> None:
    created = (await api.put("/v1/jobs/report", json=NIGHTLY)).json()
    await api.patch("/v1/jobs/report", json={"cron": "0 4 * * *", "tags": ["a"]})
    await api.post("/v1/jobs/report/pause")
    await api.post("/v1/jobs/report/resume")
    await api.post("/v1/jobs/report/run")
    await api.delete("/v1/jobs/report")

    log = await changes(api, entity_id=created["id"])

    assert [(one["action"], one["changed"]) for one in log] == [
        ("create", None),
        ("update", ["cron", "next_run", "tags"]),
        ("update", ["paused_at"]),
        ("update", ["paused_at"]),
        ("update", ["pending_runs"]),
        ("delete", None),
    ]
    assert log[0]["after"]["cron"] == log[1]["before"]["cron"] == "0 3 * * *"
    assert log[1]["after"] == {
        "cron": "0 4 * * *",
        "tags": ["a"],
        "next_run": log[1]["after"]["next_run"],
    }
    assert log[-1]["before"]["cron"] == "0 4 * * *"
    assert {one["entity_name"] for one in log} == {"report"}
    assert {one["actor"] for one in log} == {"loopback"}
    assert {one["program"].split()[1] for one in log} == {"api"}


async def test_a_change_names_the_key_that_made_it(api: httpx.AsyncClient) -> None:
    root = (await api.post("/v1/keys", json={"name": "root", "scopes": ["admin"]})).json()
    api.headers["Authorization"] = f"Bearer {root['key']}"
    ann = (await api.post("/v1/keys", json={"name": "ann", "scopes": ["write"]})).json()
    by_ann = {"Authorization": f"Bearer {ann['key']}"}
    batch = [LATER | {"name": f"job {number}"} for number in range(3)]
    await api.post("/v1/jobs/batch", json=batch, headers=by_ann)
    await api.post("/v1/jobs/job 1/run", headers=by_ann)
    await api.delete("/v1/jobs/job 2", headers=by_ann)
    await api.delete("/v1/keys/ann")

    log = await changes(api)

    keys = {"root": f"key {root['prefix']} (root)", "ann": f"key {ann['prefix']} (ann)"}
    assert [(one["entity_name"], one["action"], one["actor"]) for one in log] == [
        ("root", "create", "loopback"),
        ("ann", "create", keys["root"]),
        *((f"job {number}", "create", keys["ann"]) for number in range(3)),
        ("job 1", "update", keys["ann"]),
        ("job 2", "delete", keys["ann"]),
        ("ann", "update", keys["root"]),
    ]
    assert log[1]["after"]["scopes"] == ["write"]
    assert log[-1]["changed"] == ["revoked_at"]
    assert root["key"][-64:] not in json.encode(log).decode()


async def test_what_is_done_in_psql_is_in_the_log(api: httpx.AsyncClient, psql: Psql) -> None:
    psql(
        """insert into tocsin.jobs (name, kind, target, every_seconds)
               values ('ping', 'http', '{"url": "https://example.com/x"}', 60);
           update tocsin.jobs set every_seconds = 90, updated_at = updated_at where name = 'ping';
           delete from tocsin.jobs where name = 'ping';"""
    )

    log = await changes(api)

    assert [one["action"] for one in log] == ["create", "update", "delete"]
    assert log[1]["after"]["every_seconds"] == 90
    user = psql("select session_user")
    assert {(one["actor"], one["db_user"], one["program"]) for one in log} == {
        (f"user {user}", user, "psql")
    }


async def test_who_claims_to_be_a_key_is_still_named_by_the_database(
    api: httpx.AsyncClient, psql: Psql
) -> None:
    psql("set tocsin.actor = 'key of somebody else'; select tocsin.http_job('x', 'http://h/')")

    [one] = await changes(api)

    assert (one["actor"], one["db_user"]) == ("key of somebody else", psql("select session_user"))


async def test_the_actor_does_not_outlive_the_statement(
    api: httpx.AsyncClient, database_url: str, connection: asyncpg.Connection
) -> None:
    for _ in range(3):
        await api.post("/v1/jobs", json=LATER)

    settings = await connection.fetch(
        "select current_setting('tocsin.actor', true) as actor from pg_stat_activity"
    )
    assert {row["actor"] for row in settings} <= {None, ""}


async def test_a_creation_is_in_the_list_and_costs_a_row_only_when_the_job_changes(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    once = await insert_job(connection, name="once")
    await api.post("/v1/jobs", json=LATER | {"name": "twice"})
    rows = await connection.fetchval("select count(*) from tocsin.audit_log")
    before = await changes(api)

    await connection.execute("update tocsin.jobs set description = 'x' where id = $1", once)
    after = await changes(api)
    await connection.execute("delete from tocsin.jobs")
    ended = await changes(api)

    assert rows == 0
    assert [(one["entity_name"], one["action"]) for one in before] == [
        ("once", "create"),
        ("twice", "create"),
    ]
    assert before[1]["after"]["run_at"] == "2100-01-01T00:00:00+00:00"
    assert after[:2] == ended[:2] == before
    assert [one["action"] for one in ended] == ["create", "create", "update", "delete", "delete"]


@pytest.mark.parametrize(
    "change",
    [
        "created_by = 'somebody else'",
        "created_as = null",
        "created_at = now() - interval '40 days'",
        "creation = null",
        "created_with = 'x', locked_until = now(), planned_at = now()",
    ],
)
async def test_who_created_a_job_is_not_rewritten(psql: Psql, change: str) -> None:
    psql("select tocsin.http_job('x', 'http://h/')")

    with pytest.raises(PsqlFailed, match="written once"):
        psql(f"update tocsin.jobs set {change}")


async def test_who_creates_a_job_cannot_say_it_was_somebody_else(
    api: httpx.AsyncClient, psql: Psql
) -> None:
    psql(
        """insert into tocsin.jobs
               (kind, target, run_at, creation, created_at, created_by, created_as, created_with)
           values ('http', '{"url": "http://h/"}', now(), 99, '2001-01-01', 'x', 'x', 'x')"""
    )

    [one] = await changes(api)

    user = psql("select session_user")
    assert (one["actor"], one["db_user"], one["program"]) == (f"user {user}", user, "psql")
    assert one["id"] != 99
    assert one["at"] > "2020"


@pytest.mark.parametrize("kind", TARGETS)
async def test_no_secret_of_a_target_is_in_the_log(
    api: httpx.AsyncClient, connection: asyncpg.Connection, kind: str
) -> None:
    id = await insert_job(connection, kind=kind, target=TARGETS[kind], every_seconds=60)
    for name in TARGETS[kind]:
        await connection.execute(
            """update tocsin.jobs set target = jsonb_set(target, array[$2], to_jsonb($3::text))
               where id = $1""",
            *(id, name, f"{SECRET} too"),
        )
    await connection.execute("update tocsin.jobs set target = '{\"url\": 1}', kind = 'http'")
    await connection.execute("delete from tocsin.jobs")

    log = await changes(api)

    assert len(log) == 3 + len(TARGETS[kind])
    whole = str(await connection.fetch("select * from tocsin.audit_log"))
    assert SECRET not in whole + json.encode(log).decode()
    assert [one["changed"] for one in log[1:-2]] == [[f"target.{name}"] for name in TARGETS[kind]]


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.com:8443/a?b#c", "https://example.com:8443"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("amqps://broker/vhost", "amqps://broker"),
        ("https://h?then=http://i/", "https://h"),
        ("http://h#f/g", "http://h"),
        ("http://h://i", "***"),
        ("http:/h/", "***"),
        ("http://h\n", "***"),
        ("http/://h", "***"),
        ("http://user:123/word@host/", "***"),
        ("http://user:pass", "***"),
        ("http://pass word/", "***"),
        ("http://host:65535123/", "***"),
        ("http://host\\@x", "***"),
        ("ftp://host/", "***"),
        ("pass", "***"),
        ("", "***"),
    ],
)
async def test_of_an_address_only_the_host_is_kept(
    connection: asyncpg.Connection, url: str, kept: str
) -> None:
    [(masked, of_many)] = await connection.fetch(
        """select tocsin.audited_target(kind, target) ->> 'url', many ->> 'url'
           from (select $2::text as kind, jsonb_build_object('url', $1::text) as target) as job
           cross join lateral tocsin.audited_targets(kind, target) as many""",
        *(url, "amqp" if url.startswith("amqp") else "http"),
    )

    assert masked == of_many == kept


async def test_what_the_log_keeps_of_thousands_of_rows_calls_no_function_for_each(
    connection: asyncpg.Connection,
) -> None:
    lines = await connection.fetch(
        """explain (verbose)
           select tocsin.audited_columns(row(j.*)::tocsin.jobs, kept)
           from tocsin.jobs j cross join lateral tocsin.audited_targets(j.kind, j.target) as kept
           where not tocsin.is_tidied(row(j.*)::tocsin.jobs)"""
    )
    plan = "\n".join(line[0] for line in lines)

    assert "jsonb_build_object" in plan
    assert re.findall(r"tocsin\.\w+\(", plan) == []


async def test_what_instances_do_is_nobodys_change(
    api: httpx.AsyncClient, connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    async with instance() as (_, facts):
        target = {"url": sink.url("/")}
        ids = [
            await insert_job(connection, target=target, cron="* * * * * *"),
            await insert_job(connection, target=target, every_seconds=0.5),
            await insert_job(connection, target=target),
        ]
        for id in ids:
            await facts.seen(Settled, job_id=id)

    assert [one["action"] for one in await changes(api)] == ["create"] * 3


async def test_tidying_up_is_nobodys_change(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    old, new = [await insert_job(connection) for _ in range(2)]
    await connection.execute(
        """update tocsin.jobs set next_run = null, locked_until = now(), last_outcome = 'succeeded',
               last_finished_at = now() - case id when $1 then interval '40 days'
                                          else interval '1 hour' end""",
        old,
    )
    await connection.execute("update tocsin.jobs set locked_until = null")
    await connection.execute("delete from tocsin.jobs")

    deleted = [one["entity_id"] for one in await changes(api) if one["action"] == "delete"]

    assert deleted == [str(new)]


async def test_an_update_that_changes_nothing_is_no_change(
    api: httpx.AsyncClient, psql: Psql
) -> None:
    psql("select tocsin.http_job('x', 'http://h/'); update tocsin.jobs set name = name")

    assert len(await changes(api)) == 1


REWRITING = [
    "update tocsin.audit_log set actor = 'somebody else'",
    "delete from tocsin.audit_log",
    "truncate tocsin.audit_log",
]


@pytest.mark.parametrize("statement", REWRITING)
async def test_not_even_its_owner_rewrites_the_log_by_mistake(psql: Psql, statement: str) -> None:
    psql("select tocsin.http_job('x', 'http://h/'); update tocsin.jobs set description = 'x'")

    with pytest.raises(PsqlFailed, match="append-only"):
        psql(statement)


@pytest.mark.parametrize(
    "statement",
    [
        *REWRITING,
        """insert into tocsin.audit_log (action, entity, entity_id)
           values ('create', 'job', gen_random_uuid())""",
        "alter table tocsin.jobs disable trigger all",
        "drop trigger audit_log_append_only on tocsin.audit_log",
    ],
)
async def test_who_may_write_jobs_cannot_touch_the_log_but_is_in_it(
    database_url: str, postgres_server: PostgresServer, api: httpx.AsyncClient, statement: str
) -> None:
    role = f"writer_{abs(hash((database_url, statement)))}"
    run_psql(
        database_url,
        f"""create role {role};
            grant usage on schema tocsin to {role};
            grant select, insert, update, delete on tocsin.jobs to {role};""",
    )
    try:
        run_psql(database_url, f"set role {role}; select tocsin.http_job('x', 'http://h/')")
        with pytest.raises(PsqlFailed, match=r"permission denied|must be owner"):
            run_psql(database_url, f"set role {role}; {statement}")
        assert [one["entity_name"] for one in await changes(api)] == ["x"]
    finally:
        run_psql(database_url, f"drop owned by {role}; drop role {role}")


async def test_the_log_is_pruned_with_the_history(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="old")
    await connection.execute("delete from tocsin.jobs")
    await connection.execute("alter table tocsin.audit_log disable trigger user")
    await connection.execute("update tocsin.audit_log set at = now() - interval '40 days'")
    await connection.execute("alter table tocsin.audit_log enable trigger user")
    await insert_job(connection, name="new")

    await connection.execute("select tocsin.prune(0.001)")

    assert [one["entity_name"] for one in await changes(api)] == ["new"]


async def test_the_log_has_pages(api: httpx.AsyncClient) -> None:
    for number in range(3):
        await api.post("/v1/jobs", json=LATER | {"name": f"job {number}"})

    first = (await api.get("/v1/audit", params={"limit": 2})).json()
    second = (await api.get("/v1/audit", params={"cursor": first["next_cursor"]})).json()

    assert [one["entity_name"] for one in first["items"]] == ["job 2", "job 1"]
    assert [one["entity_name"] for one in second["items"]] == ["job 0"]
    assert second["next_cursor"] is None
    assert (await api.get("/v1/jobs", params={"cursor": first["next_cursor"]})).status_code == 422


async def test_creations_of_jobs_under_way_keep_their_places_in_the_log(
    api: httpx.AsyncClient, connection: asyncpg.Connection, session: Session
) -> None:
    for number in range(5):
        await insert_job(connection, name=f"job {number}")
    claimed = [one.name for one in (await look_once(session, limit=2)).claims]

    first = (await api.get("/v1/audit", params={"limit": 4})).json()
    second = (await api.get("/v1/audit", params={"cursor": first["next_cursor"]})).json()

    assert claimed == ["job 0", "job 1"]
    names = [one["entity_name"] for one in first["items"] + second["items"]]
    assert names == ["job 4", "job 3", "job 2", "job 1", "job 0"]


async def test_who_sets_the_actor_without_a_right_to_the_log_is_known_as_claiming_it(
    database_url: str, connection: asyncpg.Connection, api: httpx.AsyncClient
) -> None:
    writer, trusted = (f"{name}_{abs(hash(database_url))}" for name in ("writer", "trusted"))
    rights = "grant usage on schema tocsin to {0}; grant all on tocsin.jobs to {0};"
    for role in (writer, trusted):
        run_psql(database_url, f"create role {role}; {rights.format(role)}")
    run_psql(database_url, f"grant insert on tocsin.audit_log to {trusted}")
    acting = "set session authorization {}; set tocsin.actor = 'key 1f0c (root)'; {}"
    try:
        for role in (writer, trusted):
            for statement in (
                f"select tocsin.http_job('{role}', 'http://h/')",
                f"update tocsin.jobs set description = 'x' where name = '{role}'",
            ):
                run_psql(database_url, acting.format(role, statement))
        found = [(one["entity_name"], one["action"], one["actor"]) for one in await changes(api)]
    finally:
        for role in (writer, trusted):
            run_psql(database_url, f"drop owned by {role}; drop role {role}")

    claim = f"user {writer}, claiming to be key 1f0c (root)"
    assert sorted(found) == sorted(
        (role, action, actor)
        for role, actor in ((writer, claim), (trusted, "key 1f0c (root)"))
        for action in ("create", "update")
    )
