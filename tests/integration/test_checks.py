"""Jobs that expect pings: what they record, when they raise the alarm, and who can disturb whom."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from app.api import pings
from app.api.pings import UNKNOWN_A_MINUTE, Answer, Receiver
from app.core.checks.ping import Action, Ping, digest_of
from app.core.facts import Settled
from app.db import Database, checks
from app.db.database import Runner
from tests.support.alerts import insert_rule, judge_all, told
from tests.support.api import JOB, fields, serving
from tests.support.builders import execution_rows, insert_job, job_row, plan_jobs
from tests.support.bulk import carried_out
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.recorder import Recorder
from tests.support.roles import as_role
from tests.support.waiting import until

BACKUP = {
    "kind": "check",
    "target": {"grace_seconds": 60},
    "cron": "0 3 * * *",
}
SECONDS_LATE = """update tocsin.jobs
    set next_run = now() - $2 * interval '1 second',
        scheduled_for = now() - $2 * interval '1 second', planned_at = clock_timestamp(),
        edited_at = now() - interval '1 day'
    where id = $1"""
"""Moves the run of a job that was edited long before."""


async def made(
    api: httpx.AsyncClient,
    named: str = "backup",
    **changes: Any,  # noqa: ANN401
) -> tuple[UUID, str]:
    """Make a check, and return its id and the path of its pings."""
    job = (await api.put(f"/v1/jobs/{named}", json=BACKUP | changes)).json()
    answer = await api.post(f"/v1/checks/{named}/token")
    assert answer.status_code == 201, answer.text
    return UUID(job["id"]), answer.json()["path"]


async def test_a_ping_is_an_execution_and_says_how_the_job_stands(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)

    for word in ("", "/fail", "/3", "/0"):
        assert (await api.post(path + word, content=b"said \0 it")).status_code == 200
    rows = await execution_rows(connection, job_id)
    job = await job_row(connection, job_id)

    assert [(row["outcome"], row["reason"], row["attempt"]) for row in rows] == [
        ("succeeded", None, 1),
        ("failed", "fail", 1),
        ("failed", "exit_code", 1),
        ("succeeded", None, 1),
    ]
    assert rows[2]["error"] == "what is checked ended with exit code 3"
    assert {row["response"] for row in rows} == {"said \N{REPLACEMENT CHARACTER} it"}
    assert (job["last_outcome"], job["consecutive_failures"], job["runs"]) == ("succeeded", 0, 4)


async def test_pings_of_a_check_that_cannot_be_planned_are_taken_and_told_of(
    api: httpx.AsyncClient, db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection, events=("failed", "invalid", "recovered"))
    job_id = await insert_job(connection, name="backup", kind="check", cron="0 25 * * *", target={})
    token = await connection.fetchval("select tocsin.check_token('backup')")
    path = f"/ping/{token}"
    assert (await api.post(path)).status_code == 200  # before an instance has seen the row
    await plan_jobs(db)
    assert (await api.post(f"{path}/fail")).status_code == 200
    await judge_all(db, connection)

    assert (await api.get("/v1/checks/backup")).json()["status"] == "invalid"
    rows = await execution_rows(connection, job_id)
    assert [row["outcome"] for row in rows] == ["succeeded", "failed"]
    assert sorted(await told(connection)) == [("failed", "backup"), ("invalid", "backup")]

    await connection.execute("update tocsin.jobs set cron = '0 3 * * *' where id = $1", job_id)
    await plan_jobs(db)
    assert (await api.post(path)).status_code == 200
    await judge_all(db, connection)
    assert [event for event, _ in await told(connection)][2:] == ["recovered", "recovered"]
    assert (await api.get("/v1/checks/backup")).json()["status"] == "up"


async def test_a_ping_leaves_the_plan_the_edit_and_the_audit_log_alone(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)
    before = await job_row(connection, job_id)
    entries = await connection.fetchval("select count(*) from tocsin.audit_log")

    for word in ("", "/start", "/log", "/fail"):
        assert (await api.get(path + word)).text == "OK\n"

    after = await job_row(connection, job_id)
    for column in ("next_run", "scheduled_for", "edited_at", "updated_at", "attempt", "fence"):
        assert after[column] == before[column], column
    assert await connection.fetchval("select count(*) from tocsin.audit_log") == entries


async def test_a_start_gives_the_end_a_duration_and_what_was_logged(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)

    await api.post(f"{path}/start", content=b"began")
    started = (await api.get("/v1/checks/backup")).json()
    await api.post(f"{path}/log", content=b"half done")
    await api.post(path, content=b"done")
    ended = (await api.get("/v1/checks/backup")).json()

    [row] = await execution_rows(connection, job_id)
    assert row["response"] == "began\nhalf done\ndone"
    assert row["started_at"].isoformat()[:19] == started["started_at"][:19]
    assert row["started_at"] < row["finished_at"]
    assert (started["status"], ended["status"]) == ("started", "up")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
async def test_every_method_that_schedulers_elsewhere_know_pings(
    api: httpx.AsyncClient, connection: asyncpg.Connection, method: str
) -> None:
    job_id, path = await made(api)

    answer = await api.request(method, path, headers={"Accept": "image/png"}, params={"rid": "1"})

    assert answer.status_code == 200
    assert len(await execution_rows(connection, job_id)) == 1


async def test_a_body_of_any_length_costs_its_end_and_not_the_ping(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)

    async def much() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    assert (await api.post(path, content=much())).status_code == 200
    assert (await api.post(path, content=b"y" * 3_000_000)).status_code == 200
    rows = await execution_rows(connection, job_id)
    assert [len(row["response"] or "") <= 8000 for row in rows] == [True, True]


async def test_a_body_that_does_not_end_is_not_waited_for(
    api: httpx.AsyncClient, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "BODY_SECONDS", 0.05)
    job_id, path = await made(api)
    end = asyncio.Event()

    async def dripping() -> AsyncIterator[bytes]:
        yield b"began"
        await end.wait()

    sending = asyncio.create_task(api.post(path, content=dripping()), name="send")

    async def recorded() -> bool:
        return len(await execution_rows(connection, job_id)) == 1

    await until(recorded, "the ping is recorded")
    end.set()
    await sending


async def test_an_address_that_is_none_tells_nothing(api: httpx.AsyncClient) -> None:
    _, path = await made(api)

    refusals = [
        await api.get(address)
        for address in (f"/ping/{'0' * 64}", "/ping/x", f"{path}/nothing", f"{path[:-1]}/start")
    ]

    assert [one.status_code for one in refusals] == [404] * 4
    assert len({one.text for one in refusals}) == 1


async def test_a_new_or_revoked_token_ends_the_one_before(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    _, first = await made(api)
    _, second = await made(api)

    assert [(await api.get(path)).status_code for path in (first, second)] == [404, 200]
    assert (await api.delete("/v1/checks/backup/token")).status_code == 204
    assert (await api.get(second)).status_code == 404
    assert (await api.delete("/v1/checks/backup/token")).status_code == 404
    told = (await api.get("/v1/audit", params={"limit": 50})).json()["items"]
    assert [one["after"] for one in told if one["changed"] == ["check_token"]] == [
        {"check_token": what} for what in ("revoked", "made", "made")
    ]
    dump = await connection.fetchval(
        "select (select string_agg(c::text, '') from tocsin.checks c)"
        " || (select string_agg(a::text, '') from tocsin.audit_log a)"
    )
    assert first[6:] not in dump
    assert second[6:] not in dump


async def test_what_is_no_check_has_no_address(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    await api.put("/v1/jobs/call", json=JOB | {"every_seconds": 60})

    for method, path in (("GET", ""), ("POST", "/token"), ("DELETE", "/token")):
        answers = [await api.request(method, f"/v1/checks/{name}{path}") for name in ("call", "no")]
        assert [one.json()["type"].rpartition(":")[2] for one in answers] == [
            "check-not-found",
            "job-not-found",
        ]
    with pytest.raises(asyncpg.CheckViolationError, match="kind is 'http', which expects no pings"):
        await connection.fetchval("select tocsin.check_token('call')")
    assert await connection.fetchval("select tocsin.check_token('no')") is None


async def test_a_check_that_is_deleted_or_becomes_another_kind_takes_no_ping(
    api: httpx.AsyncClient,
) -> None:
    _, path = await made(api)
    await api.put("/v1/jobs/backup", json=JOB | {"every_seconds": 60})
    assert (await api.get(path)).status_code == 404
    await api.put("/v1/jobs/backup", json=BACKUP)
    assert (await api.get(path)).status_code == 200
    await api.delete("/v1/jobs/backup")

    assert [(await api.get(path + word)).status_code for word in ("", "/start", "/log")] == [
        404
    ] * 3


@pytest.mark.parametrize("grace", [0, -1, 1e9, "soon", None])
async def test_both_doors_refuse_a_grace_that_cannot_be(
    api: httpx.AsyncClient, connection: asyncpg.Connection, instance: StartInstance, grace: object
) -> None:
    answer = await api.put("/v1/jobs/backup", json=BACKUP | {"target": {"grace_seconds": grace}})

    assert (answer.status_code, fields(answer)) == (422, ["target.grace_seconds"])
    job_id = await insert_job(
        connection, kind="check", target={"grace_seconds": grace}, every_seconds=3600
    )

    async def refused() -> bool:
        error = (await job_row(connection, job_id))["plan_error"]
        return error is not None and "target.grace_seconds" in error

    async with instance():
        await until(refused, "an instance has refused the target")


async def test_a_ping_that_does_not_come_is_missed_and_one_that_comes_then_is_late(
    api: httpx.AsyncClient, connection: asyncpg.Connection, instance: StartInstance, db: Database
) -> None:
    job_id, path = await made(api)
    async with instance() as (_, facts):
        await connection.execute(SECONDS_LATE, job_id, 30)
        await facts.seen(Settled, job_id=job_id, deferred=True)
        late = (await api.get("/v1/checks/backup")).json()
        reasons = (await api.get("/v1/jobs/backup/explain")).json()["reasons"]
    await connection.execute(SECONDS_LATE, job_id, 61)
    async with instance() as (_, facts):  # anew: it looks at what is due since long ago as well
        await facts.seen(Settled, job_id=job_id, reason="missed")
    down = (await api.get("/v1/checks/backup")).json()
    missed = await job_row(connection, job_id)
    await api.get(path)
    up = (await api.get("/v1/checks/backup")).json()
    rows = await execution_rows(connection, job_id)
    job = await job_row(connection, job_id)

    assert [one["status"] for one in (late, down, up)] == ["late", "down", "up"]
    assert reasons[0]["reason"] == "ping_expected"
    assert (missed["last_outcome"], missed["consecutive_failures"]) == ("missed", 1)
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("missed", "missed"),
        ("succeeded", "late"),
    ]
    assert (job["consecutive_failures"], job["next_run"].hour) == (0, 3)


async def test_a_ping_is_late_until_it_comes_and_rules_tell_of_both(
    api: httpx.AsyncClient, connection: asyncpg.Connection, instance: StartInstance, db: Database
) -> None:
    job_id, path = await made(api)
    punctual_id, other = await made(api, "punctual")
    async with instance() as (_, facts):
        for id in (job_id, punctual_id):
            await connection.execute(SECONDS_LATE, id, 30)
            await facts.seen(Settled, job_id=id, deferred=True)
    await api.get(other)
    rule = {"events": ["late", "recovered"], "seconds": 20}
    assert (await api.put("/v1/alerts/rules/late", json=rule)).status_code == 201
    await judge_all(db, connection)
    await judge_all(db, connection)
    assert await told(connection) == [("late", "backup")]
    assert "its ping has been due since 2" in await connection.fetchval(
        "select why from tocsin.alerts"
    )

    await api.get(path)
    await judge_all(db, connection)
    explained = (await api.get("/v1/jobs/backup/explain")).json()["reasons"][0]

    assert (await api.get("/v1/checks/backup")).json()["status"] == "up"
    assert explained["reason"] == "ping_expected"
    assert "has come. The one after it is expected once the grace ends, at " in explained["detail"]
    assert await told(connection) == [("late", "backup"), ("recovered", "backup")]


@pytest.mark.parametrize(
    ("columns", "ended", "is_late"),
    [
        ({"cron": "* * * * *"}, 0, False),
        ({"cron": "* * * * *"}, -20, False),  # as early as a ping for an instant may be
        ({"cron": "* * * * *"}, -21, True),
        ({"every_seconds": 15}, -15, True),  # that which it is counted from
        ({"every_seconds": 15}, -14, False),
        ({"every_seconds": 15, "starts_at": datetime(2026, 1, 1, tzinfo=UTC)}, -15, False),
        ({"cron": "* * * * *"}, 3600, True),  # of a clock that was ahead
        ({"cron": "* * * * *"}, None, True),
    ],
)
async def test_which_ping_is_that_which_is_due(
    connection: asyncpg.Connection, columns: dict[str, Any], ended: int | None, *, is_late: bool
) -> None:
    job_id = await insert_job(connection, kind="check", target={"grace_seconds": 20}, **columns)
    await connection.execute("alter table tocsin.jobs disable trigger user")
    await connection.execute(
        """update tocsin.jobs set scheduled_for = date_trunc('minute', now()),
               next_run = date_trunc('minute', now()) + interval '2 minutes' where id = $1""",
        job_id,
    )

    assert is_late is await connection.fetchval(
        """select tocsin.is_ping_late(j, j.scheduled_for + $2 * interval '1 second')
           from tocsin.jobs j where id = $1""",
        job_id,
        ended,
    )


async def test_a_ping_that_came_is_no_row_of_the_instance_and_the_next_is_expected(
    api: httpx.AsyncClient, connection: asyncpg.Connection, instance: StartInstance
) -> None:
    job_id, path = await made(api)
    await connection.execute(SECONDS_LATE, job_id, 1)
    await api.get(path)

    async def planned() -> bool:
        return bool((await job_row(connection, job_id))["next_run"].hour == 3)

    async with instance():
        await until(planned, "the next ping is planned")
    [row] = await execution_rows(connection, job_id)
    assert row["outcome"] == "succeeded"
    assert (await job_row(connection, job_id))["runs"] == 1


async def test_a_ping_during_the_judgement_wins(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database
) -> None:
    job_id, path = await made(api)
    await connection.execute(
        "update tocsin.jobs set locked_until = now() + interval '1 minute', locked_by = 'host:1:a',"
        " fence = 7, attempt = 1, claimed_at = now(), claimed_for = next_run, claimed_attempt = 1,"
        " execution_id = nextval('tocsin.executions_id_seq') where id = $1",
        job_id,
    )

    assert (await api.get(path)).status_code == 200

    job = await job_row(connection, job_id)
    assert (job["locked_until"], job["execution_id"], job["attempt"]) == (None, None, 0)
    assert (job["fence"], job["last_outcome"]) == (8, "succeeded")
    [row] = await execution_rows(connection, job_id)
    assert row["outcome"] == "succeeded"


async def test_two_receivers_take_overlapping_pings_of_a_check_one_after_the_other(
    api: httpx.AsyncClient, database_url: str, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)
    async with (
        serving(database_url, Recorder(), only_pings=True) as one,
        serving(database_url, Recorder(), only_pings=True) as other,
    ):
        words = ["/start", "/start", "", "/start", "", "/fail", "/start", ""]
        answers = []
        for _ in range(3):  # of one check a receiver has five in progress at most
            answers += await asyncio.gather(
                *((one, other)[number % 2].get(path + word) for number, word in enumerate(words))
            )

    assert {answer.status_code for answer in answers} == {200}
    rows = await execution_rows(connection, job_id)
    job = await job_row(connection, job_id)
    assert len(rows) == 3 * sum(word in ("", "/fail") for word in words) == job["runs"]
    assert all(row["started_at"] <= row["finished_at"] for row in rows)
    ends = sorted((row["finished_at"], row["started_at"]) for row in rows)
    assert all(start >= before for (before, _), (_, start) in pairwise(ends))
    assert job["last_finished_at"] == ends[-1][0]


async def test_a_run_now_of_a_check_says_that_there_is_nothing_to_run(
    api: httpx.AsyncClient, connection: asyncpg.Connection, instance: StartInstance
) -> None:
    job_id, path = await made(api)
    await api.get(path + "/fail")
    [failed] = await execution_rows(connection, job_id)

    run = await api.post("/v1/jobs/backup/run")
    replay = await api.post(f"/v1/executions/{failed['id']}/replay")
    actions = {
        "run": {},
        "backfill": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
        "redrive": {},
    }
    done = [
        await carried_out(api, instance, action=action, filter={"job": "backup"}, **more)
        for action, more in actions.items()
    ]

    told = "a check only expects pings, and has nothing to run: run what sends them"
    assert [(one.status_code, one.json()["detail"]) for one in (run, replay)] == [(409, told)] * 2
    assert [(one["changed"], one["problems"][0]["problem"]) for one in done] == [(0, told)] * 3
    assert len(await execution_rows(connection, job_id)) == 1


async def test_a_run_of_a_check_that_sql_asked_for_fails_and_says_why(
    api: httpx.AsyncClient, connection: asyncpg.Connection, instance: StartInstance
) -> None:
    job_id, _ = await made(api)
    async with instance() as (_, facts):
        await connection.execute("select tocsin.run_now($1)", job_id)
        await facts.seen(Settled, job_id=job_id, reason="target")

    [row] = await execution_rows(connection, job_id)
    assert row["error"] == "a check only expects pings: run what sends them"


async def test_pings_of_one_check_beyond_sixty_a_minute_are_refused_and_others_are_not(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)
    await api.put("/v1/jobs/other", json=BACKUP)
    other = (await api.post("/v1/checks/other/token")).json()["path"]

    answers = [(await api.get(f"{path}/log")) for _ in range(61)]

    assert [one.status_code for one in answers] == [200] * 60 + [429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert (await api.get(other)).status_code == 200
    await connection.execute(
        "update tocsin.checks set minute_at = minute_at - interval '1 minute' where job_id = $1",
        job_id,
    )
    assert (await api.get(path)).status_code == 200


async def test_who_guesses_tokens_is_refused_and_known_ones_from_there_are_not(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "UNKNOWN_A_MINUTE", 3)
    _, path = await made(api)
    assert (await api.get(path)).status_code == 200

    guesses = [(await api.get(f"/ping/{n:064x}")).status_code for n in range(5)]

    assert guesses == [404, 404, 404, 429, 429]
    assert (await api.get(path)).status_code == 200


async def test_who_guesses_many_tokens_at_once_costs_no_more_look_ups_than_one_by_one(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = 0
    is_token = checks.is_token

    async def count(runner: Runner, digest: bytes) -> bool:
        nonlocal looked_up
        looked_up += 1
        return await is_token(runner, digest)

    monkeypatch.setattr(checks, "is_token", count)
    receiver = Receiver(db)
    guesses = [bytes([n]) * 32 for n in range(200)]

    answers = await asyncio.gather(
        *(receiver.take(one, Ping(action=Action.SUCCESS), "", client="10.0.0.1") for one in guesses)
    )

    assert answers.count(Answer.UNKNOWN) == looked_up == UNKNOWN_A_MINUTE


async def test_a_row_that_is_locked_holds_up_its_own_pings_alone(
    database_url: str, api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)
    await api.put("/v1/jobs/other", json=BACKUP)
    other = (await api.post("/v1/checks/other/token")).json()["path"]
    await api.get(path)
    locker = await asyncpg.connect(database_url)
    try:
        async with locker.transaction():
            await locker.execute("select from tocsin.jobs where id = $1 for update", job_id)
            held = [asyncio.create_task(api.get(path), name=f"ping {n}") for n in range(40)]
            assert (await api.get(other)).status_code == 200
            codes = [(await one).status_code for one in held]
    finally:
        await locker.close()

    assert set(codes) == {429, 503}
    assert codes.count(503) <= pings.MAX_AT_ONCE
    assert (await api.get(path)).status_code == 200


async def test_a_receiver_forgets_what_it_needs_no_more(db: Database) -> None:
    receiver = Receiver(db)
    digest = digest_of("0" * 64)
    assert digest is not None

    await asyncio.gather(
        *(
            receiver.take(digest, Ping(action=Action.SUCCESS), "", client=f"10.0.0.{n}")
            for n in range(20)
        )
    )

    assert (dict(receiver.under_way), receiver.turns, receiver.known) == ({}, {}, {})


async def test_a_role_that_may_only_ping_pings(
    database_url: str, api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)
    digest = digest_of(path.removeprefix("/ping/"))
    await connection.execute("drop role if exists checks_pinger; create role checks_pinger login")
    try:
        await connection.execute(
            "grant usage on schema tocsin to checks_pinger; set session authorization checks_pinger"
        )
        assert await connection.fetchval("select tocsin.ping($1, 'success')", digest) == "ok"
        assert await connection.fetchval("select tocsin.is_check_token($1)", digest)
        for table in ("checks", "jobs", "executions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetchval(f"select count(*) from tocsin.{table}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetchval("select tocsin.check_token($1::uuid)", job_id)
    finally:
        await connection.execute("reset session authorization")
        await connection.execute("drop owned by checks_pinger; drop role checks_pinger")


async def test_only_pings_and_probes_are_served_where_nothing_else_is_to_be(
    database_url: str, api: httpx.AsyncClient
) -> None:
    _, path = await made(api)

    async with serving(as_role("api", database_url), Recorder(), only_pings=True) as apart:
        codes = [
            (await apart.get(address)).status_code
            for address in (path, "/health/ready", "/v1/jobs", "/metrics", "/docs", "/openapi.json")
        ]

    assert codes == [200, 200, 404, 404, 404, 404]


async def test_a_refused_record_costs_the_record_and_not_the_ping(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    job_id, path = await made(api)
    await connection.execute(
        "create function public.no() returns trigger language plpgsql as"
        " $$ begin raise 'no'; end $$;"
        "create trigger no before insert on tocsin.executions for each row"
        " execute function public.no()"
    )

    assert (await api.get(path)).status_code == 200
    assert (await job_row(connection, job_id))["last_outcome"] == "succeeded"


PAGE = (ROOT / "docs" / "checks.md").read_text("utf-8")


async def test_the_examples_on_the_page_do_what_the_page_says(
    api: httpx.AsyncClient, connection: asyncpg.Connection, db: Database
) -> None:
    [sql] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    insert, _, select = sql.strip().removesuffix(";").partition(";\n")
    await connection.execute(insert)
    token = await connection.fetchval(select)
    await plan_jobs(db)
    called = re.findall(r"https://tocsin\.example\.com(/ping/\$TOKEN\S*)", PAGE)

    for path in called:
        address = path.replace("$TOKEN", token).replace("$?", "0")
        assert (await api.post(address, content=b"backed up")).status_code == 200

    job_id = await connection.fetchval("select tocsin.job_id('nightly-backup')")
    rows = await execution_rows(connection, job_id)
    assert [row["outcome"] for row in rows] == ["succeeded", "succeeded"]
    assert rows[-1]["response"] == "backed up\nbacked up"
    assert (await api.get("/v1/checks/nightly-backup")).json()["status"] == "up"


def test_the_page_has_every_reason_and_address() -> None:
    for word in ("late", "fail", "exit_code", "timeout", "missed", "paused", "skipped"):
        assert f"`{word}`" in PAGE, word
    assert {f"/{one}" for one in Action if one != Action.SUCCESS} <= set(
        re.findall(r"/ping/TOKEN(/\w+)", PAGE)
    )
