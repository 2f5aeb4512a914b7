"""One-offs that are so many seconds from now, at every door."""

from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.api import JOB, LATER, fields

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("door", ["POST", "PUT", "batch", "PATCH"])
async def test_a_one_off_may_be_so_many_seconds_from_now(
    api: httpx.AsyncClient, connection: asyncpg.Connection, door: str
) -> None:
    soon = JOB | {"run_in_seconds": 3600}
    before = await connection.fetchval("select clock_timestamp()")

    match door:
        case "POST":
            job = (await api.post("/v1/jobs", json=soon)).json()
        case "PUT":
            job = (await api.put("/v1/jobs/soon", json=soon)).json()
        case "batch":
            [job] = (await api.post("/v1/jobs/batch", json={"jobs": [soon]})).json()["items"]
        case _:
            await api.put("/v1/jobs/soon", json=LATER)
            job = (await api.patch("/v1/jobs/soon", json={"run_in_seconds": 3600})).json()

    after = await connection.fetchval("select clock_timestamp()")
    run_at = datetime.fromisoformat(job["run_at"])
    hour = timedelta(hours=1)
    assert before + hour - SECOND <= run_at <= after + hour + SECOND
    assert job["next_run"] == job["run_at"]
    assert "run_in_seconds" not in job


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"run_in_seconds": -1}, ">= 0"),
        ({"run_in_seconds": 4e9}, "<= 3155760000"),
        ({"run_in_seconds": "60"}, "must be a number"),
        ({"run_in_seconds": 60, "cron": "0 3 * * *"}, "leave one of them out"),
    ],
    ids=str,
)
async def test_seconds_from_now_that_cannot_be_meant_are_refused(
    api: httpx.AsyncClient, change: dict[str, Any], remedy: str
) -> None:
    answer = await api.post("/v1/jobs", json=JOB | change)

    assert (answer.status_code, fields(answer)) == (422, ["run_in_seconds"])
    assert remedy in answer.json()["detail"]


async def test_a_delay_is_told_by_its_name_here(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/jobs", json=JOB | {"delay": 60})

    assert "did you mean run_in_seconds?" in answer.json()["errors"][0]["message"]
