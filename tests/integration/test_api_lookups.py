"""What people look for in the list of jobs: what fails, how it ended, and what runs next."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.db import jobs
from tests.support.api import HOURLY, fields
from tests.support.builders import insert_job

FAR = datetime(2100, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def listed(api: httpx.AsyncClient, **filters: Any) -> list[str]:  # noqa: ANN401
    answer = await api.get("/v1/jobs", params=filters)
    assert answer.status_code == 200, answer.text
    return [job["name"] for job in answer.json()["items"]]


async def walked(api: httpx.AsyncClient, **filters: Any) -> list[list[str]]:  # noqa: ANN401
    """Read all pages; return the names on each."""
    pages = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.get("/v1/jobs", params=filters | cursor)).json()
        pages.append([job["name"] for job in page["items"]])
        if page["next_cursor"] is None:
            return pages
        cursor = {"cursor": page["next_cursor"]}


async def changed(connection: asyncpg.Connection, name: str, how: str) -> None:
    """Change a job as an instance does, without the triggers for people's edits."""
    await connection.execute("alter table tocsin.jobs disable trigger all")
    await connection.execute(f"update tocsin.jobs set {how} where name = $1", name)
    await connection.execute("alter table tocsin.jobs enable trigger all")


async def waiting(
    connection: asyncpg.Connection,
    name: str,
    next_run: datetime,
    **columns: Any,  # noqa: ANN401
) -> UUID:
    return await insert_job(connection, name=name, run_at=next_run, **columns)


