"""Named secrets that are bound to hosts go nowhere else, however a job is written."""

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.facts import Settled
from app.core.secrets.bindings import destination_in, host_error, strangers
from app.vault import of_secret
from app.vault.named import binding_error, places_of
from tests.support.api import LATER, fields, serving
from tests.support.builders import execution_rows, insert_job
from tests.support.instances import StartInstance
from tests.support.recorder import Recorder
from tests.support.sink import Sink
from tests.support.vault import KEY, KEYS, tocsin_secrets

HEADERS = {"Authorization": "Bearer ${secret:TOKEN}"}
HERE = {"url": "https://api.example.com/x", "headers": HEADERS}
ELSEWHERE = {"url": "https://evil.example/x", "headers": HEADERS}


async def bind(connection: asyncpg.Connection, *hosts: str) -> None:
    await connection.execute(
        "insert into tocsin.secrets (name, value, hosts) values ('TOKEN', $1, $2)",
        KEYS.encrypt("open-sesame", of_secret("TOKEN")),
        list(hosts),
    )


@pytest.mark.parametrize(
    ("bound_to", "host"),
    [
        ([], "evil.example"),
        (["api.example.com"], "api.example.com"),
        (["API.example.com."], "api.example.com"),
        (["*.example.com"], "a.b.example.com"),
        (["a.example", "b.example"], "b.example"),
        (["192.0.2.7"], "192.0.2.7"),
        (["2001:DB8::1"], "2001:db8::1"),
        (["localhost"], "localhost"),
        (["api.example.com"], "http://api.example.com:8080"),
        (["https://api.example.com"], "https://API.example.com.:443"),
        (["https://api.example.com:8443"], "https://api.example.com:8443"),
        (["HTTPS://*.example.com:8443"], "https://a.example.com:8443"),
        (["amqps://[2001:db8::1]"], "amqps://[2001:DB8::1]:5671"),
        (["https://a.example", "b.example"], "http://b.example"),
    ],
)
def test_a_secret_goes_where_it_is_bound_to(bound_to: list[str], host: str) -> None:
    assert strangers(bound_to, [destination_in(host)]) == []


@pytest.mark.parametrize(
    ("bound_to", "host"),
    [
        (["api.example.com"], "example.com"),
        (["api.example.com"], "api.example.com.evil.example"),
        (["api.example.com"], "evilapi.example.com"),
        (["*.example.com"], "example.com"),
        (["*.example.com"], "evilexample.com"),
        (["192.0.2.7"], "192.0.2.70"),
        (["192.0.2.0/24"], "192.0.2.7"),
        (["api.example.com:443"], "api.example.com"),
        (["nonsense or worse"], "api.example.com"),
        (["api.example.com"], ""),
        (["https://api.example.com"], "http://api.example.com"),
        (["https://api.example.com"], "https://api.example.com:8443"),
        (["https://api.example.com:8443"], "https://api.example.com"),
        (["https://api.example.com:443"], "http://api.example.com:443"),
        (["amqps://mq.example"], "amqp://mq.example"),
        (["https://api.example.com/"], "https://api.example.com"),
    ],
)
def test_a_secret_goes_nowhere_else(bound_to: list[str], host: str) -> None:
    assert strangers(bound_to, [destination_in(host)]) == [destination_in(host)]


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "a b",
        "http://a/",
        "http://a/b",
        "http://a:0x",
        "ftp://a",
        "http://u@a",
        "http://",
        "https://*",
        "a:443",
        "10.0.0.0/8",
        "é.example",
        "http://é.example",
    ],
)
def test_what_is_no_host_cannot_be_bound_to(host: str) -> None:
    assert host_error(host) is not None


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        ({"url": "https://API.example.com.:8443/x"}, {"https://api.example.com:8443"}),
        ({"url": "amqp://me:pass@word@broker/v"}, {"amqp://broker:5672"}),
        ({"url": "http://[2001:db8::1]/"}, {"http://[2001:db8::1]:80"}),
        ({"url": "http://a/", "json": {"url": "http://b/"}, "body": "http://c/"}, {"http://a:80"}),
        (
            {"url": "http://a/", "auth": {"type": "oauth2", "token_url": "http://b/"}},
            {"http://a:80", "http://b:80"},
        ),
        ({"url": "http://[", "auth": 7}, {""}),
        ({"url": None}, {""}),
        ({"queue": "x"}, set()),
    ],
)
def test_the_hosts_of_a_target_are_all_that_it_calls(
    target: dict[str, object], hosts: set[str]
) -> None:
    assert {str(place) for place in places_of("http", target)} == hosts


