"""Secrets of a job that are kept in an edit, or in a test, go to no other server than before."""

import json

import asyncpg
import httpx
import pytest

from tests.support.api import NIGHTLY, fields
from tests.support.builders import insert_job

HERE = "https://api.example.com/x"
ELSEWHERE = "https://evil.example/x"
TARGET = {"url": HERE, "headers": {"X-Key": "sesame"}}
MASKED = {"url": ELSEWHERE, "headers": {"X-Key": "***"}}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/jobs/nightly", NIGHTLY | {"target": MASKED}),
        ("PATCH", "/v1/jobs/nightly", {"target": {"url": ELSEWHERE}}),
        ("PATCH", "/v1/jobs/nightly", {"target": MASKED}),
        ("POST", "/v1/tests", {"kind": "http", "job": "nightly", "target": MASKED}),
        ("POST", "/v1/jobs/batch?replace=true", [NIGHTLY | {"name": "nightly", "target": MASKED}]),
    ],
)
async def test_no_door_sends_a_secret_elsewhere_that_is_not_written_out(
    api: httpx.AsyncClient, method: str, path: str, body: object
) -> None:
    await api.put("/v1/jobs/nightly", json=NIGHTLY | {"target": TARGET})
    before = (await api.get("/v1/jobs/nightly")).json()

    answer = await api.request(method, path, json=body)

    assert answer.status_code == 422, answer.text
    assert [one.endswith("target.headers.X-Key") for one in fields(answer)] == [True]
    assert "sesame" not in answer.text
    assert "https://evil.example:443" in answer.text
    assert (await api.get("/v1/jobs/nightly")).json() == before


async def test_a_secret_that_is_not_written_out_is_sent_to_nobody_less_sure_to_be_the_same(
    api: httpx.AsyncClient,
) -> None:
    await api.put("/v1/jobs/nightly", json=NIGHTLY | {"target": TARGET})

    blind = await api.patch("/v1/jobs/nightly", json={"target": {"verify_tls": False}})
    written = {"verify_tls": False, "headers": {"X-Key": "new"}}
    edited = await api.patch("/v1/jobs/nightly", json={"target": written})
    sharper = await api.patch("/v1/jobs/nightly", json={"target": {"verify_tls": True}})

    assert fields(blind) == ["target.headers.X-Key"]
    assert "target.verify_tls" in blind.text
    assert (edited.status_code, sharper.status_code) == (200, 200)


async def test_a_secret_that_is_written_out_goes_along(api: httpx.AsyncClient) -> None:
    await api.put("/v1/jobs/nightly", json=NIGHTLY | {"target": TARGET})

    anew = {"target": {"url": ELSEWHERE, "headers": {"X-Key": "new"}}}
    edited = await api.patch("/v1/jobs/nightly", json=anew)

    assert edited.json()["target"] == MASKED


async def test_an_update_in_sql_takes_no_encrypted_secret_to_another_server(
    connection: asyncpg.Connection,
) -> None:
    token = "encrypted.v2.0123abcd.gAAAAABm-_x=="
    signed = {"type": "signature", "secret": token.replace("gAA", "sig")}
    target = {"url": "https://me@API.example.com/x", "headers": {"X-Key": token}}
    job = await insert_job(connection, target=target, every_seconds=3600)
    update = "update tocsin.jobs set target = target || $2::jsonb, description = $3 where id = $1"

    for change in (
        {"url": ELSEWHERE},
        {"url": "https://api.example.com:8443/x"},
        {"url": "http://api.example.com/x"},
        {"url": "https://api.example.com@evil.example/x"},
        {"auth": {"type": "oauth2", "token_url": ELSEWHERE, "client_secret": "x"}},
        {"verify_tls": False},
        {"ca": "another"},
        # means the same, as base64 leaves some bits of the last character unused
        {"url": ELSEWHERE, "headers": {"X-Key": token.replace("x==", "y==")}},
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="for another server") as refusal:
            await connection.execute(update, job, json.dumps(change), "x")
        assert (refusal.value.column_name, bool(refusal.value.hint)) == ("target", True)
    for change in (
        {"url": "https://api.example.com/other?a=//evil.example"},
        {"body": "https://evil.example/"},
        {"url": ELSEWHERE, "headers": {"X-Key": token.replace("gAA", "new")}},
        {"url": HERE, "headers": {}, "auth": signed, "client_key": token},
        {"verify_tls": False},  # neither of these is sent
    ):
        await connection.execute(update, job, json.dumps(change), "x")
