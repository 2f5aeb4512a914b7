"""Rules tell of what happens to jobs once, by channels that are told by ordinary jobs."""

import asyncio
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NoReturn
from uuid import UUID

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.alerts.presets import Preset
from app.core.alerts.rules import Event
from app.core.facts import Faulted
from app.db import Database, alerts
from app.db.database import Runner, Transaction
from app.db.errors import translate_errors
from app.db.queries import query
from app.errors import DatabaseUnavailable
from app.scheduler.alerts import Alerting
from app.telemetry import Observers
from tests.support.alerts import ended, insert_channel, insert_rule, judge_all, quiet_job, told
from tests.support.builders import insert_job, plan_jobs
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.recorder import Recorder
from tests.support.sink import Sink, reply
from tests.support.waiting import until


async def test_three_failures_are_one_message_to_slack_and_so_is_the_recovery(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/report", reply(500))
    await insert_channel(connection, "ops", sink.url("/slack"), "slack")
    await insert_rule(connection, name="three", after=3, channels=["ops"])
    await insert_job(
        connection,
        name="nightly-report",
        every_seconds=0.1,
        max_attempts=1,
        target={"url": sink.url("/report")},
    )

    def messages() -> list[str]:
        found = [json.decode(one.body)["text"] for one in sink.requests if one.path == "/slack"]
        return [str(one) for one in found]

    async def has_told(many: int) -> bool:
        return len(messages()) >= many

    async def has_run_on(after: int) -> bool:
        return sum(one.path == "/report" for one in sink.requests) >= after

    async with instance():
        await until(lambda: has_told(1), "the failures are told", within=60)
        seen = sum(one.path == "/report" for one in sink.requests)
        await until(lambda: has_run_on(seen + 8), "it fails more often", within=60)
        assert len(messages()) == 1
        sink.on("/report", reply(200))
        await until(lambda: has_told(2), "the recovery is told", within=60)
        seen = sum(one.path == "/report" for one in sink.requests)
        await until(lambda: has_run_on(seen + 8), "it succeeds more often", within=60)

        async def is_written_down() -> bool:
            return bool(
                await connection.fetchval(
                    "select count(*) = 2 from tocsin.alerts where delivered_at is not null"
                )
            )

        await until(is_written_down, "both deliveries are on record", within=60)

    failure, recovery = messages()
    assert re.fullmatch(
        r":rotating_light: nightly-report failed 3 times in a row: the target answered 500 .* "
        r"_\(three\)_",
        failure,
    )
    assert recovery.startswith(":white_check_mark: nightly-report recovered after trouble since ")
    assert await told(connection) == [
        ("failed", "nightly-report"),
        ("recovered", "nightly-report"),
    ]


class Crashed(Exception):
    """Stands for whatever ends an instance."""


IN_AN_HOUR = "ends_at => now() + interval '1 hour'"

CASES = {
    "a run that was given up": (("failed",), 1, ["failed"], ["failed"]),
    "one that timed out, and one that was lost": (
        ("failed",),
        2,
        ["timed_out", "lost"],
        ["failed"],
    ),
    "what a person cancelled is no failure": (("failed",), 1, ["cancelled"], []),
    "failures that a success comes between": (
        ("failed",),
        2,
        ["failed", "succeeded", "failed"],
        [],
    ),
    "a failure after a recovery is told anew": (
        ("failed", "recovered"),
        1,
        ["failed", "succeeded", "failed"],
        ["failed", "recovered", "failed"],
    ),
    "a recovery alone": (("recovered",), 2, ["failed", "failed", "succeeded"], ["recovered"]),
    "no recovery of what was not told": (("failed", "recovered"), 3, ["failed", "succeeded"], []),
    "the last attempt": (("exhausted",), 1, ["failed"], ["exhausted"]),
    "a run that was missed": (("missed",), 1, ["missed"], ["missed"]),
    "one that is carried out again": (
        ("missed", "recovered"),
        2,
        ["missed", "missed", "failed"],
        ["missed", "recovered"],
    ),
    "missed runs are no failures": (("failed",), 1, ["missed"], []),
    "and failures are not missed runs": (("missed",), 1, ["failed"], []),
}


@pytest.mark.parametrize(
    ("rule", "outcomes", "expected"),
    [({"events": events, "after": after}, *rest) for events, after, *rest in CASES.values()],
    ids=CASES.keys(),
)
async def test_a_rule_tells_of_each_change_once(
    db: Database,
    connection: asyncpg.Connection,
    rule: dict[str, Any],
    outcomes: list[str],
    expected: list[str],
) -> None:
    await insert_rule(connection, **rule)
    job_id = await quiet_job(connection, name="report")

    for outcome in outcomes:
        await ended(connection, job_id, outcome)
    await judge_all(db, connection)
    await judge_all(db, connection)

    assert [event for event, _ in await told(connection)] == expected


async def test_a_recovery_is_found_when_nothing_fails_any_more(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection)
    job_id = await quiet_job(connection, name="report")
    await ended(connection, job_id)
    await judge_all(db, connection)
    assert await told(connection) == [("failed", "report")]

    await ended(connection, job_id, "succeeded")
    await judge_all(db, connection)

    assert await told(connection) == [("failed", "report"), ("recovered", "report")]
    assert await connection.fetchval("select count(*) from tocsin.alert_states") == 0


async def test_recoveries_are_found_among_more_states_than_one_pass_asks_about(
    db: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_rule(connection)
    ids = [await quiet_job(connection, name=f"report-{n}") for n in range(5)]
    for job_id in ids:
        await ended(connection, job_id)
    await judge_all(db, connection)
    list_over, many = alerts.list_over, []

    async def seen(transaction: Runner, **given: Any) -> list[alerts.Over]:  # noqa: ANN401
        bounds = [*given["after"], *given["upto"]]
        [[between]] = await transaction.connection.fetch(  # type: ignore[attr-defined]
            """select count(*) from tocsin.alert_states s
               where (s.rule_id, s.event, s.job_id) > ($1, $2, $3)
                 and (s.rule_id, s.event, s.job_id) <= ($4, $5, $6)""",
            *bounds,
        )
        many.append(between)
        return await list_over(transaction, **given)

    monkeypatch.setattr("app.scheduler.alerts.WALK", 2)
    monkeypatch.setattr(alerts, "list_over", seen)
    alerting = Alerting(db, Observers(), monotonic)

    async def has_recovered(name: str) -> bool:
        await alerting.work()
        return ("recovered", name) in await told(connection)

    for n in (4, 0):
        await ended(connection, ids[n], "succeeded")
        await until(lambda n=n: has_recovered(f"report-{n}"), "it has recovered", within=60)

    assert max(many) == 2
    assert await connection.fetchval("select count(*) from tocsin.alert_states") == 3


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, ["billing", "report", "tagged"]),
        ({"tag": "nightly"}, ["tagged"]),
        ({"reasons": ["overlap"], "events": ("missed",)}, []),
    ],
    ids=["all", "tag", "reasons"],
)
async def test_a_rule_is_about_the_jobs_that_it_names(
    db: Database, connection: asyncpg.Connection, columns: dict[str, Any], expected: list[str]
) -> None:
    await insert_rule(connection, **columns)
    await insert_rule(connection, name="of one", job_id=UUID(int=1))
    for name, tags in (("report", []), ("tagged", ["a", "nightly"]), ("billing", ["nightl"])):
        job_id = await quiet_job(connection, name=name, tags=tags)
        await ended(connection, job_id, "failed")
        await ended(connection, job_id, "missed", reason="misfire")

    await judge_all(db, connection)

    assert sorted(job or "" for _, job in await told(connection)) == expected


