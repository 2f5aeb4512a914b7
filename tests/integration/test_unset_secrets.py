"""Who writes a job that refers to a secret which is not set is told at once."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from app.core.health import unset_finding
from app.db import Database
from app.vault import of_secret
from app.vault.rotate import find_unset_secrets
from tests.support.api import LATER
from tests.support.builders import insert_job, job_row
from tests.support.vault import KEYS

FAR = datetime(2100, 1, 1, tzinfo=UTC)
ADDRESS = "/v1/jobs/report"
TARGET = {"url": "http://h/", "headers": {"X-Token": "${secret:TOKEN}"}}
WARNING = {
    "field": "target.headers.X-Token",
    "message": "refers to the secret 'TOKEN', which is not set: set it with "
    "`tocsin secrets set TOKEN`, as runs fail until then",
}


async def set_secret(connection: asyncpg.Connection, name: str) -> None:
    await connection.execute(
        "insert into tocsin.secrets (name, value) values ($1, $2)",
        name,
        KEYS.encrypt("sesame", of_secret(name)),
    )


async def test_each_way_to_write_a_job_warns_of_a_secret_that_is_not_set(
    api: httpx.AsyncClient,
) -> None:
    document = LATER | {"target": TARGET}
    posted = await api.post("/v1/jobs", json=document)
    batch = await api.post("/v1/jobs/batch", json=[LATER, document])
    put = await api.put(ADDRESS, json=document)
    put_again = await api.put(ADDRESS, json=document)
    patched = await api.patch(ADDRESS, json={"description": "new"})
    retargeted = await api.patch(ADDRESS, json={"target": {"method": "PUT"}})
    sent_back = await api.put(ADDRESS, json=retargeted.json())

    one = (posted, put, put_again, patched, retargeted, sent_back)
    assert [answer.status_code for answer in one] == [201, 201, 200, 200, 200, 200]
    assert [answer.json()["warnings"] for answer in one] == [[WARNING]] * len(one)
    assert [item.get("warnings") for item in batch.json()["items"]] == [None, [WARNING]]


async def test_a_job_whose_secrets_are_set_has_no_warnings(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await set_secret(connection, "TOKEN")

    put = await api.put(ADDRESS, json=LATER | {"target": TARGET})
    plain = await api.post("/v1/jobs", json=LATER)
    read = await api.get(ADDRESS)

    assert [answer.status_code for answer in (put, plain, read)] == [201, 201, 200]
    assert all("warnings" not in answer.json() for answer in (put, plain, read))


@pytest.mark.parametrize(
    ("target", "missing"),
    [
        ({"url": "https://h/${secret:A}?key=${secret:B}"}, {"A": "url", "B": "url"}),
        (
            {"url": "http://h/", "auth": {"type": "bearer", "token": "${secret:A}"}},
            {"A": "auth.token"},
        ),
        (
            {
                "url": "http://h/",
                "auth": {"type": "basic", "username": "me", "password": "${secret:A}"},
                "headers": {"X-B": "v ${secret:B} ${secret:SET}"},
            },
            {"A": "auth.password", "B": "headers.X-B"},
        ),
    ],
)
async def test_every_missing_secret_is_named_with_its_field(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    target: dict[str, Any],
    missing: dict[str, str],
) -> None:
    await set_secret(connection, "SET")

    warnings = (await api.post("/v1/jobs", json=LATER | {"target": target})).json()["warnings"]

    assert [one["field"] for one in warnings] == [f"target.{field}" for field in missing.values()]
    assert all(repr(name) in one["message"] for name, one in zip(missing, warnings, strict=True))


async def test_a_secret_of_a_broker_is_missed_too(api: httpx.AsyncClient) -> None:
    target = {"url": "amqp://me:${secret:A}@h/", "exchange": "", "routing_key": "queue"}

    created = await api.post("/v1/jobs", json=LATER | {"kind": "amqp", "target": target})

    assert [one["field"] for one in created.json()["warnings"]] == ["target.url"]


async def test_the_warnings_of_an_answer_are_described(api: httpx.AsyncClient) -> None:
    described = (await api.get("/openapi.json")).json()["components"]["schemas"]

    assert described["Job"]["properties"]["warnings"]["items"]["$ref"].endswith("/FieldError")
    assert "warnings" not in described["Job"]["required"]
    assert "warnings" not in described["JobDocument"]["properties"]


async def test_the_doctor_names_newer_jobs_that_miss_a_secret(
    db: Database, connection: asyncpg.Connection
) -> None:
    await set_secret(connection, "SET")
    healthy = unset_finding(await find_unset_secrets(db))
    await insert_job(connection, name="typed", target=TARGET, run_at=FAR)
    await insert_job(connection, name="again", target=TARGET, run_at=FAR)
    await insert_job(connection, target={"url": "http://h/${secret:SET}"}, run_at=FAR)
    odd = await insert_job(connection, target={"url": "${secret:", "auth": 1}, run_at=FAR)
    await insert_job(connection, kind="nobodys", target={"a": "${secret:A}"}, run_at=FAR)

    unset = await find_unset_secrets(db)
    told = unset_finding(unset)

    assert unset == [("TOKEN", "again"), ("TOKEN", "typed")]
    assert (healthy.remedy, healthy.found) == ("", "newer jobs miss none")
    assert "TOKEN (again)" in told.found
    assert "tocsin secrets set NAME" in told.remedy
    assert (await job_row(connection, odd))["target"]
