"""Which due jobs are claimed first where more are due than can start."""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import json

from app.core.facts import Draining, PutAside, Started, Stopped
from app.db import Database, claims, flows, raised
from app.db.database import Runner
from app.db.listener import HearingConnection, Session, open_session
from app.db.queries import query
from app.db.raised import RaisedLook
from app.errors import CancellationCaught, DatabaseUnavailable
from app.scheduler.raised import ASKED_AGAIN_SECONDS, RaisedJobs
from app.scheduler.raised_looks import RaisedLooks
from tests.support.builders import insert_job, job_row, run_rows
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.sessions import LEASE_SECONDS, look_once
from tests.support.sink import Sink, late, reply
from tests.support.ticks import Ticks
from tests.support.waiting import until

MINUTE = timedelta(minutes=1)
STORM = 20_000


async def storm(
    connection: asyncpg.Connection,
    url: str,
    *,
    jobs: int,
    priority: int = 0,
    flow_key: str | None = None,
) -> None:
    """Write jobs that came due at once, a second ago."""
    await connection.execute("alter table tocsin.jobs disable trigger all")
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, next_run, scheduled_for, planned_at,
               unchecked, priority, max_attempts, flow_key)
           select 'http', jsonb_build_object('url', $2::text), at, at, at, at, false, $3, 1, $4
           from generate_series(1, $1::int), (select now() - interval '1 s' as at) as moment""",
        jobs,
        url,
        priority,
        flow_key,
    )
    await connection.execute("alter table tocsin.jobs enable trigger all")
    await connection.execute("analyze tocsin.jobs")


async def look_by_priority(session: Session, *, limit: int, by: str = "one") -> claims.Look:
    return await claims.look(
        session,
        limit=limit,
        ahead_seconds=0.0,
        lease_seconds=LEASE_SECONDS,
        kinds=("http",),
        instance=by,
        by_priority=True,
    )


async def due_ago(
    connection: asyncpg.Connection,
    *jobs: tuple[str, int, float],
    flow_key: str | None = None,
) -> dict[str, datetime]:
    """Insert jobs of a name, a priority and so many minutes since they came due."""
    now = await connection.fetchval("select now()")
    for name, priority, minutes in jobs:
        await insert_job(
            connection,
            name=name,
            priority=priority,
            run_at=now - minutes * MINUTE,
            flow_key=flow_key,
        )
    return {name: now - minutes * MINUTE for name, _, minutes in jobs}


async def test_the_highest_is_claimed_first_and_what_waits_long_before_it(
    session: Session, connection: asyncpg.Connection
) -> None:
    await due_ago(
        connection,
        *(("usual", 0, 0.5), ("waited", 0, 3.5), ("raised", 1, 0.2), ("urgent", 3, 0.1)),
        *(("raised, waited", 1, 2.0), ("usual, waited less", 0, 2.9)),
    )

    claimed = [
        one.name for _ in range(6) for one in (await look_by_priority(session, limit=1)).claims
    ]

    assert claimed == [
        *("waited", "urgent", "raised, waited", "usual, waited less", "raised", "usual")
    ]


@pytest.mark.parametrize("limit", [1, 3, 5, 100])
async def test_of_more_than_are_wanted_the_first_by_rank_are_claimed(
    session: Session, connection: asyncpg.Connection, limit: int
) -> None:
    jobs = [(f"{n}", n % 4, (n * 7 % 40) / 8) for n in range(40)]
    due = await due_ago(connection, *jobs)
    ranked = sorted(jobs, key=lambda one: due[one[0]] - one[1] * MINUTE)

    look = await look_by_priority(session, limit=limit)

    assert {one.name for one in look.claims} == {name for name, _, _ in ranked[:limit]}
    assert (look.wakeup_seconds is None) or look.wakeup_seconds > 0
    assert not look.blocked


async def test_two_instances_claim_no_job_twice_and_pass_over_what_the_other_has(
    session: Session, connection: asyncpg.Connection, database_url: str
) -> None:
    await due_ago(connection, *((f"{n}", n % 2 * 3, 0.5) for n in range(20)))
    async with open_session(database_url, wake=lambda: None, application_name="other") as other:
        looks = await asyncio.gather(
            look_by_priority(session, limit=10), look_by_priority(other, limit=10, by="two")
        )
        looks += [await look_by_priority(session, limit=20)]

    ids = [one.id for look in looks for one in look.claims]
    assert len(ids) == len(set(ids)) == 20


async def test_jobs_that_others_have_locked_are_passed_over(
    session: Session, connection: asyncpg.Connection, database_url: str
) -> None:
    await due_ago(connection, ("locked", 3, 0.5), ("raised", 2, 0.5), ("usual", 0, 0.5))
    holder = await asyncpg.connect(database_url)
    async with holder.transaction():
        await holder.execute("select from tocsin.jobs where name = 'locked' for update")
        look = await look_by_priority(session, limit=2)
    await holder.close()

    assert [one.name for one in look.claims] == ["raised", "usual"]


@pytest.mark.parametrize("priority", [0, 1])
async def test_such_a_look_reads_no_more_than_it_claims_of_each_level(
    database_url: str, connection: asyncpg.Connection, priority: int
) -> None:
    await storm(connection, "http://x", jobs=STORM, priority=priority)
    for level in (1, 2, 3):
        await storm(connection, "http://x", jobs=200, priority=level)
    async with open_session(database_url, wake=lambda: None, application_name="test") as session:
        look = query("claims.look_by_priority")
        await session.connection.execute(f"prepare look as {look.sql}")
        given = {
            "limit": "100",
            "ahead_seconds": "0",
            "lease_seconds": "60",
            "kinds": "'{amqp,http}'",
            "instance": "'one'",
            "aside": "'{}'",
        }
        values = ", ".join(given.get(name, "null") for name in look.parameters)
        plan = await session.connection.fetchval(
            f"explain (analyze, format json) execute look ({values})"
        )

    read = scans(json.decode(plan)[0]["Plan"])
    assert {index for index, _ in read} >= {"jobs_claimable", "jobs_raised", "jobs_pkey"}
    assert "None" not in {index for index, _ in read}
    assert max(rows for _, rows in read) <= 100


def scans(plan: dict[str, Any]) -> list[tuple[str, int]]:
    """Return (index, rows read each time) of every scan of a table in a plan."""
    found = []
    if "Scan" in plan["Node Type"] and "Relation Name" in plan:
        rows = int(str(plan["Actual Rows"]).split(".")[0])
        removed = int(str(plan.get("Rows Removed by Filter", 0)).split(".")[0])
        found.append((str(plan.get("Index Name")), rows + removed))
    for child in plan.get("Plans", []):
        found += scans(child)
    return found


@pytest.mark.parametrize("many", [1, 3, 6])
async def test_a_flow_gives_its_permits_by_rank(
    session: Session, connection: asyncpg.Connection, many: int
) -> None:
    await connection.execute(
        "insert into tocsin.flows (flow_key, max_concurrency) values ('api', 9)"
    )
    await due_ago(
        connection,
        *(("usual", 0, 0.5), ("waited", 0, 3.5), ("raised", 1, 0.2), ("urgent", 3, 0.1)),
        *(("raised, waited", 1, 2.0), ("usual, waited less", 0, 2.9)),
        flow_key="api",
    )
    await due_ago(connection, ("of another flow", 3, 0.1), flow_key="mail")
    wanted = ["waited", "urgent", "raised, waited", "usual, waited less", "raised", "usual"]

    claimed, left = [], 0.0
    while len(claimed) < len(wanted):
        assert left is not None
        assert left <= 0, "more of it is due"
        look, stands = await look_at_flow(session, limit=many)
        claimed += sorted((one.rank, one.name) for one in look.claims)
        left = stands["api"]

    assert [name for _, name in claimed] == wanted
    assert left is None or left > 0, "no more of it is due"


async def look_at_flow(
    session: Session, *, limit: int
) -> tuple[claims.Look, Mapping[str, float | None]]:
    return await flows.look(
        session,
        ["api"],
        limit=limit,
        ahead_seconds=0.0,
        lease_seconds=LEASE_SECONDS,
        kinds=["http"],
        instance="one",
    )


async def test_a_raised_job_of_a_flow_is_found_before_the_crowd_of_its_flow_is_read(
    session: Session, connection: asyncpg.Connection
) -> None:
    await storm(connection, "http://x", jobs=STORM, flow_key="api")
    usual, _ = await look_at_flow(session, limit=1)
    await insert_job(connection, name="raised", priority=1, flow_key="api")

    async with session.connection.transaction():
        look, _ = await look_at_flow(session, limit=1)
        read = await session.connection.fetchval(
            "select idx_tup_fetch from pg_stat_xact_user_tables where relname = 'jobs'"
        )

    assert [one.priority for one in usual.claims] == [0]
    assert [one.name for one in look.claims] == ["raised"]
    assert 0 < read < 100


async def look_at_raised(session: Runner, *, limit: int = 10) -> RaisedLook:
    return await raised.look(
        session,
        limit=limit,
        lease_seconds=LEASE_SECONDS,
        kinds=("http",),
        instance="one",
        since=None,
        believed=None,
        aside=(),
    )


async def test_a_look_beside_another_ends_although_a_trigger_catches_its_cancellation(
    connection: asyncpg.Connection, database_url: str
) -> None:
    """To give the connection back would wait for the trigger: so would the end of an instance."""
    await connection.execute(
        """create function public.mine() returns trigger language plpgsql as $$ begin
               for number in 1..200 loop
                   begin perform pg_sleep(0.1); exception when query_canceled then null; end;
               end loop;
               return new;
           end $$;
           create trigger mine before update on tocsin.jobs
           for each row execute function public.mine()"""
    )
    await insert_job(connection, priority=1)
    async with pool_beside(database_url, limit_seconds=0.1) as db:
        async with raised.connection(db, told=str) as one:
            with pytest.raises(CancellationCaught):
                await look_at_raised(one)

        async def none_goes_on() -> bool:
            return not await connection.fetchval(
                """select count(*) from pg_stat_activity
                   where application_name = 'beside' and state = 'active'"""
            )

        await until(none_goes_on, "the session has ended", within=5)
        async with raised.connection(db, told=str) as another:
            assert (await look_at_raised(another, limit=0)).due == 0


def pool_beside(url: str, *, limit_seconds: float = 5.0) -> AbstractAsyncContextManager[Database]:
    """Open a pool as instances have it for looks beside others."""
    return Database.connect(
        url,
        application_name="beside",
        max_connections=1,
        limit_seconds=limit_seconds,
        connection_class=HearingConnection,
    )


async def test_the_connection_of_looks_beside_others_hears_of_jobs_until_it_is_given_back(
    connection: asyncpg.Connection, database_url: str
) -> None:
    heard = asyncio.Semaphore(0)
    async with pool_beside(database_url) as db:
        async with raised.connection(db, told=heard.release) as one:
            await insert_job(connection, priority=1)
            async with asyncio.timeout(5):
                await heard.acquire()
            assert len((await look_at_raised(one)).look.claims) == 1

        await insert_job(connection, priority=1)
        async with raised.connection(db, told=str) as one:
            assert len((await look_at_raised(one)).look.claims) == 1

        assert heard.locked(), "nothing was heard any more"


async def test_that_connection_tells_of_its_end(
    connection: asyncpg.Connection, database_url: str
) -> None:
    heard = asyncio.Event()

    async def look_on(db: Database) -> None:
        async with raised.connection(db, told=heard.set) as one:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'beside' and datname = current_database()"
            )
            async with asyncio.timeout(5):
                await heard.wait()
            await look_at_raised(one)

    async with pool_beside(database_url) as db:
        with pytest.raises(DatabaseUnavailable):
            await look_on(db)

    assert heard.is_set()


async def test_a_flood_of_notifications_ends_that_connection(
    connection: asyncpg.Connection, database_url: str
) -> None:
    async def look_in_a_flood(db: Database) -> None:
        async with raised.connection(db, told=str) as one:
            await connection.execute(
                "select pg_notify('tocsin_jobs', n::text) from generate_series(1, 10001) as n"
            )
            while True:
                await look_at_raised(one)

    async with pool_beside(database_url) as db:
        with pytest.raises(DatabaseUnavailable):
            await look_in_a_flood(db)


async def test_the_grace_of_an_instance_that_stops_begins_before_a_look_beside_has_ended(
    instance: StartInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance() as (one, facts):

        async def end(_: RaisedLooks) -> None:
            await facts.seen(Draining)

        monkeypatch.setattr(RaisedLooks, "end", end)
        one.stop()
        await facts.seen(Stopped)


async def test_raised_jobs_are_claimed_by_themselves_and_the_next_of_them_is_told(
    session: Session, connection: asyncpg.Connection
) -> None:
    await storm(connection, "http://x", jobs=100)
    none = await look_at_raised(session)
    now = await connection.fetchval("select now()")
    for name, priority in (("low", 1), ("high", 3), ("middle", 2)):
        await insert_job(connection, name=name, priority=priority, run_at=now)
    await insert_job(connection, priority=1, run_at=now + MINUTE)

    two = await look_at_raised(session, limit=2)
    one = await look_at_raised(session)

    assert (none.due, none.next_seconds, none.look.claims) == (0, None, [])
    assert (two.due, [one.name for one in two.look.claims]) == (3, ["high", "middle"])
    assert (one.due, [one.name for one in one.look.claims]) == (1, ["low"])
    assert one.next_seconds is not None
    assert 0 < one.next_seconds <= 60


async def test_what_has_waited_for_longer_than_a_level_is_worth_goes_before_a_raised_job(
    session: Session, connection: asyncpg.Connection
) -> None:
    await due_ago(
        connection, ("usual", 0, 2.5), ("low", 1, 0.0), ("middle", 2, 0.0), ("high", 3, 0.0)
    )

    found = await look_at_raised(session)
    ranked = await look_by_priority(session, limit=2)

    assert (found.due, [one.name for one in found.look.claims]) == (3, ["high"])
    assert [one.name for one in ranked.claims] == ["usual", "middle"]


async def test_such_a_look_reads_no_crowd(session: Session, connection: asyncpg.Connection) -> None:
    await storm(connection, "http://x", jobs=STORM)
    await storm(connection, "http://x", jobs=1000, priority=2)

    async with session.connection.transaction():
        found = await look_at_raised(session)
        read = await session.connection.fetchval(
            "select idx_tup_fetch from pg_stat_xact_user_tables where relname = 'jobs'"
        )

    assert len(found.look.claims) == 10
    assert 0 < read < 100


def raised_jobs(ticks: Ticks) -> RaisedJobs:
    return RaisedJobs(monotonic=ticks, limit_sleep=lambda seconds: seconds)


async def test_the_database_is_asked_about_raised_jobs_only_if_that_may_have_changed(
    session: Session, connection: asyncpg.Connection
) -> None:
    ticks = Ticks()
    jobs = raised_jobs(ticks)

    async def claimed() -> int | None:
        if jobs.next_seconds() > 0:
            return None
        number = jobs.begin()
        found = await look_at_raised(session)
        jobs.found(found, at=ticks(), number=number)
        return len(found.look.claims)

    counts = [await claimed()]
    await insert_job(connection, priority=1)
    counts.append(await claimed())
    jobs.hear()
    counts.append(await claimed())
    counts.append(await claimed())  # there may be more
    await insert_job(connection, priority=3)
    counts.append(await claimed())
    ticks.now += ASKED_AGAIN_SECONDS
    counts.append(await claimed())

    assert counts == [0, None, 1, 0, None, 1]


async def test_raised_jobs_are_asked_about_when_the_next_of_them_comes_due(
    session: Session, connection: asyncpg.Connection
) -> None:
    ticks = Ticks()
    jobs = raised_jobs(ticks)
    await insert_job(connection, priority=1, run_at=datetime.now(UTC) + timedelta(minutes=1))
    number = jobs.begin()
    jobs.found(await look_at_raised(session), at=ticks(), number=number)
    far = jobs.next_seconds()
    await connection.execute(
        "update tocsin.jobs set next_run = clock_timestamp() + interval '0.9 s'"
    )

    found = await look_at_raised(session)
    jobs.found(found, at=ticks(), number=jobs.begin())

    assert far == ASKED_AGAIN_SECONDS
    assert found.look.claims or jobs.next_seconds() < ASKED_AGAIN_SECONDS


async def test_a_raised_job_starts_amid_a_storm_before_what_was_due_before_it(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/storm", late(0.05, reply()))
    await storm(connection, sink.url("/storm"), jobs=STORM)
    async with instance(concurrency=10) as (_, facts):
        await facts.seen(Started)

        await insert_job(connection, priority=1, target={"url": sink.url("/raised")})
        await until(lambda: called(sink, "/raised"), "the raised job is called", within=60.0)
        before = sum(one.path == "/storm" for one in sink.requests)
        left = await connection.fetchval(
            "select count(*) from tocsin.jobs where next_run is not null and locked_until is null"
        )

    assert left > STORM / 2, f"{before} of the storm went before"


async def test_a_raised_job_that_nobody_can_claim_holds_up_no_storm(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/storm", late(0.05, reply()))
    guilty = await insert_job(connection, priority=3, target={"url": sink.url("/guilty")})
    await connection.execute(
        f"""update tocsin.jobs set next_run = now() + interval '1 s';
            create function public.mine() returns trigger language plpgsql as
            $$ begin
                if new.id = '{guilty}' and new.locked_until is not null then raise 'mine'; end if;
                return new;
            end $$;
            create trigger mine before update on tocsin.jobs
            for each row execute function public.mine()"""
    )
    await storm(connection, sink.url("/storm"), jobs=1000)
    async with instance(concurrency=10) as (_, facts):
        [told] = await facts.seen(PutAside, job_id=guilty)
        left = await connection.fetchval(
            "select count(*) from tocsin.jobs where next_run is not null and locked_until is null"
        )
        await insert_job(connection, priority=1, target={"url": sink.url("/raised")})
        await until(lambda: called(sink, "/raised"), "the raised job is called", within=60.0)

    assert "mine" in told.error
    assert left > 1, "long before the storm is over"


async def test_priorities_that_no_rule_lets_in_are_carried_out_as_the_nearest_ones(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    ids = [
        await insert_job(connection, target={"url": sink.url(f"/{n}")}, next_run=None)
        for n in range(2)
    ]
    await connection.execute(
        "alter table tocsin.jobs drop constraint jobs_sound, drop constraint jobs_within_range"
    )
    await connection.execute("alter table tocsin.jobs disable trigger all")
    for id, priority in zip(ids, (-(2**31), 2**31 - 1), strict=True):
        await connection.execute(
            """update tocsin.jobs set priority = $2, validated = true, next_run = now(),
                   scheduled_for = now() where id = $1""",
            id,
            priority,
        )
    await connection.execute("alter table tocsin.jobs enable trigger all")
    await storm(connection, sink.url("/storm"), jobs=100)
    await insert_job(connection, priority=1, target={"url": sink.url("/raised")})

    async with instance(concurrency=2):
        for path in ("/0", "/1", "/raised"):
            await until(lambda path=path: called(sink, path), path, within=60.0)  # type: ignore[misc]


async def called(sink: Sink, path: str) -> bool:
    return any(one.path == path for one in sink.requests)


async def test_the_example_of_the_page_of_schedules_raises_a_job(
    psql: Callable[[str], str], connection: asyncpg.Connection
) -> None:
    page = (ROOT / "docs" / "schedules.md").read_text("utf-8")
    [example] = re.findall(r"```sql\n(update tocsin.jobs set priority [^`]*)```", page)
    job_id = await insert_job(connection, name="charge-cards")

    psql(example)

    assert (await job_row(connection, job_id))["priority"] == 2


async def test_a_run_now_has_the_priority_of_its_job(
    session: Session, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, every_seconds=3600, priority=2)
    await connection.execute("select tocsin.run_now($1)", job_id)
    [run] = await run_rows(connection, job_id)
    assert run["priority"] == 2

    await connection.execute("update tocsin.jobs set priority = 3 where id = $1", job_id)
    [run] = await run_rows(connection, job_id)
    look = await look_once(session)

    assert run["priority"] == 3
    assert [one.priority for one in look.claims] == [3]
    assert (await job_row(connection, job_id))["priority"] == 3
