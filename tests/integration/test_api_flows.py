"""The limits of flows over HTTP, and what holds a job of a flow, by both doors."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json

from app.db import flows
from app.db.listener import Session
from tests.support.api import LATER, fields
from tests.support.builders import insert_job
from tests.support.pages import ROOT

NOTHING = {
    "max_concurrency": None,
    "rate": None,
    "period_seconds": 1.0,
    "burst": None,
    "paused": False,
    "paused_at": None,
    "pause_reason": None,
    "paused_until": None,
    "paused_by": None,
    "held_until": None,
    "held_for": None,
    "executing": 0,
    "waiting": 0,
}


def limits(answer: httpx.Response) -> dict[str, Any]:
    told: dict[str, Any] = answer.json()
    return {name: value for name, value in told.items() if name not in ("created_at", "updated_at")}


async def test_limits_are_set_replaced_read_and_deleted(api: httpx.AsyncClient) -> None:
    made = await api.put("/v1/flows/api.example.com:443", json={"max_concurrency": 3})
    replaced = await api.put(
        "/v1/flows/api.example.com:443", json={"rate": 10, "period_seconds": 60, "burst": 2}
    )
    read = await api.get("/v1/flows/api.example.com:443")
    gone = await api.delete("/v1/flows/api.example.com:443")
    missing = await api.get("/v1/flows/api.example.com:443")
    again = await api.delete("/v1/flows/api.example.com:443")

    assert (made.status_code, replaced.status_code, gone.status_code) == (201, 200, 204)
    key = {"flow_key": "api.example.com:443"}
    assert limits(made) == NOTHING | key | {"max_concurrency": 3}
    assert limits(replaced) == NOTHING | key | {"rate": 10, "period_seconds": 60.0, "burst": 2}
    assert read.json() == replaced.json()
    assert (missing.status_code, again.status_code) == (404, 404)
    assert missing.json()["type"].endswith("flow-not-found")


async def test_flows_are_listed_by_key_in_pages(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    for key in ("b", "tenant-*", "a"):
        await api.put(f"/v1/flows/{key}", json={})
    await connection.execute(
        """insert into tocsin.flow_states (flow_key, held_until)
           values ('c', now() + interval '1 hour')"""
    )

    first = (await api.get("/v1/flows?limit=3")).json()
    second = (await api.get(f"/v1/flows?limit=3&cursor={first['next_cursor']}")).json()

    assert [one["flow_key"] for one in first["items"]] == ["a", "b", "c"]
    assert [one["flow_key"] for one in second["items"]] == ["tenant-*"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"max_concurrency": 1_000_001}, "max_concurrency"),
        ({"rate": 0}, "rate"),
        ({"rate": 1, "period_seconds": 0.09}, "period_seconds"),
        ({"rate": 1, "period_seconds": 31_557_601}, "period_seconds"),
        ({"burst": 2}, "burst"),
        ({"rate": 1, "burst": 0}, "burst"),
        ({"rate": 1, "period_seconds": 31_557_600, "burst": 2}, "burst"),
        ({"concurrency": 1}, "concurrency"),
    ],
    ids=str,
)
async def test_limits_that_make_no_sense_are_refused_by_both_doors(
    api: httpx.AsyncClient, connection: asyncpg.Connection, body: dict[str, Any], field: str
) -> None:
    answer = await api.put("/v1/flows/api", json=body)

    assert answer.status_code == 422
    assert fields(answer) == [field]
    columns = ", ".join(["flow_key", *body])
    values = ", ".join(["'api'", *(str(value) for value in body.values())])
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.UndefinedColumnError), match=field):
        await connection.execute(f"insert into tocsin.flows ({columns}) values ({values})")


async def test_a_key_with_a_control_character_is_refused(api: httpx.AsyncClient) -> None:
    answer = await api.put("/v1/flows/a%09b", json={})

    assert answer.status_code == 422
    assert fields(answer) == ["flow_key"]


async def test_a_job_has_its_flow_and_an_undeclared_flow_is_found_by_its_jobs(
    api: httpx.AsyncClient,
) -> None:
    made = await api.post("/v1/jobs", json=LATER | {"name": "one", "flow_key": "tenant-1"})
    moved = await api.patch("/v1/jobs/one", json={"flow_key": "tenant-2"})
    found = await api.get("/v1/flows/tenant-2")
    listed = await api.get("/v1/jobs?sort=next_run")
    upcoming = await api.get("/v1/upcoming?until=2101-01-01T00:00:00Z")

    assert made.json()["flow_key"] == "tenant-1"
    assert moved.json()["flow_key"] == "tenant-2"
    assert limits(found) == NOTHING | {"flow_key": "tenant-2"}
    assert [one["name"] for one in listed.json()["items"]] == ["one"]
    assert upcoming.status_code in (200, 422)


async def test_changes_of_limits_are_in_the_audit_log(api: httpx.AsyncClient) -> None:
    await api.put("/v1/flows/api", json={"max_concurrency": 3})
    await api.put("/v1/flows/api", json={"max_concurrency": 4})
    await api.delete("/v1/flows/api")

    entries = (await api.get("/v1/audit")).json()["items"]

    assert [(one["action"], one["entity"], one["entity_name"]) for one in entries] == [
        ("delete", "flow", "api"),
        ("update", "flow", "api"),
        ("create", "flow", "api"),
    ]
    assert entries[1]["changed"] == ["max_concurrency"]


async def test_the_explanation_names_who_has_the_permits_of_a_flow(
    api: httpx.AsyncClient, connection: asyncpg.Connection, session: Session
) -> None:
    await api.put("/v1/flows/api", json={"max_concurrency": 1, "rate": 1, "period_seconds": 60})
    due = datetime.now(UTC) - timedelta(minutes=1)
    first = await insert_job(connection, name="first", flow_key="api", run_at=due)
    await insert_job(connection, name="second", flow_key="api")
    await flows.look(
        session,
        ["api"],
        limit=10,
        ahead_seconds=0,
        lease_seconds=60,
        kinds=["http"],
        instance="one",
    )

    told = (await api.get("/v1/jobs/second/explain")).json()["reasons"]

    full, rate = (one for one in told if one["reason"].startswith("flow_"))
    assert full["reason"] == "flow_full"
    assert "1 of 1 permits of its flow api are taken: by first." in full["detail"]
    [holder] = full["facts"]["holders"]
    assert (holder["job_id"], holder["name"], holder["instance"]) == (str(first), "first", "one")
    assert full["until"] == holder["until"]
    assert (rate["reason"], rate["facts"]["permits"], rate["facts"]["taken"]) == ("flow_rate", 1, 1)


async def test_a_flow_is_paused_with_a_reason_and_an_end_and_keeps_its_limits(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    """As the page of flows has it, by both doors."""
    page = (ROOT / "docs" / "flows.md").read_text("utf-8")
    section = page[page.index("## Pause a flow") :]
    [(pause, body), (resume, _)] = re.findall(r"TOCSIN(/\S+)(?: --json '(.*)')?", section)[:2]
    statements = re.findall(r"^select .*;$", section, re.MULTILINE)
    await api.put("/v1/flows/api.example.com", json={"max_concurrency": 3})
    await insert_job(connection, name="one", flow_key="api.example.com")

    paused = await api.post(f"/v1{pause}", json=json.decode(body))
    reasons = (await api.get("/v1/jobs/one/explain")).json()["reasons"]
    kept = await api.put("/v1/flows/api.example.com", json={"max_concurrency": 4, "paused": True})
    resumed = await api.post(f"/v1{resume}")
    again = await api.post(f"/v1{resume}")
    await connection.execute(statements[0])
    by_psql = await api.get("/v1/flows/api.example.com")
    await connection.execute(statements[1])
    free = await api.get("/v1/flows/api.example.com")
    late = await api.post(f"/v1{pause}", json={"until": "2020-01-01T00:00:00Z"})

    until = "2030-01-31T04:00:00Z"
    told = paused.json()
    assert (told["paused"], told["pause_reason"], told["paused_until"], told["paused_by"]) == (
        *(True, "the API is moved", until, "loopback"),
    )
    assert told["max_concurrency"] == 3
    [explained] = [one for one in reasons if one["reason"] == "flow_paused"]
    assert explained["until"] == until
    assert explained["detail"].endswith(
        "By loopback, until 2030-01-31 04:00:00 UTC: the API is moved."
    )
    assert (kept.json()["pause_reason"], kept.json()["paused_at"]) == (
        *("the API is moved", told["paused_at"]),
    )
    assert limits(resumed) == NOTHING | {
        "flow_key": "api.example.com",
        "max_concurrency": 4,
        "waiting": 1,
    }
    assert limits(again) == limits(resumed) == limits(free)
    assert (by_psql.json()["pause_reason"], by_psql.json()["max_concurrency"]) == (
        *("the API is moved", 4),
    )
    assert (late.status_code, fields(late)) == (422, ["until"])
    audited = (await api.get("/v1/audit")).json()["items"]
    assert "pause_reason" in audited[0]["changed"]


async def test_the_next_start_is_told_though_more_were_made_than_a_lowered_rate_allows(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/flows/api", json={"rate": 2, "period_seconds": 60})
    await insert_job(connection, name="one", flow_key="api")
    await connection.execute(
        """insert into tocsin.flow_starts (flow_key, granted_at, instance, many, latest)
           select 'api', now() - ago, 'gone', many, now() - ago
           from (values (interval '50 s', 3), (interval '10 s', 2)) as made (ago, many)"""
    )

    told = (await api.get("/v1/jobs/one/explain")).json()["reasons"]

    [rate] = [one for one in told if one["reason"] == "flow_rate"]
    assert (rate["facts"]["permits"], rate["facts"]["taken"]) == (2, 5)
    assert datetime.fromisoformat(rate["until"]) > datetime.now(UTC) + timedelta(seconds=40)


async def test_a_run_now_behind_a_full_flow_says_first_which_job_has_the_permit(
    api: httpx.AsyncClient, connection: asyncpg.Connection, database_url: str
) -> None:
    await api.put("/v1/flows/api", json={"max_concurrency": 1})
    for name in ("first", "second"):
        await insert_job(connection, name=name, flow_key="api", every_seconds=3600)
        await api.post(f"/v1/jobs/{name}/run")
    await connection.execute(
        """update tocsin.jobs r set locked_until = now() + interval '1 minute', locked_by = 'one',
               fence = r.fence + 1, claimed_at = now(), claimed_for = r.scheduled_for,
               claimed_attempt = 1, execution_id = 7
           from tocsin.jobs j where r.run_of = j.id and j.name = 'first'"""
    )
    alive = await asyncpg.connect(
        database_url, server_settings={"application_name": "tocsin scheduler one"}
    )

    told = (await api.get("/v1/jobs/second/explain")).json()["reasons"]
    await alive.close()

    assert [one["reason"] for one in told][:3] == ["flow_full", "behind_run", "due"]
    assert "are taken: by first." in told[0]["detail"]
    assert [one["name"] for one in told[0]["facts"]["holders"]] == ["first"]
    assert told[2]["detail"].endswith("starts once its flow has room for it.")


async def test_the_explanation_says_that_a_flow_is_paused_or_held(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="one", flow_key="tenant-1")
    await api.put("/v1/flows/tenant-*", json={"paused": True})
    paused = (await api.get("/v1/jobs/one/explain")).json()["reasons"]
    await api.delete("/v1/flows/tenant-*")
    await connection.execute(
        """insert into tocsin.flow_states (flow_key, held_until, held_for)
           values ('tenant-1', now() + interval '1 hour', 'the target answered 429')"""
    )
    held = (await api.get("/v1/jobs/one/explain")).json()["reasons"]
    released = await api.post("/v1/flows/tenant-1/release")
    free = (await api.get("/v1/jobs/one/explain")).json()["reasons"]

    assert "by the pattern tenant-*" in next(
        one["detail"] for one in paused if one["reason"] == "flow_paused"
    )
    assert "the target answered 429" in next(
        one["detail"] for one in held if one["reason"] == "flow_held"
    )
    assert limits(released)["held_until"] is None
    assert not [one for one in free if one["reason"].startswith("flow_")]
