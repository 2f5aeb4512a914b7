"""Probes, instances, counters, and the description of the API."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.facts import Faulted
from app.db.listener import Session, open_session
from tests.support.api import NIGHTLY, serving
from tests.support.builders import insert_job
from tests.support.recorder import Recorder
from tests.support.roles import as_role, role
from tests.support.sessions import claimed_one
from tests.support.vault import KEY

FAR = datetime(2100, 1, 1, tzinfo=UTC)


async def test_a_process_is_alive_and_ready(api: httpx.AsyncClient) -> None:
    live, ready = await api.get("/health/live"), await api.get("/health/ready")

    assert (live.status_code, live.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


async def test_a_schema_that_a_newer_tocsin_broke_is_not_ready(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into tocsin.schema_migrations (version, breaking) values (9999, true)"
    )

    answer = await api.get("/health/ready")

    assert (answer.status_code, answer.json()["type"]) == (
        503,
        "urn:tocsin:problem:schema-outdated",
    )
    assert "newer Tocsin" in answer.json()["detail"]


REFUSED = [
    ("alter role {role} password 'another'", "correct the user or the password"),
    ("alter role {role} nologin", "needs LOGIN"),
    ("revoke connect on database {database} from public", "GRANT CONNECT"),
]


@pytest.mark.parametrize(("change", "remedy"), REFUSED)
async def test_a_refused_connection_says_what_an_operator_needs_and_nothing_secret(
    database_url: str, connection: asyncpg.Connection, change: str, remedy: str
) -> None:
    grants = "grant usage on schema tocsin to {role}"
    database = await connection.fetchval("select current_database()")
    recorder = Recorder()
    async with role(connection, database_url, grants) as url:
        address = urlsplit(url)
        change = change.format(role=address.username, database=database)
        await connection.execute(change)
        async with serving(url, recorder) as api:
            answers = [await api.get(path) for path in ("/health/ready", "/v1/jobs")]

    for answer in answers:
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (
            503,
            "urn:tocsin:problem:database-unavailable",
        )
        assert remedy in problem["detail"]
        assert "tocsin doctor" in problem["detail"]
        for hidden in (address.password, address.username, database, str(address.port)):
            assert str(hidden) not in answer.text
    assert all(str(address.password) not in str(fact) for fact in recorder.facts)
    assert len(recorder.of(Faulted)) == 2


async def test_instances_are_seen_by_their_connection_and_by_their_leases(
    api: httpx.AsyncClient, connection: asyncpg.Connection, database_url: str
) -> None:
    long = "a-host-with-quite-a-long-name:1234567:abcd-and-more"
    for _ in range(2):
        await insert_job(connection)
    await insert_job(connection, name="of the dead")
    await connection.execute(
        """update tocsin.jobs set locked_until = now() + interval '1 minute',
           locked_by = case when name is null then $1 else 'dead:1:0000' end""",
        long,
    )

    async with (
        open_session(database_url, wake=print, application_name=f"tocsin scheduler {long}"),
        open_session(database_url, wake=print, application_name="tocsin scheduler idle:2:ffff"),
    ):
        items = (await api.get("/v1/instances")).json()["items"]

    assert [(one["name"], one["connected"], one["executing"]) for one in items] == [
        (long, True, 2),
        ("dead:1:0000", False, 1),
        ("idle:2:ffff", True, 0),
    ]
    assert items[1]["connected_since"] is None
    assert abs(datetime.fromisoformat(items[0]["connected_since"]) - datetime.now(UTC)) < timedelta(
        minutes=1
    )


async def test_stats_of_an_empty_database_are_zero(api: httpx.AsyncClient) -> None:
    stats = (await api.get("/v1/stats")).json()

    assert {name: value for name, value in stats.items() if name != "at"} == {
        "jobs": 0,
        "due": 0,
        "oldest_due_seconds": None,
        "next_due_at": None,
        "executing": 0,
        "retrying": 0,
        "paused": 0,
        "failed": 0,
        "invalid": 0,
        "outcomes": {},
        "outcomes_since": None,
    }


async def test_stats_count_jobs_by_what_they_are_up_to(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    ago = datetime.now(UTC) - timedelta(minutes=5)
    for how in (
        "next_run = now() - interval '5 minutes'",
        "attempt = 1",
        "attempt = 1, locked_until = now() + interval '1 minute'",
        "paused_at = now(), next_run = now() - interval '1 day'",
        "next_run = null, last_outcome = 'failed'",
        "next_run = null, last_outcome = 'succeeded'",
        "plan_error = 'bad', next_run = now() - interval '1 day'",
    ):
        job_id = await insert_job(connection, run_at=FAR)
        await connection.execute(
            f"update tocsin.jobs set {how}, planned_at = clock_timestamp() where id = $1", job_id
        )
    for outcome in ("succeeded", "succeeded", "lost"):
        await connection.execute(
            """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome,
                                              finished_at) values ($1, 'http', $2, 1, $3, $2)""",
            uuid4(),
            ago,
            outcome,
        )

    stats = (await api.get("/v1/stats")).json()

    counted = ("jobs", "due", "executing", "retrying", "paused", "failed", "invalid")
    assert {name: stats[name] for name in counted} == dict.fromkeys(counted, 1) | {"jobs": 7}
    assert 299 < stats["oldest_due_seconds"] < 360
    assert stats["next_due_at"] == "2100-01-01T00:00:00Z"
    assert stats["outcomes"] == {"succeeded": 2, "lost": 1}
    assert datetime.fromisoformat(stats["outcomes_since"]) == ago


async def test_people_are_led_to_the_docs_which_load_nothing_from_elsewhere(
    api: httpx.AsyncClient,
) -> None:
    root = await api.get("/")
    page = await api.get("/docs")

    assert root.status_code == 200
    assert 'href="/docs"' in root.text
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "//" not in page.text
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    loaded = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    for address in (one for one in loaded if not one.startswith("data:")):
        answer = await api.get(f"/{address}")
        assert answer.status_code == 200, address
        assert answer.content


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


async def test_the_description_has_every_call_of_the_contract(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()

    assert document == (await api.get("/docs/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert {(method.upper(), path) for path, method, _ in operations(document)} == {
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs"),
        ("POST", "/v1/jobs/batch"),
        ("PUT", "/v1/jobs/{job}"),
        ("GET", "/v1/jobs/{job}"),
        ("PATCH", "/v1/jobs/{job}"),
        ("DELETE", "/v1/jobs/{job}"),
        ("POST", "/v1/jobs/{job}/pause"),
        ("POST", "/v1/jobs/{job}/resume"),
        ("GET", "/v1/bulk"),
        ("POST", "/v1/bulk"),
        ("GET", "/v1/bulk/{id}"),
        ("POST", "/v1/bulk/{id}/cancel"),
        ("POST", "/v1/jobs/plan"),
        ("POST", "/v1/jobs/apply"),
        ("GET", "/v1/sets"),
        ("GET", "/v1/sets/{name}"),
        ("DELETE", "/v1/sets/{name}"),
        ("GET", "/v1/calendars"),
        ("GET", "/v1/calendars/{name}"),
        ("PUT", "/v1/calendars/{name}"),
        ("DELETE", "/v1/calendars/{name}"),
        ("GET", "/v1/checks/{job}"),
        ("POST", "/v1/checks/{job}/token"),
        ("DELETE", "/v1/checks/{job}/token"),
        ("GET", "/v1/flows"),
        ("GET", "/v1/flows/{flow_key}"),
        ("PUT", "/v1/flows/{flow_key}"),
        ("DELETE", "/v1/flows/{flow_key}"),
        ("POST", "/v1/flows/{flow_key}/pause"),
        ("POST", "/v1/flows/{flow_key}/resume"),
        ("POST", "/v1/flows/{flow_key}/release"),
        ("POST", "/v1/jobs/{job}/skip"),
        ("POST", "/v1/jobs/{job}/unskip"),
        ("POST", "/v1/jobs/{job}/test"),
        ("POST", "/v1/tests"),
        ("GET", "/v1/maintenance"),
        ("POST", "/v1/maintenance"),
        ("DELETE", "/v1/maintenance/{maintenance}"),
        ("GET", "/v1/pauses"),
        ("POST", "/v1/pauses"),
        ("POST", "/v1/pauses/{pause}/resume"),
        ("GET", "/v1/alerts"),
        ("GET", "/v1/alerts/{id}"),
        ("GET", "/v1/alerts/rules"),
        ("PUT", "/v1/alerts/rules/{rule}"),
        ("GET", "/v1/alerts/rules/{rule}"),
        ("DELETE", "/v1/alerts/rules/{rule}"),
        ("GET", "/v1/alerts/channels"),
        ("PUT", "/v1/alerts/channels/{channel}"),
        ("GET", "/v1/alerts/channels/{channel}"),
        ("DELETE", "/v1/alerts/channels/{channel}"),
        ("POST", "/v1/alerts/channels/{channel}/test"),
        ("GET", "/v1/jobs/{job}/explain"),
        ("POST", "/v1/jobs/{job}/run"),
        ("GET", "/v1/jobs/{job}/executions"),
        ("POST", "/v1/keys"),
        ("GET", "/v1/keys"),
        ("GET", "/v1/keys/{key}"),
        ("DELETE", "/v1/keys/{key}"),
        ("GET", "/v1/secrets"),
        ("PUT", "/v1/secrets/{name}"),
        ("DELETE", "/v1/secrets/{name}"),
        ("GET", "/v1/audit"),
        ("POST", "/session"),
        ("GET", "/session"),
        ("DELETE", "/session"),
        ("GET", "/v1/executions"),
        ("GET", "/v1/executions/{id}"),
        ("POST", "/v1/executions/{id}/replay"),
        ("POST", "/v1/executions/{id}/cancel"),
        ("POST", "/v1/schedule/preview"),
        ("GET", "/v1/upcoming"),
        ("GET", "/v1/instances"),
        ("GET", "/v1/stats"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
    }


async def test_every_operation_says_what_it_does_takes_and_answers(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()

    for path, method, operation in operations(document):
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (path, parameter["name"])
        codes = set(operation["responses"])
        assert codes >= ({"200"} if path.startswith("/health") else {"406", "422", "500", "503"})
        for status, response in operation["responses"].items():
            name = response.get("$ref", "").removeprefix("#/components/responses/")
            assert (int(status) < 400) or set(
                document["components"]["responses"][name]["content"]
            ) == {"application/problem+json"}


async def test_every_reference_of_the_description_leads_somewhere(api: httpx.AsyncClient) -> None:
    answer = await api.get("/openapi.json")

    schemas = answer.json()["components"]["schemas"]
    found = re.findall(r'"#/components/schemas/(\w+)"', answer.text)
    assert set(found) == schemas.keys()


@pytest.mark.parametrize("name", ["JobDocument", "JobReplacement"])
async def test_a_target_is_described_by_its_kind(api: httpx.AsyncClient, name: str) -> None:
    schemas = (await api.get("/openapi.json")).json()["components"]["schemas"]

    kinds = {
        one["properties"]["kind"]["const"]: one["properties"]["target"]["$ref"]
        for one in schemas[name]["then"]["allOf"][0]["oneOf"]
    }
    assert kinds == {
        "amqp": "#/components/schemas/AmqpTarget",
        "check": "#/components/schemas/CheckTarget",
        "http": "#/components/schemas/HttpTarget",
        "smtp": "#/components/schemas/SmtpTarget",
    }
    assert schemas["HttpTarget"]["properties"]["url"]["type"] == "string"


async def test_every_example_of_the_description_is_accepted(
    database_url: str, connection: asyncpg.Connection, session: Session
) -> None:
    await insert_job(connection)
    claim = await claimed_one(session)

    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        await try_every_example(api, under_way=claim.execution_id)


async def try_every_example(api: httpx.AsyncClient, *, under_way: int) -> None:
    document = (await api.get("/openapi.json")).json()

    tried = 0
    # Keys last: from the first one on, calls need one. Nobody can sign in with that of the example.
    called = [one for one in operations(document) if one[0] != "/session"]
    # And a replay only once what is under way is cancelled, and so on record.
    order = ("/v1/executions/{id}/replay", "/v1/keys")
    for path, method, operation in sorted(
        called, key=lambda one: order.index(one[0]) if one[0] in order else -1
    ):
        body = operation.get("requestBody", {"content": {}})
        for media_type, content in body["content"].items():
            for example in content["examples"].values():
                pause = (await api.post("/v1/pauses", json={"tag": "none"})).json().get("id")
                given = {"job": "report", "name": "PAYMENTS", "id": under_way, "pause": pause}
                if path.startswith("/v1/bulk/"):
                    asked = {"filter": {"tag": ["none"]}, "action": "pause"}
                    given["id"] = (await api.post("/v1/bulk", json=asked)).json().get("id")
                given |= {"rule": "failures", "channel": "ops"}
                if path.startswith("/v1/checks/"):
                    await api.put(
                        "/v1/jobs/expected",
                        json={"kind": "check", "target": {}, "cron": "0 3 * * *"},
                    )
                    given["job"] = "expected"
                await api.put(
                    "/v1/alerts/channels/ops", json={"target": {"url": "https://a.example"}}
                )
                address = path.format(**given, flow_key="api.example.com")
                await api.put("/v1/jobs/report", json=NIGHTLY)
                answer = await api.request(
                    method,
                    address,
                    content=json.encode(example["value"]),
                    headers={"Content-Type": media_type},
                )
                await api.delete(f"/v1/jobs/{example['value'].get('name', 'none')}")
                tried += 1
                assert answer.status_code < 300, (address, answer.text)
    assert tried >= 10


async def test_an_answer_has_the_fields_of_its_description(api: httpx.AsyncClient) -> None:
    schemas = (await api.get("/openapi.json")).json()["components"]["schemas"]

    job = (await api.put("/v1/jobs/report", json=NIGHTLY)).json()
    problem = (await api.get("/v1/jobs/none")).json()

    assert job.keys() == set(schemas["Job"]["required"])
    assert schemas["Job"]["properties"].keys() - job.keys() == {
        "effect",
        "missed",
        "outlook",
        "set",
        "warnings",
    }  # none
    assert problem.keys() == set(schemas["Problem"]["required"])