def test_a_secret_that_is_bound_to_an_origin_goes_where_that_is_verified() -> None:
    lax = [
        {"url": "https://a.example/", "verify_tls": False},
        {"url": "https://a.example/", "auth": {"verify_tls": False}},
        {"url": "http://a.example/", "verify_tls": False},  # which speaks no TLS
    ]

    origin = [binding_error("T", ["https://a.example"], places_of("http", one)) for one in lax[:2]]
    host = [binding_error("T", ["a.example"], places_of("http", one)) for one in lax]

    assert [one and "with verify_tls false another server could" in one for one in origin] == [
        True
    ] * 2
    assert host == [None] * 3
    assert binding_error("T", ["http://a.example"], places_of("http", lax[2])) is None
    assert "may not be sent to https://a" in str(
        binding_error("T", ["https://b.example"], places_of("http", lax[0]))
    )


@pytest.mark.parametrize("kind", ["http", "amqp"])
async def test_a_bound_secret_is_not_sent_elsewhere_by_a_row_typed_in_psql(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, kind: str
) -> None:
    await bind(connection, "api.example.com")
    target = (
        {"url": sink.url("/${secret:TOKEN}")}
        if kind == "http"
        else {"url": f"amqp://x:${{secret:TOKEN}}@127.0.0.1:{sink.port}/", "routing_key": "q"}
    )
    job_id = await insert_job(connection, kind=kind, target=target, max_attempts=1)

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    [row] = await execution_rows(connection, job_id)
    assert (row["outcome"], row["reason"]) == ("failed", "target")
    assert row["error"].startswith("the secret 'TOKEN' may not be sent to 127.0.0.1")
    assert sink.requests == []


