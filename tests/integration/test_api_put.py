"""PUT: the same document again changes nothing; another one replaces all of the job."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.api import HOURLY, JOB, LATER, NIGHTLY, fields
from tests.support.builders import insert_job

ADDRESS = "/v1/jobs/report"
SECRET = {"url": "https://example.com", "auth": {"type": "bearer", "token": "hunter2"}}
HIDDEN = {"url": "https://example.com", "auth": {"type": "bearer", "token": "***"}}


async def test_a_name_that_is_new_is_created(api: httpx.AsyncClient) -> None:
    answer = await api.put(ADDRESS, json=LATER)

    assert answer.status_code == 201
    assert answer.json()["name"] == "report"
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    assert answer.headers["ETag"]


@pytest.mark.parametrize(
    "document",
    [
        LATER,
        NIGHTLY,
        HOURLY,
        JOB | {"cron": "@every 1h"},
        JOB | {"cron": "TZ=Asia/Tokyo  0 3 * * *"},
    ],
    ids=["one-off", "cron", "interval", "every", "untidy cron"],
)
async def test_the_same_document_again_changes_nothing(
    api: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    first = await api.put(ADDRESS, json=document)

    again = await api.put(ADDRESS, json=document | {"name": "report"})

    assert again.status_code == 200
    assert again.json() == first.json()
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Location" not in again.headers


async def test_the_same_document_does_not_plan_a_due_run_anew(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put(ADDRESS, json=HOURLY)
    await connection.execute("update tocsin.jobs set next_run = now() - interval '1 second'")
    due = (await api.get(ADDRESS)).json()

    again = (await api.put(ADDRESS, json=HOURLY)).json()

    assert again == due


async def test_what_is_left_out_goes_back_to_its_default(api: httpx.AsyncClient) -> None:
    await api.put(
        ADDRESS,
        json=LATER
        | {"tags": ["old"], "max_attempts": 1, "description": "old", "metadata": {"a": 1}},
    )

    job = (await api.put(ADDRESS, json=LATER)).json()

    assert (job["tags"], job["max_attempts"], job["description"], job["metadata"]) == (
        [],
        5,
        None,
        {},
    )


async def test_a_job_that_an_operator_paused_stays_paused(api: httpx.AsyncClient) -> None:
    await api.put(ADDRESS, json=LATER)
    await api.post(f"{ADDRESS}/pause")

    unsaid = (await api.put(ADDRESS, json=LATER | {"description": "new"})).json()
    said = (await api.put(ADDRESS, json=LATER | {"paused": False})).json()

    assert (unsaid["paused"], said["paused"]) == (True, False)


async def test_an_edit_that_leaves_the_schedule_alone_leaves_the_plan_alone(
    api: httpx.AsyncClient,
) -> None:
    first = (await api.put(ADDRESS, json=HOURLY)).json()

    job = (await api.put(ADDRESS, json=HOURLY | {"target": {"url": "http://new"}})).json()

    assert job["next_run"] == first["next_run"]
    assert job["updated_at"] > first["updated_at"]


async def test_another_schedule_is_another_plan(api: httpx.AsyncClient) -> None:
    await api.put(ADDRESS, json=NIGHTLY)

    one_off = (await api.put(ADDRESS, json=LATER)).json()
    nightly = (await api.put(ADDRESS, json=NIGHTLY)).json()

    assert (one_off["next_run"], one_off["cron"]) == ("2100-01-01T00:00:00Z", None)
    assert nightly["run_at"] is None
    assert "2026" <= nightly["next_run"] < "2100"


async def test_stars_keep_the_secret_that_is_stored(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    first = await api.put(ADDRESS, json=LATER | {"target": SECRET})

    again = await api.put(ADDRESS, json=LATER | {"target": HIDDEN})
    edited = await api.put(ADDRESS, json=LATER | {"target": HIDDEN | {"method": "PUT"}})

    assert again.headers["ETag"] == first.headers["ETag"]
    assert edited.json()["target"] == HIDDEN | {"method": "PUT"}
    stored = await connection.fetchval("select target->'auth'->>'token' from tocsin.jobs")
    assert stored == "hunter2"


async def test_a_job_as_it_was_answered_may_be_sent_back(api: httpx.AsyncClient) -> None:
    first = await api.put(ADDRESS, json=NIGHTLY | {"target": SECRET})

    again = await api.put(ADDRESS, json=first.json())
    edited = await api.put(ADDRESS, json=first.json() | {"cron": "0 4 * * *"})

    assert again.json() == first.json()
    assert edited.json()["cron"] == "0 4 * * *"


@pytest.mark.parametrize(
    ("address", "document", "field"),
    [
        (ADDRESS, LATER | {"name": "other"}, "name"),
        ("/v1/jobs/01a20b8a-bff9-74d9-850d-71f7929b30ee", LATER, "name"),
        ("/v1/jobs/a%0Ab", LATER, "name"),
        (ADDRESS, LATER | {"nmae": "report"}, "nmae"),
        (ADDRESS, LATER | {"target": {"url": "x"}}, "target.url"),
        (ADDRESS, LATER | {"target": HIDDEN}, "target.auth.token"),
    ],
)
async def test_a_document_that_breaks_a_rule_is_refused(
    api: httpx.AsyncClient, address: str, document: dict[str, Any], field: str
) -> None:
    answer = await api.put(address, json=document)

    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]


async def test_a_replacement_is_for_the_version_that_was_read(api: httpx.AsyncClient) -> None:
    first = await api.put(ADDRESS, json=LATER)
    second = await api.put(ADDRESS, json=NIGHTLY)

    refused = await api.put(ADDRESS, json=HOURLY, headers={"If-Match": first.headers["ETag"]})
    taken = await api.put(ADDRESS, json=HOURLY, headers={"If-Match": second.headers["ETag"]})

    assert (refused.status_code, refused.json()["type"]) == (
        412,
        "urn:tocsin:problem:edit-conflict",
    )
    assert taken.status_code == 200


async def test_a_version_of_a_job_that_is_not_there_cannot_be_replaced(
    api: httpx.AsyncClient,
) -> None:
    answer = await api.put(ADDRESS, json=LATER, headers={"If-Match": "*"})

    assert answer.status_code == 412
    assert (await api.get(ADDRESS)).status_code == 404


async def test_of_many_that_create_the_same_name_one_does_and_all_agree(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    answers = await asyncio.gather(*(api.put(ADDRESS, json=NIGHTLY) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await connection.fetchval("select count(*) from tocsin.jobs") == 1


async def test_a_job_typed_by_hand_is_replaced_by_its_name(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="report", cron="61 * * * *")
    await connection.execute("update tocsin.jobs set plan_error = 'bad', planned_at = now()")

    job = (await api.put(ADDRESS, json=NIGHTLY)).json()

    assert (job["id"], job["state"], job["plan_error"]) == (str(job_id), "scheduled", None)
    assert job["next_run"] is not None
