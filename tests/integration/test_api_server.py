"""The API as it is served: uvicorn on a loopback address."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
from litestar.routes import HTTPRoute
from msgspec.structs import replace

from app.asgi import create_app
from app.config import Settings
from app.errors import InvalidSettings
from tests.support.api import NIGHTLY


async def test_a_job_lives_its_life_over_a_real_connection(served: str) -> None:
    async with httpx.AsyncClient(base_url=served) as api:
        made = await api.put("/v1/jobs/report", json=NIGHTLY)
        patched = await api.patch(
            "/v1/jobs/report",
            content=b'{"tags": ["a"]}',
            headers={
                "Content-Type": "application/merge-patch+json",
                "If-Match": made.headers["ETag"],
            },
        )
        run = await api.post(f"{made.headers['Location']}/run")
        found = await api.get("/v1/jobs", params={"tag": "a"})
        gone = await api.delete("/v1/jobs/report")

    codes = [answer.status_code for answer in (made, patched, run, found, gone)]
    assert codes == [201, 200, 202, 200, 204]
    assert found.json()["items"][0]["name"] == "report"


async def test_a_body_without_end_is_not_read_to_its_end(served: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    async with httpx.AsyncClient(base_url=served, timeout=20) as api:
        with suppress(httpx.HTTPError):  # the connection may be closed while we still send
            assert (await api.post("/v1/jobs", content=endless())).status_code == 413


async def test_options_name_every_method_of_an_address(served: str) -> None:
    async with httpx.AsyncClient(base_url=served) as api:
        jobs = await api.options("/v1/jobs")
        job = await api.options("/v1/jobs/report")

    assert (jobs.status_code, jobs.headers["Allow"]) == (204, "GET, OPTIONS, POST")
    assert job.headers["Allow"] == "DELETE, GET, OPTIONS, PATCH, PUT"


async def test_head_is_answered_wherever_get_is_and_ends_with_its_head(served: str) -> None:
    app = create_app(Settings(database_url="postgresql://h/d"))
    paths = [
        re.sub(r"\{[^}]+\}", "x", route.path)
        for route in app.routes
        if isinstance(route, HTTPRoute) and "GET" in route.methods
    ]
    pool = httpx.Limits(max_connections=1)
    answers = {}
    async with httpx.AsyncClient(base_url=served, limits=pool, timeout=5) as api:
        for path in paths:
            head = await api.head(path)
            answers[path] = head.status_code, head.content
            assert (await api.get("/health/live")).status_code == 200, path

    assert "/v1/events" in answers
    assert len(answers) > 50
    assert {content for _, content in answers.values()} == {b""}
    assert not [path for path, (status, _) in answers.items() if status in {405, 500, 501}]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("allowed_targets", ("10.0.0.0/99",)),
        ("denied_targets", ("no host",)),
        ("allowed_ports", ("70000",)),
        ("allowed_ports", ("9-1",)),
    ],
)
def test_lists_of_targets_that_would_stop_an_instance_stop_the_api(
    setting: str, value: tuple[str, ...]
) -> None:
    settings = replace(Settings(database_url="postgresql://h/d"), **{setting: value})

    with pytest.raises(InvalidSettings, match=f"TOCSIN_{setting.upper()}"):
        create_app(settings)


def test_without_the_address_of_a_database_there_is_no_api() -> None:
    with pytest.raises(InvalidSettings, match="TOCSIN_DATABASE_URL"):
        create_app(Settings())
