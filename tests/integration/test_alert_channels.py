"""Each preset reaches its service, ends what it opened there, and has another one told in need."""

from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
import asyncpg
import httpx
import jsonschema_rs
from msgspec import json

from app.db import Database, secrets
from app.vault.keys import of_secret
from tests.support.alert_schemas import OPSGENIE_CLOSE, SCHEMAS
from tests.support.alerts import ended, insert_channel, insert_rule, judge_all, quiet_job
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.post import posting
from tests.support.sink import Sink, reply, silent_server
from tests.support.vault import KEY, KEYS
from tests.support.waiting import until

ROUTING_KEY = "0123456789abcdef0123456789abcdef"


async def delivered(connection: asyncpg.Connection, many: int) -> None:
    """Wait until so many alerts are delivered."""

    async def are_delivered() -> bool:
        assert not await connection.fetchval("select max(error) from tocsin.alerts")
        found = await connection.fetchval(
            "select count(*) from tocsin.alerts where delivered_at is not null"
        )
        return bool(found == many)

    await until(are_delivered, f"{many} alerts are delivered", within=60)


async def test_each_preset_sends_what_its_service_takes(  # noqa: PLR0913, PLR0917 - servers of all sorts
    api: httpx.AsyncClient,
    instance: StartInstance,
    db: Database,
    connection: asyncpg.Connection,
    sink: Sink,
    amqp_url: str,
) -> None:
    """The schemas and the pages that they are from: tests/support/alert_schemas.py."""
    await secrets.put(
        db, "pagerduty", KEYS.encrypt(ROUTING_KEY, of_secret("pagerduty")), hosts=None
    )
    await secrets.put(db, "broker", KEYS.encrypt("guest", of_secret("broker")), hosts=None)
    targets: dict[str, dict[str, object]] = {
        "webhook": {"url": sink.url("/webhook")},
        "slack": {"url": sink.url("/slack")},
        "teams": {"url": sink.url("/teams")},
        "discord": {"url": sink.url("/discord")},
        "pagerduty": {
            "url": sink.url("/pagerduty"),
            "json_secrets": {"routing_key": "${secret:pagerduty}"},
        },
        "opsgenie": {"url": sink.url("/v2/alerts")},
        "alertmanager": {"url": sink.url("/alertmanager")},
        "template": {
            "url": sink.url("/template"),
            "json": {"said": "{{ job.metadata.text }}"},
            "templates": ["json"],
        },
    }
    async with await aio_pika.connect(amqp_url) as broker, posting() as post:
        queue = await (await broker.channel()).declare_queue(f"test-{uuid4()}", exclusive=True)
        targets["amqp"] = {
            "url": amqp_url.replace(":guest@", ":${secret:broker}@"),
            "routing_key": queue.name,
        }
        targets["smtp"] = {
            "url": post.url,
            "starttls": False,
            "from": "tocsin@example.com",
            "to": ["ops@example.com"],
        }
        for preset, target in targets.items():
            made = await api.put(
                f"/v1/alerts/channels/{preset}", json={"preset": preset, "target": target}
            )
            assert made.status_code == 201, made.text
        rule = {"events": ["failed", "recovered"], "channels": [*targets]}
        assert (await api.put("/v1/alerts/rules/all", json=rule)).status_code == 201
        job_id = await quiet_job(connection, name="{{ report }}")

        async with instance(secret_keys=(KEY,)):
            await ended(connection, job_id)
            await delivered(connection, len(targets))
            await ended(connection, job_id, "succeeded")
            await delivered(connection, 2 * len(targets))
        messages = [json.decode((await queue.get(no_ack=True)).body) for _ in range(2)]

    bodies: dict[str, list[object]] = {}
    for one in sink.requests:
        bodies.setdefault(one.path, []).append(json.decode(one.body))
    for preset, schema in SCHEMAS.items():
        for body in bodies["/v2/alerts" if preset == "opsgenie" else f"/{preset}"]:
            jsonschema_rs.validate(schema, body, validate_formats=True)
    trigger, resolve = bodies["/pagerduty"]
    assert isinstance(trigger, dict)
    assert resolve == {
        "event_action": "resolve",
        "dedup_key": trigger["dedup_key"],
        "routing_key": ROUTING_KEY,
    }
    [create] = bodies["/v2/alerts"]
    assert isinstance(create, dict)
    [close] = bodies[f"/v2/alerts/{create['alias']}/close?identifierType=alias"]
    jsonschema_rs.validate(OPSGENIE_CLOSE, close)
    assert [one["event"] for one in messages] == ["failed", "recovered"]
    assert str(post.mails[0]["subject"]).startswith("{{ report }} failed: the ")
    assert len(post.mails) == 2
    assert bodies["/template"][0] == {"said": messages[0]["text"]}
    stored = await connection.fetchval("select string_agg(target::text, '') from tocsin.jobs")
    assert ROUTING_KEY not in stored


