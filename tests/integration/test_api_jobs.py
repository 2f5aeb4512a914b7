"""Jobs over HTTP: create, read, delete, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
import httpx
import pytest

from tests.support.api import HOURLY, JOB, LATER, NIGHTLY, fields
from tests.support.builders import insert_job, job_row

FIELDS = {
    *("id", "name", "description", "tags", "metadata", "kind", "target"),
    *("run_at", "cron", "timezone", "every_seconds", "dst_gap", "dst_overlap"),
    *("starts_at", "ends_at", "max_runs"),
    *("max_attempts", "backoff_seconds", "backoff_max_seconds", "timeout_seconds"),
    *("misfire", "misfire_grace_seconds", "max_catchup", "overlap", "flow_key", "priority"),
    *("jitter_seconds", "jitter_percent", "calendars", "on_closed", "min_gap_seconds"),
    *("paused", "pause", "skip_runs", "skip_until"),
    *("state", "execution_id", "next_run", "scheduled_for", "plan_error", "last_outcome"),
    *("last_finished_at",),
    *("consecutive_failures", "failing", "runs", "created_at", "updated_at"),
}
SECRETS = {
    "url": "https://example.com/hook",
    "headers": {"X-Api-Key": "hunter2", "Accept": "text/plain"},
    "auth": {"type": "basic", "username": "me", "password": "hunter2"},
}


async def test_a_job_is_created_with_the_defaults_of_the_table(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    answer = await api.post("/v1/jobs", json=LATER)

    assert answer.status_code == 201
    job = answer.json()
    assert job.keys() == FIELDS
    typed = await insert_job(connection, run_at=datetime(2100, 1, 1, tzinfo=UTC))
    by_hand = (await api.get(f"/v1/jobs/{typed}")).json()
    different = {"id", "created_at", "updated_at"}
    assert {n: v for n, v in job.items() if n not in different} == {
        n: v for n, v in by_hand.items() if n not in different
    }


async def test_a_new_job_says_where_it_is_and_which_version(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/jobs", json=LATER | {"name": "report"})

    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    there = await api.get(answer.headers["Location"])
    assert there.json() == answer.json()
    assert there.headers["ETag"] == answer.headers["ETag"]
    assert (await api.get("/v1/jobs/report")).json() == answer.json()


async def test_ids_are_ordered_by_time_whether_we_or_the_database_make_them(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    ours = [UUID((await api.post("/v1/jobs", json=LATER)).json()["id"]) for _ in range(3)]
    theirs = [await insert_job(connection) for _ in range(3)]

    assert ours == sorted(ours)
    assert theirs == sorted(theirs)
    assert {id.version for id in (*ours, *theirs)} == {7}
    milliseconds = [id.int >> 80 for id in (*ours, *theirs)]
    assert max(milliseconds) - min(milliseconds) < 60_000


@pytest.mark.parametrize(
    ("run_at", "stored"),
    [
        ("2100-01-01T00:00:00Z", "2100-01-01T00:00:00Z"),
        ("2100-01-01T02:00:00+02:00", "2100-01-01T00:00:00Z"),
        ("2100-01-01T00:00:00.123456-00:30", "2100-01-01T00:30:00.123456Z"),
    ],
)
async def test_an_instant_may_have_any_offset_and_is_answered_in_utc(
    api: httpx.AsyncClient, run_at: str, stored: str
) -> None:
    job = (await api.post("/v1/jobs", json={**JOB, "run_at": run_at})).json()

    assert job["run_at"] == stored
    assert job["next_run"] == stored


async def test_a_one_off_of_the_past_is_due_at_once(api: httpx.AsyncClient) -> None:
    job = (await api.post("/v1/jobs", json={**JOB, "run_at": "2020-01-01T00:00:00Z"})).json()

    assert job["next_run"] == "2020-01-01T00:00:00Z"
    assert job["state"] == "scheduled"


async def test_a_cron_job_is_planned_in_its_zone_before_it_is_answered(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job = (await api.post("/v1/jobs", json=NIGHTLY)).json()

    next_run = await connection.fetchval(
        "select next_run at time zone 'Europe/Paris' from tocsin.jobs where planned_at is not null"
    )
    assert next_run.hour == 3
    assert job["next_run"] is not None
    assert (await job_row(connection, UUID(job["id"])))["scheduled_for"] == datetime.fromisoformat(
        job["next_run"]
    )


async def test_a_cron_that_ends_before_it_begins_is_refused(api: httpx.AsyncClient) -> None:
    window = {"starts_at": "2100-01-01T04:00:00Z", "ends_at": "2100-01-01T05:00:00Z"}

    answer = await api.post("/v1/jobs", json=JOB | {"cron": "0 3 * * *"} | window)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "ends_at"


async def test_an_interval_counts_from_now(api: httpx.AsyncClient) -> None:
    job = (await api.post("/v1/jobs", json=HOURLY)).json()

    first = datetime.fromisoformat(job["next_run"]) - datetime.fromisoformat(job["created_at"])
    assert abs(first - timedelta(hours=1)) < timedelta(seconds=5)


async def test_what_go_people_write_is_stored_in_our_words(api: httpx.AsyncClient) -> None:
    zoned = (await api.post("/v1/jobs", json=JOB | {"cron": "CRON_TZ=Asia/Tokyo 0 9 * * *"})).json()
    every = (await api.post("/v1/jobs", json=JOB | {"cron": "@every 1h30m"})).json()

    assert (zoned["cron"], zoned["timezone"]) == ("0 9 * * *", "Asia/Tokyo")
    assert (every["cron"], every["every_seconds"]) == (None, 5400.0)


async def test_every_field_comes_back_as_it_was_sent(api: httpx.AsyncClient) -> None:
    sent = {
        "name": "all of them",
        "description": "ä \U0001f514 'quoted' \\ %",
        "tags": ["a", "b c"],
        "metadata": {"deep": [{"er": None}], "n": 12345678901234567890, "x": 0.1},
        "kind": "http",
        "target": {"url": "https://example.com/", "json": {"a": [1, None, {"b": False}]}},
        "cron": "30 0 3 * * *",
        "timezone": "America/New_York",
        "dst_gap": "skip",
        "dst_overlap": "both",
        "starts_at": "2100-01-01T00:00:00Z",
        "ends_at": "2101-01-01T00:00:00Z",
        "max_runs": 7,
        "max_attempts": 3,
        "backoff_seconds": 0.25,
        "backoff_max_seconds": 60.0,
        "timeout_seconds": 1.5,
        "misfire": "run_all",
        "misfire_grace_seconds": 10.0,
        "max_catchup": 5,
        "overlap": "buffer_one",
        "paused": True,
    }

    answer = await api.post("/v1/jobs", json=sent)

    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert {name: job[name] for name in sent} == sent
    assert job["state"] == "paused"


async def test_secrets_read_as_stars_and_are_stored(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    answer = await api.post("/v1/jobs", json=LATER | {"target": SECRETS})

    assert answer.json()["target"] == {
        "url": "https://example.com/hook",
        "headers": {"X-Api-Key": "***", "Accept": "text/plain"},
        "auth": {"type": "basic", "username": "me", "password": "***"},
    }
    assert (await connection.fetchval("select target::text from tocsin.jobs")).count("hunter2") == 2


async def test_a_new_job_cannot_have_stars_for_a_secret(api: httpx.AsyncClient) -> None:
    target = {"url": "https://example.com", "auth": {"type": "bearer", "token": "***"}}

    answer = await api.post("/v1/jobs", json=LATER | {"target": target})

    assert answer.status_code == 422
    assert fields(answer) == ["target.auth.token"]


async def test_every_value_of_a_kind_that_is_not_known_here_is_hidden(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, kind="fax", target={"number": "hunter2"})

    answer = await api.get(f"/v1/jobs/{job_id}")

    assert answer.json()["target"] == {"number": "***"}


async def test_a_taken_name_is_a_conflict(api: httpx.AsyncClient) -> None:
    await api.post("/v1/jobs", json=LATER | {"name": "report"})

    answer = await api.post("/v1/jobs", json=LATER | {"name": "report"})

    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:tocsin:problem:name-taken"
    assert fields(answer) == ["name"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("change", "field", "remedy"),
    [
        ({"name": ""}, "name", "length >= 1"),
        ({"name": "a/b"}, "name", "slash"),
        ({"name": "a\nb"}, "name", "control"),
        ({"name": "n" * 201}, "name", "200"),
        ({"name": "batch"}, "name", "choose another"),
        ({"name": "01a20b8a-bff9-74d9-850d-71f7929b30ee"}, "name", "choose another"),
        ({"name": 5}, "name", "must be a string or null, not an integer"),
        ({"tags": ["a,b"]}, "tags[0]", "remove it"),
        ({"tags": "a"}, "tags", "must be an array"),
        ({"tags": [None]}, "tags[0]", "must be a string"),
        ({"metadata": []}, "metadata", "must be an object"),
        ({"description": "a\0b"}, "description", "U+0000"),
        ({"metadata": {"a": ["\0"]}}, "metadata.a[0]", "U+0000"),
        ({"kind": "fax"}, "kind", "write one of amqp, check, http, smtp"),
        ({"target": {}}, "target.url", "is required"),
        ({"target": {"url": "gopher://x"}}, "target.url", "http"),
        ({"target": {"url": "http://x", "urll": 1}}, "target.urll", "unknown field"),
        ({"target": "http://x"}, "target", "must be an object"),
        ({"run_at": "2030-01-01T00:00:00"}, "run_at", "timezone"),
        ({"run_at": "tomorrow"}, "run_at", "RFC3339"),
        ({"run_at": "9999-12-31T23:59:59-14:00"}, "run_at", "out of range"),
        ({"run_at": "1999-12-31T23:59:59Z"}, "run_at", "out of range"),
        ({"run_at": None}, "run_at", "exactly one of run_at, cron, every_seconds"),
        ({"cron": "0 3 * * *"}, "cron", "exactly one of"),
        ({"cron": "0 3 * * *"}, "cron", "null for the others"),
        ({"run_at": None, "cron": "61 3 * * *"}, "cron", "0-59"),
        ({"run_at": None, "cron": "0 0 31 2 *"}, "cron", "does not occur"),
        ({"run_at": None, "every_seconds": 0}, "every_seconds", ">= 0.1"),
        ({"run_at": None, "every_seconds": "60"}, "every_seconds", "must be a number"),
        (
            {"run_at": None, "every_seconds": "10s"},
            "every_seconds",
            "for example 10 or 0.5: seconds",
        ),
        ({"timeout_seconds": "1m"}, "timeout_seconds", "for example 10 or 0.5: seconds"),
        ({"timezone": "Europe/Pari"}, "timezone", "did you mean Europe/Paris"),
        ({"dst_gap": "later"}, "dst_gap", "not"),
        ({"max_runs": 0}, "max_runs", ">= 1"),
        ({"max_runs": 2**31}, "max_runs", "<= 2147483647"),
        ({"max_attempts": 1001}, "max_attempts", "<= 1000"),
        ({"max_attempts": 2.5}, "max_attempts", "must be an integer"),
        ({"backoff_seconds": -1}, "backoff_seconds", ">= 0"),
        ({"timeout_seconds": 86401}, "timeout_seconds", "<= 86400"),
        ({"misfire": "never"}, "misfire", "not"),
        ({"paused": "yes"}, "paused", "true or false"),
        ({"kin": "http"}, "kin", "did you mean kind?"),
        ({"max_retries": 3}, "max_retries", "did you mean max_attempts?"),
        ({"maxRetries": 3}, "maxRetries", "did you mean max_attempts?"),
        ({"timeout": 3}, "timeout", "did you mean timeout_seconds?"),
        ({"backoff": 3}, "backoff", "did you mean backoff_seconds?"),
        ({"interval": 3}, "interval", "did you mean every_seconds?"),
        ({"tz": "UTC"}, "tz", "did you mean timezone?"),
        ({"url": "http://x"}, "url", "write it inside target"),
        ({"enabled": True}, "enabled", "there are name, description"),
        ({"next_run": None}, "next_run", "kept by Tocsin"),
        ({"state": "paused"}, "state", "kept by Tocsin"),
    ],
)
async def test_what_breaks_a_rule_is_refused_with_field_and_remedy(
    module_api: httpx.AsyncClient, change: dict[str, Any], field: str, remedy: str
) -> None:
    answer = await module_api.post("/v1/jobs", json=LATER | change)

    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]
    assert remedy in answer.json()["errors"][0]["message"]
    assert (await module_api.get("/v1/jobs")).json()["items"] == []


async def test_all_that_is_wrong_is_said_at_once(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/v1/jobs",
        json={
            "kind": "http",
            "name": "a/b",
            "target": {"url": "x"},
            "cron": "61 * * * *",
            "timezone": "Mars",
        },
    )

    assert set(fields(answer)) == {"name", "target.url", "cron", "timezone"}


async def test_a_deleted_job_is_gone(api: httpx.AsyncClient) -> None:
    await api.post("/v1/jobs", json=LATER | {"name": "report"})

    answer = await api.delete("/v1/jobs/report")

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.get("/v1/jobs/report")).status_code == 404
    assert (await api.delete("/v1/jobs/report")).status_code == 404


async def test_a_job_is_deleted_only_in_the_version_that_was_read(api: httpx.AsyncClient) -> None:
    first = await api.post("/v1/jobs", json=LATER)
    address = first.headers["Location"]
    second = await api.patch(address, json={"tags": ["new"]})

    refused = await api.delete(address, headers={"If-Match": first.headers["ETag"]})
    taken = await api.delete(address, headers={"If-Match": second.headers["ETag"]})

    assert (refused.status_code, taken.status_code) == (412, 204)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "reference",
    ["nobody", "01a20b8a-bff9-74d9-850d-71f7929b30ee", "%00", "a%0Ab", "n" * 300, "%F0%9F%94%94"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/run"),
        ("GET", "/executions"),
    ],
)
async def test_a_job_that_is_not_there_is_not_found(
    module_api: httpx.AsyncClient, reference: str, method: str, path: str
) -> None:
    answer = await module_api.request(
        method, f"/v1/jobs/{reference}{path}", json={} if method == "PATCH" else None
    )

    assert answer.status_code == 404, answer.text
    assert answer.json()["type"] == "urn:tocsin:problem:job-not-found"


async def test_a_name_with_odd_characters_is_an_address_too(api: httpx.AsyncClient) -> None:
    name = "it's 100% odd? #1 ä+b&c"
    job = (await api.post("/v1/jobs", json=LATER | {"name": name})).json()

    answer = await api.get(f"/v1/jobs/{quote(name)}")

    assert answer.json() == job


@pytest.mark.parametrize("column", ["target", "metadata"])
async def test_a_number_that_python_cannot_hold_hides_no_other_job(
    api: httpx.AsyncClient, connection: asyncpg.Connection, column: str
) -> None:
    odd, plain = await insert_job(connection), await insert_job(connection)
    await connection.execute(
        f"""update tocsin.jobs set {column} = '{{"url": "http://x", "n": 1e5000}}' where id = $1""",
        odd,
    )

    items = (await api.get("/v1/jobs")).json()["items"]

    assert [job["id"] for job in items] == [str(plain), str(odd)]
    assert items[1][column] == {}


@pytest.mark.parametrize("levels", [99, 101])
async def test_json_is_nested_a_hundred_levels_at_most(
    api: httpx.AsyncClient, connection: asyncpg.Connection, levels: int
) -> None:
    deep = "[" * (levels - 2) + "]" * (levels - 2)
    body = '{"kind": "http", "target": {"url": "http://x"}, "every_seconds": 5, "metadata": '
    body += f'{{"a": {deep}}}}}'

    answer = await api.post("/v1/jobs", content=body.encode())

    assert answer.status_code == (201 if levels < 100 else 400), answer.text
    assert await connection.fetchval("select count(*) from tocsin.jobs") == (levels < 100)


async def test_psql_cannot_nest_deeper_either(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="nested too deeply"):
        await connection.execute(
            """insert into tocsin.jobs (kind, target, run_at) values ('http',
               ('{"url": "http://x", "json": ' || repeat('[', 200) || repeat(']', 200)
                || '}')::jsonb, now())"""
        )
