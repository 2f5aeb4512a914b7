"""`tocsin mcp`, spoken to by the library's own client, against an API that is served."""

import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters

from tests.support.cluster import ROOT

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
        worked, job = await called(client, "createJob", body=JOB | {"every_seconds": 3600})
        refused, problem = await called(client, "createJob", body=JOB | {"every_seconds": 0})
        _, listed = await called(client, "listJobs", state="scheduled", limit=1)
        deleted = await called(client, "deleteJob", job="reminder")
        missing = await called(client, "getJob")
        unknown = await called(client, "createKey", body={})

    delete = tools["deleteJob"].annotations
    assert delete is not None
    assert (delete.destructive_hint, delete.read_only_hint) == (True, False)
    assert worked
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