async def test_an_incident_of_many_jobs_ends_with_the_last_of_them(
    db: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """insert into tocsin.alert_channels (name, preset, target)
           values ('ops', 'opsgenie', '{"url": "https://api.example.com/v2/alerts"}')"""
    )
    await insert_rule(connection, channels=["ops"])
    first, second = [await quiet_job(connection, name=name) for name in ("first", "second")]
    for job_id in (first, second):
        await ended(connection, job_id)
    await judge_all(db, connection)
    await arrive(connection)

    await ended(connection, first, "succeeded")
    await judge_all(db, connection)
    assert await connection.fetchval("select count(*) from tocsin.jobs where target ? 'url'") == 3
    await pass_time(connection)
    await ended(connection, second, "succeeded")
    await judge_all(db, connection)

    urls = await connection.fetch(
        "select target->>'url' from tocsin.jobs where target ? 'json' and target->'json' ? 'note'"
    )
    [[incident]] = await connection.fetch(
        "select distinct incident::text from tocsin.alerts where incident is not null"
    )
    assert [row[0] for row in urls] == [
        f"https://api.example.com/v2/alerts/tocsin-{incident}/close?identifierType=alias"
    ]


async def arrive(connection: asyncpg.Connection) -> None:
    """Have what was sent delivered."""
    await connection.execute(
        "update tocsin.alerts set delivered_at = clock_timestamp() where sent_at is not null"
    )


async def pass_time(connection: asyncpg.Connection, seconds: float = 60) -> None:
    """Have what was sent and told happened some time ago."""
    await connection.execute(
        """update tocsin.alerts set sent_at = sent_at - $1 * interval '1 second'""", seconds
    )
    await connection.execute(
        """update tocsin.alert_states set told_at = told_at - $1 * interval '1 second',
               reminded_at = reminded_at - $1 * interval '1 second'""",
        seconds,
    )