async def test_a_bound_secret_is_sent_to_its_host(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await bind(connection, "127.0.0.1")
    await insert_job(connection, target={"url": sink.url(), "headers": HEADERS})

    async with instance(secret_keys=(KEY,)):
        [request] = await sink.arrived()

    assert request.headers["authorization"] == "Bearer open-sesame"


async def test_a_bound_secret_does_not_go_to_a_token_server_elsewhere(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await bind(connection, "127.0.0.1")
    auth = {
        "type": "oauth2",
        "token_url": f"http://localhost:{sink.port}/token",
        "client_id": "me",
        "client_secret": "${secret:TOKEN}",
    }
    target = {"url": sink.url(), "auth": auth}
    job_id = await insert_job(connection, target=target, max_attempts=1)

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    [row] = await execution_rows(connection, job_id)
    assert "may not be sent to localhost" in row["error"]
    assert sink.requests == []


async def test_the_api_refuses_a_job_that_would_send_it_elsewhere(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await bind(connection, "*.example.com")
    job = await api.put("/v1/jobs/report", json=LATER | {"target": HERE})
    answers = [
        await api.post("/v1/jobs", json=LATER | {"target": ELSEWHERE}),
        await api.put("/v1/jobs/report", json=LATER | {"target": ELSEWHERE}),
        await api.patch("/v1/jobs/report", json={"target": {"url": "https://evil.example/x"}}),
    ]
    batch = await api.post("/v1/jobs/batch", json=[LATER, LATER | {"target": ELSEWHERE}])

    assert job.status_code == 201
    assert [one.status_code for one in (*answers, batch)] == [422] * 4
    assert [fields(one) for one in answers] == [["target"]] * 3
    assert fields(batch) == ["[1].target"]
    assert "'TOKEN' may not be sent to evil.example" in answers[0].json()["detail"]
    assert await connection.fetchval("select count(*) from tocsin.jobs") == 1
    assert (await api.patch("/v1/jobs/report", json={"paused": True})).status_code == 200


async def test_a_reference_that_is_stored_hidden_is_checked_when_it_is_kept(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await bind(connection, "api.example.com")
    async with serving(database_url, Recorder(), secret_keys=(KEY,)) as api:
        hidden = HERE | {"headers": {"X-Key": "v1-${secret:TOKEN}"}}
        await api.put("/v1/jobs/report", json=LATER | {"target": hidden})
        await connection.execute("update tocsin.secrets set hosts = '{other.example}'")
        moved = await api.patch(
            "/v1/jobs/report", json={"target": {"url": "https://api.example.com/y"}}
        )

    stored = json.decode(await connection.fetchval("select target::text from tocsin.jobs"))
    assert stored["headers"]["X-Key"].startswith("encrypted.v2.")
    assert (moved.status_code, fields(moved)) == (422, ["target"])


async def test_hosts_are_set_kept_listed_and_taken_back_over_the_api(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with serving(database_url, Recorder(), secret_keys=(KEY,)) as api:
        put = [
            await api.put("/v1/secrets/TOKEN", json={"value": "sesame"} | more)
            for more in ({"hosts": ["a.example", "*.b.example"]}, {}, {"hosts": []})
        ]
        listed = await api.get("/v1/secrets")
        wrong = await api.put("/v1/secrets/TOKEN", json={"value": "x", "hosts": ["a", "b:1"]})
        many = await api.put("/v1/secrets/TOKEN", json={"value": "x", "hosts": ["a"] * 101})
        audit = await api.get("/v1/audit")

    bound = ["a.example", "*.b.example"]
    assert [one.json()["hosts"] for one in put] == [bound, bound, []]
    assert listed.json()["items"][0]["hosts"] == []
    assert (wrong.status_code, fields(wrong)) == (422, ["hosts[1]"])
    assert (many.status_code, fields(many)) == (422, ["hosts"])
    changes = [(one["changed"], one["after"]) for one in audit.json()["items"]]
    assert changes == [
        (["hosts", "value"], {"hosts": []}),
        (["value"], {"hosts": bound}),
        (None, {"hosts": bound}),
    ]


async def test_hosts_are_set_kept_listed_and_taken_back_on_the_command_line(
    database_url: str,
) -> None:
    said = []
    for more in (("--host", "a.example", "--host", "*.b.example"), (), ("--any-host",)):
        await tocsin_secrets(database_url, "set", "TOKEN", *more, stdin="sesame")
        said.append((await tocsin_secrets(database_url, "list")).stdout.split()[2:])
    wrong = await tocsin_secrets(database_url, "set", "TOKEN", "--host", "a:1", stdin="x")
    both = await tocsin_secrets(database_url, "set", "A", "--host", "a", "--any-host", stdin="x")

    bound = ["TOKEN", "a.example", "*.b.example"]
    assert said == [bound, bound, ["TOKEN", "any", "host"]]
    assert "is no host" in wrong.stderr
    assert "either --host or --any-host" in both.stderr


async def test_a_secret_bound_to_scheme_and_port_goes_to_no_other_port_of_its_host(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await bind(connection, f"http://127.0.0.1:{sink.port}")
    job_id = await insert_job(connection, target={"url": sink.url(), "headers": HEADERS})
    elsewhere = {"url": f"http://127.0.0.1:{sink.port + 1}/", "headers": HEADERS}
    other_id = await insert_job(connection, target=elsewhere, max_attempts=1)

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=job_id)
        await facts.seen(Settled, job_id=other_id)

    [row] = await execution_rows(connection, other_id)
    assert len(sink.requests) == 1
    assert f"may not be sent to http://127.0.0.1:{sink.port + 1}" in row["error"]
