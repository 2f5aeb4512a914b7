"""Why a job has not run, through both doors: the API and psql answer the same."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import convert, json

from app.db import Database, claims
from app.db.listener import Session
from app.wire.explanations import Explanation, Reason
from tests.support.api import fields
from tests.support.builders import insert_job, plan_jobs
from tests.support.claims import closed_now
from tests.support.pages import ROOT
from tests.support.sessions import claimed_one, look_once

NOW = datetime.now(UTC)
FAR = NOW + timedelta(days=30)
HOUR = timedelta(hours=1)
PLANNED = {"run_at": FAR}
ENDED = """last_outcome = 'succeeded', last_finished_at = now(), next_run = null,
           planned_at = clock_timestamp()"""
LEASED = """locked_by = 'one', fence = fence + 1, attempt = 2,
            claimed_at = now(), claimed_for = scheduled_for, claimed_attempt = 2,
            execution_id = nextval('tocsin.executions_id_seq'), locked_until = """
RETRIED = """attempt = 2, next_run = now() + interval '1 hour', planned_at = clock_timestamp(),
             last_outcome = 'failed'"""
Door = Callable[..., Any]


@pytest.fixture
async def alive(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Have an instance `one` connected, as its session shows it."""
    settings = {"application_name": "tocsin scheduler one"}
    session = await asyncpg.connect(database_url, server_settings=settings)
    yield session
    await session.close()


@pytest.fixture
def explained(api: httpx.AsyncClient, psql: Callable[[str], str]) -> Door:
    """Give what asks both doors about the job `report` and answers once, if they agree."""

    async def ask(at: datetime | None = None) -> Explanation:
        answer = await api.get(
            "/v1/jobs/report/explain", params={} if at is None else {"at": at.isoformat()}
        )
        assert answer.status_code == 200, answer.text
        told = convert(answer.json(), Explanation)
        given = "" if at is None else f", '{at.isoformat()}'"
        rows = await asyncio.to_thread(
            psql, f"select json_agg(e) from tocsin.explain('report'{given}) as e"
        )
        state = await asyncio.to_thread(
            psql, "select tocsin.state(j) from tocsin.jobs j where name = 'report'"
        )
        assert json.decode(rows, type=list[Reason]) == told.reasons
        assert (told.state, told.summary) == (state, told.reasons[0].detail)
        return told

    return ask


def words(told: Explanation) -> list[str]:
    return [one.reason for one in told.reasons]


STATES: list[tuple[str, dict[str, Any], str, str, list[str], str]] = [
    ("scheduled", PLANNED, "unchecked = false", "scheduled", ["scheduled"], "waits for its run"),
    ("due", {}, "unchecked = false", "scheduled", ["due"], "is due since"),
    (
        "unchecked",
        PLANNED,
        "unchecked = true",
        "scheduled",
        ["scheduled", "target_unchecked"],
        "waits for its run",
    ),
    ("unplanned", {"cron": "0 3 * * *"}, "", "scheduled", ["unplanned"], "plan its schedule"),
    ("paused", PLANNED, "paused_at = now()", "paused", ["paused"], "paused since"),
    (
        "invalid",
        PLANNED,
        "plan_error = 'cron: no such day', planned_at = clock_timestamp()",
        "invalid",
        ["invalid"],
        "cron: no such day",
    ),
    (
        "unsupported kind",
        PLANNED | {"kind": "fax"},
        "unchecked = false",
        "invalid",
        ["unsupported_kind"],
        "'fax'",
    ),
    (
        "executing",
        {},
        LEASED + "now() + interval '1 minute'",
        "executing",
        ["executing"],
        "Instance one has its lease until",
    ),
    (
        "executed by an instance that is gone",
        {},
        LEASED.replace("'one'", "'two'") + "now() + interval '1 minute'",
        "executing",
        ["instance_gone"],
        "is not connected",
    ),
    (
        "lease ended",
        {},
        LEASED + "now() - interval '1 minute'",
        "retrying",
        ["lease_ended"],
        "without a settlement",
    ),
    ("retrying", {}, RETRIED, "retrying", ["retrying"], "Attempt 2 of 5"),
    (
        "before its window",
        {"every_seconds": 3600, "starts_at": FAR},
        "unchecked = false",
        "scheduled",
        ["before_window", "scheduled"],
        "window starts at",
    ),
    (
        "after its window",
        {"every_seconds": 3600, "ends_at": FAR},
        ENDED,
        "finished",
        ["window_ended", "finished"],
        "no run left before its ends_at",
    ),
    (
        "max_runs used up",
        {"every_seconds": 3600, "max_runs": 3},
        ENDED + ", runs = 3",
        "finished",
        ["max_runs", "finished"],
        "max_runs of 3 are used up",
    ),
    ("finished", {}, ENDED, "finished", ["finished"], "Its only run is over"),
    (
        "missed",
        {},
        ENDED.replace("succeeded", "missed"),
        "finished",
        ["finished"],
        "Its only run is over. Its last run was missed.",
    ),
    (
        "taken off its plan",
        {},
        "next_run = null",
        "finished",
        ["finished"],
        "Nothing is planned.",
    ),
    (
        "failed",
        {},
        ENDED.replace("succeeded", "failed"),
        "failed",
        ["failed"],
        "Its last run failed",
    ),
]


