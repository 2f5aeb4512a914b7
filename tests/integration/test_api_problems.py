"""Every way to be refused is a problem that says what to do, and tells nothing it should not."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from app.core.facts import Faulted
from app.db import jobs
from tests.support.api import LATER, serving
from tests.support.recorder import Recorder

PROBLEM = "application/problem+json"
JSON = {"Content-Type": "application/json"}


def is_problem(answer: httpx.Response, status: int) -> bool:
    """Check the form that all problems have."""
    problem = answer.json()
    return (
        answer.status_code == status
        and answer.headers["Content-Type"] == PROBLEM
        and problem.keys() == {"type", "title", "status", "detail", "errors"}
        and problem["status"] == status
        and problem["type"].startswith("urn:tocsin:problem:")
        and bool(problem["title"] and problem["detail"])
        and all(error.keys() == {"field", "message"} for error in problem["errors"])
    )


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"kind": "http",}',
        b"{'kind': 1}",
        b"\xff\xfe",
        b'"\xff"',
        b"[NaN]",
        b'"\\ud800"',
        b"[" * 100_000,
        b'{"target": {"json": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
    ],
    ids=["empty", "cut", "comma", "quotes", "utf-16", "utf-8", "nan", "surrogate", "open", "deep"],
)
@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("POST", "/v1/jobs"),
        ("PUT", "/v1/jobs/report"),
        ("PATCH", "/v1/jobs/report"),
        ("POST", "/v1/jobs/batch"),
        ("POST", "/v1/schedule/preview"),
    ],
)
async def test_a_body_that_is_no_json_is_malformed(
    module_api: httpx.AsyncClient, method: str, address: str, body: bytes
) -> None:
    answer = await module_api.request(method, address, content=body, headers=JSON)

    assert is_problem(answer, 400), answer.text


@pytest.mark.parametrize(
    "media_type",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"],
)
async def test_a_body_that_is_called_something_else_is_not_read(
    api: httpx.AsyncClient, media_type: str
) -> None:
    answer = await api.post("/v1/jobs", content=b"{}", headers={"Content-Type": media_type})

    assert is_problem(answer, 415)
    assert "application/json" in answer.json()["detail"]


async def test_only_a_patch_is_a_merge_patch(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/v1/jobs", content=b"{}", headers={"Content-Type": "application/merge-patch+json"}
    )

    assert is_problem(answer, 415)


async def test_a_body_without_a_type_is_taken_for_json(api: httpx.AsyncClient) -> None:
    body = b'{"kind": "http", "target": {"url": "http://x"}, "run_at": "2100-01-01T00:00:00Z"}'

    answer = await api.post("/v1/jobs", content=body)

    assert "Content-Type" not in answer.request.headers
    assert answer.status_code == 201


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("application/*;q=0.5, text/html", 200),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 200),
        ("", 200),
        ("*/*;q=inf", 200),
        ("text/html", 406),
        ("application/xml, text/*", 406),
    ],
)
async def test_an_answer_in_json_must_be_acceptable(
    module_api: httpx.AsyncClient, accept: str, status: int
) -> None:
    answer = await module_api.get("/v1/jobs", headers={"Accept": accept})

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == (PROBLEM if status == 406 else "application/json")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "address", ["/v2/jobs", "/v1", "/v1/job", "/v1/jobs/a/b/c", "/favicon.ico"]
)
async def test_an_address_that_is_none_is_not_found(
    module_api: httpx.AsyncClient, address: str
) -> None:
    assert is_problem(await module_api.get(address), 404)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [
        ("DELETE", "/v1/jobs", "POST"),
        ("POST", "/v1/jobs/report", "PATCH"),
        ("GET", "/v1/jobs/batch", "POST"),
        ("GET", "/v1/jobs/report/run", "POST"),
        ("PUT", "/health/live", "GET"),
    ],
)
async def test_a_method_that_is_not_taken_says_which_are(
    module_api: httpx.AsyncClient, method: str, address: str, allowed: str
) -> None:
    answer = await module_api.request(method, address)

    assert is_problem(answer, 405)
    assert allowed in answer.headers["Allow"].split(", ")


async def test_a_body_that_is_too_large_is_not_read(api: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 65_536

    told = await api.post("/v1/jobs", content=b" " * 1_100_000, headers=JSON)
    streamed = await api.post("/v1/jobs", content=endless(), headers=JSON)

    assert is_problem(told, 413)
    assert is_problem(streamed, 413)


async def test_a_body_of_another_shape_is_refused(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/jobs", content=b"[]", headers=JSON)

    assert is_problem(answer, 422)
    assert "must be an object, not an array" in answer.json()["detail"]


async def test_a_bug_tells_the_client_nothing_and_the_log_where_it_was(
    api: httpx.AsyncClient, faults: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(*_: Any) -> None:  # noqa: ANN401
        raise RuntimeError("hunter2")

    monkeypatch.setattr(jobs, "find", find)

    answer = await api.get("/v1/jobs/report")

    assert is_problem(answer, 500)
    assert "hunter2" not in answer.text
    [fault] = faults.of(Faulted)
    assert fault.where == "GET /v1/jobs/{job}"
    assert fault.error.startswith("RuntimeError")
    assert "test_api_problems.py" in fault.error
    assert "hunter2" not in fault.error


async def test_a_row_that_the_database_refuses_keeps_its_secrets_out_of_problem_and_log(
    api: httpx.AsyncClient, connection: asyncpg.Connection, faults: Recorder
) -> None:
    await connection.execute(
        "alter table tocsin.jobs add constraint none check (target->>'url' is null) not valid"
    )
    target = {"url": "https://example.com", "auth": {"type": "bearer", "token": "hunter2"}}

    answer = await api.post("/v1/jobs", json=LATER | {"target": target})

    assert is_problem(answer, 422)
    assert "hunter2" not in answer.text + str(faults.facts)


async def test_what_only_the_database_knows_to_be_wrong_names_the_field(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        """create or replace function tocsin.check_timezone(timezone text) returns void
           language plpgsql as $$ begin
               perform tocsin.refuse('timezone', 'is not known', 'Write UTC.');
           end $$"""
    )

    answer = await api.post("/v1/jobs", json=LATER | {"timezone": "Europe/Paris"})

    assert is_problem(answer, 422)
    assert answer.json()["errors"] == [{"field": "timezone", "message": "is not known. Write UTC."}]


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/v1/jobs"),
        ("POST", "/v1/jobs"),
        ("PUT", "/v1/jobs/report"),
        ("GET", "/v1/executions"),
        ("GET", "/v1/stats"),
        ("GET", "/v1/instances"),
        ("GET", "/health/ready"),
    ],
)
async def test_without_a_database_a_request_is_to_be_tried_again(
    faults: Recorder, method: str, address: str
) -> None:
    nobody = "postgresql://nobody:hunter2@127.0.0.1:9/none"
    async with serving(nobody, faults) as api:
        answer = await api.request(method, address, json=LATER if method[0] == "P" else None)
        live = await api.get("/health/live")

    assert is_problem(answer, 503)
    assert int(answer.headers["Retry-After"]) >= 1
    assert "hunter2" not in answer.text + str(faults.facts)
    assert faults.of(Faulted)
    assert live.status_code == 200


async def test_a_database_without_our_schema_says_what_to_run(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute("drop schema tocsin cascade")

    for address in ("/v1/jobs", "/v1/jobs/report", "/v1/executions", "/health/ready"):
        answer = await api.get(address)

        assert is_problem(answer, 503), answer.text
        assert "tocsin migrate" in answer.json()["detail"]


async def test_a_cut_connection_costs_one_request_at_most(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.get("/v1/jobs")
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name like 'tocsin api %' and datname = current_database()"
    )

    answers = [(await api.get("/v1/jobs")).status_code for _ in range(2)]

    assert answers[0] in {200, 503}
    assert answers[1] == 200