async def test_a_run_that_has_attempts_left_has_not_failed(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection)
    job_id = await quiet_job(connection, name="report")
    await ended(connection, job_id, attempt=1)
    await connection.execute(
        """update tocsin.jobs set scheduled_for = (select max(scheduled_for) from tocsin.executions)
           where id = $1""",
        job_id,
    )

    await judge_all(db, connection)

    assert await told(connection) == []


async def test_an_invalid_job_is_told_of_and_so_is_its_correction(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection, events=("invalid", "recovered"), after=3)
    job_id = await quiet_job(connection, name="report")
    await quiet_job(connection, name="other")
    await connection.execute(
        "update tocsin.jobs set plan_error = 'cron: has no field' where id = $1", job_id
    )
    await judge_all(db, connection)
    await judge_all(db, connection)
    assert await told(connection) == [("invalid", "report")]
    assert await connection.fetchval("select why from tocsin.alerts") == "cron: has no field"

    await connection.execute("update tocsin.jobs set plan_error = null where id = $1", job_id)
    await judge_all(db, connection)

    assert await told(connection) == [("invalid", "report"), ("recovered", "report")]


LATE = "update tocsin.jobs set next_run = now() - interval '1 minute' where id = $1"


@pytest.mark.parametrize("flow_key", [None, "api"])
async def test_a_job_that_nobody_starts_is_late_until_it_is_started(
    db: Database, connection: asyncpg.Connection, flow_key: str | None
) -> None:
    await insert_rule(connection, events=("late", "recovered"), seconds=30, after=3)
    job_id = await quiet_job(connection, name="report", flow_key=flow_key)
    other = await quiet_job(connection, name="other")
    await connection.execute("update tocsin.jobs set next_run = now() where id = $1", other)
    await judge_all(db, connection)
    assert await told(connection) == []

    await connection.execute(LATE, job_id)
    await judge_all(db, connection)
    await judge_all(db, connection)
    assert await told(connection) == [("late", "report")]
    assert "due since 2" in await connection.fetchval("select why from tocsin.alerts")

    await connection.execute(
        """update tocsin.jobs set locked_until = now() + interval '1 hour', locked_by = 'me',
               execution_id = 1, claimed_at = now(), claimed_for = now(), claimed_attempt = 1
           where id = $1""",
        job_id,
    )
    await judge_all(db, connection)

    assert await told(connection) == [("late", "report"), ("recovered", "report")]


async def test_a_job_is_late_by_runs_beside_its_plan_as_well(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection, events=("late", "recovered"), seconds=30)
    job_id = await quiet_job(connection, name="report")
    for _ in range(2):
        await connection.fetch("select tocsin.run_now($1::uuid, null, 'allow_all')", job_id)
    await connection.execute(
        """set session_replication_role = replica;
           update tocsin.jobs set next_run = now() - interval '1 minute' where run_of is not null;
           set session_replication_role = origin"""
    )
    await judge_all(db, connection)
    await judge_all(db, connection)
    assert await told(connection) == [("late", "report")]

    await connection.execute("delete from tocsin.jobs where run_of is not null")
    await judge_all(db, connection)
    assert await told(connection) == [("late", "report"), ("recovered", "report")]


