"""What is told of each request to the API."""

import re
from typing import Any

import httpx
import pytest

from app.core.facts import Requested
from tests.support.api import LATER, serving
from tests.support.recorder import Recorder
from tests.support.roles import as_role

LONGEST = "a" * 64


@pytest.mark.parametrize("given", ["r-1", LONGEST, "01J.A_b-9"])
async def test_a_request_keeps_the_id_that_it_comes_with(
    api: httpx.AsyncClient, given: str
) -> None:
    answer = await api.get("/health/live", headers={"X-Request-Id": given})

    assert answer.headers.get_list("X-Request-Id") == [given]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("given", ["", f"{LONGEST}a", "a b", "a\tb", "ä", "-a", '"}', "a;b"])
async def test_an_id_that_could_forge_a_line_is_replaced(
    module_api: httpx.AsyncClient, given: str
) -> None:
    answers = [
        await module_api.get(path, headers={"X-Request-Id": given.encode()})
        for path in ("/health/live", "/v1/jobs/none", "/nowhere", "/v1/jobs?unknown=1")
    ]

    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert [id for id in ids if not re.fullmatch("[0-9a-f]{16}", id)] == []
    assert len(set(ids)) == len(ids)


async def test_a_line_tells_how_a_request_was_answered_and_nothing_that_its_client_wrote(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Requested] = []
    levels: list[str] = []

    def access_lines(level: str) -> Any:  # noqa: ANN401 - as the original
        levels.append(level)
        return told.append

    monkeypatch.setattr("app.asgi.access_lines", access_lines)
    async with serving(as_role("api", database_url), Recorder(), access_log_level="info") as api:
        made = await api.post("/v1/jobs", json={**LATER, "name": "hunter2"})
        await api.head("/v1/jobs/hunter2?x=hunter2", headers={"Authorization": "Basic hunter2"})
        await api.get("/hunter2")
        await api.request("HUNTER2", "/v1/jobs")

    assert levels == ["info"]
    assert "hunter2" not in repr(told).lower()
    assert [(one.method, one.route, one.status) for one in told] == [
        ("POST", "/v1/jobs", 201),
        ("HEAD", "/v1/jobs/{job}", 422),
        ("GET", "", 404),
        ("_OTHER", "", 405),
    ]
    assert told[0].sent_bytes == len(made.content)
    assert [(one.client, one.caller) for one in told[:3]] == [
        ("127.0.0.1", "loopback"),
        ("127.0.0.1", "loopback"),
        ("127.0.0.1", None),
    ]
