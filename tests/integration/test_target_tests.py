"""Tests of targets: sent once by the API, seen by who asks, and on record as no execution."""

import asyncio
import re
from typing import Any

import asyncpg
import httpx
import pytest

from app.db import idempotency
from tests.support.api import NIGHTLY, serving
from tests.support.recorder import Recorder
from tests.support.sink import Received, Sink, Wire, hang, reply
from tests.support.vault import KEY

HERE = ("127.0.0.1",)
"""What the API may call."""
UNDER_WAY = "urn:tocsin:problem:request-under-way"


async def rows(connection: asyncpg.Connection) -> list[Any]:
    """Return what a test must leave as it is."""
    return [
        *await connection.fetch("select id, attempt, runs, next_run, updated_at from tocsin.jobs"),
        await connection.fetchval("select count(*) from tocsin.executions"),
    ]


async def limited(api: httpx.AsyncClient, *scopes: str, **limits: object) -> dict[str, str]:
    """Make a key, and return the header with it; the client keeps one of scope admin."""
    if "Authorization" not in api.headers:
        made = await api.post("/v1/keys", json={"name": "root", "scopes": ["admin"]})
        api.headers["Authorization"] = f"Bearer {made.json()['key']}"
    made = await api.post("/v1/keys", json={"name": "other", "scopes": scopes} | limits)
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def test_a_test_is_told_masked_and_audited_and_changes_nothing(
    api_url: str, connection: asyncpg.Connection, sink: Sink
) -> None:
    url = sink.on("/x", reply(503, b"no sesame and no named-one here"), reply(200, b"fine"))
    target = {
        "url": url,
        "headers": {"X-Api-Key": "sesame", "X-Named": "${secret:named}"},
        "body": "{{ job.name }} {{ run.trigger }} {{ attempt }}",
        "templates": ["body"],
    }
    async with serving(api_url, Recorder(), secret_keys=(KEY,), allowed_targets=HERE) as api:
        await api.put("/v1/secrets/named", json={"value": "named-one", "hosts": ["127.0.0.1"]})
        made = await api.put("/v1/jobs/nightly", json=NIGHTLY | {"target": target, "paused": True})
        assert made.is_success, made.text
        before = await rows(connection)

        stored = await api.post("/v1/jobs/nightly/test")
        typed = {"kind": "http", "target": made.json()["target"] | {"method": "PUT"}}
        unsaved = await api.post("/v1/tests", json=typed | {"job": "nightly", "name": "nightly"})
        elsewhere = {"url": "http://localhost:9/", "headers": {"X-Named": "${secret:named}"}}
        bound = await api.post("/v1/tests", json={"kind": "http", "target": elsewhere})
        audit = (await api.get("/v1/audit")).json()["items"]

    told = stored.json()
    assert (told["outcome"], told["reason"], told["status_code"]) == ("failed", "status", 503)
    assert told["response"] == "no *** and no *** here"
    assert unsaved.json()["outcome"] == "succeeded", unsaved.text
    assert "'named' may not be sent to localhost" in bound.json()["detail"]
    first, second = await sink.arrived(2)
    assert (first.method, second.method) == ("POST", "PUT")
    for one in (first, second):
        assert one.headers["x-api-key"] == "sesame"
        assert one.headers["x-named"] == "named-one"
        assert one.headers["tocsin-trigger"] == "test"
        assert one.body == b"nightly test 1"
    assert first.headers["idempotency-key"] == told["idempotency_key"]
    assert told["idempotency_key"].endswith(":test")
    assert await rows(connection) == before
    tests = [one for one in audit if one["action"] == "test"]
    assert [(one["actor"], one["entity_name"]) for one in tests] == [("loopback", "nightly")] * 2
    assert "sesame" not in str(tests)
    assert tests[0]["after"]["kind"] == "http"


async def test_a_test_keeps_to_the_guard_the_scope_and_the_limits_of_its_key(
    api: httpx.AsyncClient, connection: asyncpg.Connection, sink: Sink
) -> None:
    elsewhere = {"kind": "http", "target": {"url": sink.url()}}
    await api.put("/v1/jobs/nightly", json=NIGHTLY | {"target": elsewhere["target"]})
    await api.put("/v1/jobs/check", json={"kind": "check", "target": {}, "every_seconds": 60})
    guarded = await api.post("/v1/tests", json=elsewhere)
    narrow = await limited(api, "write", allowed_hosts=["example.com"])
    bound = await api.post("/v1/tests", json=elsewhere, headers=narrow)
    of_job = await api.post("/v1/jobs/nightly/test", headers=narrow)
    check = await api.post("/v1/jobs/check/test")
    unknown = await api.post("/v1/tests", json={"kind": "fax", "target": {}})
    wrong = await api.post("/v1/tests", json=elsewhere | {"target": {"uri": "x"}})
    long = await api.post("/v1/tests", json=elsewhere | {"timeout_seconds": 21})

    assert guarded.json()["reason"] == "blocked", guarded.text
    assert [one.status_code for one in (bound, of_job)] == [403, 403]
    assert bound.json()["type"] == "urn:tocsin:problem:key-limit"
    assert (check.status_code, "only expects pings" in check.text) == (409, True)
    [error] = unknown.json()["errors"]
    assert error == {
        "field": "kind",
        "message": "'fax' is not known: write one of amqp, http, smtp",
    }
    assert [one.status_code for one in (wrong, long)] == [422, 422]
    assert await connection.fetchval("select count(*) from tocsin.executions") == 0