async def test_no_rule_tells_of_what_delivers_alerts(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_channel(connection, "ops", "http://127.0.0.1:9/", "webhook")
    events = ("failed", "late", "invalid", "backlog")
    await insert_rule(connection, events=events, seconds=30, more_than=0, channels=["ops"])
    await ended(connection, await quiet_job(connection, name="report"))
    await judge_all(db, connection)
    assert await told(connection) == [("failed", "report")]

    for column, value in (("next_run", "now() - interval '1 minute'"), ("plan_error", "'wrong'")):
        await connection.execute(
            f"update tocsin.jobs set {column} = {value} where name is distinct from 'report'"
        )
        await judge_all(db, connection)

    assert await told(connection) == [("failed", "report")]


async def test_a_job_without_a_success_for_too_long_is_told_of_whatever_else_it_does(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection, events=("not_succeeded", "recovered"), seconds=60, tag="a")
    names = ("never", "failing", "lately", "fresh", "once")
    ids = {}
    for name in names:
        columns = {"cron": "0 0 1 1 *"} if name != "once" else {}
        at = {} if columns else {"run_at": datetime(2100, 1, 1, tzinfo=UTC)}
        ids[name] = await insert_job(connection, name=name, tags=["a"], **columns, **at)
    await plan_jobs(db)
    await ended(connection, ids["lately"], "succeeded")
    await ended(connection, ids["failing"])
    for name in names:
        if name != "fresh":
            await connection.execute("alter table tocsin.jobs disable trigger user")
            await connection.execute(
                """update tocsin.jobs set edited_at = now() - interval '1 day',
                       created_at = now() - interval '1 day' where id = $1""",
                ids[name],
            )
            await connection.execute("alter table tocsin.jobs enable trigger user")
    await judge_all(db, connection)
    assert sorted(await told(connection)) == [
        ("not_succeeded", "failing"),
        ("not_succeeded", "never"),
    ]

    await ended(connection, ids["never"], "succeeded")
    await connection.execute("select tocsin.pause($1::uuid)", ids["failing"])
    await judge_all(db, connection)
    await judge_all(db, connection)

    assert (await told(connection))[2:] == [("recovered", "never")]


async def took(
    connection: asyncpg.Connection, job_id: UUID, seconds: float, *, id: int | None = None
) -> None:
    """Have an execution succeed that took so long."""
    await ended(connection, job_id, "succeeded", id=id)
    await connection.execute(
        """update tocsin.executions set started_at = finished_at - $2 * interval '1 second'
           where id = (select max(id) from tocsin.executions where job_id = $1)""",
        job_id,
        seconds,
    )


@pytest.mark.parametrize("given", [{"seconds": 30}, {"factor": 2.5}], ids=["seconds", "factor"])
async def test_a_run_that_takes_long_is_told_of_until_one_does_not(
    db: Database, connection: asyncpg.Connection, given: dict[str, float]
) -> None:
    await insert_rule(connection, events=("slow", "recovered"), **given)
    job_id, other = [await quiet_job(connection, name=name) for name in ("report", "other")]
    for _ in range(5):
        await took(connection, job_id, 16)
        await took(connection, other, 40 if "factor" in given else 20)
    await judge_all(db, connection)
    assert await told(connection) == []

    await took(connection, job_id, 41)
    await took(connection, job_id, 45)
    await judge_all(db, connection)
    await judge_all(db, connection)
    assert await told(connection) == [("slow", "report")]
    why = await connection.fetchval("select why from tocsin.alerts")
    assert re.fullmatch(r"it took 41 s, and usually takes 16 s", why)

    await ended(connection, job_id)
    await judge_all(db, connection)
    assert len(await told(connection)) == 1
    await took(connection, job_id, 17)
    await judge_all(db, connection)
    assert await told(connection) == [("slow", "report"), ("recovered", "report")]


async def test_a_run_that_goes_on_for_long_is_told_of_once_while_it_does(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection, events=("slow", "recovered"), seconds=30)
    job_id, short = [await quiet_job(connection, name=name) for name in ("report", "short")]
    id = await leased(connection, job_id, ago=41)
    await leased(connection, short)
    await judge_all(db, connection)
    await judge_all(db, connection)
    assert await told(connection) == [("slow", "report")]
    why = await connection.fetchval("select why from tocsin.alerts")
    assert re.fullmatch(r"it has been under way for 4\d\.?\d* s", why)

    await freed(connection, job_id)
    await took(connection, job_id, 45, id=id)
    await judge_all(db, connection)
    assert len(await told(connection)) == 1

    await took(connection, job_id, 2)
    await judge_all(db, connection)
    assert await told(connection) == [("slow", "report"), ("recovered", "report")]


async def test_runs_side_by_side_that_take_long_are_counted_once_each_until_they_end(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection, events=("slow", "recovered"), seconds=30, after=2)
    job_id = await quiet_job(connection, name="report")
    first = await leased(connection, job_id, ago=20)
    await connection.fetch("select tocsin.run_now($1::uuid, null, 'allow_all')", job_id)
    other = await connection.fetchval("select id from tocsin.jobs where run_of = $1", job_id)
    second = await leased(connection, other, ago=41)
    await judge_all(db, connection)
    assert await told(connection) == []
    await connection.execute(
        """set session_replication_role = replica;
           update tocsin.jobs set claimed_at = claimed_at - interval '30 s';
           set session_replication_role = origin"""
    )
    for _ in range(3):
        await judge_all(db, connection)
    [state] = await connection.fetch("select many, execution_id from tocsin.alert_states")
    assert tuple(state) == (2, second)
    assert await told(connection) == [("slow", "report")]

    await freed(connection, other)
    await took(connection, job_id, 2)  # a quick one, while the first goes on
    for _ in range(2):
        await judge_all(db, connection)
    assert await told(connection) == [("slow", "report")]

    await freed(connection, job_id)
    await took(connection, job_id, 60, id=first)
    await took(connection, job_id, 2)
    await judge_all(db, connection)
    assert await told(connection) == [("slow", "report"), ("recovered", "report")]


async def test_runs_under_way_are_read_only_of_jobs_that_rules_on_slow_ones_are_about(
    db: Database, connection: asyncpg.Connection
) -> None:
    id = await insert_rule(connection, events=("slow",), seconds=30, tag="watched")
    watched = await quiet_job(connection, name="watched", tags=["watched"])
    await leased(connection, await quiet_job(connection, name="other"), ago=41)
    await leased(connection, watched, ago=41)

    asked: dict[str, Any] = {"rule_ids": [id], "seconds": 30, "after": 0, "limit": 9}
    async with db.transaction() as transaction:
        found = await alerts.list_running(transaction, **asked)
    assert [one.job for one in found] == ["watched"]

    await judge_all(db, connection)
    async with db.transaction() as transaction:
        assert await alerts.list_running(transaction, **asked) == []


async def test_many_long_runs_that_are_as_usual_hide_no_slow_one_and_are_read_in_steps(
    db: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.scheduler.alerts.RUNNING", 2)
    await insert_rule(connection, events=("slow",), factor=3)
    for number in range(5):
        usual = await quiet_job(connection, name=f"usual-{number}")
        for _ in range(5):
            await took(connection, usual, 60)
        await leased(connection, usual, ago=61)
    slow = await quiet_job(connection, name="slow")
    for _ in range(5):
        await took(connection, slow, 2)
    await leased(connection, slow, ago=61)

    await judge_all(db, connection)

    assert await told(connection) == [("slow", "slow")]


async def test_the_first_rules_of_all_may_come_in_one_statement(
    db: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into tocsin.alert_rules (name, events) values ('a', '{failed}'), ('b', '{failed}')"
    )
    await ended(connection, await quiet_job(connection, name="report"))

    await judge_all(db, connection)

    assert await told(connection) == [("failed", "report")] * 2


@pytest.mark.parametrize("given", [{"more_than": 2}, {"seconds": 30, "tag": "a"}])
async def test_a_backlog_is_told_of_once_and_when_it_is_over(
    db: Database, connection: asyncpg.Connection, given: dict[str, Any]
) -> None:
    await insert_rule(connection, events=("backlog", "recovered"), **given)
    ids = [await quiet_job(connection, flow_key=key, tags=["a"]) for key in (None, None, "f")]
    for job_id in ids[:2]:
        await connection.execute("update tocsin.jobs set next_run = now() where id = $1", job_id)
    await judge_all(db, connection)
    assert await told(connection) == []

    await connection.execute(LATE, ids[2])
    await judge_all(db, connection)
    await judge_all(db, connection)
    assert await told(connection) == [("backlog", None)]
    assert "since" in await connection.fetchval("select why from tocsin.alerts")

    await connection.execute(
        "update tocsin.jobs set next_run = now() + interval '1 hour' where id = $1", ids[2]
    )
    await judge_all(db, connection)
    assert await told(connection) == [("backlog", None), ("recovered", None)]


async def test_the_backlog_of_a_tag_is_found_behind_many_that_have_been_due_for_longer(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection, events=("backlog",), seconds=30, tag="a")
    await connection.execute(LATE, await quiet_job(connection, tags=["a"]))
    await connection.execute(
        """set session_replication_role = replica;
           insert into tocsin.jobs (kind, target, run_at, next_run, planned_at)
           select 'http', '{"url": "http://127.0.0.1:9/"}', ago.at, ago.at, ago.at
           from (select now() - interval '1 day' as at) as ago, generate_series(1, 10001);
           reset session_replication_role"""
    )

    await judge_all(db, connection)

    assert await told(connection) == [("backlog", None)]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("select tocsin.pause_all()", "select tocsin.end_pause(id) from tocsin.pauses"),
        (f"select tocsin.maintain({IN_AN_HOUR})", "delete from tocsin.maintenance"),
    ],
    ids=["pause", "maintenance"],
)
async def test_a_backlog_is_not_over_because_everything_is_paused_or_under_maintenance(
    db: Database, connection: asyncpg.Connection, begin: str, end: str
) -> None:
    await insert_rule(connection, events=("backlog", "recovered"), seconds=30)
    await connection.execute(LATE, await quiet_job(connection))
    await judge_all(db, connection)

    await connection.execute(begin)
    await judge_all(db, connection)
    await connection.execute(end)
    await judge_all(db, connection)

    assert await told(connection) == [("backlog", None)]


