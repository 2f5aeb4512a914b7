"""Pause, resume, run now, replay."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import httpx
import pytest

from tests.support.api import LATER, NIGHTLY, fields
from tests.support.builders import insert_job, job_row, run_rows

EXECUTING = """update tocsin.jobs set locked_until = now() + interval '1 minute', locked_by = 'me',
               fence = fence + 1, attempt = attempt + 1 where id = $1"""
RETRYING = """update tocsin.jobs set attempt = 1, next_run = now() + interval '1 hour',
              planned_at = clock_timestamp() where id = $1"""
PAST = datetime(2026, 1, 1, 3, tzinfo=UTC)


async def recorded(connection: asyncpg.Connection, job_id: UUID, *, outcome: str = "failed") -> int:
    id: int = await connection.fetchval(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome, started_at)
           values ($1, 'http', $2, 1, $3, now()) returning id""",
        job_id,
        PAST,
        outcome,
    )
    return id


async def test_a_paused_job_keeps_its_plan(api: httpx.AsyncClient) -> None:
    job = (await api.put("/v1/jobs/report", json=NIGHTLY)).json()

    paused = await api.post("/v1/jobs/report/pause")
    resumed = await api.post(f"/v1/jobs/{job['id']}/resume")

    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert paused.json()["next_run"] == job["next_run"]
    assert (resumed.status_code, resumed.json()["state"]) == (200, "scheduled")
    assert resumed.json()["next_run"] == job["next_run"]


@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_pausing_and_resuming_twice_is_as_good_as_once(
    api: httpx.AsyncClient, action: str
) -> None:
    await api.put("/v1/jobs/report", json=NIGHTLY)

    first = await api.post(f"/v1/jobs/report/{action}")
    again = await api.post(f"/v1/jobs/report/{action}")

    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["ETag"] == first.headers["ETag"]


async def test_an_invalid_job_can_be_paused_as_it_is(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, kind="fax", target={"n": 1}, cron="61 * * * *")
    await connection.execute("update tocsin.jobs set plan_error = 'bad', planned_at = now()")

    answer = await api.post(f"/v1/jobs/{job_id}/pause")

    assert (answer.status_code, answer.json()["paused"]) == (200, True)
    assert answer.json()["state"] == "invalid"