@pytest.mark.parametrize(
    ("columns", "edit", "state", "reasons", "said"),
    [case[1:] for case in STATES],
    ids=[case[0] for case in STATES],
)
@pytest.mark.usefixtures("alive")
async def test_each_state_is_explained_alike_by_both_doors(  # noqa: PLR0913 - a row of the table
    *,
    explained: Door,
    connection: asyncpg.Connection,
    db: Database,
    columns: dict[str, Any],
    edit: str,
    state: str,
    reasons: list[str],
    said: str,
) -> None:
    await insert_job(connection, name="report", **columns)
    if state != "scheduled" or edit:
        await plan_jobs(db)
        await connection.execute(f"update tocsin.jobs set {edit}")

    told = await explained()

    assert (told.state, words(told)) == (state, reasons)
    assert said in told.summary


async def test_without_an_instance_what_is_due_or_planned_says_so(
    explained: Door, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="report")
    due = await explained()
    await connection.execute("update tocsin.jobs set run_at = $1", FAR)
    planned = await explained()

    assert words(due) == ["no_instance", "due"]
    assert words(planned)[:2] == ["scheduled", "no_instance"]
    assert planned.reasons[0].until == FAR


@pytest.mark.usefixtures("alive")
async def test_a_kind_that_no_connected_instance_runs_is_named(
    explained: Door, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, name="report", kind="fax", unchecked=False)
    await connection.execute(
        "insert into tocsin.kinds (kind) values ('fax'), ('telex')"  # one had them, and has gone
    )
    due = await explained()
    await connection.execute("update tocsin.jobs set run_at = $1", FAR)
    planned = await explained()
    await connection.execute(
        """insert into tocsin.instance_rules (name, version, source, kinds)
           values ('one', '1', 'a test', '{fax}')"""
    )
    known = await explained()

    assert words(due)[:2] == ["kind_absent", "due"]
    assert due.reasons[0].facts.kind == "fax"
    assert "that is connected runs jobs of the kind 'fax'" in due.summary
    assert words(planned)[:2] == ["scheduled", "kind_absent"]
    assert "kind_absent" not in words(known)


@pytest.mark.usefixtures("alive")
async def test_a_retry_tells_what_the_attempt_before_came_to(
    explained: Door, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="report")
    await connection.execute(f"update tocsin.jobs set {RETRIED}")
    id = await connection.fetchval(
        """insert into tocsin.executions
               (job_id, kind, scheduled_for, attempt, outcome, reason, error, started_at)
           select id, kind, scheduled_for, 2, 'failed', 'status', 'it answered 500', now()
           from tocsin.jobs where id = $1 returning id""",
        job_id,
    )

    told = await explained()

    assert "failed (status): it answered 500. The next attempt is planned for" in told.summary
    facts = told.reasons[0].facts
    assert (facts.attempt, facts.max_attempts, facts.execution_id) == (2, 5, id)
    assert told.reasons[0].until == told.next_run


