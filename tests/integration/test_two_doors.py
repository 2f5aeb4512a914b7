"""One rule for both doors: what the API refuses psql refuses too, and for the same field.

A row typed in psql is judged by the database at once, or by an instance, as a cron is.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.core.jobs.names import RESERVED_NAMES
from app.db import Database
from tests.support.api import JOB, fields
from tests.support.builders import insert_job, job_row, plan_jobs

together = pytest.mark.asyncio(loop_scope="module")
"""What tests have that share an API and its database."""
INSTANTS = ("run_at", "starts_at", "ends_at")
ID = "01a20b8a-bff9-74d9-850d-71f7929b30ee"
OVERLAPS = ["skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"]
HOURLY: dict[str, Any] = {"every_seconds": 3600}
TARGET: dict[str, Any] = {"url": "http://127.0.0.1:9/nothing-listens-here"}


def window(*, minutes: float, starts_in: float | None = None) -> dict[str, timedelta]:
    """Bounds so many minutes from the time of the test, which `resolved` makes of them."""
    ends = {"ends_at": timedelta(minutes=minutes)}
    return ends if starts_in is None else ends | {"starts_at": timedelta(minutes=starts_in)}


def resolved(columns: dict[str, Any]) -> dict[str, Any]:
    """Turn spans from now into instants: the cases are made minutes before their test runs."""
    now = datetime.now(UTC)
    return {
        name: (now + value).isoformat() if isinstance(value, timedelta) else value
        for name, value in columns.items()
    }


YEAR = 31_557_600
BOUNDS: dict[str, tuple[list[Any], list[Any]]] = {
    "name": (["x" * 201], ["x", "x" * 200]),
    "description": (["x" * 10_001], ["", "x" * 10_000]),
    "tags": ([["x"] * 101, ["x" * 201]], [[], ["x"] * 100, ["x" * 200], ["x" * 200] * 100]),
    "metadata": ([{"a": "x" * 65_536}, {"a": 1e308} | {f"b{n}": 1e308 for n in range(250)}], [{}]),
    "target": ([TARGET | {"body": "x" * 262_144}, [], "x"], [TARGET | {"body": "x" * 200_000}]),
    "kind": (["HTTP!", "", "x" * 64], ["http"]),
    "every_seconds": ([-3, 0, 0.09, 157_680_001], [0.1, 157_680_000]),
    "max_runs": ([-1, 0], [1, 2_147_483_647]),
    "max_attempts": ([-1, 0, 1001], [1, 1000]),
    "backoff_seconds": ([-1, 1e-7, YEAR + 1], [0, 1e-6, YEAR]),
    "backoff_max_seconds": ([-1, 1e-7, YEAR + 1], [0, 1e-6, YEAR]),
    "timeout_seconds": ([-1, 0, 0.09, 86_401], [0.1, 86_400]),
    "misfire": (["", "never", "RUN_ONCE"], ["run_once", "skip", "run_all"]),
    "overlap": (
        ["", "never", "SKIP", "buffer"],
        OVERLAPS,
    ),
    "misfire_grace_seconds": ([-1, 1e-7, 3_155_760_001], [0, 1e-6, 3_155_760_000]),
    "max_catchup": ([-1, 10_001], [0, 10_000]),
    "jitter_seconds": ([-1, 1e-7, YEAR + 1], [0, 1e-6, 90.5, YEAR]),
    "priority": ([-1, 4], [0, 3]),
    "jitter_percent": ([-1, 1e-7, 100.5], [0, 1e-6, 12.5, 100]),
    "flow_key": (
        ["", "x" * 201, "a/b", "a*", "a\tb", ".", ".."],
        ["x", "x" * 200, "api.example.com:443"],
    ),
    "on_closed": (["", "later"], ["skip", "next_open"]),
    "min_gap_seconds": ([0, -1, 1e-7, 31_557_601], [1e-6, 31_557_600]),
    "dst_gap": (["", "never"], ["run_after", "skip"]),
    "dst_overlap": (["", "never"], ["first", "last", "both"]),
    "starts_at": (["1999-12-31T23:59:59Z", "2200-01-01T00:00:01Z"], ["2000-01-01T00:00:00Z"]),
    "ends_at": (["1999-12-31T23:59:59Z", "2200-01-01T00:00:01Z"], ["2200-01-01T00:00:00Z"]),
}
"""Of every column that people write what is just beyond its bounds, and what is just within."""


def at_bounds(column: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    return HOURLY | {column: value}


REFUSED: list[tuple[dict[str, Any], str]] = [
    *((at_bounds(name, value), name) for name, (beyond, _) in BOUNDS.items() for value in beyond),
    ({}, "run_at"),
    ({"run_at": "2100-01-01T00:00:00Z", "cron": "0 3 * * *"}, "cron"),
    ({"run_at": "2100-01-01T00:00:00Z", "every_seconds": 5}, "every_seconds"),
    ({"cron": "0 3 * * *", "every_seconds": 5}, "every_seconds"),
    ({"cron": "@every 1h", "every_seconds": 5}, "every_seconds"),
    ({"run_at": "1999-12-31T23:59:59Z"}, "run_at"),
    ({"run_at": "2200-01-01T00:00:01Z"}, "run_at"),
    ({"cron": "0 3 * * " + ",".join("1" for _ in range(61))}, "cron"),
    ({"cron": "0 3 * * *", "timezone": "x" * 101}, "timezone"),
    ({"cron": "0 3 * * *", "timezone": ""}, "timezone"),
    ({"cron": "TZ=Europe/Paris"}, "cron"),
    ({"cron": "CRON_TZ=Mars/Base 0 3 * * *"}, "timezone"),
    ({"cron": "@every @daily"}, "cron"),
    (
        HOURLY | {"starts_at": "2100-01-02T00:00:00Z", "ends_at": "2100-01-01T00:00:00Z"},
        "ends_at",
    ),
    *(
        ({"cron": f"@every {text}"}, "cron")
        for text in (
            "1d",
            "1w",
            "90",
            "P1D",
            "PT1H",
            "1M",
            "1H",
            "1 day",
            "01:30:00",
            "never",
            "-1h",
        )
    ),
    ({"cron": "@every"}, "cron"),
    ({"cron": "@EVERY 1d"}, "cron"),
    ({"cron": "@every 2000000h"}, "every_seconds"),
    ({"cron": "@every 1ms"}, "every_seconds"),
    ({"cron": "TZ=Europe/Paris 0 3 * * *", "timezone": "Asia/Tokyo"}, "timezone"),
    ({"cron": "CRON_TZ=Europe/Paris 0 3 * * *", "timezone": "Asia/Tokyo"}, "timezone"),
    ({"cron": "TZ=Europe/Paris TZ=Europe/Paris 0 3 * * *"}, "timezone"),
    ({"cron": "0 3 * * *", "timezone": "GMT+2"}, "timezone"),
    ({"cron": "0 3 * * *", "timezone": "UTC+2"}, "timezone"),
    ({"cron": "0 3 * * *", "timezone": "PST"}, "timezone"),
    ({"cron": "0 3 * * *", "timezone": "CEST"}, "timezone"),
    ({"cron": "0 3 * * *", "timezone": "localtime"}, "timezone"),
    ({"cron": "0 3 * * *", "timezone": "Europe/Pariss"}, "timezone"),
    ({"cron": "61 * * * *"}, "cron"),
    ({"cron": "0 0 31 2 *"}, "cron"),
    ({"cron": "@fortnightly"}, "cron"),
    ({"cron": "* * *"}, "cron"),
    ({"every_seconds": 6 * 365 * 86_400}, "every_seconds"),
    ({"every_seconds": 0.05}, "every_seconds"),
    *((HOURLY | {"name": name}, "name") for name in (".", "..", *RESERVED_NAMES)),
    (HOURLY | {"name": ID}, "name"),
    (HOURLY | {"name": ID.upper()}, "name"),
    (HOURLY | {"name": "a/b"}, "name"),
    (HOURLY | {"name": ""}, "name"),
    *((HOURLY | {"name": f"a{chr(code)}b"}, "name") for code in (0x01, 0x7F, 0x80, 0x85, 0x9F)),
    (HOURLY | {"tags": ["a,b"]}, "tags"),
    (HOURLY | {"tags": [","]}, "tags"),
    (HOURLY | {"tags": ["a", ""]}, "tags"),
    (HOURLY | {"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
    (HOURLY | window(minutes=59), "ends_at"),
    ({"cron": "@every 2h"} | window(minutes=90), "ends_at"),
    (HOURLY | window(starts_in=-30, minutes=29), "ends_at"),
    ({"cron": "0 0 29 2 *"} | window(minutes=1), "ends_at"),
    ({"cron": "0 3 1 1 *", "timezone": "Asia/Tokyo"} | window(starts_in=1, minutes=2), "ends_at"),
    (HOURLY | {"max_runs": 0}, "max_runs"),
    (HOURLY | {"misfire": "never"}, "misfire"),
    ({"run_at": "2100-01-01T00:00:00Z", "jitter_seconds": 60}, "jitter_seconds"),
    ({"run_at": "2100-01-01T00:00:00Z", "jitter_percent": 10}, "jitter_percent"),
    (HOURLY | {"jitter_seconds": 60, "jitter_percent": 10}, "jitter_percent"),
    (HOURLY | {"overlap": "never"}, "overlap"),
]
ACCEPTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    *(
        (at_bounds(name, value), {name: value})
        for name, (_, within) in BOUNDS.items()
        for value in within
    ),
    ({"run_at": "2000-01-01T00:00:00Z"}, {"run_at": "2000-01-01T00:00:00Z"}),
    ({"run_at": "2200-01-01T00:00:00Z"}, {"run_at": "2200-01-01T00:00:00Z"}),
    ({"cron": "0 3 * * *", "timezone": " UTC "}, {"timezone": "UTC"}),
    ({"cron": "@every 1h30m"}, {"every_seconds": 5400.0, "cron": None}),
    ({"cron": "@EVERY 90s"}, {"every_seconds": 90.0, "cron": None}),
    ({"cron": " @every  1.5h "}, {"every_seconds": 5400.0, "cron": None}),
    ({"cron": "@every 500ms"}, {"every_seconds": 0.5, "cron": None}),
    ({"cron": "@every 500000\N{MICRO SIGN}s"}, {"every_seconds": 0.5, "cron": None}),
    ({"cron": "@every 1s500000\N{GREEK SMALL LETTER MU}s"}, {"every_seconds": 1.5, "cron": None}),
    ({"cron": "@every 1m0.5s"}, {"every_seconds": 60.5, "cron": None}),
    ({"cron": "TZ=Europe/Paris 0 3 * * *"}, {"timezone": "Europe/Paris", "cron": "0 3 * * *"}),
    (
        {"cron": "CRON_TZ=Europe/Paris 0 3 * * *", "timezone": "Europe/Paris"},
        {"timezone": "Europe/Paris", "cron": "0 3 * * *"},
    ),
    ({"cron": "0 3 * * *", "timezone": "EST"}, {"timezone": "EST"}),
    ({"cron": "0 3 * * *", "timezone": "EST5EDT"}, {"timezone": "EST5EDT"}),
    ({"cron": "0 3 * * *", "timezone": "Etc/GMT-2"}, {"timezone": "Etc/GMT-2"}),
    (HOURLY | window(minutes=90), {"every_seconds": 3600.0}),
    (HOURLY | window(starts_in=40, minutes=50), {"every_seconds": 3600.0}),
    ({"cron": "* * * * *"} | window(minutes=60), {"cron": "* * * * *"}),
    ({"every_seconds": 5 * 365 * 86_400}, {"every_seconds": 157_680_000.0}),
    (HOURLY | {"name": "b\xa0\u2028"}, {"name": "b\xa0\u2028"}),
    (HOURLY | {"name": "batches", "tags": ["a b", "c"]}, {"name": "batches"}),
]


def sql_value(name: str, value: Any) -> Any:  # noqa: ANN401
    """Turn a value of JSON into the one that stands for the same literal in SQL."""
    if name in INSTANTS:
        return datetime.fromisoformat(value)
    return Decimal(str(value)) if isinstance(value, float) else value


async def typed(connection: asyncpg.Connection, db: Database, columns: dict[str, Any]) -> Any:  # noqa: ANN401
    """Insert a row in psql, let an instance plan it, and return it."""
    given = {name: sql_value(name, value) for name, value in columns.items()}
    if not given.keys() & {"run_at", "cron", "every_seconds"}:
        given["run_at"] = None
    job_id = await insert_job(connection, **given)
    await plan_jobs(db)
    return await job_row(connection, job_id)


@together
@pytest.mark.parametrize(("columns", "field"), REFUSED)
async def test_what_one_door_refuses_the_other_refuses_for_the_same_field(
    module_api: httpx.AsyncClient,
    module_connection: asyncpg.Connection,
    module_db: Database,
    columns: dict[str, Any],
    field: str,
) -> None:
    columns = resolved(columns)
    answer = await module_api.post("/v1/jobs", json=JOB | columns)
    try:
        row = await typed(module_connection, module_db, columns)
    except asyncpg.CheckViolationError as refusal:
        named, hint = refusal.column_name, refusal.hint
    else:
        assert row["state"] == "invalid"
        named, _, hint = row["plan_error"].partition(":")

    assert answer.status_code == 422
    assert {one.partition("[")[0] for one in fields(answer)} == {field}
    assert (named, bool(hint)) == (field, True)


@together
@pytest.mark.parametrize(("columns", "kept"), ACCEPTED)
async def test_what_one_door_takes_the_other_takes_for_the_same_job(
    module_api: httpx.AsyncClient,
    module_connection: asyncpg.Connection,
    module_db: Database,
    columns: dict[str, Any],
    kept: dict[str, Any],
) -> None:
    columns = resolved(columns)
    row = await typed(
        module_connection, module_db, {name: v for name, v in columns.items() if name != "name"}
    )

    answer = await module_api.post("/v1/jobs", json=JOB | columns)

    assert answer.status_code == 201, answer.text
    other = (await module_api.get(f"/v1/jobs/{row['id']}")).json()
    for name, value in kept.items():
        assert answer.json()[name] == value
        assert name == "name" or other[name] == value
    assert other["plan_error"] is None


@pytest.mark.parametrize("name", [".", "plan"])
async def test_a_job_that_is_called_as_none_may_be_any_more_can_be_edited_and_renamed(
    api: httpx.AsyncClient, connection: asyncpg.Connection, name: str
) -> None:
    job = (await api.post("/v1/jobs", json=JOB | HOURLY)).json()["id"]
    await connection.execute("set session_replication_role = replica")
    await connection.execute("update tocsin.jobs set name = $2 where id = $1", UUID(job), name)
    await connection.execute("set session_replication_role = origin")
    document = JOB | HOURLY | {"priority": 2}
    is_named = {"set": "s", "jobs": {name: document}, "take_over": [name]}

    answers = [
        await api.post(f"/v1/jobs/{job}/pause"),
        await api.patch(f"/v1/jobs/{job}", json={"description": "x"}),
        *([await api.put("/v1/jobs/%2E", json=document)] if name == "." else []),
        await api.post("/v1/jobs/batch?replace=true", json=[document | {"name": name}]),
        await api.post("/v1/jobs/apply", json=is_named),
    ]
    await connection.execute("update tocsin.jobs set priority = 1 where id = $1", UUID(job))
    await connection.execute(
        "insert into tocsin.jobs (name, kind, target, every_seconds) values ($1, 'http', $2, 60) "
        "on conflict (name) where name is not null do update set description = 'upserted'",
        name,
        '{"url": "http://127.0.0.1:9/"}',
    )
    answers.append(await api.patch(f"/v1/jobs/{job}", json={"name": "one"}))

    assert {one.status_code for one in answers} == {200}, [one.text for one in answers]
    assert (await api.get(f"/v1/jobs/{job}")).json()["name"] == "one"
    assert (await api.post("/v1/jobs", json=document | {"name": name})).status_code == 422


NAMED: dict[str, tuple[str, str, str]] = {
    "calendars": ("/v1/calendars/{}", "name", "(name, dates) values ($1, '{2026-12-24}')"),
    "flows": ("/v1/flows/{}", "flow_key", "(flow_key, rate) values ($1, 5)"),
    "alert_rules": ("/v1/alerts/rules/{}", "name", "(name, events) values ($1, '{failed}')"),
    "alert_channels": ("/v1/alerts/channels/{}", "name", "(name, target) values ($1, '{}')"),
    "sets": ("/v1/jobs/apply", "name", "(name) values ($1)"),
    "api_keys": (
        "/v1/keys",
        "name",
        "(name, prefix, hash, scopes) values ($1, '0123456789ab', sha256('x'), '{read}')",
    ),
}
"""By their tables what has names: its address, its column, and how a row is made in SQL."""
WRITTEN: dict[str, dict[str, Any]] = {
    "calendars": {"dates": ["2026-12-24"]},
    "flows": {"rate": 5},
    "alert_rules": {"events": ["failed"]},
    "alert_channels": {"target": {"url": "https://hooks.example.com/"}},
}


@together
@pytest.mark.parametrize("name", [".", ".."])
@pytest.mark.parametrize("table", NAMED)
async def test_nothing_gets_a_name_that_no_address_can_have_and_what_has_one_can_be_renamed(
    module_api: httpx.AsyncClient, module_connection: asyncpg.Connection, table: str, name: str
) -> None:
    address, column, values = NAMED[table]
    dotted = name.replace(".", "%2E")

    if table == "sets":
        answer = await module_api.post(address, json={"set": name, "jobs": {}})
    elif table == "api_keys":
        answer = await module_api.post(address, json={"name": name, "scopes": ["read"]})
    else:
        answer = await module_api.put(address.format(dotted), json=WRITTEN[table])
    with pytest.raises(asyncpg.CheckViolationError, match="no address can have") as refusal:
        await module_connection.execute(f"insert into tocsin.{table} {values}", name)
    written = module_connection.transaction()
    await written.start()
    await module_connection.execute("set local session_replication_role = replica")
    await module_connection.execute(f"insert into tocsin.{table} {values}", name)
    await module_connection.execute("set local session_replication_role = origin")
    for new in (name, "one"):
        done = await module_connection.execute(
            f"update tocsin.{table} set {column} = $2 where {column} = $1", name, new
        )
        assert done == "UPDATE 1"
    await written.rollback()

    assert (answer.status_code, fields(answer)) == (422, ["set" if table == "sets" else column])
    assert refusal.value.column_name == column


async def test_no_function_depends_on_how_a_session_reads_backslashes(
    connection: asyncpg.Connection, db: Database
) -> None:
    await connection.execute("set standard_conforming_strings = off")

    job_id = await insert_job(connection, cron="CRON_TZ=Europe/Paris 0 3 * * *")
    every = await insert_job(connection, cron="@every 1h30m")
    await plan_jobs(db)

    assert (await job_row(connection, job_id))["timezone"] == "Europe/Paris"
    assert (await job_row(connection, every))["every_seconds"] == 5400
    bodies = await connection.fetch(
        """select proname from pg_proc
           where pronamespace = 'tocsin'::regnamespace and strpos(prosrc, chr(92)) > 0"""
    )
    assert bodies == []


@together
@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"misfire": "never"}, "misfire", "write one of run_once, skip, run_all"),
        (
            {"overlap": "never"},
            "overlap",
            "write one of " + ", ".join(OVERLAPS),
        ),
        ({"dst_gap": "never"}, "dst_gap", "write one of run_after, skip"),
        ({"run_at": "tomorrow", "every_seconds": None}, "run_at", "2030-01-31T08:30:00Z"),
        ({"target": TARGET | {"success": ["ok"]}}, "target.success", '[200, "2xx"]'),
        (
            {"target": TARGET | {"headers": {"a": "b", "X-N": 1}}},
            "target.headers",
            "X-N",
        ),
    ],
)
async def test_a_refusal_names_what_may_be_written(
    module_api: httpx.AsyncClient, change: dict[str, Any], field: str, words: str
) -> None:
    answer = await module_api.post("/v1/jobs", json=JOB | HOURLY | change)

    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"].startswith(field)
    assert words in error["message"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/report", "/health/live", "/openapi.json"])
async def test_head_is_answered_wherever_get_is(api: httpx.AsyncClient, path: str) -> None:
    await api.put("/v1/jobs/report", json=JOB | HOURLY)

    get, head = await api.get(path), await api.head(path)

    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers.get("ETag") == get.headers.get("ETag")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert (await api.head("/v1/jobs/nothing")).status_code == 404


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"run_at": datetime(2100, 1, 1, tzinfo=UTC)},
        {"cron": "0 3 * * *"},
        {"every_seconds": 60},
        {"run_at": datetime(2100, 1, 1, tzinfo=UTC), "paused_at": datetime.now(UTC)},
    ],
    ids=["due", "far", "cron", "interval", "paused"],
)
async def test_a_kind_that_no_instance_has_makes_a_job_invalid_until_one_has_it(
    api: httpx.AsyncClient, connection: asyncpg.Connection, columns: dict[str, Any]
) -> None:
    job_id = await insert_job(connection, kind="htpt", **columns)

    seen = (await api.get(f"/v1/jobs/{job_id}")).json()
    listed = (await api.get("/v1/jobs", params={"state": "invalid"})).json()["items"]
    counted = (await api.get("/v1/stats")).json()["invalid"]
    run = await api.post(f"/v1/jobs/{job_id}/run")
    door = await api.post("/v1/jobs", json=JOB | {"kind": "htpt"} | HOURLY)
    await connection.execute("insert into tocsin.kinds values ('htpt')")
    known = (await api.get(f"/v1/jobs/{job_id}")).json()
    listed_known = (await api.get("/v1/jobs", params={"state": "invalid"})).json()["items"]

    assert seen["state"] == "invalid"
    assert "did you mean http?" in seen["plan_error"]
    assert ([one["id"] for one in listed], counted) == ([str(job_id)], 1)
    assert (run.status_code, "htpt" in run.json()["detail"]) == (409, True)
    assert (door.status_code, fields(door)) == (422, ["kind"])
    assert "did you mean http?" in door.json()["errors"][0]["message"]
    assert (known["plan_error"], listed_known) == (None, [])
    assert known["state"] == ("paused" if "paused_at" in columns else "scheduled")
    assert (await job_row(connection, job_id))["plan_error"] is None


async def test_a_kind_counts_for_a_day_after_an_instance_had_it(
    connection: asyncpg.Connection,
) -> None:
    job_id = await insert_job(connection, kind="pigeon")
    states = []

    for hours in (23, 25):
        await connection.execute(
            """insert into tocsin.kinds values ('pigeon', now() - $1 * interval '1 hour')
               on conflict (kind) do update set told_at = excluded.told_at""",
            hours,
        )
        states.append((await job_row(connection, job_id))["state"])

    assert states == ["scheduled", "invalid"]