async def test_run_makes_a_job_due_now_and_keeps_its_planned_run(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job = (await api.put("/v1/jobs/report", json=NIGHTLY)).json()

    answer = await api.post("/v1/jobs/report/run")

    assert answer.status_code == 202
    assert (answer.json()["next_run"], answer.json()["state"]) == (job["next_run"], "scheduled")
    [run] = await run_rows(connection, UUID(job["id"]))
    assert abs(run["next_run"] - datetime.now(UTC)) < timedelta(seconds=30)
    row = await job_row(connection, UUID(job["id"]))
    assert row["next_run"] == datetime.fromisoformat(job["next_run"])


async def test_run_of_a_finished_one_off_runs_it_again(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    await connection.execute(
        "update tocsin.jobs set next_run = null, last_outcome = 'succeeded', planned_at = now()"
    )

    answer = await api.post(f"/v1/jobs/{job_id}/run")

    assert (answer.status_code, answer.json()["state"]) == (202, "scheduled")
    [run] = await run_rows(connection, job_id)
    assert run["next_run"] is not None


async def test_run_of_a_job_that_executes_lets_it_run_right_after(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, cron="0 3 * * *", next_run=datetime.now(UTC))
    await connection.execute(EXECUTING, job_id)
    before = await job_row(connection, job_id)

    answer = await api.post(f"/v1/jobs/{job_id}/run")

    assert (answer.status_code, answer.json()["state"]) == (202, "executing")
    after = await job_row(connection, job_id)
    assert after["pending_runs"] == 1
    await connection.execute(
        "update tocsin.jobs set locked_until = null, attempt = 0, next_run = next_run"
    )
    [run] = await run_rows(connection, job_id)
    assert run["next_run"] > run["scheduled_for"] > before["next_run"]
    assert (after["fence"], after["locked_until"]) == (before["fence"], before["locked_until"])


async def test_run_of_a_job_that_waits_for_a_retry_retries_it_now(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    await connection.execute(RETRYING, job_id)
    before = await job_row(connection, job_id)

    answer = await api.post(f"/v1/jobs/{job_id}/run")

    assert answer.status_code == 202
    after = await job_row(connection, job_id)
    assert (after["attempt"], after["scheduled_for"]) == (1, before["scheduled_for"])
    assert after["next_run"] < before["next_run"]


@pytest.mark.parametrize(
    ("broken", "remedy"),
    [("paused_at = now()", "resume it first"), ("plan_error = 'bad cron'", "bad cron")],
)
async def test_what_would_not_run_is_not_made_due(
    api: httpx.AsyncClient, connection: asyncpg.Connection, broken: str, remedy: str
) -> None:
    job_id = await insert_job(connection, run_at=datetime(2100, 1, 1, tzinfo=UTC))
    execution_id = await recorded(connection, job_id)
    await connection.execute(f"update tocsin.jobs set {broken}, planned_at = clock_timestamp()")

    run = await api.post(f"/v1/jobs/{job_id}/run")
    replay = await api.post(f"/v1/executions/{execution_id}/replay")

    for answer in (run, replay):
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:tocsin:problem:state-conflict"
        assert remedy in answer.json()["detail"]
    assert (await job_row(connection, job_id))["next_run"] == datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("outcome", ["failed", "succeeded"])
async def test_a_replay_runs_that_occurrence_again(
    api: httpx.AsyncClient, connection: asyncpg.Connection, outcome: str
) -> None:
    job = (await api.post("/v1/jobs", json=NIGHTLY)).json()
    execution_id = await recorded(connection, UUID(job["id"]), outcome=outcome)

    answer = await api.post(f"/v1/executions/{execution_id}/replay")

    assert (answer.status_code, answer.json()["id"]) == (202, job["id"])
    [run] = await run_rows(connection, UUID(job["id"]))
    assert run["scheduled_for"] == PAST
    assert run["next_run"] <= datetime.now(UTC) + timedelta(seconds=30)
    row = await job_row(connection, UUID(job["id"]))
    assert row["next_run"] == datetime.fromisoformat(job["next_run"])


async def test_a_replay_does_not_displace_a_retry(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection)
    execution_id = await recorded(connection, job_id)
    await connection.execute(RETRYING, job_id)

    answer = await api.post(f"/v1/executions/{execution_id}/replay")

    assert (answer.status_code, "retry" in answer.json()["detail"]) == (409, True)


async def test_a_deleted_job_cannot_be_replayed(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job = (await api.post("/v1/jobs", json=LATER)).json()
    execution_id = await recorded(connection, UUID(job["id"]))
    await api.delete(f"/v1/jobs/{job['id']}")

    answer = await api.post(f"/v1/executions/{execution_id}/replay")

    assert (answer.status_code, "deleted" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize("id", ["1", "-1", "99999999999999999999999"])
async def test_an_execution_that_is_not_there_cannot_be_replayed(
    api: httpx.AsyncClient, id: str
) -> None:
    answer = await api.post(f"/v1/executions/{id}/replay")

    assert answer.status_code == 404


async def test_what_the_actions_answer_hides_secrets_too(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    target = {"url": "https://example.com", "auth": {"type": "bearer", "token": "hunter2"}}
    job = (await api.post("/v1/jobs", json=NIGHTLY | {"target": target})).json()
    execution_id = await recorded(connection, UUID(job["id"]))
    address = f"/v1/jobs/{job['id']}"

    answers = [
        await api.post(f"{address}/pause"),
        await api.post(f"{address}/resume"),
        await api.post(f"{address}/run"),
        await api.post(f"/v1/executions/{execution_id}/replay"),
        await api.patch(address, json={"tags": ["new"]}),
        await api.get(address),
        await api.get("/v1/jobs"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 202, 202, 200, 200, 200]
    for answer in answers:
        assert "hunter2" not in answer.text
        assert '"token":"***"' in answer.text


@pytest.mark.parametrize("action", ["pause", "resume", "run", "skip", "unskip", "cancel", "replay"])
async def test_an_action_refuses_a_field_that_it_does_not_know(
    api: httpx.AsyncClient, connection: asyncpg.Connection, action: str
) -> None:
    job = (await api.put("/v1/jobs/report", json=LATER)).json()
    address = f"/v1/jobs/report/{action}"
    if action in {"cancel", "replay"}:
        id = await recorded(connection, UUID(job["id"]))
        address = f"/v1/executions/{id}/{action}"

    answer = await api.post(address, json={"untill": "tomorrow"})
    malformed = await api.post(address, content="{")
    called_otherwise = await api.post(
        address, content="a=1", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )

    assert (answer.status_code, fields(answer)) == (422, ["untill"])
    assert not answer.json()["detail"].endswith("there are ")
    assert (malformed.status_code, called_otherwise.status_code) == (400, 415)
    assert (await api.get("/v1/jobs/report")).json() == job


async def test_no_post_passes_over_a_field_that_it_does_not_know(api: httpx.AsyncClient) -> None:
    """Whether or not there is what its address names."""
    document = (await api.get("/openapi.json")).json()
    posts = [path for path, item in document["paths"].items() if "post" in item]

    for path in posts:
        id = "1" if path.startswith("/v1/executions") else str(UUID(int=1))
        answer = await api.post(re.sub(r"{\w+}", id, path), json={"untill": "tomorrow"})

        assert answer.status_code in {400, 422}, (path, answer.text)
        assert "untill" in answer.text or "array" in answer.text, (path, answer.text)