async def test_a_job_that_keeps_failing_says_so_beside_its_state(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    created = (await api.post("/v1/jobs", json=HOURLY | {"name": "sick"})).json()
    await changed(connection, "sick", "consecutive_failures = 7, last_outcome = 'failed'")

    sick = (await api.get("/v1/jobs/sick")).json()

    assert (created["failing"], created["consecutive_failures"]) == (False, 0)
    assert (sick["state"], sick["failing"], sick["consecutive_failures"]) == ("scheduled", True, 7)
    assert await connection.fetchval("select tocsin.failing(j) from tocsin.jobs j")


async def test_failing_jobs_are_those_that_go_on(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for name in ("sick", "well", "over", "paused"):
        await api.post("/v1/jobs", json=HOURLY | {"name": name})
    for name in ("sick", "over", "paused"):
        await changed(connection, name, "consecutive_failures = 2")
    await changed(connection, "over", "next_run = null")
    await api.post("/v1/jobs/paused/pause")

    assert await listed(api, failing="true") == ["paused", "sick"]
    assert await listed(api, failing="false") == ["over", "well"]
    assert await listed(api, failing="true", state="scheduled") == ["sick"]


async def test_jobs_are_found_by_how_their_latest_execution_ended(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for outcome in ("succeeded", "timed_out", "lost"):
        await api.post("/v1/jobs", json=HOURLY | {"name": outcome})
        await changed(connection, outcome, f"last_outcome = '{outcome}'")
    await api.post("/v1/jobs", json=HOURLY | {"name": "new"})

    assert await listed(api, last_outcome="lost") == ["lost"]
    assert await listed(api, last_outcome="lost,timed_out") == ["lost", "timed_out"]
    assert await listed(api, last_outcome=["succeeded", "lost"]) == ["lost", "succeeded"]


async def test_by_next_run_the_earliest_comes_first_page_by_page(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for n in (3, 1, 4, 2):
        await waiting(connection, f"in {n}", FAR + n * SECOND)
    for n in range(3):
        await waiting(connection, f"together {n}", FAR)

    pages = await walked(api, sort="next_run", limit=2)

    assert pages == [
        ["together 0", "together 1"],
        ["together 2", "in 1"],
        ["in 2", "in 3"],
        ["in 4"],
    ]


async def test_before_an_instant_there_are_only_the_runs_before_it(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for n in range(4):
        await waiting(connection, f"in {n}", FAR + n * SECOND, tags=[f"tag {n % 2}"])

    assert await listed(api, next_before=(FAR + 2 * SECOND).isoformat()) == ["in 0", "in 1"]
    assert await listed(api, next_before=(FAR + SECOND).isoformat(), tag="tag 1") == []
    assert await listed(api, sort="next_run", tag="tag 1") == ["in 1", "in 3"]


async def test_by_next_run_there_are_only_jobs_that_run(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for name in ("waits", "paused", "invalid", "finished", "executes"):
        await waiting(connection, name, FAR)
    await api.post("/v1/jobs/paused/pause")
    await changed(connection, "invalid", "plan_error = 'bad'")
    await changed(connection, "finished", "next_run = null")
    await changed(
        connection, "executes", "next_run = now(), locked_until = now() + interval '1 minute'"
    )

    assert await listed(api, sort="next_run") == ["executes", "waits"]


async def test_a_crowd_at_one_instant_is_paged_through_and_what_follows_too(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MANY_AT_ONCE", 3)
    for n in range(8):
        await waiting(connection, f"crowd {n}", FAR)
    for n in range(5):
        await waiting(connection, f"after {n}", FAR + (n + 1) * SECOND)

    pages = await walked(api, sort="next_run", limit=5)

    assert [name for page in pages for name in page] == [
        *(f"crowd {n}" for n in range(8)),
        *(f"after {n}" for n in range(5)),
    ]


async def test_of_a_crowd_at_one_instant_no_more_is_read_than_is_said(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MANY_AT_ONCE", 2)
    monkeypatch.setattr(jobs, "MAX_SEARCHED", 6)
    for n in range(9):
        await waiting(connection, f"crowd {n}", FAR)
    await waiting(connection, "after", FAR + SECOND)

    pages = await walked(api, sort="next_run", limit=4)

    names = [name for page in pages for name in page]
    assert (len(set(names)), len(names), names[-1]) == (7, 7, "after")


@pytest.mark.parametrize("sort", ["newest", "next_run"])
async def test_what_few_jobs_meet_is_found_however_many_others_there_are(
    api: httpx.AsyncClient,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    sort: str,
) -> None:
    monkeypatch.setattr(jobs, "MAX_SEARCHED", 4)
    monkeypatch.setattr(jobs, "MANY_AT_ONCE", 2)
    for n in range(13):
        await waiting(connection, f"job {n}", FAR + n * SECOND)
    for name in ("job 0", "job 6", "job 12"):
        await changed(connection, name, "last_outcome = 'lost'")

    pages = await walked(api, last_outcome="lost", sort=sort)

    found = [name for page in pages for name in page]
    assert found == sorted(
        ["job 0", "job 6", "job 12"], key=lambda name: int(name[4:]), reverse=sort == "newest"
    )
    assert len(pages) > 1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("filters", "field", "remedy"),
    [
        ({"last_outcome": "faild"}, "last_outcome", "write one of succeeded, failed"),
        ({"failing": "perhaps"}, "failing", "true or false"),
        ({"failing": "null"}, "failing", "leave it out"),
        ({"next_before": "2030-01-01T00:00:00"}, "next_before", "offset"),
        ({"next_before": FAR.isoformat(), "sort": "newest"}, "sort", "leave sort out"),
        ({"sort": "next_run", "cursor": "ag"}, "cursor", "next_cursor"),
        ({"next_after": FAR.isoformat()}, "next_after", "did you mean next_before?"),
    ],
    ids=str,
)
async def test_a_parameter_that_cannot_be_meant_is_refused(
    module_api: httpx.AsyncClient, filters: dict[str, str], field: str, remedy: str
) -> None:
    answer = await module_api.get("/v1/jobs", params=filters)

    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]
    assert remedy in answer.json()["errors"][0]["message"]


async def test_a_cursor_of_one_order_is_none_of_the_other(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for n in range(2):
        await waiting(connection, f"in {n}", FAR)
    page = (await api.get("/v1/jobs", params={"sort": "next_run", "limit": 1})).json()

    answer = await api.get("/v1/jobs", params={"cursor": page["next_cursor"]})

    assert (answer.status_code, fields(answer)) == (422, ["cursor"])
