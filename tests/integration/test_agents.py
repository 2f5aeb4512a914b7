"""`tocsin mcp`, spoken to by the library's own client, against an API that is served."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters

from app.cli.remote.agents import server_of
from app.cli.remote.api import Api
from app.cli.remote.tools import tools_of
from tests.repository.test_openapi import DOCUMENT
from tests.support.cluster import ROOT
from tests.support.sink import Sink, cut, late, reply

PAGE = (ROOT / "docs" / "agents.md").read_text("utf-8")
[CONFIGURATION] = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
[COMMAND, *OPTIONS] = json.loads(CONFIGURATION)["mcpServers"]["tocsin"]["args"]
JOB = {"name": "reminder", "kind": "http", "target": {"url": "https://example.com/"}}


@pytest.fixture
async def api(served: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served) as client:
        yield client


@asynccontextmanager
async def agent(
    api: httpx.AsyncClient, home: Path, *options: str, scope: str
) -> AsyncIterator[Client]:
    """Start `tocsin mcp` with a key of this scope, and connect to it."""
    made = await api.post("/v1/keys", json={"name": f"agent-{scope}", "scopes": [scope]})
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "app", COMMAND, *options],
        env={
            "TOCSIN_URL": str(api.base_url),
            "TOCSIN_API_KEY": made.json()["key"],
            "XDG_CONFIG_HOME": str(home),
        },
        cwd=ROOT,
    )
    async with Client(server) as client:
        yield client


async def called(client: Client, name: str, **arguments: Any) -> tuple[bool, Any]:  # noqa: ANN401
    """Call a tool: whether it worked, and what it answered."""
    result = await client.call_tool(name, arguments)
    [content] = result.content
    return not result.is_error, result.structured_content or getattr(content, "text", "")


async def test_an_agent_that_may_write_makes_and_deletes_a_job(
    api: httpx.AsyncClient, home: Path
) -> None:
    async with agent(api, home, *OPTIONS, scope="write") as client:
        tools = {one.name: one for one in (await client.list_tools()).tools}
        once = {"body": JOB | {"every_seconds": 3600}, "idempotency_key": "reminder"}
        worked, job = await called(client, "createJob", **once)
        _, again = await called(client, "createJob", **once)
        edited, _ = await called(
            client, "patchJob", job="reminder", if_match=job["etag"], body={"priority": 1}
        )
        stale, why = await called(
            client, "patchJob", job="reminder", if_match=job["etag"], body={"priority": 2}
        )
        refused, problem = await called(client, "createJob", body=JOB | {"every_seconds": 0})
        _, listed = await called(client, "listJobs", state="scheduled", limit=1)
        deleted = await called(client, "deleteJob", job="reminder")
        missing = await called(client, "getJob")
        unknown = await called(client, "createKey", body={})

    delete = tools["deleteJob"].annotations
    assert delete is not None
    assert (delete.destructive_hint, delete.read_only_hint) == (True, False)
    assert worked
    assert (again["id"], len(job["outlook"]["next_runs"])) == (job["id"], 5)
    assert job["outlook"]["has_instance"] is False
    assert (edited, stale) == (True, False)
    assert '"status": 412' in why
    assert [one["id"] for one in listed["items"]] == [job["id"]]
    assert not refused
    assert '"field": "every_seconds"' in problem
    assert deleted == (True, "done")
    assert missing == (False, "the argument 'job' is missing")
    assert unknown == (False, "there is no tool 'createKey' for this key")


async def test_without_being_told_so_nothing_is_changed_whatever_the_key_may(
    api: httpx.AsyncClient, home: Path
) -> None:
    async with agent(api, home, scope="write") as client:
        tools = (await client.list_tools()).tools
        worked, why = await called(client, "createJob", body=JOB | {"every_seconds": 3600})

    assert tools
    assert all(one.annotations and one.annotations.read_only_hint for one in tools)
    assert (worked, why) == (False, "there is no tool 'createJob' for this key")


@asynccontextmanager
async def tools_at(sink: Sink, *names: str) -> AsyncIterator[Client]:
    """Connect to the tools of an API that is a sink, in this process."""
    tools = [one for one in tools_of(DOCUMENT, {"read"}) if one.name in names]
    with closing(Api(sink.url(""))) as to_sink:
        async with Client(server_of(to_sink, DOCUMENT, tools)) as client:
            yield client


async def test_a_connection_that_was_closed_while_the_agent_thought_is_made_anew(
    sink: Sink,
) -> None:
    sink.default = cut(reply(200, b'{"items":[]}'))
    async with tools_at(sink, "listJobs") as client:
        answers = [await called(client, "listJobs") for _ in range(2)]

    assert answers == [(True, {"items": []})] * 2


async def test_a_call_that_is_given_up_leaves_its_answer_to_no_other(sink: Sink) -> None:
    sink.on("/v1/jobs", late(0.5, reply(200, b'{"items":[1]}')))
    sink.on("/v1/flows", reply(200, b'{"items":[2]}'))
    async with tools_at(sink, "listJobs", "listFlows") as client:
        given_up = asyncio.create_task(called(client, "listJobs"))
        await sink.arrived(1)
        given_up.cancel()
        answer = await called(client, "listFlows")

    assert answer == (True, {"items": [2]})
