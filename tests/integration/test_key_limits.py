"""The limits of API keys hold at every door by which jobs are written, whoever asks at once."""

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.db.connections import OF_API
from tests.support.api import HOURLY, serving
from tests.support.bulk import ask, ended
from tests.support.instances import StartInstance
from tests.support.recorder import Recorder
from tests.support.waiting import until

LINES = {"Content-Type": "application/x-ndjson"}
PROBLEM = "urn:tocsin:problem:key-limit"
DAY = 86_400
LATER = "2100-01-01T00:00:00Z"

Body = dict[str, Any]
MINE: Body = HOURLY | {"target": {"url": "http://127.0.0.1:9/nothing"}}
TOO_OFTEN: Body = MINE | {"every_seconds": 60}
ELSEWHERE: Body = MINE | {"target": {"url": "http://127.0.0.2:9/elsewhere"}}

Door = Callable[[httpx.AsyncClient, Body], Awaitable[httpx.Response]]


async def limited(
    admin: httpx.AsyncClient,
    **limits: Any,  # noqa: ANN401 - of whatever type they are
) -> dict[str, str]:
    """Make a key with limits, and return the header that it is sent in."""
    body = {"name": f"agent {limits}"[:200], "scopes": ["write"]} | limits
    made = await admin.post("/v1/keys", json=body)
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in limits} == limits
    return {"Authorization": f"Bearer {made.json()['key']}"}


