"""Rules and channels over the API and in SQL: the same verdicts, and what was told is listed."""

from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.alerts.presets import Preset
from app.core.alerts.rules import Event
from app.db import Database
from app.wire.alerts import TIMED
from tests.support.alerts import ended, insert_rule, judge_all, quiet_job
from tests.support.api import LATER, fields
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

SLACK = {"preset": "slack", "target": {"url": "https://hooks.slack.com/services/${secret:slack}"}}


async def test_a_rule_reads_as_it_was_written_and_can_be_written_back(
    api: httpx.AsyncClient,
) -> None:
    await api.post("/v1/jobs", json={**LATER, "name": "report"})
    await api.put("/v1/alerts/channels/ops", json=SLACK)
    written = {
        "events": ["backlog", "failed", "late", "recovered", "slow"],
        "job": "report",
        "tag": None,
        "after": 3,
        "seconds": 90.5,
        "factor": 2.5,
        "more_than": 7,
        "remind_seconds": 3600.0,
        "reasons": ["overlap"],
        "channels": ["ops"],
    }

    made = await api.put("/v1/alerts/rules/three", json=written)
    again = await api.put("/v1/alerts/rules/three", json=written)

    assert (made.status_code, again.status_code) == (201, 200)
    read = (await api.get("/v1/alerts/rules/three")).json()
    assert {name: read[name] for name in written} == written
    assert read["told_jobs"] == 0
    listed = (await api.get("/v1/alerts/rules")).json()["items"]
    assert listed == [read]


async def test_a_channel_is_masked_and_one_in_use_stays(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    made = await api.put("/v1/alerts/channels/ops", json=SLACK)
    await api.put("/v1/alerts/rules/all", json={"events": ["failed"], "channels": ["ops"]})
    await connection.execute(
        "insert into tocsin.alert_channels (name, target) values ('typed', $1)",
        '{"url": "https://example.com", "auth": {"type": "bearer", "token": "hidden"}}',
    )

    refused = await api.delete("/v1/alerts/channels/ops")
    typed = (await api.get("/v1/alerts/channels/typed")).json()

    assert (made.status_code, made.json()["target"]) == (201, SLACK["target"])
    assert (refused.status_code, "all" in refused.json()["detail"]) == (409, True)
    assert typed["target"]["auth"]["token"] == "***"
    await api.delete("/v1/alerts/rules/all")
    assert (await api.delete("/v1/alerts/channels/ops")).status_code == 204
    assert [one["name"] for one in (await api.get("/v1/alerts/channels")).json()["items"]] == [
        "typed"
    ]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("channels/x", {"target": {"url": "nowhere"}}, "target.url"),
        ("channels/x", {"target": {"url": "https://example.com", "json": {}}}, "target.json"),
        ("channels/x", {"preset": "pigeon", "target": {"url": "https://example.com"}}, "preset"),
        (
            "channels/x",
            {
                "target": {
                    "url": "https://example.com",
                    "auth": {"type": "bearer", "token": "written-out"},
                }
            },
            "target.auth.token",
        ),
        ("channels/x", {"target": {"url": "https://me:written@example.com"}}, "target.url"),
        ("rules/x", {"events": ["failed"], "job": "none"}, "job"),
        ("rules/x", {"events": ["failed"], "job": "a", "tag": "b"}, "tag"),
        ("rules/x", {"events": ["failed"], "tag": "a,b"}, "tag"),
    ],
)
async def test_what_is_wrong_is_refused_and_named(
    module_api: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await module_api.put(f"/v1/alerts/{path}", json=body)

    assert (answer.status_code, fields(answer)) == (422, [field])


NEEDING = (Event.SLOW, Event.BACKLOG)
"""Events that need one of two fields."""
BOUNDS: dict[str, tuple[list[Any], list[Any]]] = {
    "events": ([[], ["sad"]], [["failed"], [*{*Event} - {*TIMED, *NEEDING}]]),
    "tag": (["", "x" * 201, "a,b"], ["x", "x" * 200, None]),
    "after": ([0, -1, 1001], [1, 1000]),
    "reasons": ([[]], [["misfire"], None]),
    "channels": ([["none"]], [[], ["ops"]]),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "value", "is_fine"),
    [
        pytest.param(name, value, place == 1, id=f"{name}-{place}-{number}")
        for name, both in BOUNDS.items()
        for place, values in enumerate(both)
        for number, value in enumerate(values)
    ],
)
async def test_both_doors_judge_a_rule_alike(
    module_api: httpx.AsyncClient,
    module_connection: asyncpg.Connection,
    name: str,
    value: object,
    *,
    is_fine: bool,
) -> None:
    await module_api.put("/v1/alerts/channels/ops", json=SLACK)
    given = {"events": ["failed"]} | {name: value}

    answer = await module_api.put(f"/v1/alerts/rules/{uuid4()}", json=given)
    refused = None
    try:
        await insert_rule(module_connection, **({"name": f"typed {uuid4()}"} | given))  # type: ignore[arg-type]
    except asyncpg.CheckViolationError as error:
        refused = error.column_name or error.constraint_name

    assert (answer.status_code == 201) is is_fine, answer.text
    assert (refused is None) is is_fine
    if not is_fine:
        assert fields(answer)[0].partition("[")[0] == name
        assert name in str(refused)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"events": ["late"]}, "seconds"),
        ({"events": ["failed"], "seconds": 5}, "seconds"),
        ({"events": ["late"], "seconds": 0.5}, "seconds"),
        ({"events": ["late"], "seconds": 31_557_601}, "seconds"),
        ({"events": ["not_succeeded"], "seconds": 5}, "events"),
        ({"events": ["late"], "seconds": 31_557_600}, None),
        ({"events": ["slow"]}, "factor"),
        ({"events": ["slow"], "factor": 0.5}, "factor"),
        ({"events": ["slow"], "factor": 1001}, "factor"),
        ({"events": ["failed"], "factor": 2}, "factor"),
        ({"events": ["slow"], "factor": 1.5}, None),
        ({"events": ["slow"], "seconds": 5}, None),
        ({"events": ["backlog"]}, "more_than"),
        ({"events": ["backlog"], "more_than": -1}, "more_than"),
        ({"events": ["backlog"], "more_than": 100_001}, "more_than"),
        ({"events": ["failed"], "more_than": 2}, "more_than"),
        ({"events": ["backlog"], "more_than": 0, "tag": "a"}, None),
        ({"events": ["no_instance"], "tag": "a"}, "events"),
        ({"events": ["no_instance"]}, None),
        ({"events": ["failed"], "remind_seconds": 59}, "remind_seconds"),
        ({"events": ["failed"], "remind_seconds": 60}, None),
        ({"events": ["not_succeeded", "late"], "seconds": 1, "tag": "a"}, None),
    ],
)
async def test_both_doors_judge_numbers_alike(
    module_api: httpx.AsyncClient,
    module_connection: asyncpg.Connection,
    given: dict[str, Any],
    field: str | None,
) -> None:
    answer = await module_api.put(f"/v1/alerts/rules/{uuid4()}", json=given)
    refused = None
    try:
        await insert_rule(module_connection, **({"name": f"typed {uuid4()}"} | given))
    except asyncpg.CheckViolationError as error:
        refused = error.constraint_name

    assert answer.status_code == (201 if field is None else 422), answer.text
    assert (refused is None) is (field is None)
    if field is not None:
        assert fields(answer) == [field]
        assert field in str(refused)


