"""What the API takes is bounded: how often, how much, how long, how deep."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.batch import MAX_BYTES as MAX_BATCH_BYTES
from app.asgi import MAX_BYTES
from tests.support.api import JOB, LATER, fields, serving
from tests.support.cluster import Process
from tests.support.recorder import Recorder

MANY = 100
RATE = 5


def of_size(size: int) -> bytes:
    """Make a body of so many bytes, and nothing wrong with it but perhaps that."""
    body = b'{"kind": "http", "target": {"url": "http://h/"}, "every_seconds": 60}'
    return body + b" " * (size - len(body))


@pytest.mark.parametrize(
    ("path", "most"), [("/v1/jobs", MAX_BYTES), ("/v1/jobs/batch", MAX_BATCH_BYTES)]
)
async def test_bodies_have_a_size(api: httpx.AsyncClient, path: str, most: int) -> None:
    fits = of_size(most) if path == "/v1/jobs" else b"[" + of_size(most - 2) + b"]"

    assert (await api.post(path, content=fits)).status_code == 201
    assert (await api.post(path, content=fits + b" ")).status_code == 413


async def test_a_body_that_does_not_say_its_size_has_one_as_well(api: httpx.AsyncClient) -> None:
    async def parts(size: int) -> AsyncIterator[bytes]:
        body = of_size(size)
        for start in range(0, size, 65_536):
            yield body[start : start + 65_536]

    assert (await api.post("/v1/jobs", content=parts(MAX_BYTES))).status_code == 201
    assert (await api.post("/v1/jobs", content=parts(MAX_BYTES + 1))).status_code == 413


async def test_headers_have_a_size(database_url: str) -> None:
    process = await Process.start("api", database_url=database_url, port=0)
    await process.says("serving")
    [line] = process.said("serving")
    async with httpx.AsyncClient(base_url=f"http://{line['address']}") as api:
        codes = [
            (await api.get("/health/live", headers={"X-Long": "x" * size})).status_code
            for size in (15_000, 1_000_000)
        ]
    await process.terminate()

    assert codes == [200, 400]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("field", "fits", "does_not"),
    [
        ("name", "x" * 200, "x" * 201),
        ("description", "x" * 10_000, "x" * 10_001),
        ("tags", ["x"] * 100, ["x"] * 101),
        ("tags", ["x" * 200], ["x" * 201]),
        ("metadata", {"x": "y" * (65_536 - 9)}, {"x": "y" * (65_536 - 8)}),
        ("target", {"url": "http://h/", "body": "x" * (262_144 - 32)}, {"url": "x" * 262_144}),
        ("target", None, {"url": "http://h/", "body": "x" * (262_144 - 31)}),
        ("cron", None, "0 0 " + "1," * 60 + "1 * *"),
        ("timezone", None, "x" * 65),
    ],
)
async def test_fields_have_a_size(
    module_api: httpx.AsyncClient, field: str, fits: object, does_not: object
) -> None:
    good = await module_api.post("/v1/jobs", json=LATER | ({field: fits} if fits else {}))
    schedule = {"cron": "0 0 * * *"} if field == "timezone" else {}
    base = JOB if field in {"cron", "timezone"} else LATER
    bad = await module_api.post("/v1/jobs", json=base | schedule | {field: does_not})

    assert good.status_code == 201, good.text
    assert bad.status_code == 422
    assert fields(bad)[0].partition("[")[0] == field


@pytest.mark.parametrize("count", [10_000, 10_001])
async def test_a_batch_has_a_size(api: httpx.AsyncClient, count: int) -> None:
    answer = await api.post("/v1/jobs/batch", json=[LATER] * count)

    assert answer.status_code == (201 if count == 10_000 else 422)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/executions", "/v1/keys", "/v1/audit"])
async def test_pages_have_a_size(api: httpx.AsyncClient, path: str) -> None:
    assert (await api.get(path, params={"limit": 200})).status_code == 200
    assert (await api.get(path, params={"limit": 201})).status_code == 422
    assert (await api.get(path, params={"limit": 0})).status_code == 422


@pytest.mark.parametrize("count", [100, 101])
async def test_a_preview_has_a_size(api: httpx.AsyncClient, count: int) -> None:
    body = {"cron": "* * * * *", "count": count}

    answer = await api.post("/v1/schedule/preview", json=body)

    assert answer.status_code == (200 if count == 100 else 422)


async def key_of(api: httpx.AsyncClient, name: str) -> dict[str, str]:
    answer = await api.post("/v1/keys", json={"name": name, "scopes": ["admin"]})
    return {"Authorization": f"Bearer {answer.json()['key']}"}


async def test_each_key_has_its_own_rate(database_url: str, faults: Recorder) -> None:
    async with serving(database_url, faults, rate_limit=RATE) as api:
        ann = await key_of(api, "ann")
        api.headers.update(ann)
        bob = await key_of(api, "bob")
        answers = [await api.get("/v1/jobs") for _ in range(RATE)]
        others = await api.get("/v1/jobs", headers=bob)
        probe = await api.get("/health/live")

    # One of ann's was spent on making bob's key.
    assert [one.status_code for one in answers] == [200] * (RATE - 1) + [429]
    assert answers[0].headers["RateLimit-Remaining"] == str(RATE - 2)
    refused = answers[-1]
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.json()["type"] == "urn:tocsin:problem:too-many-requests"
    assert others.status_code == probe.status_code == 200


async def test_the_rate_starts_anew_with_each_minute(
    database_url: str, faults: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = 1_000_000.0
    for module in ("app.api.rate_limit", "litestar.middleware.rate_limit"):
        monkeypatch.setattr(f"{module}.time", lambda: minute)
    async with serving(database_url, faults, rate_limit=1) as api:
        codes = [(await api.get("/v1/jobs")).status_code for _ in range(2)]
        minute += 59
        codes.append((await api.get("/v1/jobs")).status_code)
        minute += 1
        codes.append((await api.get("/v1/jobs")).status_code)

    assert codes == [200, 429, 429, 200]


async def test_without_a_limit_none_is_spoken_of(api: httpx.AsyncClient) -> None:
    answers = [await api.get("/v1/stats") for _ in range(MANY)]

    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit-Limit" not in answers[0].headers
