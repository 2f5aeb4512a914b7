"""The API and an instance under the roles of db/roles.sql, each as a process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import httpx
import pytest

from tests.support.cluster import Process, Processes
from tests.support.rabbit import free_ports
from tests.support.roles import documented, role
from tests.support.sink import Sink
from tests.support.vault import KEY
from tests.support.waiting import until

PATIENCE_SECONDS = 40.0
FAR = "2100-01-01T00:00:00Z"


class Cluster:
    """An API under `tocsin_api`, an instance under `tocsin_instance`, and a client with a key."""

    def __init__(self, api: httpx.AsyncClient, running: dict[str, Process]) -> None:
        self.api = api
        self.running = running
        self.actor = ""
        """The client's key, as the audit log names it."""

    async def call(self, method: str, path: str, *, expected: int, **arguments: object) -> dict:
        answer = await self.api.request(method, path, **arguments)  # type: ignore[arg-type] # of any type
        assert answer.status_code == expected, answer.text
        return dict(answer.json()) if answer.content else {}

    async def executions(self, job: str, count: int) -> list[dict]:
        """Wait until a job has so many executions that succeeded; give them, newest first."""
        found: list[dict] = []

        async def all_there() -> bool:
            page = await self.call("GET", f"/v1/jobs/{job}/executions", expected=200)
            found[:] = page["items"]
            return [one["outcome"] for one in found] == ["succeeded"] * count

        await until(all_there, f"{count} executions of {job}", within=PATIENCE_SECONDS)
        return found


@pytest.fixture
async def cluster(database_url: str, connection: asyncpg.Connection) -> AsyncIterator[Cluster]:
    [port] = free_ports(1)
    settings = {"secret_keys": KEY, "allow_private_targets": "true", "port": port}
    async with AsyncExitStack() as stack:
        urls = {
            command: await stack.enter_async_context(
                role(connection, database_url, documented(name))
            )
            for command, name in (("api", "tocsin_api"), ("scheduler", "tocsin_instance"))
        }
        processes = await stack.enter_async_context(Processes(**settings).running())
        running = {
            command: await processes.start(command, database_url=url)
            for command, url in urls.items()
        }
        await running["api"].says("serving", within=PATIENCE_SECONDS)
        await running["scheduler"].says("connected", within=PATIENCE_SECONDS)
        api = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20)
        )
        given = Cluster(api, running)
        created = await given.call(
            "POST", "/v1/keys", json={"name": "ops", "scopes": ["admin"]}, expected=201
        )
        api.headers["Authorization"] = f"Bearer {created['key']}"
        given.actor = f"key {created['prefix']} (ops)"
        yield given


async def test_jobs_live_their_whole_life_under_the_documented_roles(
    cluster: Cluster, sink: Sink
) -> None:
    call = cluster.call
    await call("PUT", "/v1/secrets/token", json={"value": "sesame"}, expected=201)
    headers = {"X-Token": "${secret:token}"}
    target = {"url": sink.url("/first"), "headers": headers}
    created = await call(
        "PUT",
        "/v1/jobs/nightly",
        json={"kind": "http", "target": target, "run_at": FAR},
        expected=201,
    )
    read = await call("GET", "/v1/jobs/nightly", expected=200)
    assert read["id"] == created["id"]
    await call(
        "PATCH", "/v1/jobs/nightly", json={"target": {"url": sink.url("/edited")}}, expected=200
    )

    await call("POST", "/v1/jobs/nightly/run", expected=202)
    [ran] = await cluster.executions("nightly", 1)
    await call("POST", f"/v1/executions/{ran['id']}/replay", expected=202)
    [again, _] = await cluster.executions("nightly", 2)

    assert [one.path for one in sink.requests] == ["/edited"] * 2
    assert {one.headers["x-token"] for one in sink.requests} == {"sesame"}
    one = await call("GET", f"/v1/executions/{again['id']}", expected=200)
    assert (one["outcome"], one["scheduled_for"]) == ("succeeded", ran["scheduled_for"])

    await call("DELETE", "/v1/jobs/nightly", expected=204)
    await call("GET", "/v1/jobs/nightly", expected=404)
    audit = await call("GET", "/v1/audit", expected=200)
    of_job = [one for one in audit["items"] if one["entity_id"] == created["id"]]
    assert {one["actor"] for one in of_job} == {cluster.actor}
    assert [one["action"] for one in of_job if one["action"] != "update"] == ["delete", "create"]


async def test_every_other_call_works_under_the_documented_roles(
    cluster: Cluster, sink: Sink
) -> None:
    call = cluster.call
    beat = {"kind": "http", "target": {"url": sink.url("/beat")}, "every_seconds": 1}
    await call("POST", "/v1/jobs", json=beat | {"name": "beat"}, expected=201)
    await call("POST", "/v1/jobs/batch", json=[beat | {"name": "other"}], expected=201)
    await sink.arrived(2)
    await call("POST", "/v1/jobs/beat/pause", expected=200)
    await call("POST", "/v1/jobs/beat/resume", expected=200)
    for path in ("jobs", "executions", "keys", "secrets", "audit", "instances", "stats"):
        assert await call("GET", f"/v1/{path}", expected=200), path
    assert (await call("GET", "/v1/instances", expected=200))["items"]
    await call("POST", "/v1/schedule/preview", json={"cron": "0 3 * * *"}, expected=200)
    await call("GET", "/health/ready", expected=200)

    more = await call("POST", "/v1/keys", json={"name": "more", "scopes": ["read"]}, expected=201)
    await call("GET", f"/v1/keys/{more['prefix']}", expected=200)
    await call("POST", "/session", json={"key": more["key"]}, expected=200)
    await call("DELETE", "/session", expected=204)
    await call("DELETE", f"/v1/keys/{more['prefix']}", expected=204)

    for process in cluster.running.values():
        assert await process.terminate() == 0
        assert process.text == []
        assert not process.said("faulted")
        assert not process.said("upkeep_failed")