@pytest.fixture
async def admin(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """Give a client that has a key without limits, and made a job of its own."""
    made = await api.post("/v1/keys", json={"name": "root", "scopes": ["admin"]})
    api.headers["Authorization"] = f"Bearer {made.json()['key']}"
    await api.put("/v1/jobs/theirs", json=MINE)
    return api


@pytest.fixture
async def agent(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """Give a client of the same application whose key limits schedules and hosts."""
    key = await limited(admin, min_interval_seconds=300, allowed_hosts=["127.0.0.1"])
    return httpx.AsyncClient(transport=admin._transport, base_url=admin.base_url, headers=key)


def a_set(body: Body, name: str = "mine") -> Body:
    job = {one: value for one, value in body.items() if one != "name"}
    return {"set": "agents", "jobs": {name: job}, "take_over": [name]}


def lines(*bodies: Body) -> str:
    return "".join(f"{json.dumps(body)}\n" for body in bodies)


async def save_form(api: httpx.AsyncClient, body: Body) -> httpx.Response:
    seen = (await api.get("/v1/jobs/theirs")).headers["ETag"]
    form = {"as": "json", "do": "save", "json": json.dumps(body | {"name": "theirs"})}
    return await api.post("/jobs/theirs/edit", data=form | {"seen": seen})


def replace_in_batch(api: httpx.AsyncClient, body: Body, name: str) -> Awaitable[httpx.Response]:
    return api.post("/v1/jobs/batch?replace=true", json={"jobs": [body | {"name": name}]})


CREATING: dict[str, Door] = {
    "POST": lambda api, body: api.post("/v1/jobs", json=body),
    "a dry run": lambda api, body: api.post("/v1/jobs?dry_run=true", json=body),
    "an idempotency key": lambda api, body: api.post(
        "/v1/jobs", json=body, headers={"Idempotency-Key": "once"}
    ),
    "PUT of a new name": lambda api, body: api.put("/v1/jobs/mine", json=body),
    "a batch": lambda api, body: api.post("/v1/jobs/batch", json={"jobs": [body]}),
    "lines": lambda api, body: api.post("/v1/jobs/batch", content=lines(body), headers=LINES),
    "a batch that replaces": partial(replace_in_batch, name="mine"),
    "a plan of a set": lambda api, body: api.post("/v1/jobs/plan", json=a_set(body)),
    "a set": lambda api, body: api.post("/v1/jobs/apply", json=a_set(body)),
    "the form": lambda api, body: api.post(
        "/new-job", data={"as": "json", "do": "save", "json": json.dumps(body)}
    ),
}
EDITING: dict[str, Door] = {
    "PUT": lambda api, body: api.put("/v1/jobs/theirs", json=body),
    "PATCH": lambda api, body: api.patch("/v1/jobs/theirs", json=body),
    "a batch that replaces": partial(replace_in_batch, name="theirs"),
    "a dry PATCH": lambda api, body: api.patch("/v1/jobs/theirs?dry_run=true", json=body),
    "a plan": lambda api, body: api.post("/v1/jobs/plan", json=a_set(body, "theirs")),
    "a set": lambda api, body: api.post("/v1/jobs/apply", json=a_set(body, "theirs")),
    "renaming": lambda api, body: api.patch("/v1/jobs/theirs", json=body | {"name": "other"}),
    "the form": save_form,
}
BROKEN: dict[str, tuple[Body, str, str]] = {
    "an interval": (TOO_OFTEN, "every_seconds", "min_interval_seconds"),
    "a cron": (
        MINE | {"every_seconds": None, "cron": "0,1 3 * * *"},
        "cron",
        "min_interval_seconds",
    ),
    "a host": (ELSEWHERE, "target.url", "allowed_hosts"),
    "redirects": (
        MINE | {"target": MINE["target"] | {"follow_redirects": True}},
        "target.follow_redirects",
        "allowed_hosts",
    ),
}


async def test_no_door_lets_a_key_past_its_limits(
    agent: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    before = await connection.fetch("select id, edited_at from tocsin.jobs")
    wrong: list[tuple[Any, ...]] = []
    for what, door in (CREATING | {f"editing by {at}": one for at, one in EDITING.items()}).items():
        for how, (body, field, limit) in BROKEN.items():
            refused = await door(agent, body)
            form = "form" in what
            if refused.status_code != (422 if form else 403) or limit not in refused.text:
                wrong.append((what, how, refused.status_code, refused.text[:300]))
            elif not form:
                problem = refused.json()
                named = problem["errors"][0]["field"].endswith(field)
                if problem["type"] != PROBLEM or not named or limit not in problem["detail"]:
                    wrong.append((what, how, problem))
    assert not wrong
    assert await connection.fetch("select id, edited_at from tocsin.jobs") == before


async def test_what_keeps_to_the_limits_is_written_by_every_door(agent: httpx.AsyncClient) -> None:
    for what, door in CREATING.items():
        await agent.delete("/v1/jobs/mine")
        done = await door(agent, MINE)
        assert done.status_code in {200, 201, 303}, (what, done.text)
    for what, door in EDITING.items():
        body = MINE | {"description": what, "every_seconds": 300}
        if what == "renaming":
            continue
        done = await door(agent, body)
        assert done.status_code in {200, 303}, (what, done.text)


async def test_what_is_wrong_besides_is_told_with_the_limits(agent: httpx.AsyncClient) -> None:
    refused = await agent.post("/v1/jobs", json=TOO_OFTEN | {"name": "a/b"})

    assert refused.status_code == 422
    assert {one["field"] for one in refused.json()["errors"]} == {"name", "every_seconds"}


async def test_a_job_of_others_that_breaks_a_limit_can_be_edited_in_its_other_fields(
    admin: httpx.AsyncClient, agent: httpx.AsyncClient
) -> None:
    theirs = TOO_OFTEN | ELSEWHERE | {"every_seconds": 1, "paused": True}
    await admin.put("/v1/jobs/theirs", json=theirs)

    paused = await agent.patch("/v1/jobs/theirs", json={"paused": False, "description": "seen"})
    moved = await agent.patch("/v1/jobs/theirs", json={"ends_at": LATER})

    assert (paused.status_code, moved.status_code) == (200, 403)


async def test_alert_channels_lead_nowhere_else(
    admin: httpx.AsyncClient, agent: httpx.AsyncClient
) -> None:
    channel = {"target": {"url": "http://127.0.0.2:9/"}}
    ours = {"target": {"url": "http://127.0.0.1:9/"}}
    whole = {"set": "agents", "channels": {"ops": channel}}

    for refused in (
        await agent.put("/v1/alerts/channels/ops", json=channel),
        await agent.post("/v1/jobs/plan", json=whole),
        await agent.post("/v1/jobs/apply", json=whole),
    ):
        assert (refused.status_code, refused.json()["type"]) == (403, PROBLEM)
    assert (await agent.put("/v1/alerts/channels/ops", json=ours)).status_code == 201

    assert (await admin.put("/v1/alerts/channels/theirs", json=channel)).status_code == 201
    again = [channel, channel | {"preset": "slack"}, channel | {"fallback": "ops"}]
    answers = [await agent.put("/v1/alerts/channels/theirs", json=one) for one in again]
    assert [one.status_code for one in answers] == [200, 403, 403]


async def test_a_bulk_edit_keeps_to_the_limits_of_who_asked(
    admin: httpx.AsyncClient, agent: httpx.AsyncClient, instance: StartInstance
) -> None:
    far = {"action": "edit", "filter": {"all": True}, "patch": {"target": ELSEWHERE["target"]}}
    often = far | {"patch": {"every_seconds": 60}}

    tried = (await agent.post("/v1/bulk?dry_run=true", json=often)).json()
    asked = [await ask(agent, **body) for body in (far, often)]
    free = await ask(admin, **far | {"patch": {"description": "by root"}})
    async with instance():
        done = [await ended(admin, one["id"]) for one in (*asked, free)]

    assert "min_interval_seconds" in tried["sample"][0]["problem"]
    assert [(one["changed"], one["failed"]) for one in done] == [(0, 1), (0, 1), (1, 0)]
    assert "allowed_hosts" in done[0]["problems"][0]["problem"]
    job = (await admin.get("/v1/jobs/theirs")).json()
    assert (job["target"]["url"], job["every_seconds"]) == (MINE["target"]["url"], 3600)


async def test_a_recurring_job_without_an_end_gets_one_by_every_door(
    admin: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    key = await limited(admin, default_ends_in_seconds=30 * DAY)
    agent = httpx.AsyncClient(transport=admin._transport, base_url=admin.base_url, headers=key)

    for what, door in CREATING.items():
        if what in {"a dry run", "a plan of a set"}:
            continue
        await agent.delete("/v1/jobs/mine")
        done = await door(agent, MINE)
        assert done.status_code in {200, 201, 303}, (what, done.text)
        ends = "select ends_at - created_at from tocsin.jobs order by id desc limit 1"
        left: timedelta = await connection.fetchval(ends)
        assert timedelta(days=30) <= left <= timedelta(days=30, hours=1), what

    first = await agent.put("/v1/jobs/mine", json=MINE)
    again = await agent.put("/v1/jobs/mine", json=MINE)
    cleared = await agent.patch("/v1/jobs/mine", json={"ends_at": None})
    assert (first.headers["ETag"], again.headers["ETag"]) == (again.headers["ETag"],) * 2
    assert cleared.json()["ends_at"] == first.json()["ends_at"] is not None
    theirs = await agent.patch("/v1/jobs/theirs", json={"description": "seen"})
    assert theirs.json()["ends_at"] is None
    theirs = await agent.patch("/v1/jobs/theirs", json={"every_seconds": 7200})
    assert theirs.json()["ends_at"] is not None
    planned = a_set(MINE | {"every_seconds": 1800}, "theirs")
    await admin.patch("/v1/jobs/theirs", json={"ends_at": None})
    plan = (await agent.post("/v1/jobs/plan", json=planned)).json()
    applied = await agent.post("/v1/jobs/apply", json=planned | {"digest": plan["digest"]})
    assert applied.status_code == 200, applied.text
    once = await agent.post("/v1/jobs", json={**MINE, "every_seconds": None, "run_at": LATER})
    assert once.json()["ends_at"] is None


async def test_so_many_jobs_as_a_key_may_make_exist_and_no_more(
    admin: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    key = await limited(admin, max_jobs=3)
    agent = httpx.AsyncClient(transport=admin._transport, base_url=admin.base_url, headers=key)
    three = {"jobs": [MINE | {"name": f"job {n}"} for n in range(3)]}
    assert (await agent.post("/v1/jobs/batch", json=three)).status_code == 201
    before = await connection.fetch("select id from tocsin.jobs")

    for what, door in CREATING.items():
        refused = await door(agent, MINE)
        assert refused.status_code == (422 if what == "the form" else 403), (what, refused.text)
        assert "max_jobs of the API key is 3" in refused.text, what
        if what != "the form":
            assert refused.json()["type"] == PROBLEM
            assert refused.json()["errors"][0]["message"].endswith("that may make more.")
    assert await connection.fetch("select id from tocsin.jobs") == before

    renamed = await agent.patch("/v1/jobs/job 0", json={"name": "called otherwise"})
    replaced = await agent.put("/v1/jobs/theirs", json=MINE | {"description": "not made"})
    assert (renamed.status_code, replaced.status_code) == (200, 200)
    assert (await agent.put("/v1/jobs/job 0", json=MINE)).status_code == 403
    tried = await agent.request("DELETE", "/v1/jobs/job 1?dry_run=true")
    assert tried.status_code == 204
    assert (await agent.post("/v1/jobs", json=MINE)).status_code == 403
    await admin.delete("/v1/jobs/job 1")
    assert (await agent.post("/v1/jobs?dry_run=true", json=MINE)).status_code == 201
    assert (await agent.post("/v1/jobs", json=MINE)).status_code == 201
    assert (await agent.post("/v1/jobs", json=MINE)).status_code == 403
    assert (await admin.post("/v1/jobs", json=MINE)).status_code == 201


async def test_max_jobs_holds_whoever_asks_at_the_same_time(
    admin: httpx.AsyncClient,
    connection: asyncpg.Connection,
    database_url: str,
    faults: Recorder,
) -> None:
    key = await limited(admin, max_jobs=10)
    for n in range(10):  # of which the notes stay when they are gone
        await admin.post("/v1/jobs", json=MINE | {"name": f"old {n}"}, headers=key)
    await connection.execute("delete from tocsin.jobs where name like 'old %'")

    async with serving(database_url, faults) as other:
        doors: list[tuple[str, Body]] = [
            ("/v1/jobs", MINE),
            ("/v1/jobs/batch", {"jobs": [MINE] * 3}),
            ("/v1/jobs?dry_run=true", MINE),
        ]
        asked = [
            api.post(at, json=body, headers=key)
            for _ in range(8)
            for api in (admin, other)
            for at, body in doors
        ]
        answers = await asyncio.gather(*asked)

    made = await connection.fetchval(
        "select count(*) from tocsin.jobs j join tocsin.key_jobs n on n.job_id = j.id"
    )
    assert made == 10
    assert {answer.status_code for answer in answers} == {201, 403}


async def test_who_makes_jobs_waits_for_who_makes_some_with_the_same_key(
    admin: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    key = await limited(admin, max_jobs=1)
    id = await connection.fetchval("select id from tocsin.api_keys where max_jobs is not null")
    note = "select tocsin.note_key_jobs($1, array[(select id from tocsin.jobs limit 1)])"

    async with connection.transaction():
        assert await connection.fetchval(note, id)
        waiting = asyncio.create_task(admin.post("/v1/jobs", json=MINE, headers=key))
        freely = await admin.post("/v1/jobs", json=MINE)
        waits = (
            "select exists (select from pg_locks "
            "where not granted and locktype in ('transactionid', 'tuple'))"
        )
        await until(partial(connection.fetchval, waits), "the request waits for the key's row")

    assert (freely.status_code, (await waiting).status_code) == (201, 403)


async def test_who_waits_for_others_with_the_same_key_has_no_job_of_others_locked(
    admin: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    key = await limited(admin, max_jobs=10)
    new = MINE | {"description": "by the agent"}
    jobs = [new | {"name": "theirs"}, new | {"name": "new"}]
    whole = a_set(new, "in a set") | {"flows": {"ours": {"max_concurrency": 1}}}
    waits = (
        "select count(*) from pg_locks where not granted and locktype in ('transactionid', 'tuple')"
    )

    async def waiting(many: int) -> bool:
        return bool(await connection.fetchval(waits) == many)

    async with connection.transaction():
        await connection.execute(
            "select from tocsin.api_keys where max_jobs is not null for no key update"
        )
        asked = [
            asyncio.create_task(admin.post(at, json=body, headers=key))
            for at, body in (("/v1/jobs/batch?replace=true", jobs), ("/v1/jobs/apply", whole))
        ]
        await until(partial(waiting, 1), "the batch waits for the key's row")
        edited = await admin.patch("/v1/jobs/theirs", json={"description": "by root"})
        async with asyncio.timeout(5):  # of the thirty that the set would wait
            other = await admin.post("/v1/jobs/apply", json={"set": "other", "jobs": {}})
        assert not any(one.done() for one in asked)

    assert (edited.status_code, other.status_code) == (200, 200)
    assert [(await one).status_code for one in asked] == [200, 200]


async def test_requests_that_wait_for_each_other_leave_transactions_to_other_keys(
    admin: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    key = await limited(admin, max_jobs=2 * OF_API)
    async with connection.transaction():
        await connection.execute(
            "select from tocsin.api_keys where max_jobs is not null for no key update"
        )
        held = [
            asyncio.create_task(admin.post(f"/v1/jobs{query}", json=MINE, headers=key | more))
            for n in range(OF_API)
            for query, more in (("?dry_run=true", {}), ("", {"Idempotency-Key": f"mine-{n}"}))
        ]
        waits = "select count(*) from pg_locks where not granted and locktype = 'transactionid'"
        await until(partial(connection.fetchval, waits), "one waits for the key's row")
        async with asyncio.timeout(5):  # of the ten that they wait
            other = await admin.post("/v1/jobs?dry_run=true", json=MINE)
        assert not any(one.done() for one in held)

    assert other.status_code == 201
    assert {(await one).status_code for one in held} == {201}


async def test_a_key_that_is_believed_a_moment_longer_makes_no_jobs_that_count_anew(
    admin: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    key = await limited(admin, max_jobs=1)
    assert (await admin.post("/v1/jobs", json=MINE, headers=key)).status_code == 201
    for end in (
        "update tocsin.api_keys set revoked_at = now() where max_jobs = 1",
        "delete from tocsin.api_keys where max_jobs = 1",
    ):
        await connection.execute(end)
        refused = await admin.post("/v1/jobs", json=MINE, headers=key)
        assert (refused.status_code, refused.json()["type"]) == (403, PROBLEM)
        assert "is revoked. Use one that is in force." in refused.text
    assert await connection.fetchval("select count(*) from tocsin.key_jobs") == 0


async def test_limits_are_set_shown_and_recorded(
    admin: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    limits = {
        "max_jobs": 5,
        "min_interval_seconds": 300.0,
        "allowed_hosts": ["api.example.com"],
        "default_ends_in_seconds": 7.0 * DAY,
    }
    key = await limited(admin, **limits)

    listed = (await admin.get("/v1/keys")).json()["items"]
    page = await admin.get("/keys")
    audit = (await admin.get("/v1/audit")).json()["items"]
    entry = next(one for one in audit if one["entity"] == "key")
    state = (await admin.get("/session", headers=key)).json()

    assert {name: listed[0][name] for name in limits} == limits
    assert {listed[1][name] for name in limits} == {None}
    assert "at most 5 jobs" in page.text
    assert "only to api.example.com" in page.text
    assert {name: entry["after"][name] for name in limits} == limits
    assert state["limits"] == limits
    assert (await admin.get("/session")).json()["limits"] is None

    near = {"url": "https://api.example.com/"}
    job = await admin.post("/v1/jobs", json=MINE | {"target": near}, headers=key)
    assert job.status_code == 201, job.text
    assert await connection.fetchval("select count(*) from tocsin.key_jobs") == 1
    await admin.delete(f"/v1/keys/{listed[0]['prefix']}")
    assert await connection.fetchval("select count(*) from tocsin.key_jobs") == 0
    revoked = (await admin.get("/v1/audit")).json()["items"][0]
    assert revoked["changed"] == ["revoked_at"]


async def test_a_key_with_limits_makes_no_key_without(admin: httpx.AsyncClient) -> None:
    body = {"name": "root 2", "scopes": ["write", "admin"], "max_jobs": 5}
    refused = await admin.post("/v1/keys", json=body)
    key = await limited(admin, max_jobs=5)

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "scopes")
    free = {"name": "free", "scopes": ["write"]}
    assert (await admin.post("/v1/keys", json=free, headers=key)).status_code == 403


async def test_a_key_gets_its_limits_on_the_command_line(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", database_url)

    async def tocsin(line: str) -> str:
        run = partial(CliRunner().invoke, main, shlex.split(line), prog_name="tocsin")
        return (await asyncio.to_thread(run)).output

    await tocsin(
        "keys create agent --scope write --max-jobs 50 --min-interval 5m "
        "--allowed-host api.example.com --allowed-host '*.example.org' --default-ends-in 30d"
    )
    free = await tocsin("keys create ops --scope admin --max-jobs 50")
    listed = await tocsin("keys list")

    row = await connection.fetchrow(
        "select max_jobs, min_interval_seconds, allowed_hosts, default_ends_in_seconds "
        "from tocsin.api_keys"
    )
    assert row is not None
    assert tuple(row) == (50, 300, ["api.example.com", "*.example.org"], 30 * DAY)
    assert "agent  (at most 50 jobs, runs at least 5 minutes apart, only to api." in listed
    assert "admin may make keys without limits" in free