async def test_alertmanager_knows_what_is_over_by_the_names_it_was_told(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_channel(connection, "ops", "http://127.0.0.1:9/", "alertmanager")
    await insert_rule(connection, name="old", channels=["ops"])
    job_id = await quiet_job(connection)
    await ended(connection, job_id)
    await judge_all(db, connection)
    await arrive(connection)
    await connection.execute("update tocsin.alert_rules set name = 'new'")
    await connection.execute("update tocsin.jobs set name = 'named' where id = $1", job_id)
    await ended(connection, job_id, "succeeded")
    await judge_all(db, connection)

    sent = await connection.fetch(
        """select j.target #> '{json,0,labels}' as labels
           from tocsin.alerts a join tocsin.jobs j on j.id = a.delivery_id order by a.id"""
    )
    begun, over = (json.decode(row["labels"]) for row in sent)
    assert begun == over
    assert (begun["alertname"], begun.get("job_name")) == ("old", None)


async def test_what_recovers_is_told_after_the_delivery_of_what_it_recovers_from(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_channel(connection, "ops", "http://127.0.0.1:9/", "webhook")
    await insert_rule(connection, channels=["ops"])
    job_id = await quiet_job(connection, name="report")
    await ended(connection, job_id)
    await judge_all(db, connection)
    await ended(connection, job_id, "succeeded")
    await judge_all(db, connection)
    sent = "select array_agg(event order by id) from tocsin.alerts where sent_at is not null"
    assert await connection.fetchval(sent) == ["failed"]

    await arrive(connection)
    await judge_all(db, connection)

    assert await connection.fetchval(sent) == ["failed", "recovered"]


async def test_what_a_channel_cannot_deliver_is_told_once_by_the_one_it_names(
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
) -> None:
    sink.on("/broken", reply(404))
    for name, more in (("second", {}), ("first", {"fallback": "second"})):
        path = "/broken" if name == "first" else "/hook"
        made = await api.put(
            f"/v1/alerts/channels/{name}", json={"target": {"url": sink.url(path)}} | more
        )
        assert made.status_code == 201, made.text
    rule = {"events": ["failed", "recovered"], "channels": ["first"]}
    await api.put("/v1/alerts/rules/all", json=rule)
    job_id = await quiet_job(connection, name="report")

    async def is_told(many: int) -> bool:
        return sum(one.path == "/hook" for one in sink.requests) >= many

    async with instance():
        await ended(connection, job_id)
        await until(lambda: is_told(1), "the other channel is told", within=60)
        sink.on("/broken", reply(200))
        await ended(connection, job_id, "succeeded")
        await until(lambda: is_told(2), "it is told of the end as well", within=60)

    told = [json.decode(one.body) for one in sink.requests if one.path == "/hook"]
    assert [(one["event"], one["instead_of"]) for one in told] == [
        ("failed", "first"),
        ("recovered", None),
    ]
    assert told[0]["text"].splitlines()[1] == "(The channel first could not deliver this.)"
    shown = (await api.get("/v1/alerts/channels/first")).json()
    assert (shown["failed"], shown["last_error"]) == (
        1,
        "the target answered 404 Not Found; success is 2xx",
    )
    assert shown["last_failed_at"]
    rows = (await api.get("/v1/alerts")).json()["items"]
    failed = next(one for one in rows if one["delivery"] == "failed")
    assert [one["instead_of"] for one in rows if one["instead_of"]] == [failed["id"]]


async def test_a_channel_that_never_answers_holds_up_neither_other_channels_nor_jobs(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    """It has more messages than the instance has slots."""
    await insert_channel(connection, "ops", sink.url("/ops"), "webhook")
    async with instance(concurrency=12), silent_server("127.0.0.2") as (url, connections):
        await insert_channel(connection, "silent", url, "webhook")
        for n in range(16):
            await insert_rule(connection, name=f"r{n}", tag=f"t{n}", channels=["silent"])
        await insert_rule(connection, name="last", tag="last", channels=["ops"])
        for n in range(16):
            await ended(connection, await quiet_job(connection, name=f"j{n}", tags=[f"t{n}"]))

        async def all_are_sent() -> bool:
            many = await connection.fetchval(
                "select count(*) from tocsin.alerts where sent_at is not null"
            )
            return many == 16 and len(connections) > 10

        await until(all_are_sent, "all are on their way to the silent channel", within=30)
        await ended(connection, await quiet_job(connection, name="last", tags=["last"]))
        await insert_job(connection, target={"url": sink.url("/job")})

        async def are_there() -> bool:
            return {one.path for one in sink.requests} == {"/ops", "/job"}

        await until(are_there, "the other channel and the job are served", within=30)


async def test_a_message_arrives_while_everything_is_under_maintenance(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    await insert_channel(connection, "ops", sink.url("/ops"), "webhook")
    await connection.execute(
        "select tocsin.maintain(ends_at => now() + interval '1 hour'), tocsin.test_channel('ops')"
    )
    await insert_job(connection, target={"url": sink.url("/job")}, run_at=datetime.now(UTC))

    async with instance():
        await delivered(connection, 1)

    assert {one.path for one in sink.requests} == {"/ops"}


async def test_no_message_goes_round_in_circles(
    db: Database, connection: asyncpg.Connection
) -> None:
    for name in ("a", "b"):
        await insert_channel(connection, name, "http://127.0.0.1:9/", "webhook")
    await connection.execute("update tocsin.alert_channels set fallback = 'b' where name = 'a'")
    await connection.execute("update tocsin.alert_channels set fallback = 'a' where name = 'b'")
    await insert_rule(connection, channels=["a"])
    await ended(connection, await quiet_job(connection, name="report"))
    for _ in range(4):
        await judge_all(db, connection)
        await connection.execute(
            "update tocsin.alerts set failed_at = clock_timestamp() where failed_at is null"
        )

    channels = await connection.fetch("select channel from tocsin.alerts order by id")
    assert [row["channel"] for row in channels] == ["a", "b"]


async def test_what_is_over_is_told_once_where_neither_could_be_delivered(
    db: Database, connection: asyncpg.Connection
) -> None:
    for name in ("broken", "second"):
        await insert_channel(connection, name, "http://127.0.0.1:9/", "webhook")
    await connection.execute(
        "update tocsin.alert_channels set fallback = 'second' where name = 'broken'"
    )
    await insert_rule(connection, channels=["broken"])
    job_id = await quiet_job(connection, name="report")
    for outcome in ("failed", "succeeded"):
        await ended(connection, job_id, outcome)
        await judge_all(db, connection)
        await connection.execute(
            """update tocsin.alerts set failed_at = clock_timestamp()
               where channel = 'broken' and failed_at is null;
               update tocsin.alerts set delivered_at = clock_timestamp()
               where channel = 'second' and delivered_at is null"""
        )

    alerts = await connection.fetch("select event, channel from tocsin.alerts order by id")
    assert sorted(tuple(row) for row in alerts) == [
        ("failed", "broken"),
        ("failed", "second"),
        ("recovered", "broken"),
        ("recovered", "second"),
    ]


async def test_a_channel_that_others_fall_back_to_stays(api: httpx.AsyncClient) -> None:
    target = {"url": "https://example.com"}
    unknown = await api.put("/v1/alerts/channels/a", json={"target": target, "fallback": "nowhere"})
    itself = await api.put("/v1/alerts/channels/a", json={"target": target, "fallback": "a"})
    await api.put("/v1/alerts/channels/b", json={"target": target})
    made = await api.put("/v1/alerts/channels/a", json={"target": target, "fallback": "b"})
    refused = await api.delete("/v1/alerts/channels/b")

    assert [unknown.status_code, itself.status_code, made.status_code] == [422, 422, 201]
    assert [one.json()["errors"][0]["field"] for one in (unknown, itself)] == ["fallback"] * 2
    assert (refused.status_code, "channel 'a'" in refused.json()["detail"]) == (409, True)
    assert made.json()["fallback"] == "b"