async def test_every_preset_is_known_in_sql(connection: asyncpg.Connection) -> None:
    for preset in Preset:
        await connection.execute(
            "insert into tocsin.alert_channels (name, preset, target) values ($1, $1, '{}')", preset
        )
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(
            "insert into tocsin.alert_channels (name, preset, target) values ('x', 'x', '{}')"
        )


async def test_the_button_has_a_channel_told_and_the_alert_says_that_it_arrived(
    api: httpx.AsyncClient, instance: StartInstance, sink: Sink
) -> None:
    await api.put("/v1/alerts/channels/ops", json={"target": {"url": sink.url("/hook")}})

    async with instance():
        asked = await api.post("/v1/alerts/channels/ops/test")
        address = f"/v1/alerts/{asked.json()['id']}"

        async def has_arrived() -> bool:
            return bool((await api.get(address)).json()["delivery"] == "delivered")

        await until(has_arrived, "the delivery is on record", within=60)

    assert (asked.status_code, asked.json()["delivery"]) == (202, "waiting")
    [request] = sink.requests
    body = json.decode(request.body)
    assert (body["event"], body["channel"], body["rule"]) == ("test", "ops", None)
    assert (await api.post("/v1/alerts/channels/none/test")).status_code == 404


async def test_alerts_are_listed_by_job_and_by_rule(
    api: httpx.AsyncClient, db: Database, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/alerts/rules/failures", json={"events": ["failed"]})
    await api.put("/v1/alerts/rules/others", json={"events": ["exhausted"]})
    for name in ("one", "two"):
        await ended(connection, await quiet_job(connection, name=name))
    await judge_all(db, connection)

    every = (await api.get("/v1/alerts", params={"limit": 3})).json()
    rest = (await api.get("/v1/alerts", params={"cursor": every["next_cursor"]})).json()
    of_one = (await api.get("/v1/alerts", params={"job": "one", "rule": "failures"})).json()

    assert (len(every["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 1, None)
    [alert] = of_one["items"]
    assert (alert["job"], alert["event"], alert["many"], alert["channel"], alert["delivery"]) == (
        *("one", "failed", 1, None),
        "none",
    )
    assert alert["why"] == "the target answered with status 500"
    assert (await api.get(f"/v1/alerts/{alert['id']}")).json() == alert
    rule = (await api.get("/v1/alerts/rules/failures")).json()
    assert rule["told_jobs"] == 2


async def test_the_audit_log_has_rules_and_channels_without_secrets(
    api: httpx.AsyncClient,
) -> None:
    await api.put("/v1/alerts/channels/ops", json=SLACK)
    await api.put(
        "/v1/alerts/channels/ops",
        json={"preset": "slack", "target": {"url": "https://hooks.slack.com/${secret:other}"}},
    )
    await api.put("/v1/alerts/rules/all", json={"events": ["failed"], "channels": ["ops"]})
    await api.put("/v1/alerts/rules/all", json={"events": ["failed"], "after": 2})
    await api.delete("/v1/alerts/rules/all")

    entries = (await api.get("/v1/audit")).json()["items"]

    assert [(one["action"], one["entity"], one["changed"]) for one in reversed(entries)] == [
        ("create", "alert_channel", None),
        ("update", "alert_channel", ["target"]),
        ("create", "alert_rule", None),
        ("update", "alert_rule", ["after", "channels"]),
        ("delete", "alert_rule", None),
    ]
    assert "secret:" not in json.encode(entries).decode()
