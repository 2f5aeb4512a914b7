"""Sets of jobs by the API: planned, applied in one transaction, owned, pruned."""

import asyncio
import json
from typing import Any

import asyncpg
import httpx
import pytest

from app.db.connections import OF_API
from app.jobs.create import PART
from tests.support.api import fields, serving
from tests.support.builders import insert_job
from tests.support.recorder import Recorder
from tests.support.roles import as_role
from tests.support.vault import KEY
from tests.support.waiting import until

URL = "http://127.0.0.1:9/nothing-listens-here"
HTTP = {"http": {"url": URL}}
NIGHTLY = {**HTTP, "cron": "0 3 * * *", "timezone": "Europe/Paris"}


def billing(**more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"set": "billing", "jobs": {"nightly": NIGHTLY}} | more


async def plan(api: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post("/v1/jobs/plan", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def applied(api: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post("/v1/jobs/apply", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def actions(plan: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["action"] for one in plan["steps"]}


def step(plan: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [one for one in plan["steps"] if one["name"] == name]
    return dict(found)


async def test_a_set_is_planned_applied_and_then_unchanged(api: httpx.AsyncClient) -> None:
    whole = billing(
        defaults={"tags": ["billing"], "max_attempts": 3},
        jobs={
            "nightly": NIGHTLY | {"calendars": ["!holidays"], "flow_key": "billing-api"},
            "backup": {"check": {}, "cron": "@daily", "tags": []},
        },
        calendars={"holidays": {"dates": ["2030-12-24"]}},
        flows={"billing-api": {"max_concurrency": 2}},
        channels={
            "first": {"target": {"url": URL}, "fallback": "ops"},
            "ops": {"target": {"url": URL}},
        },
        rules={
            "failures": {"events": ["recovered", "failed"], "tag": "billing", "channels": ["ops"]},
            "of-one": {"events": ["failed"], "job": "nightly"},
        },
    )

    before = await plan(api, whole)
    assert (await api.get("/v1/jobs/nightly")).status_code == 404
    done = await applied(api, whole | {"digest": before["digest"]})
    again = await plan(api, whole)
    twice = await applied(api, whole)
    job = (await api.get("/v1/jobs/nightly")).json()
    state = (await api.get("/v1/sets/billing")).json()

    assert before["differs"]
    assert before["counts"] == {"create": 8}
    assert len(step(before, "nightly")["runs"]["after"]) == 5
    assert done["steps"] == before["steps"]
    assert (again["differs"], again["counts"]) == (False, {"unchanged": 8})
    assert twice["digest"] == again["digest"]
    assert (job["tags"], job["max_attempts"], job["target"]["url"]) == (["billing"], 3, URL)
    assert (state["jobs"], state["others"], len(state["members"])) == (2, 6, 8)
    assert [one["name"] for one in (await api.get("/v1/sets")).json()["items"]] == ["billing"]


async def test_a_change_is_named_by_field_and_keeps_what_the_file_does_not_say(
    api: httpx.AsyncClient,
) -> None:
    await applied(api, billing())
    await api.post("/v1/jobs/nightly/pause", json={})
    before = (await api.get("/v1/jobs/nightly")).json()
    changed = billing(
        jobs={"nightly": NIGHTLY | {"cron": "0 4 * * *", "http": {"url": URL, "method": "PUT"}}}
    )

    one = step(await applied(api, changed), "nightly")
    after = (await api.get("/v1/jobs/nightly")).json()

    assert one["action"] == "change"
    assert {c["field"]: (c.get("before"), c.get("after")) for c in one["changes"]} == {
        "cron": ("0 3 * * *", "0 4 * * *"),
        "target.method": (None, "PUT"),
    }
    assert "drift" not in one
    assert one["paused"]
    assert len(one["runs"]["before"]) == len(one["runs"]["after"]) == 5
    assert one["runs"]["dropped"] == one["runs"]["before"]
    assert (after["id"], after["paused"]) == (before["id"], True)
    assert after["next_run"] == one["runs"]["after"][0]


async def test_what_was_changed_elsewhere_is_drift_and_is_put_back(api: httpx.AsyncClient) -> None:
    await applied(api, billing(flows={"f": {"rate": 5}}))
    await api.patch(
        "/v1/jobs/nightly", json={"cron": "0 9 * * *", "name": "renamed", "tags": ["x"]}
    )
    await api.put("/v1/flows/f", json={"rate": 9})

    found = await plan(api, billing(flows={"f": {"rate": 5}}))
    await applied(api, billing(flows={"f": {"rate": 5}}))

    one = step(found, "nightly")
    assert one["drift"]
    assert {c["field"] for c in one["changes"] if c["drift"]} == {"cron", "name", "tags"}
    assert step(found, "f")["drift"]
    assert (await api.get("/v1/jobs/nightly")).json()["cron"] == "0 3 * * *"
    assert (await api.get("/v1/jobs/renamed")).status_code == 404
    assert not (await plan(api, billing(flows={"f": {"rate": 5}})))["differs"]


async def test_a_removed_job_is_paused_and_comes_back_with_the_file(api: httpx.AsyncClient) -> None:
    await applied(api, billing(flows={"f": {"rate": 5}}))

    removed = await applied(api, billing(jobs={}))
    paused = (await api.get("/v1/jobs/nightly")).json()
    again = await plan(api, billing(jobs={}))
    back = await applied(api, billing())
    resumed = (await api.get("/v1/jobs/nightly")).json()

    assert actions(removed) == {"nightly": "pause", "f": "keep"}
    assert len(step(removed, "nightly")["runs"]["dropped"]) == 5
    assert paused["paused"]
    assert "billing" in paused["pause"]["reason"]
    assert not again["differs"]
    assert actions(back) == {"nightly": "change", "f": "keep"}
    assert (resumed["paused"], resumed["id"]) == (False, paused["id"])
    assert not (await plan(api, billing()))["differs"]


async def test_a_job_that_a_person_paused_stays_so_while_it_leaves_a_file_and_comes_back(
    api: httpx.AsyncClient,
) -> None:
    await applied(api, billing())
    await api.post("/v1/jobs/nightly/pause", json={"reason": "the bank is down"})

    removed = await applied(api, billing(jobs={}))
    back = await applied(api, billing())
    job = (await api.get("/v1/jobs/nightly")).json()

    assert (actions(removed), actions(back)) == ({"nightly": "keep"}, {"nightly": "take_over"})
    assert (job["paused"], job["pause"]["reason"]) == (True, "the bank is down")


async def test_channels_are_deleted_after_those_that_fall_back_to_them(
    api: httpx.AsyncClient,
) -> None:
    channels: dict[str, Any] = {"a": {"target": {"url": URL}}}
    channels |= {name: {"target": {"url": URL}, "fallback": after} for name, after in ("ba", "cb")}
    await applied(api, billing(channels=channels))

    done = await applied(api, billing(prune="delete"))

    assert actions(done) == {"nightly": "unchanged", "a": "delete", "b": "delete", "c": "delete"}


async def test_pruning_deletes_only_what_the_set_has(api: httpx.AsyncClient) -> None:
    whole = billing(
        jobs={"nightly": NIGHTLY | {"calendars": ["c"]}},
        calendars={"c": {"weekly": ["MON-FRI 00:00-12:00"]}},
        channels={"ops": {"target": {"url": URL}}},
        rules={"r": {"events": ["failed"], "channels": ["ops"]}},
        flows={"f": {"rate": 5}},
    )
    await applied(api, whole)
    await applied(api, {"set": "other", "jobs": {"of-other": NIGHTLY}})

    done = await applied(api, {"set": "billing", "prune": "delete"})

    assert set(actions(done).values()) == {"delete"}
    assert [one["name"] for one in (await api.get("/v1/jobs")).json()["items"]] == ["of-other"]
    for address in ("calendars/c", "flows/f", "alerts/channels/ops", "alerts/rules/r"):
        assert (await api.get(f"/v1/{address}")).status_code == 404
    assert (await api.get("/v1/sets/billing")).json()["members"] == []


async def test_what_belongs_to_others_is_a_conflict_until_it_is_taken_over(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await applied(api, {"set": "other", "jobs": {"of-other": NIGHTLY}, "flows": {"f": {"rate": 1}}})
    await insert_job(connection, name="of-nobody", cron="0 3 * * *")
    wanted = billing(
        jobs={"of-other": NIGHTLY, "of-nobody": NIGHTLY, "new": NIGHTLY}, flows={"f": {"rate": 2}}
    )

    found = await plan(api, wanted)
    refused = await api.post("/v1/jobs/apply", json=wanted)
    taken = await applied(api, wanted | {"take_over": ["of-other", "of-nobody", "flow:f"]})

    assert actions(found) == {
        "f": "conflict",
        "of-other": "conflict",
        "of-nobody": "conflict",
        "new": "create",
    }
    assert step(found, "of-other")["owner"] == "other"
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:tocsin:problem:set-conflict"
    assert fields(refused) == ["flows.f", "jobs.of-other", "jobs.of-nobody"]
    assert actions(taken) == {
        "f": "change",
        "of-other": "take_over",
        "of-nobody": "change",
        "new": "create",
    }
    assert (await api.get("/v1/sets/other")).json()["members"] == []
    assert not (await plan(api, wanted))["differs"]


async def test_a_plan_that_the_world_has_left_behind_is_not_applied(api: httpx.AsyncClient) -> None:
    await applied(api, billing())
    wanted = billing(jobs={"nightly": NIGHTLY | {"cron": "0 5 * * *"}})
    reviewed = await plan(api, wanted)
    await api.patch("/v1/jobs/nightly", json={"metadata": {"edited": True}})

    refused = await api.post("/v1/jobs/apply", json=wanted | {"digest": reviewed["digest"]})

    assert refused.status_code == 409
    assert "plan again" in refused.json()["detail"]
    assert (await api.get("/v1/jobs/nightly")).json()["cron"] == "0 3 * * *"


async def test_nothing_is_written_where_the_database_refuses_the_last_of_it(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "alter table tocsin.alert_rules add constraint mine check (name <> 'forbidden')"
    )

    refused = await api.post(
        "/v1/jobs/apply",
        json=billing(rules={"forbidden": {"events": ["failed"]}}, flows={"f": {"rate": 1}}),
    )

    assert refused.status_code == 422, refused.text
    assert fields(refused)[0].startswith("rules.forbidden")
    assert (await api.get("/v1/jobs")).json()["items"] == []
    assert (await api.get("/v1/flows")).json()["items"] == []
    assert (await api.get("/v1/sets")).json()["items"] == []


WITH_TOKEN = {"url": URL, "auth": {"type": "bearer", "token": "x"}}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"sett": "a"}, ["sett"]),
        (
            {
                "jobs": {
                    "a": {**NIGHTLY, "crn": "x"},
                    "b": {"http": {"url": URL}, "amqp": {}, "cron": "@daily"},
                    "c/d": NIGHTLY,
                    "6f1c9a52-0d53-4d0c-9d0e-3a8f6d1c5b07": NIGHTLY,
                    "e": {**HTTP, "name": "f", "run_in_seconds": 5},
                    "g": {"http": WITH_TOKEN, "cron": "@daily"},
                },
                "flows": {"f": {"rate": 0}},
                "calendars": {"c": {"weekly": 5}},
                "channels": {"c": {"target": {"url": URL, "body": "x"}}},
                "rules": {"r": {"events": []}},
            },
            [
                *(
                    "jobs.a.crn",
                    "jobs.b.http",
                    "jobs.c/d",
                    "jobs.6f1c9a52-0d53-4d0c-9d0e-3a8f6d1c5b07",
                ),
                *("jobs.e.run_in_seconds", "jobs.e.name", "jobs.g.http.auth.token"),
                *("calendars.c.weekly", "flows.f.rate", "channels.c.target.body", "rules.r.events"),
            ],
        ),
        (
            {
                "jobs": {
                    "a": {**HTTP, "cron": "61 * * * *"},
                    "b": {"http": {"url": "x"}, "cron": "@daily"},
                }
            },
            ["jobs.a.cron", "jobs.b.http.url"],
        ),
        (
            {
                "jobs": {"a": NIGHTLY | {"calendars": ["!none"]}},
                "rules": {"r": {"events": ["failed"], "job": "none", "channels": ["none"]}},
            },
            ["jobs.a.calendars[0]", "rules.r.channels[0]", "rules.r.job"],
        ),
    ],
    ids=["field", "document", "rule", "reference"],
)
async def test_what_is_wrong_is_named_by_its_field(
    api: httpx.AsyncClient, more: dict[str, Any], expected: list[str]
) -> None:
    for verb in ("plan", "apply"):
        answer = await api.post(f"/v1/jobs/{verb}", json={"set": "billing"} | more)

        assert answer.status_code == 422, answer.text
        assert fields(answer) == expected
    assert (await api.get("/v1/sets")).json()["items"] == []


async def test_calendars_that_close_every_run_are_named_with_the_job(
    api: httpx.AsyncClient,
) -> None:
    office = {"weekly": ["MON-FRI 09:00-17:00"]}
    jobs = {"day": {**HTTP, "cron": "0 12 * * *"}, "night": {**HTTP, "cron": "0 3 * * *"}}
    wanted = {name: job | {"calendars": ["office"]} for name, job in jobs.items()}

    refused = await api.post(
        "/v1/jobs/apply", json=billing(jobs=wanted, calendars={"office": office})
    )

    assert (refused.status_code, fields(refused)) == (422, ["jobs.night.calendars"])


async def test_a_secret_is_named_or_stays_as_it_is(api: httpx.AsyncClient) -> None:
    token = {"url": URL, "auth": {"type": "bearer", "token": "hunter2"}}
    await api.put("/v1/jobs/nightly", json={"kind": "http", "target": token, "cron": "0 3 * * *"})
    kept = {"cron": "0 3 * * *", "http": {"url": URL, "auth": {"type": "bearer", "token": "***"}}}
    named = {
        "cron": "0 3 * * *",
        "http": {"url": URL, "auth": {"type": "bearer", "token": "${secret:t}"}},
    }

    taken = await applied(api, billing(jobs={"nightly": kept}, take_over=["nightly"]))
    again = await plan(api, billing(jobs={"nightly": kept}))
    moved = await plan(api, billing(jobs={"nightly": named}))

    assert actions(taken) == {"nightly": "take_over"}
    assert not again["differs"]
    [change] = step(moved, "nightly")["changes"]
    assert (change["field"], change["before"], change["after"]) == (
        "target.auth.token",
        "***",
        "${secret:t}",
    )
    assert moved["warnings"][0]["field"] == "jobs.nightly.http.auth.token"
    assert "hunter2" not in json.dumps([taken, again, moved])


async def test_a_forgotten_set_leaves_its_jobs(api: httpx.AsyncClient) -> None:
    await applied(api, billing())

    gone = await api.delete("/v1/sets/billing")

    assert gone.status_code == 204
    assert (await api.get("/v1/sets/billing")).status_code == 404
    assert (await api.delete("/v1/sets/billing")).status_code == 404
    assert actions(await plan(api, billing())) == {"nightly": "conflict"}


async def test_a_deleted_job_is_made_again_and_a_forgotten_name_is_left_out(
    api: httpx.AsyncClient,
) -> None:
    await applied(api, billing(jobs={"nightly": NIGHTLY, "other": NIGHTLY}))
    await api.delete("/v1/jobs/nightly")
    await api.delete("/v1/jobs/other")

    done = await applied(api, billing())

    assert step(done, "nightly")["detail"] == "was deleted elsewhere"
    assert actions(done) == {"nightly": "create", "other": "keep"}
    assert not (await plan(api, billing()))["differs"]
    assert len((await api.get("/v1/sets/billing")).json()["members"]) == 1


async def test_more_jobs_than_one_statement_takes_are_changed_in_one_transaction(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    many = {f"job-{n}": NIGHTLY for n in range(PART + 1)}
    await applied(api, billing(jobs=many))
    later = {name: job | {"cron": "0 4 * * *"} for name, job in many.items()}

    done = await applied(api, billing(jobs=later))

    assert done["counts"] == {"change": PART + 1}
    at_four = "select count(*) from tocsin.jobs where cron = '0 4 * * *'"
    assert await connection.fetchval(at_four) == PART + 1


async def test_applications_that_wait_leave_connections_to_other_requests(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(hashtext('tocsin.sets'))")
        names = [f"set-{number}" for number in range(OF_API + 2)]
        waiting = [
            asyncio.create_task(applied(api, billing(set=name, jobs={name: NIGHTLY})))
            for name in names
        ]
        await asyncio.sleep(0.5)  # by then all of them wait
        others = await asyncio.wait_for(api.get("/v1/jobs"), 5)
        assert not any(one.done() for one in waiting)

    assert others.status_code == 200
    assert [actions(await one) for one in waiting] == [{name: "create"} for name in names]


async def test_a_job_of_another_set_that_a_person_deleted_or_renamed_is_not_taken_unasked(
    api: httpx.AsyncClient,
) -> None:
    await applied(api, {"set": "other", "jobs": {"gone": NIGHTLY, "moved": NIGHTLY}})
    await api.delete("/v1/jobs/gone")
    await api.patch("/v1/jobs/moved", json={"name": "elsewhere"})
    wanted = billing(jobs={"gone": NIGHTLY, "moved": NIGHTLY})

    found = await plan(api, wanted)
    refused = await api.post("/v1/jobs/apply", json=wanted)

    assert actions(found) == {"gone": "conflict", "moved": "conflict"}
    assert {one["owner"] for one in found["steps"]} == {"other"}
    assert fields(refused) == ["jobs.gone", "jobs.moved"]
    assert (await api.get("/v1/sets/other")).json()["jobs"] == 2


async def test_what_is_taken_over_is_named_with_its_kind(api: httpx.AsyncClient) -> None:
    await api.put("/v1/jobs/same", json={"kind": "http", "target": {"url": URL}, "cron": "@daily"})
    await api.put("/v1/flows/same", json={"rate": 1})
    wanted = billing(jobs={"same": NIGHTLY}, flows={"same": {"rate": 2}})

    of_job = await plan(api, wanted | {"take_over": ["same"]})
    of_flow = await plan(api, wanted | {"take_over": ["flow:same"]})
    of_both = await plan(api, wanted | {"take_over": ["job:same", "flow:same"]})

    assert [one["kind"] for one in of_job["steps"] if one["action"] == "conflict"] == ["flow"]
    assert [one["kind"] for one in of_flow["steps"] if one["action"] == "conflict"] == ["job"]
    assert "conflict" not in of_both["counts"]


async def test_a_plan_is_refused_for_what_its_application_would_be_refused_for(
    api: httpx.AsyncClient,
) -> None:
    closed = billing(
        jobs={"nightly": NIGHTLY | {"calendars": ["never"]}},
        calendars={"never": {"weekly": ["MON-FRI 09:00-17:00"]}},
    )

    planned = await api.post("/v1/jobs/plan", json=closed)
    done = await api.post("/v1/jobs/apply", json=closed)

    assert (planned.status_code, planned.json()["errors"]) == (422, done.json()["errors"])
    assert fields(planned) == ["jobs.nightly.calendars"]
    assert (await api.get("/v1/calendars")).json()["items"] == []


async def test_a_plan_refuses_a_channel_that_would_send_a_secret_elsewhere(
    database_url: str,
) -> None:
    target = {"url": "https://other.example.com/", "headers": {"X-Token": "${secret:t}"}}
    wanted = billing(channels={"ops": {"target": target}})

    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        secret = {"value": "x", "hosts": ["hooks.example.com"]}
        assert (await api.put("/v1/secrets/t", json=secret)).status_code == 201
        planned = await api.post("/v1/jobs/plan", json=wanted)
        done = await api.post("/v1/jobs/apply", json=wanted)

    assert (planned.status_code, planned.json()["errors"]) == (422, done.json()["errors"])
    assert fields(planned)[0].startswith("channels.ops.target")


async def test_an_edit_of_a_flow_that_shows_in_no_field_outdates_a_plan(
    api: httpx.AsyncClient,
) -> None:
    await applied(api, billing(flows={"f": {"rate": 1}}))
    wanted = billing(flows={"f": {"rate": 2}})
    reviewed = await plan(api, wanted)
    await api.put("/v1/flows/f", json={"rate": 5})
    await api.put("/v1/flows/f", json={"rate": 1})

    refused = await api.post("/v1/jobs/apply", json=wanted | {"digest": reviewed["digest"]})

    assert refused.status_code == 409


async def test_what_the_file_says_for_the_first_time_is_no_drift(api: httpx.AsyncClient) -> None:
    await applied(api, billing())

    found = await plan(api, billing(jobs={"nightly": NIGHTLY | {"paused": True}}))

    assert [one["field"] for one in step(found, "nightly")["changes"]] == ["paused"]
    assert "drift" not in step(found, "nightly")


async def test_a_job_that_somebody_edits_meanwhile_is_not_paused(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await applied(api, billing())
    edit = connection.transaction()
    await edit.start()
    await connection.execute("update tocsin.jobs set cron = '0 9 * * *' where name = 'nightly'")

    applying = asyncio.create_task(api.post("/v1/jobs/apply", json=billing(jobs={})))
    await blocked(connection)
    await edit.commit()
    refused = await applying

    assert refused.status_code == 409
    assert not (await api.get("/v1/jobs/nightly")).json()["paused"]


async def blocked(connection: asyncpg.Connection) -> None:
    """Wait until another session waits for what this one has locked."""

    async def one_waits() -> bool:
        waiting: bool = await connection.fetchval(
            """select exists (select from pg_locks l join pg_stat_activity a using (pid)
               where not l.granted and a.datname = current_database())"""
        )
        return waiting

    await until(one_waits, "an application waits for the row")
