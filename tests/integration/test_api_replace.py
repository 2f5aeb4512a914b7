"""Many jobs at once, created or replaced by their names: all or none."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json

from app.jobs.create import PART
from tests.support.api import HOURLY, LATER, NIGHTLY, fields
from tests.support.builders import insert_job
from tests.support.waiting import until

ADDRESS = "/v1/jobs/batch?replace=true"
LINES = {"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"}
TOKEN = {"url": "https://example.com", "auth": {"type": "bearer", "token": "hunter2"}}


async def names(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch("select name from tocsin.jobs order by name")
    return [row["name"] for row in rows]


def effects(answer: httpx.Response) -> list[tuple[str, str]]:
    assert answer.status_code == 200, answer.text[:1000]
    return [(job["name"], job["effect"]) for job in answer.json()["items"]]


async def test_jobs_are_created_replaced_and_left_alone_in_one_transaction(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    a, b = LATER | {"name": "a"}, NIGHTLY | {"name": "b"}
    made = await api.post("/v1/jobs/batch", json=[a, b | {"timeout_seconds": 5, "tags": ["x"]}])
    before = {job["name"]: job for job in made.json()["items"]}

    answer = await api.post(ADDRESS, json=[HOURLY | {"name": "c"}, b, a])

    assert effects(answer) == [("c", "created"), ("b", "updated"), ("a", "unchanged")]
    after = {job["name"]: job for job in answer.json()["items"]}
    assert after["a"] | {"effect": 0} == before["a"] | {"effect": 0}
    assert (after["b"]["id"], after["b"]["next_run"]) == (
        before["b"]["id"],
        before["b"]["next_run"],
    )
    assert (after["b"]["timeout_seconds"], after["b"]["tags"]) == (30, [])
    assert (await api.get("/v1/jobs/b")).json() == {
        name: one for name, one in after["b"].items() if name != "effect"
    }
    told = await connection.fetch(
        "select entity_name, action, changed from tocsin.audit_log order by id desc limit 2"
    )
    assert [tuple(one) for one in told if one["action"] == "update"] == [
        ("b", "update", ["tags", "timeout_seconds"])
    ]


async def test_what_a_list_answers_can_be_sent_back_as_lines(api: httpx.AsyncClient) -> None:
    jobs = [NIGHTLY | {"name": name, "target": TOKEN} for name in "ab"]
    await api.post("/v1/jobs/batch", json=jobs)
    listed = await api.get("/v1/jobs", headers={"Accept": "application/x-ndjson"})
    edited = listed.content.replace(b"0 3 * * *", b"0 4 * * *", 1)

    same = await api.post(ADDRESS, content=listed.content, headers=LINES)
    changed = await api.post(ADDRESS, content=edited, headers=LINES)

    lines = [json.decode(line) for line in changed.text.splitlines()]
    assert [json.decode(line)["effect"] for line in same.text.splitlines()] == ["unchanged"] * 2
    assert [one["effect"] for one in lines] == ["updated", "unchanged"]
    assert all(one["target"]["auth"]["token"] == "***" for one in lines)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (LATER, "[1].name"),
        (LATER | {"name": "a"}, "[1].name"),
        (LATER | {"name": "x", "target": {"url": "x"}}, "[1].target.url"),
        (NIGHTLY | {"name": "there", "cron": "every day"}, "[1].cron"),
        (
            NIGHTLY | {"name": "x", "target": TOKEN | {"auth": {"type": "bearer", "token": "***"}}},
            "[1].target.auth.token",
        ),
    ],
    ids=["nameless", "twice", "new", "there", "masked"],
)
async def test_one_that_is_wrong_keeps_all_as_they_are(
    api: httpx.AsyncClient, connection: asyncpg.Connection, bad: dict[str, Any], field: str
) -> None:
    await insert_job(connection, name="there")

    answer = await api.post(ADDRESS, json=[LATER | {"name": "a"}, bad])

    assert (answer.status_code, fields(answer)) == (422, [field])
    assert await names(connection) == ["there"]


async def test_jobs_that_others_edited_are_named_and_all_stay_as_they_are(
    api: httpx.AsyncClient,
) -> None:
    made = await api.post("/v1/jobs/batch", json=[LATER | {"name": name} for name in "abc"])
    read = [
        job | {"unchanged_since": job["updated_at"], "description": "mine"}
        for job in made.json()["items"]
    ]
    await api.patch("/v1/jobs/b", json={"description": "theirs"})
    await api.delete("/v1/jobs/c")

    refused = await api.post(ADDRESS, json=read)
    taken = await api.post(ADDRESS, json=read[:1])
    create = await api.post(
        "/v1/jobs/batch", json=[LATER | {"unchanged_since": "2030-01-01T00:00:00Z"}]
    )

    assert (refused.status_code, fields(refused)) == (
        412,
        ["[1].unchanged_since", "[2].unchanged_since"],
    )
    assert refused.json()["type"] == "urn:tocsin:problem:edit-conflict"
    assert (await api.get("/v1/jobs/b")).json()["description"] == "theirs"
    assert effects(taken) == [("a", "updated")]
    assert (create.status_code, "replace=true" in create.text) == (422, True)


async def test_a_dry_run_says_what_would_be_done_and_a_key_has_it_done_once(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="b")
    batch = [LATER | {"name": name} for name in "ab"]

    tried = await api.post(f"{ADDRESS}&dry_run=true", json=batch)
    assert await names(connection) == ["b"]
    key = {"Idempotency-Key": "replaced-once"}
    first, again = [await api.post(ADDRESS, json=batch, headers=key) for _ in range(2)]

    assert effects(tried) == effects(first) == [("a", "created"), ("b", "updated")]
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")


async def test_a_batch_of_several_parts_waits_for_edits_and_creations_of_others(
    api: httpx.AsyncClient, connection: asyncpg.Connection, database_url: str
) -> None:
    """Somebody edits one of the jobs, and creates another, and commits while both are written."""
    jobs = [LATER | {"name": f"a{n:04}"} for n in range(2 * PART + 1)]
    await api.post("/v1/jobs/batch", json=jobs[:-1])
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "update tocsin.jobs set description = 'theirs', max_runs = 7 where name = 'a0001'"
    )
    await insert_job(connection, name=jobs[-1]["name"])
    batch = [job | {"tags": ["mine"]} for job in reversed(jobs)]

    sent = asyncio.create_task(api.post(ADDRESS, json=batch, timeout=30))
    await waits_for(database_url)
    await transaction.commit()
    answer = await sent

    assert effects(answer) == [(job["name"], "updated") for job in batch]
    assert await connection.fetchval(
        "select count(*) from tocsin.jobs where tags = '{mine}' and description is null"
    ) == len(jobs)


async def waits_for(url: str) -> None:
    """Wait until a session waits for a lock."""
    waiting = """select exists (select from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database())"""
    session = await asyncpg.connect(url)
    try:
        await until(lambda: session.fetchval(waiting), "a session waits for a lock")
    finally:
        await session.close()


async def test_batches_of_the_same_jobs_in_other_orders_do_not_block_each_other(
    api: httpx.AsyncClient,
) -> None:
    jobs = [LATER | {"name": f"a{n}"} for n in range(50)]
    await api.post("/v1/jobs/batch", json=jobs[:25])

    answers = await asyncio.gather(
        *(
            api.post(ADDRESS, json=[job | {"tags": [f"t{n}"]} for job in jobs[:: 1 - 2 * (n % 2)]])
            for n in range(6)
        )
    )

    assert [answer.status_code for answer in answers] == [200] * 6
    listed = (await api.get("/v1/jobs?limit=100")).json()["items"]
    assert len({tuple(job["tags"]) for job in listed}) == 1


@pytest.mark.parametrize("as_set", [False, True])
async def test_what_ends_in_a_deadlock_with_others_is_tried_again(
    *, as_set: bool, api: httpx.AsyncClient, connection: asyncpg.Connection, database_url: str
) -> None:
    jobs = [LATER | {"name": name} for name in ("a", "b")]
    await api.post("/v1/jobs/batch", json=jobs)
    edited = [job | {"description": "by us"} for job in jobs]
    members = {job["name"]: {**job, "description": "by us"} for job in jobs}
    for job in members.values():
        del job["name"]
    wanted = {"set": "ours", "jobs": members, "take_over": ["a", "b"]}
    lock = "select from tocsin.jobs where name = $1 for update"

    async with connection.transaction():
        await connection.execute("set local deadlock_timeout = '1min'")  # it is they who lose
        await connection.fetch(lock, "b")
        if as_set:
            asked = asyncio.create_task(api.post("/v1/jobs/apply", json=wanted))
        else:
            asked = asyncio.create_task(api.post(ADDRESS, json=edited))
        await waits_for(database_url)
        await connection.fetch(lock, "a")

    answer = await asked
    assert answer.status_code == 200, answer.text
    listed = (await api.get("/v1/jobs")).json()["items"]
    assert {job["description"] for job in listed} == {"by us"}


async def test_a_new_batch_that_ends_in_a_deadlock_names_what_others_have_taken(
    api: httpx.AsyncClient, connection: asyncpg.Connection, database_url: str
) -> None:
    jobs = [LATER | {"name": name} for name in ("a", "b")]

    async with connection.transaction():
        await connection.execute("set local deadlock_timeout = '1min'")  # it is they who lose
        await insert_job(connection, name="b")
        asked = asyncio.create_task(api.post("/v1/jobs/batch", json=jobs))
        await waits_for(database_url)
        await insert_job(connection, name="a")

    answer = await asked
    assert answer.status_code == 409, answer.text
    assert fields(answer) == ["[0].name", "[1].name"]


async def test_an_edit_that_a_trigger_suppresses_is_refused(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="a")
    await connection.execute(
        """create function keep() returns trigger language plpgsql as $$ begin return null; end $$;
        create trigger keep before update on tocsin.jobs for each row execute function keep()"""
    )

    answer = await api.post(ADDRESS, json=[LATER | {"name": "a"}, LATER | {"name": "b"}])

    assert answer.json()["type"] == "urn:tocsin:problem:trigger-refused"
    assert await names(connection) == ["a"]
