"""Many jobs at once: all or none, errors by index."""

from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json

from app.jobs.create import PART
from tests.support.api import HOURLY, LATER, NIGHTLY, fields
from tests.support.builders import insert_job

ADDRESS = "/v1/jobs/batch"
MOST = 10_000
Form = Callable[[list[Any]], Any]


async def count(connection: asyncpg.Connection) -> int:
    jobs: int = await connection.fetchval("select count(*) from tocsin.jobs")
    return jobs


@pytest.mark.parametrize("form", [lambda jobs: {"jobs": jobs}, list], ids=["object", "bare array"])
async def test_all_of_a_batch_are_created_in_their_order(
    api: httpx.AsyncClient, connection: asyncpg.Connection, form: Form
) -> None:
    jobs = [LATER | {"name": "a"}, NIGHTLY | {"name": "b"}, HOURLY | {"name": "c"}]

    answer = await api.post(ADDRESS, json=form(jobs))

    assert answer.status_code == 201, answer.text
    items = answer.json()["items"]
    assert [job["name"] for job in items] == ["a", "b", "c"]
    assert all(job["next_run"] for job in items)
    assert items[1] == (await api.get("/v1/jobs/b")).json()
    assert await count(connection) == 3


async def test_secrets_of_a_batch_are_masked(api: httpx.AsyncClient) -> None:
    target = {"url": "https://example.com", "auth": {"type": "bearer", "token": "hunter2"}}

    answer = await api.post(ADDRESS, json=[LATER | {"target": target}])

    assert answer.json()["items"][0]["target"]["auth"]["token"] == "***"


async def test_an_empty_batch_is_none(api: httpx.AsyncClient) -> None:
    answer = await api.post(ADDRESS, json={"jobs": []})

    assert (answer.status_code, answer.json()) == (201, {"items": []})


@pytest.mark.parametrize("form", [lambda jobs: {"jobs": jobs}, list], ids=["object", "bare array"])
@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (LATER | {"target": {"url": "x"}}, ["[3].target.url"]),
        (LATER | {"target": {"url": "x"}, "timezone": "Mars"}, ["[3].target.url", "[3].timezone"]),
        (LATER | {"max_attempts": 0}, ["[3].max_attempts"]),
        (LATER | {"run_at": None}, ["[3].run_at"]),
        (LATER | {"name": "a0"}, ["[3].name"]),
        ({"kind": "http"}, ["[3].target"]),
        (LATER | {"description": "\0"}, ["[3].description"]),
        (5, ["[3]"]),
    ],
    ids=["target", "two", "type", "schedule", "duplicate", "missing", "nul", "no object"],
)
async def test_one_that_is_wrong_keeps_all_out(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    bad: Any,  # noqa: ANN401
    expected: list[str],
    form: Form,
) -> None:
    jobs = [*(LATER | {"name": f"a{n}"} for n in range(3)), bad]

    answer = await api.post(ADDRESS, json=form(jobs))

    assert answer.status_code == 422, answer.text
    assert fields(answer) == expected
    assert await count(connection) == 0


async def test_names_that_exist_keep_all_out_and_are_named_by_index(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="a1")
    await insert_job(connection, name="a3")

    answer = await api.post(ADDRESS, json=[LATER | {"name": f"a{n}"} for n in range(5)])

    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:tocsin:problem:name-taken"
    assert fields(answer) == ["[1].name", "[3].name"]
    assert await count(connection) == 2


def long_batch(last: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a batch of several parts; `last` is its last job."""
    return [*(LATER | {"name": f"a{n}"} for n in range(2 * PART)), last]


async def test_a_batch_of_several_parts_is_created_in_its_order(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    jobs = long_batch(NIGHTLY | {"name": "last"})

    answer = await api.post(ADDRESS, json=jobs)

    assert answer.status_code == 201, answer.text[:500]
    assert [job["name"] for job in answer.json()["items"]] == [job["name"] for job in jobs]
    assert await count(connection) == len(jobs)
    assert await connection.fetchval("select count(distinct xmin::text) from tocsin.jobs") == 1


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (LATER | {"target": {"url": "x"}}, (422, [f"[{2 * PART}].target.url"])),
        (LATER | {"name": "taken"}, (409, [f"[{2 * PART}].name"])),
        (LATER | {"name": "a0"}, (422, [f"[{2 * PART}].name"])),
    ],
    ids=["wrong", "taken", "twice"],
)
async def test_the_last_part_of_a_batch_keeps_all_out(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    last: dict[str, Any],
    expected: tuple[int, list[str]],
) -> None:
    await insert_job(connection, name="taken")

    answer = await api.post(ADDRESS, json=long_batch(last))

    assert (answer.status_code, fields(answer)) == expected
    assert await count(connection) == 1
    assert (await api.post(ADDRESS, json=long_batch(LATER))).status_code == 201


async def test_what_is_wrong_in_a_later_part_is_told_before_a_name_that_is_taken(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="a0")

    answer = await api.post(ADDRESS, json=long_batch(LATER | {"target": {"url": "x"}}))

    assert (answer.status_code, fields(answer)) == (422, [f"[{2 * PART}].target.url"])
    assert await count(connection) == 1


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (LATER, ["description"]),
        (LATER | {"timezone": "Mars"}, [f"[{2 * PART}].timezone"]),
    ],
    ids=["nothing else", "a later part"],
)
async def test_a_refusal_by_the_database_keeps_all_parts_out(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    last: dict[str, Any],
    expected: list[str],
) -> None:
    await connection.execute(
        "alter table tocsin.jobs add constraint jobs_description check (name <> 'a0')"
    )

    answer = await api.post(ADDRESS, json=long_batch(last))

    assert (answer.status_code, fields(answer)) == (422, expected)
    assert await count(connection) == 0


@pytest.mark.slow
async def test_ten_thousand_jobs_are_one_batch_and_one_more_is_too_many(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    jobs = [NIGHTLY | {"name": f"job-{n}", "tags": ["batch"]} for n in range(MOST)]

    answer = await api.post(ADDRESS, json={"jobs": jobs}, timeout=30)
    refused = await api.post(ADDRESS, json={"jobs": [*jobs, LATER]}, timeout=30)

    assert answer.status_code == 201, answer.text[:500]
    assert [job["name"] for job in answer.json()["items"]] == [job["name"] for job in jobs]
    assert await count(connection) == MOST
    assert (refused.status_code, "10000" in refused.text) == (422, True)


async def test_a_batch_may_be_larger_than_other_bodies_but_not_endless(
    api: httpx.AsyncClient,
) -> None:
    wordy = LATER | {"description": "x" * 2_000}

    taken = await api.post(ADDRESS, json=[wordy] * 700)
    refused = await api.post(ADDRESS, content=json.encode([wordy] * 8_500))

    assert (taken.status_code, refused.status_code) == (201, 413)
