"""PATCH: merge semantics, the plan that follows an edit, and edits that win."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from tests.support.api import HOURLY, LATER, NIGHTLY, fields
from tests.support.builders import insert_job, job_row
from tests.support.waiting import until

YEAR = datetime.now(UTC).year + 2
"""One that has not begun, and that is not too far ahead to plan."""
DONE = """update tocsin.jobs set next_run = null, planned_at = now(), locked_until = null,
          last_outcome = $2, last_finished_at = now(), runs = 1 where id = $1"""
EXECUTING = """update tocsin.jobs set locked_until = now() + interval '1 minute', locked_by = 'me',
               fence = fence + 1, attempt = attempt + 1 where id = $1"""


async def created(api: httpx.AsyncClient, document: dict[str, Any]) -> tuple[UUID, dict[str, Any]]:
    job = (await api.post("/v1/jobs", json=document)).json()
    return UUID(job["id"]), job


async def patched(api: httpx.AsyncClient, job_id: UUID, patch: dict[str, Any]) -> dict[str, Any]:
    answer = await api.patch(f"/v1/jobs/{job_id}", json=patch)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


@pytest.mark.parametrize(
    "media_type",
    ["application/merge-patch+json", "application/json", "Application/JSON; charset=utf-8"],
)
async def test_what_is_given_replaces_and_the_rest_stays(
    api: httpx.AsyncClient, media_type: str
) -> None:
    job_id, before = await created(api, LATER | {"name": "report", "tags": ["a"]})

    answer = await api.patch(
        f"/v1/jobs/{job_id}", content=b'{"tags": ["b"]}', headers={"Content-Type": media_type}
    )

    changed = {name for name, value in answer.json().items() if value != before[name]}
    assert changed == {"tags", "updated_at"}


async def test_null_takes_a_field_back_to_its_default(api: httpx.AsyncClient) -> None:
    job_id, _ = await created(
        api,
        LATER
        | {
            "name": "n",
            "description": "d",
            "tags": ["a"],
            "max_attempts": 1,
            "timezone": "Asia/Tokyo",
        },
    )

    job = await patched(
        api,
        job_id,
        {"name": None, "description": None, "tags": None, "max_attempts": None, "timezone": None},
    )

    assert [job[name] for name in ("name", "description", "tags", "max_attempts", "timezone")] == [
        None,
        None,
        [],
        5,
        "UTC",
    ]


async def test_objects_are_merged_at_any_depth(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    target = {
        "url": "https://example.com",
        "headers": {"Accept": "text/plain", "X-Token": "hunter2", "X-Old": "1"},
    }
    job_id, _ = await created(api, LATER | {"target": target, "metadata": {"a": {"b": 1, "c": 2}}})

    job = await patched(
        api,
        job_id,
        {
            "target": {"headers": {"X-Old": None, "X-New": "2"}, "method": "PUT"},
            "metadata": {"a": {"b": None}, "d": [None]},
        },
    )

    assert job["metadata"] == {"a": {"c": 2}, "d": [None]}
    assert job["target"]["headers"] == {"Accept": "text/plain", "X-Token": "***", "X-New": "2"}
    assert job["target"]["method"] == "PUT"
    stored = await connection.fetchval("select target->'headers'->>'X-Token' from tocsin.jobs")
    assert stored == "hunter2"


async def test_stars_in_a_patch_keep_the_secret(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    target = {"url": "https://example.com", "auth": {"type": "bearer", "token": "hunter2"}}
    job_id, _ = await created(api, LATER | {"target": target})

    await patched(api, job_id, {"target": {"auth": {"token": "***"}, "method": "PUT"}})

    stored = await connection.fetchval("select target->'auth'->>'token' from tocsin.jobs")
    assert stored == "hunter2"


@pytest.mark.parametrize(
    "patch", [{}, {"tags": ["a"]}, {"metadata": {}}, {"target": {"auth": None}}]
)
async def test_a_patch_that_changes_nothing_writes_nothing(
    api: httpx.AsyncClient, patch: dict[str, Any]
) -> None:
    job_id, before = await created(api, NIGHTLY | {"tags": ["a"]})

    assert await patched(api, job_id, patch) == before


@pytest.mark.parametrize(
    ("patch", "field", "remedy"),
    [
        ({"kind": None}, "kind", "required"),
        ({"target": None}, "target", "required"),
        ({"target": {"url": None}}, "target.url", "required"),
        ({"run_at": "2100-01-01T00:00:00Z"}, "cron", "exactly one of"),
        ({"cron": None}, "run_at", "exactly one of"),
        ({"cron": "0 0 31 2 *"}, "cron", "does not occur"),
        ({"state": "paused"}, "state", "kept by Tocsin"),
        ({"id": "x"}, "id", "kept by Tocsin"),
        ({"tag": ["a"]}, "tag", "did you mean tags?"),
        ({"max_attempts": "3"}, "max_attempts", "must be an integer"),
        ({"name": "a/b"}, "name", "slash"),
        ({"kind": "fax"}, "kind", "write one of"),
    ],
)
async def test_a_patch_that_leads_to_no_valid_job_is_refused(
    api: httpx.AsyncClient, patch: dict[str, Any], field: str, remedy: str
) -> None:
    job_id, before = await created(api, NIGHTLY)

    answer = await api.patch(f"/v1/jobs/{job_id}", json=patch)

    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]
    assert remedy in answer.json()["errors"][0]["message"]
    assert (await api.get(f"/v1/jobs/{job_id}")).json() == before


async def test_a_taken_name_is_a_conflict(api: httpx.AsyncClient) -> None:
    await created(api, LATER | {"name": "taken"})
    job_id, _ = await created(api, LATER)

    answer = await api.patch(f"/v1/jobs/{job_id}", json={"name": "taken"})

    assert (answer.status_code, fields(answer)) == (409, ["name"])


@pytest.mark.parametrize(
    ("before", "patch", "next_run"),
    [
        (NIGHTLY, {"cron": None, "run_at": "2100-06-01T00:00:00Z"}, "2100-06-01T00:00:00Z"),
        (LATER, {"run_at": None, "cron": f"0 0 0 1 1 * {YEAR}"}, f"{YEAR}-01-01T00:00:00Z"),
        (LATER, {"run_at": "2100-06-01T00:00:00Z"}, "2100-06-01T00:00:00Z"),
        (
            NIGHTLY,
            {"cron": f"0 0 0 1 1 * {YEAR}", "timezone": "Asia/Tokyo"},
            f"{YEAR - 1}-12-31T15:00:00Z",
        ),
        (
            HOURLY,
            {"starts_at": "2100-06-01T00:00:00Z"},
            "2100-06-01T00:00:00Z",
        ),
        (
            LATER,
            {"run_at": None, "every_seconds": 60, "starts_at": "2100-06-01T00:00:00Z"},
            "2100-06-01T00:00:00Z",
        ),
    ],
    ids=[
        "cron to one-off",
        "one-off to cron",
        "one-off",
        "cron",
        "interval",
        "to interval",
    ],
)
async def test_another_schedule_is_planned_before_it_is_answered(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    before: dict[str, Any],
    patch: dict[str, Any],
    next_run: str,
) -> None:
    job_id, _ = await created(api, before)

    job = await patched(api, job_id, patch)

    assert (job["next_run"], job["state"]) == (next_run, "scheduled")
    row = await job_row(connection, job_id)
    assert row["scheduled_for"] == row["next_run"]
    assert row["planned_at"] is not None


async def test_a_cron_with_the_same_next_run_is_planned_at_once_too(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, before = await created(api, NIGHTLY | {"cron": f"0 0 0 1 1 * {YEAR}"})

    job = await patched(api, job_id, {"cron": f"0 0 0 1 1 * {YEAR}-{YEAR + 2}"})

    assert job["next_run"] == before["next_run"]
    assert (await job_row(connection, job_id))["planned_at"] is not None


@pytest.mark.parametrize(
    "patch",
    [
        {"tags": ["new"]},
        {"target": {"url": "http://127.0.0.1:9/new"}},
        {"description": "new", "max_attempts": 9, "misfire": "skip"},
        {"max_runs": 5},
    ],
)
@pytest.mark.parametrize("document", [NIGHTLY, HOURLY, LATER], ids=["cron", "interval", "one-off"])
async def test_an_edit_that_leaves_the_schedule_alone_leaves_the_plan_alone(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    document: dict[str, Any],
    patch: dict[str, Any],
) -> None:
    job_id, _ = await created(api, document)
    plan = "select row(next_run, scheduled_for, attempt, planned_at)::text from tocsin.jobs"
    before = await connection.fetchval(plan)

    await patched(api, job_id, patch)

    assert await connection.fetchval(plan) == before


async def test_a_finished_one_off_comes_back_with_a_new_instant(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, _ = await created(api, LATER)
    await connection.execute(DONE, job_id, "failed")
    assert (await api.get(f"/v1/jobs/{job_id}")).json()["state"] == "failed"

    job = await patched(api, job_id, {"run_at": "2100-06-01T00:00:00Z"})

    assert (job["state"], job["next_run"]) == ("scheduled", "2100-06-01T00:00:00Z")


@pytest.mark.parametrize(
    "patch", [{"timezone": "Asia/Tokyo"}, {"max_runs": 9}, {"ends_at": "2100-01-01T00:00:00Z"}]
)
async def test_a_finished_one_off_does_not_come_back_with_what_it_does_not_depend_on(
    api: httpx.AsyncClient, connection: asyncpg.Connection, patch: dict[str, Any]
) -> None:
    job_id = await insert_job(connection)
    await connection.execute(DONE, job_id, "succeeded")

    job = await patched(api, job_id, patch)

    assert (job["state"], job["next_run"]) == ("finished", None)


@pytest.mark.parametrize("document", [NIGHTLY, HOURLY], ids=["cron", "interval"])
async def test_a_job_that_had_all_its_runs_comes_back_when_it_may_have_more(
    api: httpx.AsyncClient, connection: asyncpg.Connection, document: dict[str, Any]
) -> None:
    job_id, _ = await created(api, document | {"max_runs": 1})
    await connection.execute(DONE, job_id, "succeeded")

    fewer = await patched(
        api, job_id, {"max_runs": 1, "timezone": "Asia/Tokyo", "starts_at": "2026-01-01T00:00:00Z"}
    )
    more = await patched(api, job_id, {"max_runs": 2})

    assert (fewer["state"], fewer["next_run"]) == ("finished", None)
    assert more["state"] == "scheduled"
    assert more["next_run"] is not None


async def test_a_corrected_job_is_valid_again(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, cron="61 * * * *")
    await connection.execute("update tocsin.jobs set plan_error = 'bad', planned_at = now()")
    assert (await api.get(f"/v1/jobs/{job_id}")).json()["state"] == "invalid"

    untouched = await patched(api, job_id, {"tags": ["known"], "paused": True})
    corrected = await patched(api, job_id, {"cron": "0 3 * * *", "paused": False})

    assert (untouched["state"], untouched["plan_error"]) == ("invalid", "bad")
    assert (corrected["state"], corrected["plan_error"]) == ("scheduled", None)
    assert corrected["next_run"] is not None


async def test_a_corrected_target_makes_a_due_run_claimable_again(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, target={"url": "nonsense"})
    await connection.execute(
        "update tocsin.jobs set plan_error = 'bad target', planned_at = clock_timestamp()"
    )

    job = await patched(api, job_id, {"target": {"url": "http://127.0.0.1:9"}})

    assert (job["state"], job["plan_error"]) == ("scheduled", None)
    assert job["next_run"] is not None


@pytest.mark.parametrize(
    "patch",
    [
        {"cron": f"0 0 0 1 1 * {YEAR}"},
        {"cron": None, "run_at": f"{YEAR}-01-01T00:00:00Z"},
        {"cron": None, "every_seconds": 60, "starts_at": f"{YEAR}-01-01T00:00:00Z"},
    ],
    ids=["cron", "one-off", "interval"],
)
async def test_an_edit_while_a_job_executes_leaves_the_lease_and_has_the_new_plan(
    api: httpx.AsyncClient, connection: asyncpg.Connection, patch: dict[str, Any]
) -> None:
    job_id, _ = await created(api, NIGHTLY | {"timezone": "UTC"})
    await connection.execute("update tocsin.jobs set next_run = now()")
    await connection.execute(EXECUTING, job_id)
    leased = await job_row(connection, job_id)

    job = await patched(api, job_id, patch)

    assert (job["state"], job["next_run"]) == ("executing", f"{YEAR}-01-01T00:00:00Z")
    row = await job_row(connection, job_id)
    assert [row[n] for n in ("locked_until", "locked_by", "fence")] == [
        leased[n] for n in ("locked_until", "locked_by", "fence")
    ]


async def test_paused_is_a_field_of_the_job(api: httpx.AsyncClient) -> None:
    job_id, _ = await created(api, LATER)

    paused = await patched(api, job_id, {"paused": True})
    resumed = await patched(api, job_id, {"paused": False})

    assert (paused["state"], paused["paused"]) == ("paused", True)
    assert (resumed["state"], resumed["next_run"]) == ("scheduled", paused["next_run"])


async def test_an_edit_is_for_the_version_that_was_read(api: httpx.AsyncClient) -> None:
    first = await api.post("/v1/jobs", json=LATER)
    address = first.headers["Location"]
    second = await api.patch(address, json={"tags": ["new"]})
    old, new = first.headers["ETag"], second.headers["ETag"]

    codes = [
        (await api.patch(address, json={"description": tag}, headers={"If-Match": tag})).status_code
        for tag in (old, f'W/"x", {old}', "nonsense", f'"x", W/{new}')
    ]

    assert old != new
    assert codes == [412, 412, 412, 200]
    assert (
        await api.patch(address, json={"tags": []}, headers={"If-Match": "*"})
    ).status_code == 200


async def test_an_execution_does_not_change_the_version(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    first = await api.post("/v1/jobs", json=NIGHTLY)
    address, job_id = first.headers["Location"], UUID(first.json()["id"])
    await connection.execute(EXECUTING, job_id)
    await connection.execute(DONE, job_id, "succeeded")

    answer = await api.patch(
        address, json={"tags": ["new"]}, headers={"If-Match": first.headers["ETag"]}
    )

    assert answer.status_code == 200


async def test_edits_of_different_fields_at_once_all_take_effect(api: httpx.AsyncClient) -> None:
    job_id, _ = await created(api, LATER)

    await asyncio.gather(
        *(patched(api, job_id, {"metadata": {f"key{n}": n}}) for n in range(8)),
        patched(api, job_id, {"tags": ["a"]}),
    )

    job = (await api.get(f"/v1/jobs/{job_id}")).json()
    assert job["metadata"] == {f"key{n}": n for n in range(8)}
    assert job["tags"] == ["a"]


async def test_an_edit_waits_for_somebody_elses_transaction_and_keeps_both(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, _ = await created(api, LATER)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("update tocsin.jobs set description = 'from psql'")
    edit = asyncio.create_task(patched(api, job_id, {"tags": ["from the api"]}))
    waiting = "select exists (select from pg_locks where not granted)"
    await until(lambda: connection.fetchval(waiting), "the edit waits for the row")
    await transaction.commit()

    job = await edit

    assert (job["description"], job["tags"]) == ("from psql", ["from the api"])


async def test_what_the_patch_does_not_touch_may_be_what_only_psql_allows(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    target = {"url": "ftp://example.com/"}
    job_id = await insert_job(connection, target=target, run_at=datetime(2100, 1, 1, tzinfo=UTC))

    job = await patched(api, job_id, {"description": "new"})

    assert (job["target"], job["description"]) == (target, "new")
