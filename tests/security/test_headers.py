"""What every answer tells browsers, whatever kind of answer it is."""

import re

import httpx
import pytest

from app.api.headers import HEADERS
from tests.support.api import serving
from tests.support.recorder import Recorder

ANSWERS = [
    pytest.param("GET", "/v1/jobs", 200, id="an answer"),
    pytest.param("POST", "/v1/jobs", 400, id="a problem"),
    pytest.param("GET", "/v1/jobs/none", 404, id="not there"),
    pytest.param("GET", "/nowhere", 404, id="no address"),
    pytest.param("PUT", "/v1/jobs", 405, id="no method"),
    pytest.param("OPTIONS", "/v1/jobs", 204, id="options"),
    pytest.param("GET", "/", 200, id="a page of the dashboard"),
    pytest.param("GET", "/jobs/none/none", 404, id="no page"),
    pytest.param("GET", "/static/0/app.css", 200, id="a style sheet"),
    pytest.param("GET", "/health/live", 200, id="a probe"),
    pytest.param("GET", "/openapi.json", 200, id="the description"),
    pytest.param("GET", "/docs", 200, id="a page of the docs"),
    pytest.param("GET", "/docs/start.js", 200, id="a script"),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
async def test_every_answer_has_the_headers(
    module_api: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await module_api.request(method, path)

    assert answer.status_code == status
    for name in HEADERS:
        assert len(answer.headers.get_list(name)) == 1, name
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert "Strict-Transport-Security" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_bug_has_the_headers_too(database_url: str, faults: Recorder) -> None:
    async with serving(database_url, faults) as api:
        api._transport.app.state.key_ring = None  # type: ignore[attr-defined]
        answer = await api.get("/v1/jobs")

    assert answer.status_code == 500
    assert all(answer.headers[name] == value for name, value in HEADERS.items())


async def test_the_docs_run_no_script_but_our_files(api: httpx.AsyncClient) -> None:
    page = await api.get("/docs")

    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert re.findall(r"<script(?! src=\"docs/[a-z.-]+\"></script>)", page.text) == []
    assert not re.search(r"\son\w+=", page.text)


async def test_behind_tls_browsers_are_told_to_stay_there(api: httpx.AsyncClient) -> None:
    answer = await api.get("https://localhost/health/live")

    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_what_jobs_are_called_is_never_taken_for_a_page(api: httpx.AsyncClient) -> None:
    job = {"kind": "http", "target": {"url": "http://h/"}, "every_seconds": 60}
    await api.post("/v1/jobs", json=job | {"name": "<script>alert(1)<|script>"})

    answer = await api.get("/v1/jobs", headers={"Accept": "text/html,*/*"})

    assert answer.headers["Content-Type"] == "application/json"
