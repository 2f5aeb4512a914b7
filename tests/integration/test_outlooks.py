"""What the answer to a write says on request: the next runs, and who can carry them out."""

import asyncpg
import httpx
import pytest

from app.wire.examples import NIGHTLY as EXAMPLE
from tests.support.api import JOB, LATER, NIGHTLY
from tests.support.instances import StartInstance
from tests.support.llms import written

HOUR = {"weekly": ["MON-SUN 03:00-04:00"], "timezone": "UTC"}


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_write_answers_with_what_becomes_of_the_job(
    api: httpx.AsyncClient, method: str
) -> None:
    path = "/v1/jobs" if method == "POST" else "/v1/jobs/nightly"
    job = {**NIGHTLY, "max_runs": 3}

    plain = (await api.request(method, path, json=job)).json()
    answer = await api.request(method, path, json=job, params={"outlook": True})

    assert "outlook" not in plain
    outlook = answer.json()["outlook"]
    assert outlook["description"] == "At 03:00, in Europe/Paris"
    assert len(outlook["next_runs"]) == 3
    assert outlook["next_runs"][0] == answer.json()["next_run"]
    assert outlook["has_instance"] is False
    read = (await api.get(f"/v1/jobs/{answer.json()['id']}")).json()
    assert "outlook" not in read


async def test_the_outlook_of_a_one_off_has_one_run_and_knows_of_instances(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    async with instance():
        job = (await api.post("/v1/jobs", json=LATER, params={"outlook": True})).json()
        dry = await api.post("/v1/jobs", json=LATER, params={"outlook": True, "dry_run": True})

    assert job["outlook"]["next_runs"] == [LATER["run_at"]]
    assert job["outlook"]["has_instance"] is True
    assert dry.json()["outlook"] == job["outlook"]


@pytest.mark.parametrize(("on_closed", "starts"), [("skip", []), ("next_open", ["04:00"] * 5)])
async def test_runs_that_calendars_close_are_left_out_or_start_once_these_open(
    api: httpx.AsyncClient, on_closed: str, starts: list[str]
) -> None:
    await api.put("/v1/calendars/nights", json=HOUR)
    job = {**JOB, "cron": "30 3 * * *", "calendars": ["!nights"], "on_closed": on_closed}

    answer = await api.post("/v1/jobs", json=job, params={"outlook": True})

    runs = answer.json()["outlook"]["next_runs"]
    assert [run[11:16] for run in runs] == starts


async def test_the_runs_of_a_job_that_is_written_again_are_those_of_its_plan(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job = {**JOB, "every_seconds": 3600, "max_runs": 3}
    first = (await api.put("/v1/jobs/hourly", json=job)).json()
    await connection.execute("update tocsin.jobs set runs = 1")

    same = (await api.put("/v1/jobs/hourly", json=job, params={"outlook": True})).json()
    paused = await api.put("/v1/jobs/hourly", json=job | {"paused": True}, params={"outlook": True})

    assert same["outlook"]["next_runs"][0] == first["next_run"]
    assert len(same["outlook"]["next_runs"]) == 2
    assert paused.json()["outlook"]["next_runs"] == []


async def test_what_llms_txt_shows_works(api: httpx.AsyncClient) -> None:
    page = await api.get("/llms.txt")
    created = await api.post("/v1/jobs?outlook=true", json=EXAMPLE)

    assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert page.text == written()
    assert "POST /v1/jobs?outlook=true" in page.text
    assert created.status_code == 201