async def test_jobs_of_a_kind_that_no_instance_runs_any_more_are_told_of(
    db: Database, connection: asyncpg.Connection, database_url: str
) -> None:
    await insert_rule(connection, events=("no_instance", "recovered"), seconds=10)
    await connection.execute(
        """insert into tocsin.kinds (kind) values ('pigeon');
           insert into tocsin.instance_rules (name, version, source, kinds)
           values ('far:1:aaaa', '2026a', 'system', '{http,pigeon}')"""
    )
    job_id = await quiet_job(connection, kind="pigeon", target={})
    await connection.execute(LATE, job_id)
    far = await asyncpg.connect(
        database_url, server_settings={"application_name": "tocsin scheduler far:1:aaaa"}
    )
    await judge_all(db, connection)
    assert await told(connection) == []

    await far.close()
    await judge_all(db, connection)
    assert await told(connection) == [("no_instance", None)]
    assert await connection.fetchval("select why from tocsin.alerts") == (
        "jobs of the kind pigeon are due, and no instance runs it"
    )

    await connection.execute("select tocsin.pause($1::uuid)", job_id)
    await judge_all(db, connection)
    assert await told(connection) == [("no_instance", None), ("recovered", None)]


async def test_what_is_not_over_is_told_again_together_and_no_sooner(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_channel(connection, "ops", "http://127.0.0.1:9/", "webhook")
    await insert_rule(
        connection, events=("failed", "recovered"), remind_seconds=600, channels=["ops"]
    )
    await insert_rule(connection, name="no reminders")
    ids = [await quiet_job(connection, name=f"report-{n}") for n in range(5)]
    for job_id in ids:
        await ended(connection, job_id)
    await ended(connection, ids[0], "succeeded")
    await judge_all(db, connection)
    await connection.execute(
        """update tocsin.alerts set delivered_at = clock_timestamp(),
               sent_at = sent_at - interval '10 minutes';
           update tocsin.alert_states set told_at = told_at - interval '10 minutes'"""
    )
    await connection.execute("select tocsin.pause($1::uuid)", ids[1])
    await connection.execute("update tocsin.jobs set tags = '{moved}' where id = $1", ids[4])
    await connection.execute(f"select tocsin.maintain('moved', {IN_AN_HOUR})")

    await judge_all(db, connection)
    await judge_all(db, connection)

    reminders = await connection.fetch(
        """select job, event, why, delivery_id from tocsin.alerts where is_reminder order by job"""
    )
    assert [row["job"] for row in reminders] == ["report-2", "report-3"]
    assert {row["event"] for row in reminders} == {"failed"}
    assert {row["why"] for row in reminders} == {"the target answered with status 500"}
    [[message]] = await connection.fetch(
        "select target from tocsin.jobs where id = any ($1::uuid[])",
        [row["delivery_id"] for row in reminders],
    )
    assert json.decode(message)["json"]["text"].startswith("Still: 2 jobs: failed")


async def test_any_number_that_is_not_over_is_told_again_in_one_pass_and_one_message(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_channel(connection, "ops", "http://127.0.0.1:9/", "webhook")
    rule_id = await insert_rule(connection, remind_seconds=600, channels=["ops"])
    await connection.execute(
        """insert into tocsin.alert_states (rule_id, event, job_id, many, since, last_at, told_at)
           select $1, 'failed', gen_random_uuid(), 1, ago.at, ago.at, ago.at
           from (select now() - interval '1 day' as at) as ago, generate_series(1, 2500)""",
        rule_id,
    )
    alerting = Alerting(db, Observers(), monotonic)

    await alerting.look_at_jobs()
    await alerting.send()

    [sent] = await connection.fetch("select target from tocsin.jobs")
    assert json.decode(sent["target"])["json"]["count"] == 2500


@pytest.mark.parametrize(
    "how",
    [
        "select tocsin.pause($1::uuid)",
        "select tocsin.pause_all(left($1::uuid::text, 0))",
        f"select tocsin.maintain('moved', {IN_AN_HOUR}, reason => $1::uuid::text)",
        f"select tocsin.maintain(null, {IN_AN_HOUR}, reason => $1::uuid::text)",
    ],
    ids=["job", "all", "maintenance of a tag", "maintenance of all"],
)
async def test_of_what_is_paused_or_under_maintenance_nothing_is_told(
    db: Database, connection: asyncpg.Connection, how: str
) -> None:
    await insert_rule(connection, events=("failed", "late", "slow"), seconds=30)
    job_id = await quiet_job(connection, name="report", tags=["moved"])
    await connection.execute(how, job_id)
    await connection.execute(LATE, job_id)
    await took(connection, job_id, 41)
    await ended(connection, job_id)

    await judge_all(db, connection)

    assert await told(connection) == []


async def test_of_what_is_under_maintenance_nothing_is_told(
    connection: asyncpg.Connection, db: Database
) -> None:
    await insert_rule(connection, events=("failed", "recovered"))
    maintained = await quiet_job(connection, name="maintained", tags=["billing"])
    other = await quiet_job(connection, name="other", tags=["shipping"])
    window = await connection.fetchval(
        "select (tocsin.maintain(tag => 'billing', ends_at => now() + interval '1 hour')).id"
    )

    await ended(connection, maintained)
    await ended(connection, other)
    await judge_all(db, connection)
    within = await told(connection)
    await connection.execute("select tocsin.end_maintenance($1)", window)
    await ended(connection, maintained)
    await judge_all(db, connection)

    assert within == [("failed", "other")]
    assert await told(connection) == [("failed", "other"), ("failed", "maintained")]


async def test_what_ended_before_its_rule_is_not_told(
    db: Database, connection: asyncpg.Connection
) -> None:
    job_id = await quiet_job(connection, name="report")
    await ended(connection, job_id)
    await insert_rule(connection)

    await judge_all(db, connection)

    assert await told(connection) == []


async def test_a_pass_that_is_broken_off_tells_nothing_and_the_next_one_all(
    db: Database, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_channel(connection, "ops", "http://127.0.0.1:9/", "webhook")
    await insert_rule(connection, channels=["ops"])
    job_id = await quiet_job(connection, name="report")
    await ended(connection, job_id)
    await Alerting(db, Observers(), monotonic).judge()  # sets the first mark
    move, seen = alerts.move, []

    async def crash(transaction: Runner, *_: object, **__: object) -> None:
        [row] = await transaction.fetch("alerts.has_work")
        seen.append(
            (row["has_open"], await connection.fetchval("select count(*) from tocsin.alerts"))
        )
        raise Crashed

    async def is_told_and_broken_off() -> bool:
        with suppress(Crashed):
            await Alerting(db, Observers(), monotonic).judge()
        return seen[-1] == (True, 0)

    monkeypatch.setattr(alerts, "move", crash)
    await until(is_told_and_broken_off, "a pass tells, but is broken off", within=60)
    monkeypatch.setattr(alerts, "move", move)

    await judge_all(db, connection)

    assert await told(connection) == [("failed", "report")]


async def test_a_process_that_is_killed_between_any_two_statements_tells_all_once(
    db: Database, connection: asyncpg.Connection, database_url: str
) -> None:
    """Each round has a rule, a failure and an invalid job of its own, and deliveries that fail."""
    for name in ("backup", "ops"):
        await insert_channel(connection, name, "http://127.0.0.1:9/", "webhook")
    await connection.execute(
        "update tocsin.alert_channels set fallback = 'backup' where name = 'ops'"
    )
    killer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.killed_alerting", database_url),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert killer.stdin
    assert killer.stdout
    alerting = Alerting(db, Observers(), monotonic)
    answer, border = "killed", 0
    try:
        while answer == "killed":
            border += 1
            tag = f"round-{border}"
            await insert_rule(
                connection, name=tag, tag=tag, events=("failed", "invalid"), channels=["ops"]
            )
            await ended(connection, await quiet_job(connection, name=f"{tag} failed", tags=[tag]))
            invalid = await quiet_job(connection, name=f"{tag} invalid", tags=[tag])
            await connection.execute(
                "update tocsin.jobs set plan_error = 'it is wrong' where id = $1", invalid
            )
            await alerting.judge()  # sets a mark, so that the next one judges what is before it
            killer.stdin.write(f"{border}\n".encode())
            answer = (await killer.stdout.readline()).decode().strip()
            for _ in range(2):  # so that the next one has little to do but what is its own
                await alerting.work()
            await fail_deliveries(connection)
    finally:
        killer.stdin.close()
        await killer.wait()
    for _ in range(3):
        await judge_all(db, connection)
        await fail_deliveries(connection)

    assert answer == "done"
    assert border > 15
    rows = await connection.fetch(
        "select job, channel from tocsin.alerts where failed_at is not null"
    )
    every = [
        (f"round-{n} {what}", channel)
        for n in range(1, border + 1)
        for what in ("failed", "invalid")
        for channel in ("ops", "backup")
    ]
    assert sorted(tuple(row) for row in rows) == sorted(every)
    made = await connection.fetchval(
        "select count(*) from tocsin.jobs where description = 'Delivers an alert'"
    )
    assert made == await connection.fetchval(
        "select count(distinct delivery_id) from tocsin.alerts"
    )
    assert made == len(every)


async def fail_deliveries(connection: asyncpg.Connection) -> None:
    """End all deliveries, as an instance does that has no attempt left."""
    await connection.execute(
        """update tocsin.jobs
           set next_run = null, last_outcome = 'failed', last_finished_at = clock_timestamp()
           where description = 'Delivers an alert' and next_run is not null"""
    )


async def test_instances_that_judge_at_the_same_time_tell_once(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection)
    ids = [await quiet_job(connection, name=f"report-{n}") for n in range(20)]

    async def judge_often() -> None:
        for _ in range(20):
            await Alerting(db, Observers(), monotonic).work()

    passes = asyncio.gather(*(judge_often() for _ in range(3)))
    for job_id in ids:
        await ended(connection, job_id)
    await passes
    await judge_all(db, connection)

    assert len(await told(connection)) == len(set(await told(connection))) == 20


async def test_what_ends_long_after_later_executions_is_told_when_it_ends(
    db: Database, connection: asyncpg.Connection
) -> None:
    await insert_rule(connection)
    slow = await quiet_job(connection, name="slow")
    quick = await quiet_job(connection, name="quick")
    id = await leased(connection, slow)
    await ended(connection, quick)
    await judge_all(db, connection)
    assert await told(connection) == [("failed", "quick")]

    await freed(connection, slow)
    await ended(connection, slow, id=id)
    await judge_all(db, connection)

    assert await told(connection) == [("failed", "quick"), ("failed", "slow")]


async def leased(connection: asyncpg.Connection, job_id: UUID, *, ago: float = 0) -> int:
    """Have a job executed since some seconds `ago`; return the number of its execution."""
    id: int = await connection.fetchval("select nextval('tocsin.executions_id_seq')")
    await connection.execute(
        """update tocsin.jobs
           set locked_until = now() + interval '1 hour', locked_by = 'me', execution_id = $2,
               claimed_at = now() - $3 * interval '1 second', claimed_for = now(),
               claimed_attempt = 1
           where id = $1""",
        job_id,
        id,
        ago,
    )
    return id


async def freed(connection: asyncpg.Connection, job_id: UUID) -> None:
    """End the lease of a job."""
    await connection.execute(
        """update tocsin.jobs set locked_until = null, locked_by = null, execution_id = null,
               claimed_at = null, claimed_for = null, claimed_attempt = null
           where id = $1""",
        job_id,
    )


@pytest.mark.parametrize("is_early", [False, True], ids=["behind the cursor", "passed before"])
async def test_what_ends_between_the_two_statements_of_a_pass_is_told_once(
    db: Database,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_early: bool,
) -> None:
    """The first statement finds it under way, and the second does not."""
    await insert_rule(connection, events=("slow", "failed"), seconds=30)
    jobs = {name: await quiet_job(connection, name=name) for name in ("slow", "failed")}
    ids = {name: await leased(connection, job_id) for name, job_id in jobs.items()}
    if is_early:
        await judge_all(db, connection)
    read, passes = alerts.read_happened, 0

    async def end_and_read(transaction: Runner, cursor: alerts.Cursor, *, limit: int) -> Any:  # noqa: ANN401
        nonlocal passes
        if cursor.is_over and cursor.upto >= max(ids.values()):
            passes += 1
        if passes == 1:
            for name, job_id in jobs.items():
                await freed(connection, job_id)
                if name == "slow":
                    await took(connection, job_id, 41, id=ids[name])
                else:
                    await ended(connection, job_id, id=ids[name])
            passes += 1
        return await read(transaction, cursor, limit=limit)

    monkeypatch.setattr(alerts, "read_happened", end_and_read)
    await judge_all(db, connection)

    assert sorted(await told(connection)) == [("failed", "failed"), ("slow", "slow")]


async def test_what_is_committed_after_later_executions_is_told(
    db: Database, connection: asyncpg.Connection, database_url: str
) -> None:
    await insert_rule(connection)
    late = await quiet_job(connection, name="late")
    quick = await quiet_job(connection, name="quick")
    other = await asyncpg.connect(database_url)
    try:
        transaction = other.transaction()
        await transaction.start()
        await ended(other, late)
        await ended(connection, quick)
        for _ in range(5):
            await Alerting(db, Observers(), monotonic).work()
        await transaction.commit()
    finally:
        await other.close()

    await judge_all(db, connection)

    assert sorted(await told(connection)) == [("failed", "late"), ("failed", "quick")]


async def test_a_rule_that_takes_too_long_to_find_its_jobs_holds_up_no_other(
    db: Database,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    for name, tag in (("slow", "many"), ("quick", "few"), ("other", "fewer")):
        await insert_rule(connection, name=name, events=("invalid",), tag=tag)
        job_id = await quiet_job(connection, name=name, tags=[tag])
        await connection.execute(
            "update tocsin.jobs set plan_error = 'it is wrong' where id = $1", job_id
        )
    slow = await connection.fetchval("select id from tocsin.alert_rules where name = 'slow'")
    list_newly = alerts.list_newly
    asked: list[int] = []

    async def list_slowly(
        transaction: Runner, *, rule_ids: Sequence[UUID], limit: int
    ) -> list[alerts.Newly]:
        asked.append(len(rule_ids))
        if slow in rule_ids:
            assert isinstance(transaction, Transaction)
            with translate_errors():
                await transaction.connection.execute("select pg_sleep(60)")
        return await list_newly(transaction, rule_ids=rule_ids, limit=limit)

    monkeypatch.setattr(alerts, "list_newly", list_slowly)
    now = 0.0
    alerting = Alerting(db, Observers(recorder), lambda: now)

    await alerting.work()
    asked.clear()
    await alerting.work()

    assert sorted(await told(connection)) == [("invalid", "other"), ("invalid", "quick")]
    assert asked == [2]
    [said] = recorder.of(Faulted)
    rests = []
    for _ in range(2):  # it is tried again alone, and each time rests for twice as long
        asked.clear()
        rests.append(alerting.resting[slow].seconds)
        now = alerting.resting[slow].until
        await alerting.look_at_jobs()
        assert asked == [2, 1]
    assert rests == [10, 20]
    assert said.where == "alerts"
    assert "rule 'slow'" in said.error
    assert "takes too long" in said.error


async def test_looks_at_jobs_that_take_long_come_less_often_and_delay_nothing_else(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, takes, looks = 100.0, 0.8, 0
    alerting = Alerting(db, Observers(), lambda: now)

    async def look() -> None:
        nonlocal now, looks
        now, looks = now + takes, looks + 1

    monkeypatch.setattr(alerting, "look_at_jobs", look)
    for seconds, expected, counted in ((0, 1, 0.8), (1, 1, 0), (6, 1, 0), (0.3, 2, 0.8)):
        now += seconds
        alerting.looked_seconds = 0.0  # as each pass begins
        await alerting.look_in_time()
        assert (looks, pytest.approx(alerting.looked_seconds)) == (expected, counted)
    now, takes = now + 8, 0.05
    for _ in range(3):
        await alerting.look_in_time()
    assert looks == 5


async def test_a_pass_that_fails_rests_for_its_own_time_and_not_for_that_of_the_last_look(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_db: Database) -> NoReturn:
        raise DatabaseUnavailable("gone")

    alerting = Alerting(db, Observers(), lambda: 0.0)
    alerting.looked_seconds = 4.0
    monkeypatch.setattr("app.db.alerts.read_work", fail)

    with pytest.raises(DatabaseUnavailable):
        await alerting.work()

    assert alerting.looked_seconds == 0.0


async def test_many_that_break_at_once_are_one_message_that_names_the_first(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, db: Database
) -> None:
    await insert_channel(connection, "ops", sink.url("/hook"), "webhook")
    await insert_rule(connection, name="any", channels=["ops"])
    for number in range(40):
        await ended(connection, await quiet_job(connection, name=f"report-{number:02}"))
    await judge_all(db, connection)

    async with instance():
        await sink.arrived(1)

    [message] = [json.decode(one.body) for one in sink.requests]
    assert (message["event"], message["rule"], message["count"]) == ("failed", "any", 40)
    assert [one["job"] for one in message["alerts"]] == [f"report-{n:02}" for n in range(5)]
    assert message["text"].splitlines()[0] == "40 jobs: failed"
    assert message["text"].splitlines()[-1] == "• and 35 more"
    assert await connection.fetchval("select count(distinct delivery_id) from tocsin.alerts") == 1


async def test_what_follows_a_message_within_seconds_waits_for_the_next(
    db: Database, connection: asyncpg.Connection, sink: Sink
) -> None:
    await insert_channel(connection, "ops", sink.url("/hook"), "webhook")
    await insert_rule(connection, channels=["ops"])
    for number in range(3):
        await ended(connection, await quiet_job(connection, name=f"report-{number}"))
        await judge_all(db, connection)
    count = "select count(*) from tocsin.alerts where sent_at is not null"
    assert await connection.fetchval(count) == 1

    await connection.execute("update tocsin.alerts set sent_at = sent_at - interval '1 minute'")
    await judge_all(db, connection)

    assert await connection.fetchval(count) == 3
    assert await connection.fetchval("select count(distinct delivery_id) from tocsin.alerts") == 2


async def test_a_delivery_that_fails_is_on_record_and_told_of_by_no_rule(
    db: Database, connection: asyncpg.Connection, sink: Sink
) -> None:
    await insert_channel(connection, "ops", sink.url("/hook"), "webhook")
    await insert_rule(connection, events=("failed", "exhausted", "missed"), channels=["ops"])
    await ended(connection, await quiet_job(connection, name="report"), attempt=1)
    await judge_all(db, connection)
    delivery = await connection.fetchval("select delivery_id from tocsin.alerts")

    await connection.execute("update tocsin.jobs set next_run = null where id = $1", delivery)
    await ended(connection, delivery, error="the target answered with status 404")
    await judge_all(db, connection)

    [alert] = await connection.fetch("select * from tocsin.alerts")
    assert (alert["job"], alert["delivered_at"]) == ("report", None)
    assert alert["failed_at"] is not None
    assert alert["error"] == "the target answered with status 404"


async def test_a_delivery_that_a_trigger_of_users_forbids_holds_up_nothing(
    db: Database, connection: asyncpg.Connection, sink: Sink
) -> None:
    await insert_channel(connection, "ops", sink.url("/hook"), "webhook")
    await insert_rule(connection, channels=["ops"])
    await ended(connection, await quiet_job(connection, name="report"))
    await connection.execute(
        """create function public.refuse() returns trigger language plpgsql as $$ begin
               raise exception 'no jobs on Sundays'; end $$;
           create trigger refuse before insert on tocsin.jobs
               for each row execute function public.refuse()"""
    )

    await judge_all(db, connection)

    [alert] = await connection.fetch("select * from tocsin.alerts")
    assert (alert["delivery_id"], alert["error"]) == (None, "no jobs on Sundays")
    assert alert["failed_at"] is not None


async def test_a_delivery_that_a_lock_keeps_from_being_made_is_made_once_that_is_gone(
    db: Database, connection: asyncpg.Connection, database_url: str
) -> None:
    """As an index is built, or a migration waits."""
    await insert_channel(connection, "ops", "http://127.0.0.1:9/", "webhook")
    await connection.fetch("select tocsin.test_channel('ops')")
    alerting = Alerting(db, Observers(), monotonic)
    other = await asyncpg.connect(database_url)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("lock table tocsin.jobs in share mode")
        await alerting.send()
        waiting = await connection.fetchrow("select * from tocsin.alerts")
        await transaction.rollback()
    finally:
        await other.close()
    await alerting.send()

    assert (waiting["sent_at"], waiting["failed_at"], waiting["delivery_id"]) == (None, None, None)
    assert await connection.fetchval("select delivery_id from tocsin.alerts") is not None


async def test_jobs_and_executions_have_no_trigger_for_alerts(
    connection: asyncpg.Connection,
) -> None:
    found = await connection.fetch(
        """select tgname from pg_trigger t join pg_proc p on p.oid = tgfoid
           where tgrelid in ('tocsin.jobs'::regclass, 'tocsin.executions'::regclass)
             and prosrc like '%alert%'"""
    )

    assert found == []


PAGE = (ROOT / "docs" / "alerts.md").read_text("utf-8")


async def test_the_examples_of_the_page_work(
    db: Database, connection: asyncpg.Connection, api: httpx.AsyncClient
) -> None:
    *make, standing = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    for one in make:
        await connection.execute(one)
    for preset in Preset:
        shown = await connection.fetchval(
            "select target::text from tocsin.alert_channels where preset = $1 limit 1", preset
        )
        if shown is not None:
            put = {"preset": preset, "target": json.decode(shown)}
            answer = await api.put(f"/v1/alerts/channels/{preset}", json=put)
            assert answer.status_code in (200, 201), answer.text
    job_id = await quiet_job(connection, name="nightly-report")
    for _ in range(3):
        await ended(connection, job_id)
    await judge_all(db, connection)

    assert [tuple(row)[:4] for row in await connection.fetch(standing)] == [
        ("three-failures", "nightly-report", "failed", 3)
    ]
    calls = re.findall(
        r'curl (?:-X (\w+) )?"?\$TOCSIN(/\S+?)"?(?: --json \'(.*)\')?$', PAGE, re.MULTILINE
    )
    for method, path, body in calls:
        answer = await api.request(
            method or "GET",
            f"/v1{path}",
            content=body or None,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (200, 202), answer.text
    assert len(calls) == 5
    assert {*Event, *Preset} <= {
        *re.findall(r"^\| `(\w+)`(?: \(default\))? \| ", PAGE, re.MULTILINE)
    }


READ = """select seq_tup_read from pg_stat_xact_user_tables
          where relid = 'tocsin.jobs'::regclass"""
"""How many jobs this session has read without an index."""


@pytest.mark.parametrize(
    "name",
    ["newly", "happened", "over_until", "over", "took_long", "running", "of_rules", "reminders"],
)
async def test_a_pass_reads_neither_all_jobs_nor_all_executions_nor_all_states(
    connection: asyncpg.Connection, name: str
) -> None:
    await connection.execute(
        """alter table tocsin.jobs disable trigger all;
           insert into tocsin.jobs (
               kind, target, run_at, every_seconds, planned_at, next_run, last_outcome,
               last_finished_at, validated, unchecked)
           select 'http', '{"url": "http://a.example"}', case when n % 2 = 0 then now() end,
               case when n % 2 = 1 then 10 end, now(),
               case when n % 2 = 1 then now() + interval '1 hour' end, 'succeeded', now(), true,
               null
           from generate_series(1, 20000) as n;
           alter table tocsin.jobs enable trigger all;
           insert into tocsin.executions (
               job_id, kind, scheduled_for, attempt, outcome, finished_at)
           select gen_random_uuid(), 'http', now(), 1,
               case when n % 10 = 0 then 'failed' else 'succeeded' end, now()
           from generate_series(1, 20000) as n"""
    )
    rule_id = await insert_rule(connection, name="a", events=("invalid", "failed"))
    await connection.execute(
        """insert into tocsin.alert_states (
               rule_id, event, job_id, many, execution_id, since, last_at, told_at)
           select $1, 'failed', j.id, 1, 1, now(), now(), now() from tocsin.jobs j
           where $2 <> 'reminders'""",  # which reads the states of rules that remind
        rule_id,
        name,
    )
    [first, last] = await connection.fetch(
        "select id::text from tocsin.jobs order by id offset 5000 limit 2"
    )
    await insert_rule(connection, name="b", events=("late",), seconds=10)
    await insert_rule(connection, name="c", events=("not_succeeded",), seconds=10, tag="x")
    await insert_rule(connection, name="d", events=("slow",), factor=3, remind_seconds=60)
    await insert_rule(connection, name="e", events=("backlog", "no_instance"), more_than=100)
    await connection.execute("vacuum analyze tocsin.jobs")
    await connection.execute("vacuum analyze tocsin.executions")
    await connection.execute("vacuum analyze tocsin.alert_states")
    await connection.execute("set plan_cache_mode = force_generic_plan")
    given = {
        "after": "0",
        "after_id": "19000",
        "upto": "20000",
        "pending": "'{5}'",
        "horizon": "now()",
    }
    ids = await connection.fetchval("select array_agg(id)::text from tocsin.alert_rules")
    given |= {"rule_ids": f"'{ids}'", "seconds": "1"}
    given |= {"rule_id": f"'{rule_id}'", "event": "'failed'", "job_id": f"'{first[0]}'"}
    given |= {"to_rule_id": f"'{rule_id}'", "to_event": "'failed'", "to_job_id": f"'{last[0]}'"}
    wanted = query(f"alerts.{name}")
    values = ", ".join(({"limit": "1000"} | given)[one] for one in wanted.parameters)
    await connection.execute(f"prepare one as {wanted.sql}")

    async with connection.transaction():
        await connection.fetch(query("alerts.begin").sql, "60s")
        read_before = await connection.fetchval(READ)
        lines = await connection.fetch(f"explain (analyze, costs off) execute one ({values})")

        read_after = await connection.fetchval(READ)

    assert read_after == read_before  # in functions as well
    plan = "\n".join(str(row[0]) for row in lines)
    assert "Seq Scan on jobs" not in plan
    assert [int(many) for many in re.findall(r"rows=(\d+)", plan) if int(many) > 1000] == []
    assert [
        int(many) for many in re.findall(r"Removed by .*: (\d+)", plan) if int(many) > 1000
    ] == []