async def test_few_tests_are_under_way_at_once_and_each_ends_in_its_time(
    api_url: str, sink: Sink
) -> None:
    asked = {"kind": "http", "target": {"url": sink.on("/", hang)}, "timeout_seconds": 1}
    async with serving(api_url, Recorder(), allowed_targets=HERE) as api:
        answers = await asyncio.gather(*(api.post("/v1/tests", json=asked) for _ in range(3)))
        again = await api.post("/v1/tests", json=asked)

    assert sorted(one.status_code for one in answers) == [200, 200, 429]
    [refused] = [one for one in answers if one.status_code == 429]
    assert refused.json()["type"] == "urn:tocsin:problem:too-many-tests"
    assert refused.headers["retry-after"] == "1"
    assert again.json()["outcome"] == "timed_out", "the places of the others are free again"


async def test_a_test_that_is_sent_again_is_sent_once_and_holds_no_transaction(
    api_url: str, connection: asyncpg.Connection, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.3)
    seen = asyncio.Event()

    async def answer(wire: Wire, _: Received) -> None:
        await seen.wait()
        wire.transport.write(reply(200))

    asked = {"kind": "http", "target": {"url": sink.on("/", answer)}}
    keys = [{"Idempotency-Key": key} for key in ("one", "two")]
    async with (
        serving(api_url, Recorder(), allowed_targets=HERE) as api,
        serving(api_url, Recorder(), allowed_targets=HERE) as another,
    ):

        async def sent(key: dict[str, str]) -> httpx.Response:
            return await api.post("/v1/tests", json=asked, headers=key)

        both = asyncio.gather(*map(sent, keys))
        await sink.arrived(2)  # side by side
        held = await connection.fetchval(
            """select count(*) from pg_stat_activity
               where datname = current_database() and state like 'idle in transaction%'"""
        )
        meanwhile = await another.post("/v1/tests", json=asked, headers=keys[0])
        seen.set()
        first = await both
        again = [await sent(key) for key in keys]
        other = await api.post("/v1/tests", json=asked | {"timeout_seconds": 3}, headers=keys[0])
        sent_before = len(sink.requests)

        # As a process leaves it that was killed before it had an answer.
        await connection.execute(
            "update tocsin.idempotency_keys set status = 0, answer = '', at = clock_timestamp()"
        )
        too_soon = await sent(keys[0])
        await connection.execute(
            "update tocsin.idempotency_keys set at = at - $1 * interval '1 second'",
            idempotency.GONE_SECONDS,
        )
        at_last = await sent(keys[0])

    assert held == 0
    assert (meanwhile.status_code, meanwhile.json()["type"]) == (409, UNDER_WAY)
    assert [one.json()["outcome"] for one in first] == ["succeeded"] * 2
    assert [one.json() for one in again] == [one.json() for one in first]
    assert {one.headers["Idempotency-Replayed"] for one in again} == {"true"}
    assert (other.status_code, sent_before) == (422, 2)
    assert (too_soon.status_code, too_soon.json()["type"]) == (409, UNDER_WAY)
    assert (at_last.json()["outcome"], len(sink.requests)) == ("succeeded", 3)
    assert "Idempotency-Replayed" not in at_last.headers


async def test_a_test_that_was_refused_may_be_sent_again_with_its_key(
    api_url: str, connection: asyncpg.Connection, sink: Sink
) -> None:
    behind = "now() - interval '3 days'"  # as where no instance keeps house
    await connection.execute(f"insert into tocsin.trusted_clock values (true, {behind}, {behind})")
    key = {"Idempotency-Key": "one"}
    asked = {"kind": "http", "target": {"url": sink.url()}}
    async with serving(api_url, Recorder(), allowed_targets=HERE) as api:
        wrong = await api.post("/v1/tests", json=asked | {"timeout_seconds": 99}, headers=key)
        right = await api.post("/v1/tests", json=asked, headers=key)

    assert (wrong.status_code, right.status_code) == (422, 200)


@pytest.mark.parametrize("of_job", [False, True])
async def test_pages_show_what_came_of_a_test(
    api_url: str, connection: asyncpg.Connection, sink: Sink, *, of_job: bool
) -> None:
    url = sink.on("/", reply(500, b"<b>no</b>"))
    form = {"kind": "http", "target.url": url, "how": "cron", "do": "test"}
    async with serving(api_url, Recorder(), allowed_targets=HERE) as api:
        if of_job:
            job = (await api.put("/v1/jobs/x", json=NIGHTLY | {"target": {"url": url}})).json()
            assert f"/jobs/{job['id']}/test" in (await api.get(f"/jobs/{job['id']}")).text
            page = await api.post(f"/jobs/{job['id']}/test")
        else:
            page = await api.post("/new-job", data=form)

    assert page.status_code == 200, page.text
    section = re.search(r'<section class="card" id="tested".*?</section>', page.text, re.DOTALL)
    assert section, page.text
    assert "status 500" in section[0]
    assert "&lt;b&gt;no&lt;/b&gt;" in section[0]
    assert await connection.fetchval("select count(*) from tocsin.jobs") == int(of_job)
    assert await connection.fetchval("select count(*) from tocsin.executions") == 0