@pytest.mark.usefixtures("alive")
async def test_a_job_that_goes_on_failing_says_how_its_last_run_failed(
    explained: Door, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="report", **PLANNED)
    await connection.execute(
        "update tocsin.jobs set unchecked = false, last_outcome = 'failed', "
        "last_finished_at = now(), consecutive_failures = 3"
    )
    id = await connection.fetchval(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome, reason,
                                          status_code, error, started_at, finished_at)
           values ($1, 'http', $2, 5, 'failed', 'status', 500, 'the target answered 500.', $2, $2)
           returning id""",
        job_id,
        NOW.replace(microsecond=0),
    )

    known = await explained()
    await connection.execute("delete from tocsin.executions")
    deleted = await explained()

    assert words(known) == words(deleted) == ["scheduled", "failing"]
    told = known.reasons[1]
    at = f"{NOW:%Y-%m-%d %H:%M:%S UTC}"
    assert told.detail == (
        f"Its last run, of {at}, failed (status), at {at}: the target answered 500. "
        "3 runs in a row did not succeed."
    )
    facts = told.facts
    assert (facts.consecutive_failures, facts.status_code, facts.execution_id) == (3, 500, id)
    assert deleted.reasons[1].detail.startswith("Its last run failed, at ")


@pytest.mark.usefixtures("alive")
async def test_a_plan_behind_its_own_run_names_it_and_how_it_stands(
    explained: Door, connection: asyncpg.Connection, session: Session, db: Database
) -> None:
    job_id = await insert_job(connection, name="report", every_seconds=3600)
    await plan_jobs(db)
    await connection.execute("update tocsin.jobs set unchecked = false")
    await connection.execute("select tocsin.run_now($1)", job_id)
    await connection.execute("select tocsin.run_now($1)", job_id)
    run = await connection.fetchrow(
        "select * from tocsin.jobs where run_of = $1 and next_run is not null", job_id
    )
    assert run is not None

    due = await explained()
    await claimed_one(session, by="one")
    executing = await explained()

    assert (due.state, words(due)) == ("scheduled", ["behind_run", "due"])
    facts = due.reasons[0].facts
    assert (facts.run_id, facts.run, facts.request) == (run["id"], run["scheduled_for"], "run_now")
    assert facts.pending_runs == 2
    assert (executing.state, words(executing)) == ("executing", ["executing", "behind_run"])
    assert executing.reasons[0].facts.instance == "one"


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize(
    "lock",
    [
        ["select from tocsin.jobs for update"],
        ["update tocsin.jobs set description = 'x'"],
        ["savepoint a", "update tocsin.jobs set description = 'x'"],
        [
            "select from tocsin.jobs for key share",
            "savepoint a",
            "select from tocsin.jobs for update",
        ],
    ],
    ids=["for update", "update", "in a savepoint", "twice"],
)
async def test_a_locked_row_is_told_by_whom_and_not_waited_for(
    explained: Door, connection: asyncpg.Connection, database_url: str, lock: list[str]
) -> None:
    await insert_job(connection, name="report")
    other = await asyncpg.connect(database_url, server_settings={"application_name": "psql by ann"})
    async with other.transaction():
        for statement in lock:
            await other.execute(statement)

        told = await explained()

        assert words(told) == ["row_locked", "due"]
        facts = told.reasons[0].facts
        assert (facts.pid, facts.application_name) == (other.get_server_pid(), "psql by ann")
        began = await connection.fetchval(
            "select xact_start from pg_stat_activity where pid = $1", facts.pid
        )
        assert told.reasons[0].since == began
    await other.close()
    assert words(await explained()) == ["due"]


async def test_an_explanation_locks_nothing_and_leaves_the_job_to_be_claimed(
    connection: asyncpg.Connection, session: Session
) -> None:
    await insert_job(connection, name="report")
    async with connection.transaction():
        await connection.execute("select from tocsin.explain('report')")

        assert len((await look_once(session)).claims) == 1
        assert await connection.fetchval("select pg_current_xact_id_if_assigned()") is None


async def test_a_table_that_is_locked_is_waited_for_a_second_at_most(
    connection: asyncpg.Connection, database_url: str
) -> None:
    await insert_job(connection, name="report")
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("lock table tocsin.executions")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await connection.execute("select from tocsin.explain('report', now() - interval '1 h')")
    await other.close()


@pytest.mark.usefixtures("alive")
async def test_a_job_that_an_instance_leaves_alone_says_why(
    explained: Door, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, name="report")
    await connection.execute(
        "insert into tocsin.resting_jobs values ('one', 1, $1, 'trigger x raised')", job_id
    )

    told = await explained()

    assert words(told) == ["left_alone", "due"]
    assert "Instance one leaves it alone" in told.summary
    assert told.summary.endswith("trigger x raised")


@pytest.mark.usefixtures("alive")
async def test_a_job_that_came_after_the_pause_of_its_tag_says_what_awaits_it(
    explained: Door, connection: asyncpg.Connection
) -> None:
    await connection.execute("select tocsin.pause_tag('billing', 'it is moved', $1)", FAR)
    await insert_job(connection, name="report", tags=["billing"])

    told = await explained()

    assert (told.state, words(told)) == ("scheduled", ["tag_paused", "due"])
    assert "it is moved" in told.summary
    assert (told.reasons[0].facts.tag, told.reasons[0].until) == ("billing", FAR)


async def age(connection: asyncpg.Connection) -> None:
    """Have all jobs be created long ago, which a trigger would refuse."""
    await connection.execute(
        """alter table tocsin.jobs disable trigger all;
           update tocsin.jobs set created_at = now() - interval '90 days';
           alter table tocsin.jobs enable trigger all"""
    )


@pytest.mark.usefixtures("alive")
async def test_a_run_that_was_carried_out_is_told_by_its_executions(
    explained: Door, connection: asyncpg.Connection, session: Session, db: Database
) -> None:
    await insert_job(connection, name="report")
    claim = await claimed_one(session)
    await claims.settle(db, [closed_now(claim)])
    await age(connection)

    told = await explained(claim.scheduled_for)
    await connection.execute("delete from tocsin.executions")
    deleted = await explained(claim.scheduled_for)

    assert words(deleted) == ["history_deleted"]
    assert words(told) == ["executed"]
    facts = told.reasons[0].facts
    assert (facts.execution_id, facts.outcome) == (claim.execution_id, "succeeded")
    assert "Attempt 1 of it on instance one succeeded at" in told.summary


MISSED = """insert into tocsin.executions
                (job_id, kind, scheduled_for, outcome, reason, missed_runs, missed_until)
            select id, kind, $1::timestamptz, 'missed', $2, 3, $1::timestamptz + interval '2 hours'
            from tocsin.jobs"""


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("misfire", "no instance could start it"),
        ("overlap", "the run before it"),
        ("deleted", "deleted before"),
    ],
)
async def test_a_run_that_was_missed_says_why(
    explained: Door, connection: asyncpg.Connection, why: str, said: str
) -> None:
    await insert_job(connection, name="report", every_seconds=3600)
    await connection.execute(MISSED, NOW - 5 * HOUR, why)

    told = await explained(NOW - 4 * HOUR)

    assert words(told) == ["missed"]
    assert said in told.summary
    assert "So were others, 3 from" in told.summary
    assert (told.reasons[0].facts.why, told.reasons[0].facts.missed_runs) == (why, 3)


@pytest.mark.usefixtures("alive")
async def test_what_became_of_a_run_that_left_no_execution_is_told_too(
    explained: Door, connection: asyncpg.Connection, db: Database
) -> None:
    await insert_job(connection, name="report", every_seconds=3600)
    await plan_jobs(db)
    not_created = await explained(NOW - 40 * HOUR)
    await age(connection)
    deleted = await explained(NOW - timedelta(days=60))
    await connection.execute(MISSED, NOW - 3 * HOUR, "misfire")
    not_planned = await explained(NOW - timedelta(minutes=5))
    await connection.execute(
        """create function public.none() returns trigger language plpgsql
               as 'begin return null; end';
           create trigger others before insert on tocsin.executions
               for each row execute function public.none()"""
    )
    suppressed = await explained(NOW - timedelta(minutes=5))
    ahead = await explained(datetime.now(UTC) + timedelta(minutes=5))

    assert words(not_created) == ["not_created"]
    assert words(deleted) == ["history_deleted"]
    assert words(not_planned) == ["not_planned"]
    assert words(suppressed) == ["suppressed"]
    assert "trigger others on tocsin.executions" in suppressed.summary
    assert words(ahead)[:2] == ["ahead", "scheduled"]


@pytest.mark.usefixtures("alive")
async def test_a_run_that_is_not_over_is_told_as_it_stands(
    explained: Door, connection: asyncpg.Connection
) -> None:
    due = NOW - HOUR
    await insert_job(connection, name="report", run_at=due, paused_at=NOW)
    same = await explained(due)
    await age(connection)
    later = await explained(NOW - HOUR / 2)

    assert words(same) == ["paused"]
    assert words(later) == ["plan_behind", "paused"]


async def test_a_job_is_explained_by_its_id_as_well(
    api: httpx.AsyncClient, connection: asyncpg.Connection, psql: Callable[[str], str]
) -> None:
    job_id = await insert_job(connection, **PLANNED)

    answer = await api.get(f"/v1/jobs/{job_id}/explain")
    said = await asyncio.to_thread(psql, f"select detail from tocsin.explain('{job_id}') limit 1")
    by_uuid = await connection.fetchval(
        "select detail from tocsin.explain($1::uuid) limit 1", job_id
    )

    assert answer.json()["summary"] == said == by_uuid


async def test_an_unknown_job_has_no_explanation(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    answer = await api.get("/v1/jobs/nobody/explain")

    assert (answer.status_code, answer.json()["type"]) == (404, "urn:tocsin:problem:job-not-found")
    assert await connection.fetch("select from tocsin.explain('nobody')") == []


@pytest.mark.parametrize(
    ("query", "field"), [("when=now", "when"), ("at=noon", "at"), ("at=2026-01-01T00:00:00", "at")]
)
async def test_a_parameter_that_is_unknown_or_no_instant_is_refused(
    api: httpx.AsyncClient, connection: asyncpg.Connection, query: str, field: str
) -> None:
    await insert_job(connection, name="report", **PLANNED)

    answer = await api.get(f"/v1/jobs/report/explain?{query}")

    assert (answer.status_code, fields(answer)) == (422, [field])


async def test_an_explanation_stays_cheap_in_a_long_history(
    connection: asyncpg.Connection, explained: Door
) -> None:
    """By blocks read: of a job with 30,000 executions, beside as many of others."""
    job_id = await insert_job(connection, name="report")
    await connection.execute(
        """insert into tocsin.executions
               (job_id, kind, scheduled_for, attempt, outcome, started_at, finished_at)
           select case when n % 2 = 0 then $1::uuid else gen_random_uuid() end, 'http',
               now() - n * interval '2 s', 1, 'succeeded', now(), now() - n * interval '2 s'
           from generate_series(1, 60000) as n""",
        job_id,
    )
    await connection.execute("vacuum analyze tocsin.executions")
    assert "no_instance" in words(await explained())

    assert await blocks_of(connection, "tocsin.explain('report')") < 2_000
    past = "tocsin.explain('report', date_trunc('day', now()) + interval '1 minute')"
    assert await blocks_of(connection, past) < 30_000


async def blocks_of(connection: asyncpg.Connection, source: str) -> int:
    """Count the blocks that a query reads, found in memory or not."""
    text = await connection.fetchval(
        f"explain (analyze, buffers, format json) select * from {source}"
    )
    [told] = json.decode(text)
    return int(told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"])


PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
SECTION = PAGE[PAGE.index("### Why has it not run?") : PAGE.index("### Replace")]


@pytest.mark.usefixtures("alive")
async def test_the_explanation_on_the_page_of_the_api_is_answered_so(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    [shown] = re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)
    await insert_job(
        connection,
        name="nightly-report",
        cron="0 3 * * *",
        timezone="Europe/Paris",
        paused_at=datetime(2030, 1, 31, 8, 30, tzinfo=UTC),
        next_run=datetime(2030, 2, 1, 2, tzinfo=UTC),
    )

    answer = await api.get("/v1/jobs/nightly-report/explain")

    assert answer.json() == json.decode(shown)


def test_the_page_of_the_api_tells_of_each_reason_there_is() -> None:
    source = (ROOT / "db" / "triggers" / "8_explain.sql").read_text("utf-8")
    given = set(re.findall(r"return query\s+select\s+'(\w+)'", source))
    given |= {"executing", "instance_gone", "executed", "missed", "finished", "failed"}

    told = set(
        re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", SECTION, re.MULTILINE)))
    )

    assert told == given
