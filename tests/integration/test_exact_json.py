"""What was sent is stored, and what is stored is sent: types and digits of JSON included."""

import json
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.support.api import LATER
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink

LONG = "0.10000000000000000000000001"
PAIRS = [(0, False), (1, True), (1, 1.0), (False, 0), (2.0, 2), ("1", 1), ([0], [False]), (0, "0")]
HTTP = "http://127.0.0.1:9/nothing-listens-here"
AMQP = "amqp://127.0.0.1/"


def http(value: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"target": {"url": HTTP, "json": {"deep": [{"value": value}]}}}


def metadata(value: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"metadata": {"deep": [{"value": value}]}}


def headers(value: Any) -> dict[str, Any]:  # noqa: ANN401
    target = {"url": AMQP, "routing_key": "queue", "headers": {"deep": {"value": value}}}
    return {"kind": "amqp", "target": target}


async def stored(connection: asyncpg.Connection, name: str | None = None) -> str:
    """Return what is kept of a job: of the one with a name, or of the only one."""
    text: str = await connection.fetchval(
        """select target::text || metadata::text from tocsin.jobs
           where $1::text is null or name = $1""",
        name,
    )
    return text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("call", ["PATCH", "PUT"])
@pytest.mark.parametrize("form", [http, metadata, headers])
@pytest.mark.parametrize(("before", "after"), PAIRS)
async def test_an_edit_of_nothing_but_a_type_is_stored(  # noqa: PLR0913, PLR0917
    module_api: httpx.AsyncClient,
    module_connection: asyncpg.Connection,
    before: Any,  # noqa: ANN401
    after: Any,  # noqa: ANN401
    form: Any,  # noqa: ANN401
    call: str,
) -> None:
    name = f"job-{uuid4().hex}"
    first = await module_api.put(f"/v1/jobs/{name}", json=LATER | form(before))
    change = form(after) if call == "PATCH" else LATER | form(after)

    answer = await module_api.request(call, f"/v1/jobs/{name}", json=change)

    assert (first.status_code, answer.status_code) == (201, 200)
    for field in form(after).keys() - {"kind"}:
        assert json.dumps(answer.json()[field], sort_keys=True) == json.dumps(
            form(after)[field], sort_keys=True
        )
    assert json.dumps(after) in await stored(module_connection, name)
    assert answer.headers["ETag"] != first.headers["ETag"]
    [changed] = await module_connection.fetchval(
        """select changed from tocsin.audit_log
           where action = 'update' and entity_id = $1::text::uuid""",
        first.json()["id"],
    )
    assert changed in {"metadata", "target.json", "target.headers"}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("value", [0, 1.0, True, 1e20, 1e-7, -0.0, 100.0, 2**70, None, "1"])
@pytest.mark.parametrize("form", [http, metadata])
async def test_to_say_the_same_again_writes_nothing(
    module_api: httpx.AsyncClient,
    value: Any,  # noqa: ANN401
    form: Any,  # noqa: ANN401
) -> None:
    first = await module_api.put("/v1/jobs/job", json=LATER | form(value))

    again = await module_api.put("/v1/jobs/job", json=LATER | form(value))

    assert again.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize("number", [LONG, "9007199254740993", "123456789012345678901234567890.5"])
async def test_no_digit_is_lost_from_the_request_to_the_target(
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    number: str,
) -> None:
    body = f"""{{"name": "job", "kind": "http", "run_at": "2100-01-01T00:00:00Z",
        "metadata": {{"n": {number}}}, "target": {{"url": "{sink.url()}", "json": [{number}]}}}}"""
    made = await api.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    edited = await api.patch("/v1/jobs/job", json={"description": "edited", "metadata": {"m": 1}})
    kept = await stored(connection)
    async with instance():
        await api.post("/v1/jobs/job/run")
        [request] = await sink.arrived()

    assert (made.status_code, edited.status_code) == (201, 200)
    assert kept.count(number) == 2
    assert made.text.count(number) == edited.text.count(number) == 2
    assert request.body.decode() == f"[{number}]"


async def test_no_digit_of_a_row_typed_in_psql_is_lost(
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
) -> None:
    await connection.execute(
        f"""insert into tocsin.jobs (name, kind, target, metadata, run_at) values ('job', 'http',
            '{{"url": "{sink.url()}", "json": {{"n": {LONG}}}}}', '{{"n": {LONG}}}', now())"""
    )
    async with instance():
        [request] = await sink.arrived()
        answer = await api.patch("/v1/jobs/job", json={"tags": ["edited"]})

    assert request.body.decode() == f'{{"n":{LONG}}}'
    assert answer.text.count(LONG) == 2
    assert (await stored(connection)).count(LONG) == 2


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400"])
@pytest.mark.parametrize("place", ["metadata", "target"])
async def test_a_number_that_no_program_can_hold_is_refused(
    module_api: httpx.AsyncClient, number: str, place: str
) -> None:
    job = LATER | {"metadata": {}, place: {"url": HTTP} | {"json": {"n": "NUMBER"}}}
    body = json.dumps(job).replace('"NUMBER"', number)

    answer = await module_api.post(
        "/v1/jobs", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"].startswith(place)
    assert "write it as a string" in error["message"]


async def test_a_header_of_a_message_that_would_be_rounded_is_refused(
    api: httpx.AsyncClient,
) -> None:
    job = json.dumps(LATER | headers("NUMBER")).replace('"NUMBER"', LONG)

    answer = await api.post("/v1/jobs", content=job, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "target.headers"


async def test_an_edit_in_psql_of_nothing_but_a_type_is_a_change(
    connection: asyncpg.Connection,
) -> None:
    await insert_job(connection, target={"url": HTTP, "json": 1}, metadata={"n": 1})

    await connection.execute(
        """update tocsin.jobs set metadata = '{"n": 1.0}', target = target || '{"json": 1.0}'"""
    )

    changed = await connection.fetchval(
        "select changed from tocsin.audit_log where action = 'update'"
    )
    assert changed == ["metadata", "target.json"]
