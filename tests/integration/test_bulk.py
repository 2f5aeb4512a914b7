"""A bulk action does what it says to each job that it finds, once, and says how far it is."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.facts import BulkEnded
from app.scheduler.bulk import AT_ONCE
from tests.support.api import HOURLY, LATER, fields
from tests.support.bulk import ask, carried_out, ended
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.psql import run_psql
from tests.support.waiting import until

HOUR = timedelta(hours=1)


async def make(api: httpx.AsyncClient, many: int, **fields: Any) -> list[str]:  # noqa: ANN401
    """Create jobs, and return their ids, in the order of these."""
    batch = [{**LATER, "tags": ["billing"], **fields} for _ in range(many)]
    answer = await api.post("/v1/jobs/batch", json=batch)
    assert answer.status_code == 201, answer.text
    return sorted(one["id"] for one in answer.json()["items"])


@asynccontextmanager
async def locked(database_url: str, job_id: str) -> AsyncIterator[None]:
    """Have another transaction lock the row of a job."""
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute("select from tocsin.jobs where id = $1 for update", UUID(job_id))
            yield
    finally:
        await other.close()


async def test_a_preview_counts_and_shows_and_changes_nothing(api: httpx.AsyncClient) -> None:
    ids = await make(api, 12)
    await make(api, 3, tags=["other"])

    answer = await api.post(
        "/v1/bulk",
        json={
            "action": "edit",
            "filter": {"tag": "billing"},
            "patch": {"run_at": "2100-01-02T00:00:00Z"},
            "dry_run": True,
        },
    )

    assert answer.status_code == 200
    preview = answer.json()
    assert (preview["count"], preview["count_is_exact"], preview["runs"]) == (12, True, None)
    assert [one["job_id"] for one in preview["sample"]] == ids[:1:-1]
    assert {one["next_run"] for one in preview["sample"]} == {"2100-01-01T00:00:00Z"}
    assert {one["next_run_after"] for one in preview["sample"]} == {"2100-01-02T00:00:00Z"}
    assert (await api.get("/v1/bulk")).json()["items"] == []
    assert (await api.get(f"/v1/jobs/{ids[0]}")).json()["run_at"] == "2100-01-01T00:00:00Z"


@pytest.mark.parametrize("door", ["api", "psql"])
async def test_all_jobs_that_match_are_paused_and_no_other(
    api: httpx.AsyncClient, instance: StartInstance, database_url: str, door: str
) -> None:
    ids = await make(api, 60)
    [other] = await make(api, 1, tags=["other"])
    await api.post(f"/v1/jobs/{ids[7]}/pause")

    async with instance():
        if door == "api":
            asked = (await ask(api, action="pause", filter={"tag": "billing"}))["id"]
        else:
            asked = run_psql(database_url, """select tocsin.bulk('pause', '{"tag": "billing"}')""")
        done = await ended(api, asked)

    assert (done["state"], done["matched"], done["changed"], done["unchanged"]) == (
        "finished",
        60,
        59,
        1,
    )
    assert (done["failed"], done["problems"], done["error"], done["instance"]) == (
        0,
        [],
        None,
        None,
    )
    assert done["expected"] == (60 if door == "api" else None)
    for id in (ids[0], ids[7], ids[-1]):
        assert (await api.get(f"/v1/jobs/{id}")).json()["state"] == "paused"
    assert (await api.get(f"/v1/jobs/{other}")).json()["state"] == "scheduled"


async def test_actions_that_start_runs_slowly_keep_no_other_waiting(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    await make(api, 60, tags=["slow"])
    [id] = await make(api, 1)
    async with instance():
        slow = [
            await ask(api, action="run", filter={"tag": "slow"}, rate_per_second=1)
            for _ in range(AT_ONCE + 1)
        ]
        for action in ("run", "pause"):
            await ended(api, (await ask(api, action=action, filter={"tag": "billing"}))["id"])
        states = [(await api.get(f"/v1/bulk/{one['id']}")).json()["state"] for one in slow]

    assert states == ["running"] * (AT_ONCE + 1)
    assert (await api.get(f"/v1/jobs/{id}")).json()["state"] == "paused"


async def test_the_lease_of_an_action_that_rests_is_extended_until_it_is_cancelled(
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.scheduler.bulk.EXTEND_SECONDS", 0.05)
    await make(api, 3)
    lease = "select locked_until from tocsin.bulk_actions where changed > 0"

    async def is_longer() -> bool:
        now = await connection.fetchval(lease)
        return bool(leases) and now > leases[0]

    async def has_begun() -> bool:
        leases[:] = filter(None, [await connection.fetchval(lease)])
        return bool(leases)

    leases: list[datetime] = []
    async with instance():
        asked = await ask(api, action="run", filter={"tag": "billing"}, rate_per_second=0.1)
        await until(has_begun, "the first job is run", within=10)
        await until(is_longer, "the lease is extended", within=5)
        await api.post(f"/v1/bulk/{asked['id']}/cancel")
        done = await ended(api, asked["id"])

    assert (done["state"], done["changed"]) == ("cancelled", 1)


async def test_an_edit_merges_its_patch_and_one_job_that_cannot_be_edited_keeps_no_other(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    plain = await make(api, 30)
    hourly = (await api.post("/v1/jobs", json={**HOURLY, "tags": ["billing"]})).json()

    done = await carried_out(
        api,
        instance,
        action="edit",
        filter={"tag": "billing"},
        patch={"cron": None, "every_seconds": None, "timeout_seconds": 60, "metadata": {"a": 1}},
    )

    assert (done["state"], done["changed"], done["failed"]) == ("finished", 30, 1)
    [problem] = done["problems"]
    assert problem["job_id"] == hourly["id"]
    assert "run_at: there is no schedule" in problem["problem"]
    job = (await api.get(f"/v1/jobs/{plain[3]}")).json()
    assert (job["timeout_seconds"], job["metadata"], job["next_run"]) == (
        60,
        {"a": 1},
        "2100-01-01T00:00:00Z",
    )


async def test_an_edit_of_calendars_is_judged_job_by_job_and_so_is_its_preview(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    await api.put("/v1/calendars/weekend", json={"weekly": ["SAT,SUN"]})
    daily = await make(api, 2, run_at=None, cron="0 3 * * *")
    [never] = await make(api, 1, run_at=None, cron="0 3 * * MON")
    body = {"action": "edit", "filter": {"tag": "billing"}}
    weekend = {**body, "patch": {"calendars": ["weekend"]}}

    preview = (await api.post("/v1/bulk", json={**weekend, "dry_run": True})).json()
    done = await carried_out(api, instance, **weekend)
    unknown = await carried_out(api, instance, **body, patch={"calendars": ["!nights"]})
    off = await carried_out(api, instance, **body, patch={"calendars": None})

    problems = {one["job_id"]: one["problem"] for one in preview["sample"]}
    assert [problems[id] for id in daily] == [None, None]
    assert "calendars: leave no run" in problems[never]
    assert (done["changed"], done["failed"]) == (2, 1)
    assert done["problems"] == [{"job_id": never, "execution_id": None, "problem": problems[never]}]
    assert (unknown["changed"], unknown["failed"]) == (0, 3)
    assert "which is no calendar" in unknown["problems"][0]["problem"]
    assert (off["changed"], off["unchanged"]) == (2, 1)


async def test_jobs_are_paused_as_one_is_though_they_could_not_be_edited(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    ids = await make(api, 2, run_at=None, cron="0 3 * * *")
    await connection.execute(  # as databases of older rules have it
        """set session_replication_role = replica;
           update tocsin.jobs set target = '{"url": "nowhere"}'"""
    )
    [held] = await make(api, 1, tags=["billing", "held"])
    await api.post("/v1/pauses", json={"tag": "held"})

    paused = await carried_out(api, instance, action="pause", filter={"tag": "billing"})
    pauses = [(await api.get(f"/v1/jobs/{id}")).json()["pause"] for id in (*ids, held)]
    again = await carried_out(api, instance, action="pause", filter={"tag": "billing"})
    resumed = await carried_out(api, instance, action="resume", filter={"tag": "billing"})

    assert (paused["changed"], paused["failed"], again["unchanged"]) == (3, 0, 3)
    assert [(one["reason"], one.get("tag")) for one in pauses] == [(None, None)] * 3
    assert all(one["paused_by"].endswith(paused["asked_by"]) for one in pauses)
    assert (resumed["changed"], resumed["failed"]) == (2, 1)


async def test_what_a_trigger_of_users_refuses_is_told_of_its_job_alone(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    ids = await make(api, 40)
    await connection.execute(
        """create function public.refuse() returns trigger language plpgsql as $$ begin
               if new.id::text = tg_argv[0] then raise exception 'not this one'; end if;
               if new.id::text = tg_argv[1] then return null; end if;
               return new;
           end $$"""
    )
    await connection.execute(
        "create trigger refuse before update on tocsin.jobs for each row "
        f"execute function public.refuse('{ids[20]}', '{ids[33]}')"
    )

    done = await carried_out(api, instance, action="pause", filter={"tag": "billing"})

    assert (done["state"], done["matched"], done["changed"], done["failed"]) == (
        "finished",
        40,
        38,
        2,
    )
    told = {one["job_id"]: one["problem"] for one in done["problems"]}
    assert "not this one" in told[ids[20]]
    assert "trigger of yours" in told[ids[33]]


async def test_a_job_that_is_locked_for_a_moment_is_waited_for(
    api: httpx.AsyncClient, instance: StartInstance, database_url: str
) -> None:
    ids = await make(api, 30)
    asked = await ask(api, action="pause", filter={"tag": "billing"})

    async with locked(database_url, ids[10]), instance():

        async def has_come_to_it() -> bool:
            return bool((await api.get(f"/v1/bulk/{asked['id']}")).json()["matched"] >= 19)

        await until(has_come_to_it, "all before it are done")

    async with instance():
        done = await ended(api, asked["id"])

    assert (done["changed"], done["failed"]) == (30, 0)


async def test_a_job_that_stays_locked_keeps_no_other(
    api: httpx.AsyncClient, instance: StartInstance, database_url: str
) -> None:
    ids = await make(api, 30)

    async with locked(database_url, ids[10]):
        done = await carried_out(api, instance, action="delete", filter={"tag": "billing"})

    assert (done["changed"], done["failed"]) == (29, 1)
    assert [one["job_id"] for one in done["problems"]] == [ids[10]]
    left = (await api.get("/v1/jobs")).json()["items"]
    assert [one["id"] for one in left] == [ids[10]]


async def test_deleted_jobs_are_gone_with_one_entry_in_the_audit_log(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    await make(api, 30)
    before = {one["id"] for one in (await api.get("/v1/audit?limit=200")).json()["items"]}

    done = await carried_out(api, instance, action="delete", filter={"tag": "billing"})

    assert done["changed"] == 30
    assert (await api.get("/v1/jobs")).json()["items"] == []
    entries = (await api.get("/v1/audit?limit=200")).json()["items"]
    [entry] = [one for one in entries if one["id"] not in before]
    assert (entry["action"], entry["entity"], entry["entity_id"]) == ("create", "bulk", done["id"])
    assert entry["after"] == {
        "action": "delete",
        "filter": {"tag": "billing"},
        "options": {},
        "expected": 30,
    }
    assert {one["action"] for one in entries if one["id"] in before} == {"create"}


async def test_an_edit_has_one_entry_and_the_creations_stay_as_they_were(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    [id] = await make(api, 1)

    await carried_out(
        api,
        instance,
        action="edit",
        filter={"tag": "billing"},
        patch={"target": {"headers": {"X-Token": "hush-hush"}}},
    )

    entries = (await api.get("/v1/audit")).json()["items"]
    assert [(one["action"], one["entity"]) for one in entries] == [
        ("create", "bulk"),
        ("create", "job"),
    ]
    assert entries[0]["after"]["options"] == {"patch": {"target": "***"}}
    assert "hush" not in (await api.get("/v1/audit")).text
    assert (await api.get(f"/v1/jobs/{id}")).json()["target"]["headers"] == {"X-Token": "***"}


async def test_nobody_escapes_the_audit_log_by_setting_what_a_step_sets(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    [id] = await make(api, 1)
    asked = await ask(api, action="pause", filter={"tag": "billing"})

    async with connection.transaction():
        await connection.execute(
            "update tocsin.bulk_actions set cancelled_at = null where id = $1", UUID(asked["id"])
        )
        await connection.execute("select set_config('tocsin.bulk', $1, true)", asked["id"])
        await connection.execute("update tocsin.jobs set description = 'sly'")

    entries = (await api.get(f"/v1/audit?entity_id={id}")).json()["items"]
    assert [one["action"] for one in entries] == ["update", "create"]


async def test_what_an_edit_writes_into_targets_is_shown_nowhere_and_not_kept(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    await make(api, 1)
    body = {
        "action": "edit",
        "filter": {"tag": "billing"},
        "patch": {"target": {"auth": {"type": "bearer", "token": "hush-hush"}}},
    }

    asked = await ask(api, **body)
    listed = (await api.get("/v1/bulk")).text
    async with instance():
        done = await ended(api, asked["id"])

    assert "hush" not in str(asked) + listed + str(done)
    assert asked["options"] == {"patch": {"target": "***"}}

    async def is_forgotten() -> bool:
        stored = await connection.fetchval("select options::text from tocsin.bulk_actions")
        return "hush" not in stored

    await until(is_forgotten, "the target is not kept")


@pytest.mark.parametrize("door", ["api", "psql"])
async def test_many_are_paused_with_a_reason_and_an_end_and_resumed_as_is_said(
    api: httpx.AsyncClient, instance: StartInstance, database_url: str, door: str
) -> None:
    ids = await make(api, 3)
    [held] = await make(api, 1, tags=["held"])
    await api.post("/v1/pauses", json={"tag": "held"})
    why = {"reason": "the receiver is moved", "until": "2099-01-01T00:00:00Z"}
    every = {"kind": "http"}

    async with instance():
        if door == "api":
            paused = await ended(api, (await ask(api, action="pause", filter=every, **why))["id"])
        else:
            told = json.encode(why).decode()
            asked = run_psql(
                database_url, f"""select tocsin.bulk('pause', '{{"kind": "http"}}', '{told}')"""
            )
            paused = await ended(api, asked)
        pauses = [(await api.get(f"/v1/jobs/{id}")).json()["pause"] for id in (*ids, held)]
        resumed = await ended(
            api, (await ask(api, action="resume", filter=every, missed="skip"))["id"]
        )
    late = await api.post(
        "/v1/bulk",
        json={"action": "pause", "filter": every, "until": "2001-01-01T00:00:00Z"},
    )

    assert (paused["changed"], paused["failed"]) == (4, 0)
    assert {(one["reason"], one["until"]) for one in pauses} == {tuple(why.values())}
    assert (resumed["changed"], resumed["failed"]) == (3, 1)
    assert resumed["problems"][0]["problem"].startswith("paused_at: is that of a tag")
    for id in ids:
        assert (await api.get(f"/v1/jobs/{id}")).json()["state"] == "scheduled"
    assert (late.status_code, late.json()["errors"][0]["field"]) == (422, "until")


async def test_jobs_are_run_at_the_rate_that_is_asked_for_and_paused_ones_say_so(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    ids = await make(api, 5, run_at=None, every_seconds=86_400)
    await api.post(f"/v1/jobs/{ids[1]}/pause")

    done = await carried_out(
        api, instance, action="run", filter={"tag": "billing"}, rate_per_second=50
    )

    assert (done["state"], done["changed"], done["failed"]) == ("finished", 4, 1)
    assert done["problems"][0]["job_id"] == ids[1]
    assert "paused" in done["problems"][0]["problem"]

    async def have_run() -> bool:
        rows = await connection.fetch(
            "select runs, pending_runs from tocsin.jobs where run_of is null"
        )
        return sorted(row["runs"] + row["pending_runs"] for row in rows) == [0, 1, 1, 1, 1]

    await until(have_run, "each was asked for once")


async def test_runs_are_skipped_and_that_is_taken_back(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    ids = await make(api, 30, run_at=None, every_seconds=86_400)
    monday = "2100-01-04T00:00:00Z"
    billing = {"tag": "billing"}

    one = await carried_out(api, instance, action="skip", filter={"job": ids[0]}, runs=3)
    all_of_them = await carried_out(api, instance, action="skip", filter=billing, until=monday)
    again = await carried_out(api, instance, action="skip", filter=billing, until=monday)
    skipped = [(await api.get(f"/v1/jobs/{id}")).json() for id in ids]
    undone = await carried_out(api, instance, action="unskip", filter=billing)

    assert (one["state"], one["matched"], one["changed"]) == ("finished", 1, 1)
    assert (all_of_them["changed"], all_of_them["failed"], again["unchanged"]) == (30, 0, 30)
    assert {(job["skip_runs"], job["skip_until"]) for job in skipped} == {(None, monday)}
    assert undone["changed"] == 30
    assert (await api.get(f"/v1/jobs/{ids[0]}")).json()["skip_until"] is None


async def test_a_job_without_a_run_to_skip_says_so_and_keeps_no_other(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    ids = await make(api, 3, run_at=None, every_seconds=86_400)
    await connection.execute("update tocsin.jobs set next_run = null where id = $1", UUID(ids[1]))

    done = await carried_out(api, instance, action="skip", filter={"tag": "billing"}, runs=1)

    assert (done["changed"], done["failed"]) == (2, 1)
    [problem] = done["problems"]
    assert problem["job_id"] == ids[1]
    assert "no run is planned" in problem["problem"]
    rows = await connection.fetch("select skip_runs from tocsin.jobs order by id")
    assert [row["skip_runs"] for row in rows] == [1, None, 1]


async def test_the_next_runs_are_shifted_or_set(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    [once] = await make(api, 1)
    [often] = await make(api, 1, run_at=None, cron="0 3 * * *")
    [over] = await make(api, 1, tags=["over"])
    before = (await api.get(f"/v1/jobs/{often}")).json()

    shifted = await carried_out(
        api, instance, action="reschedule", filter={"tag": "billing"}, shift_seconds=3600
    )
    now = {id: (await api.get(f"/v1/jobs/{id}")).json() for id in (once, often)}
    placed = await carried_out(
        api, instance, action="reschedule", filter={"all": True}, at="2099-01-01T00:00:00Z"
    )

    assert (shifted["changed"], placed["changed"]) == (2, 3)
    assert now[once]["run_at"] == now[once]["next_run"] == "2100-01-01T01:00:00Z"
    was = datetime.fromisoformat(before["next_run"])
    assert datetime.fromisoformat(now[often]["next_run"]) == was + HOUR
    assert now[often]["cron"] == "0 3 * * *"
    for id in (once, often, over):
        job = (await api.get(f"/v1/jobs/{id}")).json()
        assert job["next_run"] == "2099-01-01T00:00:00Z"


async def test_jobs_that_are_created_later_are_left_alone(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    early = await make(api, 3)
    asked = await ask(api, action="delete", filter={"all": True})
    late = await make(api, 3)

    async with instance():
        done = await ended(api, asked["id"])

    assert done["changed"] == len(early)
    assert {one["id"] for one in (await api.get("/v1/jobs")).json()["items"]} == set(late)


async def test_a_cancelled_action_ends_and_what_is_done_stays_done(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    ids = await make(api, 40, run_at=None, every_seconds=86_400)
    asked = await ask(api, action="run", filter={"tag": "billing"}, rate_per_second=1)

    async with instance():

        async def has_begun() -> bool:
            return bool((await api.get(f"/v1/bulk/{asked['id']}")).json()["changed"] > 0)

        await until(has_begun, "it has begun")
        cancelled = await api.post(f"/v1/bulk/{asked['id']}/cancel")
        again = await api.post(f"/v1/bulk/{asked['id']}/cancel")

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert (again.status_code, again.json()) == (200, cancelled.json())
    assert 0 < cancelled.json()["changed"] < len(ids)
    assert (await api.get(f"/v1/bulk/{asked['id']}")).json() == cancelled.json()


async def test_an_action_that_has_ended_cannot_be_cancelled(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    done = await carried_out(api, instance, action="pause", filter={"all": True})

    answer = await api.post(f"/v1/bulk/{done['id']}/cancel")
    missing = await api.get("/v1/bulk/01890a5d-ac96-774b-bcce-b302099a8057")

    assert (answer.status_code, done["matched"]) == (409, 0)
    assert "finished" in answer.json()["detail"]
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("action", "filters"),
    [
        ("delete", {"tag": [""]}),
        ("delete", {"tag": " , "}),
        ("pause", {"tag": "billing", "kind": ""}),
        ("delete", {"last_outcome": []}),
        ("replay", {"reason": ["", " "]}),
    ],
)
async def test_a_filter_without_a_value_is_refused_as_it_would_find_all(
    api: httpx.AsyncClient, action: str, filters: dict[str, Any]
) -> None:
    answer = await api.post("/v1/bulk", json={"action": action, "filter": filters, "dry_run": True})

    assert (answer.status_code, fields(answer)) == (422, [f"filter.{[*filters][-1]}"])
    assert "would find all" in answer.text


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no filter": ({"action": "pause", "filter": {}}, "filter"),
    "an unknown filter": ({"action": "pause", "filter": {"tags": ["a"]}}, "filter.tags"),
    "a filter of executions": (
        {"action": "pause", "filter": {"outcome": "failed"}},
        "filter.outcome",
    ),
    "a filter of jobs": ({"action": "replay", "filter": {"state": "failed"}}, "filter.state"),
    "an edit without a patch": ({"action": "edit", "filter": {"all": True}}, "patch"),
    "another's option": (
        {"action": "pause", "filter": {"all": True}, "rate_per_second": 5},
        "rate_per_second",
    ),
    "neither runs nor an instant": ({"action": "skip", "filter": {"all": True}}, "runs"),
    "runs and an instant": (
        {
            "action": "skip",
            "filter": {"all": True},
            "runs": 1,
            "until": "2100-01-01T00:00:00Z",
        },
        "runs",
    ),
    "a backfill without a range": (
        {"action": "backfill", "filter": {"all": True}, "to": "2026-01-01T00:00:00Z"},
        "from",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
async def test_both_doors_refuse_the_same_and_name_the_same_field(
    api: httpx.AsyncClient, connection: asyncpg.Connection, case: str
) -> None:
    body, field = REFUSED[case]

    answer = await api.post("/v1/bulk", json=body)

    assert answer.status_code == 422
    assert field in fields(answer)
    options = {name: value for name, value in body.items() if name not in ("action", "filter")}
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await connection.execute(
            "select tocsin.bulk($1, $2::text::jsonb, $3::text::jsonb)",
            body["action"],
            httpx.Request("POST", "http://x", json=body["filter"]).content.decode(),
            httpx.Request("POST", "http://x", json=options).content.decode(),
        )
    assert refusal.value.column_name == field
    assert await connection.fetchval("select count(*) from tocsin.bulk_actions") == 0


async def test_what_only_an_instance_can_judge_ends_the_action_with_an_error(
    api: httpx.AsyncClient, instance: StartInstance, database_url: str
) -> None:
    id = run_psql(database_url, """select tocsin.bulk('pause', '{"state": "sleepy"}')""")

    async with instance():
        done = await ended(api, id)

    assert (done["state"], done["matched"]) == ("failed", 0)
    assert "sleepy" in done["error"]


async def test_the_filters_are_those_of_the_list(
    api: httpx.AsyncClient, instance: StartInstance
) -> None:
    await make(api, 3, kind="http", description="nightly sums")
    await make(api, 2, run_at="2099-01-01T00:00:00Z")
    await make(api, 1, name="report", tags=["report"])
    cases: list[tuple[dict[str, Any], str, int]] = [
        ({"q": "sums"}, "q=sums", 3),
        ({"kind": "http", "tag": ["billing"]}, "kind=http&tag=billing", 5),
        ({"next_before": "2099-06-01T00:00:00Z"}, "next_before=2099-06-01T00:00:00Z", 2),
        ({"state": "scheduled", "failing": False}, "state=scheduled&failing=false", 6),
        ({"last_outcome": "failed,lost"}, "last_outcome=failed,lost", 0),
        ({"job": "report", "tag": "report"}, "name=report", 1),
    ]

    for given, query, many in cases:
        listed = (await api.get(f"/v1/jobs?limit=200&{query}")).json()["items"]
        preview = await api.post(
            "/v1/bulk", json={"action": "pause", "filter": given, "dry_run": True}
        )

        assert len(listed) == preview.json()["count"] == many, given


async def test_two_instances_share_the_actions_and_touch_each_job_once(
    api: httpx.AsyncClient, instance: StartInstance, connection: asyncpg.Connection
) -> None:
    await make(api, 200)
    await connection.execute("create table public.edits (id uuid)")
    await connection.execute("grant insert on public.edits to public")  # of triggers, as who writes
    await connection.execute(
        """create function public.note() returns trigger language plpgsql as $$ begin
               insert into public.edits values (new.id); return new; end $$"""
    )
    await connection.execute(
        "create trigger note after update of timeout_seconds on tocsin.jobs for each row "
        "when (old.timeout_seconds <> new.timeout_seconds) execute function public.note()"
    )

    async with instance() as (_, one), instance() as (_, two):
        asked = [
            (
                await ask(
                    api, action="edit", filter={"all": True}, patch={"timeout_seconds": 31 + n}
                )
            )["id"]
            for n in range(3)
        ]
        done = [await ended(api, id) for id in asked]

        async def are_told() -> bool:
            return len(one.of(BulkEnded)) + len(two.of(BulkEnded)) == len(asked)

        await until(are_told, "each ended once")

    assert [(d["state"], d["matched"], d["failed"]) for d in done] == [("finished", 200, 0)] * 3
    edits = await connection.fetch("select count(*) as n from public.edits group by id")
    assert len(edits) == 200
    assert sum(d["changed"] for d in done) == sum(row["n"] for row in edits)


async def test_the_examples_of_the_page_are_carried_out(
    api: httpx.AsyncClient,
    instance: StartInstance,
    connection: asyncpg.Connection,
    database_url: str,
) -> None:
    page = (ROOT / "docs" / "bulk.md").read_text("utf-8")
    blocks: dict[str, list[str]] = {"sh": [], "json": [], "sql": []}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        blocks[language].append(block)
    job = await make(api, 1, name="nightly-report", run_at=None, cron="0 3 * * *")
    await connection.execute(
        """insert into tocsin.executions
               (job_id, kind, scheduled_for, attempt, outcome, reason, started_at, finished_at)
           values ($1, 'http', now(), 1, 'failed', 'connect', now(), now())""",
        UUID(job[0]),
    )
    counting, finding = blocks["sh"]
    shown, row, backfill = [json.decode(one) for one in blocks["json"]]
    asking, dead, helper = blocks["sql"]

    [body] = re.findall(r"-d '(.*?)'", counting, re.DOTALL)
    counted = await api.post("/v1/bulk", json=json.decode(body))
    [query] = re.findall(r"TOCSIN(/executions.*?)\"", finding)
    found = (await api.get(f"/v1{query}")).json()["items"]
    asked = await ask(api, **backfill)
    later = await ask(api, action="pause", filter={"tag": "none"})
    for statements in (asking.replace("0190…", later["id"]), dead, helper):
        await asyncio.to_thread(run_psql, database_url, statements)
    async with instance():

        async def have_ended() -> bool:
            states = await connection.fetch("select tocsin.state(b) from tocsin.bulk_actions b")
            return {row["state"] for row in states} == {"finished", "cancelled"}

        await until(have_ended, "each action has ended", within=30)

    assert counted.status_code == 200
    assert counted.json().keys() == shown.keys()
    assert [one["job_id"] for one in found] == job
    assert row.keys() <= asked.keys()
