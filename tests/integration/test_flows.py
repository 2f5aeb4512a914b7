"""Jobs with the same flow_key share limits, over all instances and at any instant."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from msgspec import json
from msgspec.structs import replace

from app.core.facts import Settled
from app.core.flow_health import TroubledFlow, flows_finding
from app.core.jobs.host_flow import host_flow
from app.core.runs.holding import lateness_at
from app.core.runs.outcome import Outcome
from app.db import Database, claims, flows, leases
from app.db.claims import Look
from app.db.listener import OF_LOOKS, Session, open_session
from app.scheduler.flows import SENT_SECONDS, Flows, PermitOver
from app.scheduler.isolation import Isolation
from app.scheduler.notify import Wakeup
from app.telemetry import Observers
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.sink import Sink, late, reply
from tests.support.waiting import until

LEASES = """select count(*) from tocsin.jobs
            where flow_key = $1 and locked_until > clock_timestamp()"""


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[Session]:
    async with open_session(database_url, wake=lambda: None, application_name="one") as one:
        yield one


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Session]:
    async with open_session(database_url, wake=lambda: None, application_name="two") as one:
        yield one


async def claim(
    session: Session | Database,
    *keys: str,
    limit: int = 100,
    lease_seconds: float = 60.0,
    instance: str = "one",
) -> tuple[Look, dict[str, float | None]]:
    look, stands = await flows.look(
        session,
        keys,
        limit=limit,
        ahead_seconds=0.25,
        lease_seconds=lease_seconds,
        kinds=["http"],
        instance=instance,
    )
    return look, dict(stands)


async def limit(connection: asyncpg.Connection, key: str, **limits: Any) -> None:  # noqa: ANN401
    names = ", ".join(["flow_key", *limits])
    places = ", ".join(f"${place}" for place in range(1, len(limits) + 2))
    await connection.execute(
        f"insert into tocsin.flows ({names}) values ({places})", key, *limits.values()
    )


async def insert(
    connection: asyncpg.Connection,
    key: str | None,
    *,
    many: int = 1,
    **columns: Any,  # noqa: ANN401
) -> list[UUID]:
    """Insert jobs that are due, each a microsecond after the one before."""
    due = await connection.fetchval("select now() - interval '1 minute'")
    return [
        await insert_job(
            connection,
            **({"flow_key": key, "run_at": due + timedelta(microseconds=place)} | columns),
        )
        for place in range(many)
    ]


@asynccontextmanager
async def watched(connection: asyncpg.Connection, key: str) -> AsyncIterator[list[int]]:
    """Count the leases of a flow again and again; each count is of one instant."""
    counts: list[int] = []

    async def count() -> None:
        while True:
            counts.append(await connection.fetchval(LEASES, key))
            await asyncio.sleep(0.002)

    counting = asyncio.create_task(count())
    try:
        yield counts
    finally:
        counting.cancel()
        await asyncio.wait({counting})


async def test_a_look_leaves_jobs_of_a_flow_alone(
    connection: asyncpg.Connection, session: Session
) -> None:
    [alone] = await insert(connection, None)
    [in_flow] = await insert(connection, "api")

    look = await claims.look(
        session, limit=10, ahead_seconds=0, lease_seconds=60, kinds=["http"], instance="one"
    )
    found, _ = await claim(session, "api")

    assert [one.id for one in look.claims] == [alone]
    assert [(one.id, one.flow_key) for one in found.claims] == [(in_flow, "api")]


async def test_so_many_of_a_flow_are_claimed_as_are_allowed_at_once_in_their_order(
    connection: asyncpg.Connection, session: Session, other: Session
) -> None:
    await limit(connection, "api", max_concurrency=3)
    ids = await insert(connection, "api", many=5)

    first, _ = await claim(session, "api", limit=2)
    second, stands = await claim(other, "api", instance="two")
    third, _ = await claim(session, "api")

    assert [one.id for one in first.claims] == ids[:2]
    assert [one.id for one in second.claims] == ids[2:3]
    assert third.claims == []
    assert stands["api"] == 0.0  # it was claimed: what limits the flow now is known at the next


async def test_a_flow_without_limits_is_claimed_like_other_jobs(
    connection: asyncpg.Connection, session: Session
) -> None:
    ids = await insert(connection, "api", many=5)

    look, stands = await claim(session, "api")

    assert [one.id for one in look.claims] == ids
    assert stands["api"] is not None
    assert 50 < stands["api"] <= 60  # when their leases would end


async def test_the_next_look_is_when_the_first_lease_would_end(
    connection: asyncpg.Connection, session: Session
) -> None:
    await limit(connection, "api", max_concurrency=1)
    await insert(connection, "api", many=3)
    await claim(session, "api")

    look, stands = await claim(session, "api")

    assert look.claims == []
    assert stands["api"] is not None
    assert 50 < stands["api"] <= 60


async def test_two_instances_that_look_at_the_same_time_share_the_permits(
    connection: asyncpg.Connection, database_url: str
) -> None:
    """The one that waits for no lock must not count by what it saw before the other's claims."""
    await limit(connection, "api", max_concurrency=5)
    await insert(connection, "api", many=200)
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(
                open_session(database_url, wake=lambda: None, application_name=f"{place}")
            )
            for place in range(6)
        ]

        for _ in range(20):
            looks = await asyncio.gather(*(claim(one, "api", limit=2) for one in sessions))
            claimed = [one for look, _ in looks for one in look.claims]
            assert await connection.fetchval(LEASES, "api") == len(claimed) <= 5
            await connection.execute(
                """update tocsin.jobs set locked_until = null, locked_by = null, claimed_at = null,
                       claimed_for = null, claimed_attempt = null, execution_id = null
                   where id = any($1::uuid[])""",
                [one.id for one in claimed],
            )


async def test_a_lease_that_ran_out_gives_its_permit_back_and_cannot_be_extended(
    connection: asyncpg.Connection, session: Session
) -> None:
    """What a frozen instance held; its job waits for a permit like the others."""
    await limit(connection, "api", max_concurrency=1)
    ids = await insert(connection, "api", many=2)
    frozen, _ = await claim(session, "api", lease_seconds=0.05)
    await connection.execute("select pg_sleep(0.06)")

    found, _ = await claim(session, "api", instance="two")
    extended = await leases.extend(session, frozen.claims, lease_seconds=60)

    assert [one.id for one in frozen.claims] == ids[:1]
    assert [one.id for one in found.claims] == ids[1:]
    assert extended.extended == set()
    assert extended.lost == {ids[0]}
    assert await connection.fetchval(LEASES, "api") == 1


async def test_a_lease_whose_row_is_locked_keeps_its_permit_though_it_ran_out(
    connection: asyncpg.Connection, session: Session, database_url: str
) -> None:
    """It may be being extended."""
    await limit(connection, "api", max_concurrency=1)
    await insert(connection, "api", many=2)
    frozen, _ = await claim(session, "api", lease_seconds=0.05)
    await connection.execute("select pg_sleep(0.06)")
    extending = await asyncpg.connect(database_url)
    try:
        async with extending.transaction():
            await extending.execute(
                "select from tocsin.jobs where id = $1 for no key update", frozen.claims[0].id
            )
            found, stands = await claim(session, "api", instance="two")
    finally:
        await extending.close()

    assert found.claims == []
    assert stands["api"] is not None
    assert stands["api"] < 1


async def test_what_a_flow_leaves_null_comes_from_the_longest_pattern(
    connection: asyncpg.Connection, session: Session
) -> None:
    await limit(connection, "*", max_concurrency=1)
    await limit(connection, "tenant-*", max_concurrency=2)
    await limit(connection, "tenant-c", max_concurrency=3)
    for key in ("other", "tenant-b", "tenant-c"):
        await insert(connection, key, many=5)

    look, _ = await claim(session, "other", "tenant-b", "tenant-c")

    assert sorted(one.flow_key or "" for one in look.claims) == [
        "other",
        *["tenant-b"] * 2,
        *["tenant-c"] * 3,
    ]


async def test_a_flow_on_pause_is_not_claimed(
    connection: asyncpg.Connection, session: Session
) -> None:
    await limit(connection, "api", paused_at=datetime.fromisoformat("2026-01-01T00:00:00Z"))
    await insert(connection, "api")

    look, stands = await claim(session, "api")

    assert look.claims == []
    assert stands == {"api": None}


async def test_a_flow_on_pause_is_not_looked_at_again_because_there_was_no_room_for_it(
    connection: asyncpg.Connection, session: Session
) -> None:
    await limit(connection, "paused", paused_at=datetime.fromisoformat("2026-01-01T00:00:00Z"))
    for key in ("api", "other", "paused"):
        await insert(connection, key, many=3)
        await claim(session, key, limit=1)  # its state is there from then on

    look, stands = await claim(session, "api", "other", "paused", limit=1)

    assert [one.flow_key for one in look.claims] == ["api"]
    assert stands == {"api": 0.0, "other": 0.0, "paused": None}


async def test_a_pause_of_a_pattern_ends_by_itself_and_the_instances_know_when(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    async with instance() as (_, facts):
        await connection.execute(
            "select tocsin.pause_flow('tenant-*', 'a move', now() + interval '1.5 seconds')"
        )
        [job_id] = await insert(connection, "tenant-1", target={"url": sink.url()})
        await asyncio.sleep(0.5)  # nothing is to happen
        held = len(sink.requests)
        await facts.seen(Settled, job_id=job_id, outcome=Outcome.SUCCEEDED)

    ends_at = await connection.fetchval("select paused_until from tocsin.flows")
    [row] = await execution_rows(connection, job_id)
    assert held == 0
    assert timedelta(0) <= row["started_at"] - ends_at < timedelta(seconds=3)


async def test_a_flow_that_is_paused_anew_in_sql_has_nothing_of_a_pause_that_has_ended(
    connection: asyncpg.Connection, session: Session
) -> None:
    await connection.execute("select tocsin.pause_flow('api', 'a move', now() + interval '20 ms')")
    await insert(connection, "api")
    await connection.execute("select pg_sleep(0.05)")
    await connection.execute("update tocsin.flows set paused_at = now()")

    look, stands = await claim(session, "api")

    row = await connection.fetchrow("select paused_until, pause_reason from tocsin.flows")
    assert look.claims == []
    assert stands == {"api": None}
    assert tuple(row) == (None, None)


async def test_a_run_now_of_a_job_of_a_flow_waits_for_a_permit_too(
    connection: asyncpg.Connection, session: Session
) -> None:
    await limit(connection, "api", max_concurrency=1)
    await insert(connection, "api")
    [later] = await insert(connection, "api", run_at=datetime.fromisoformat("2100-01-01T00:00:00Z"))
    await claim(session, "api")
    await connection.execute("select from tocsin.run_now($1)", later)

    blocked, _ = await claim(session, "api")
    await connection.execute("delete from tocsin.flows")
    found, _ = await claim(session, "api")

    assert blocked.claims == []
    assert [one.job_id for one in found.claims] == [later]


async def test_four_instances_keep_the_limit_and_carry_out_all(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink, database_url: str
) -> None:
    sink.on("/", late(0.03, reply(200)))
    await limit(connection, "api", max_concurrency=3)
    await insert(connection, "api", many=60, target={"url": sink.url("/")})
    counting = await asyncpg.connect(database_url)
    try:
        async with (
            watched(counting, "api") as counts,
            instance(),
            instance(),
            instance(),
            instance(),
        ):
            await sink.arrived(60)
    finally:
        await counting.close()

    assert max(counts) == 3
    assert await connection.fetchval("select count(*) from tocsin.executions") == 60


async def test_a_job_of_a_flow_that_is_inserted_while_all_sleep_starts_at_once(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance() as (_, facts):
        for _ in range(5):
            await insert(connection, "api", target={"url": sink.url("/")})
            await facts.seen(Settled)


async def test_raising_a_limit_wakes_the_instances(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await limit(
        connection,
        "api",
        max_concurrency=1,
        paused_at=datetime.fromisoformat("2026-01-01T00:00:00Z"),
    )
    [id] = await insert(connection, "api", target={"url": sink.url("/")})
    async with instance() as (_, facts):
        await connection.execute("select pg_sleep(0.3)")
        assert (await job_row(connection, id))["last_outcome"] is None
        await connection.execute("update tocsin.flows set paused_at = null")
        await facts.seen(Settled)


def most_within(instants: Sequence[datetime], seconds: float) -> int:
    """Return how many of these instants lie in the fullest window of so many seconds."""
    ordered = sorted(instants)
    span = timedelta(seconds=seconds)
    return max(sum(one <= other < one + span for other in ordered) for one in ordered)


async def test_no_more_is_claimed_than_the_rate_allows_until_the_window_has_moved_on(
    connection: asyncpg.Connection, session: Session, db: Database
) -> None:
    await limit(connection, "api", rate=3, period_seconds=Decimal(5))
    ids = await insert(connection, "api", many=8)
    first, _ = await claim(session, "api")
    blocked, stands = await claim(session, "api")
    untold = stands["api"]
    started = first.begun_at - timedelta(seconds=4)  # as if that was four seconds ago
    told = flows.Starts(
        flow_key="api", granted_at=first.claims[0].claimed_at, many=3, latest=started
    )
    await flows.tell_starts(db, [told], instance="one")
    _, stands = await claim(session, "api")
    known = stands["api"]
    started -= timedelta(seconds=1.1)
    await flows.tell_starts(db, [replace(told, latest=started)], instance="one")

    second, _ = await claim(session, "api")

    assert [one.id for one in first.claims] == ids[:3]
    assert all(one.is_timed for one in first.claims)
    assert blocked.claims == []
    assert untold is not None
    assert 9 < untold <= 10.3  # whatever becomes of them, they start within five seconds
    assert known is not None
    assert 0 < known <= 1.1
    assert [one.id for one in second.claims] == ids[3:6]


async def test_a_burst_smaller_than_the_rate_limits_what_starts_at_once(
    connection: asyncpg.Connection, session: Session
) -> None:
    await limit(connection, "api", rate=100, period_seconds=Decimal(10), burst=4)
    await insert(connection, "api", many=8)

    first, _ = await claim(session, "api")
    second, _ = await claim(session, "api")

    assert (len(first.claims), len(second.claims)) == (4, 0)


@pytest.mark.parametrize(("rate", "burst"), [(5, None), (10, 2)])
async def test_starts_keep_to_the_rate_over_four_instances(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    rate: int,
    burst: int | None,
) -> None:
    period = 0.5
    await limit(connection, "api", rate=rate, period_seconds=Decimal("0.5"), burst=burst)
    await insert(connection, "api", many=4 * rate, target={"url": sink.url("/")})
    async with instance(), instance(), instance(), instance():
        await sink.arrived(4 * rate)
    rows = await connection.fetch("select started_at from tocsin.executions")
    starts = [row["started_at"] for row in rows]

    assert len(starts) == 4 * rate
    assert most_within(starts, period) <= rate
    if burst is not None:
        assert most_within(starts, period * burst / rate) <= burst


async def test_a_start_counts_from_when_its_request_goes_out(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    """Some wait for a token, and their requests go out when the window would be over."""
    token = b'{"access_token": "a", "token_type": "Bearer"}'
    sink.on("/token", late(0.9, reply(200, token, {"Content-Type": "application/json"})))
    sink.on("/", late(1.0, reply(200)))
    await limit(connection, "api", rate=3, period_seconds=Decimal(1))
    for number in range(3):
        auth = {"type": "oauth2", "token_url": sink.url("/token"), "client_secret": "s"}
        target = {"url": sink.url("/"), "auth": {**auth, "client_id": f"client {number}"}}
        await insert_job(
            connection, flow_key="api", run_at=datetime(2026, 1, 1, tzinfo=UTC), target=target
        )
    await insert(connection, "api", many=3, target={"url": sink.url("/")})

    async def have_ended() -> bool:
        many: int = await connection.fetchval(
            "select count(*) from tocsin.executions where outcome = 'succeeded'"
        )
        return many == 6

    async with instance():
        await until(have_ended, "all have ended", within=30)
    rows = await connection.fetch("select started_at from tocsin.executions")

    assert most_within([row["started_at"] for row in rows], 1.0) == 3


async def test_a_request_that_waits_for_long_counts_until_it_goes_out(
    session: Session, connection: asyncpg.Connection, db: Database
) -> None:
    await limit(connection, "api", rate=1, period_seconds=Decimal(1))
    await insert(connection, "api", many=2)
    look, _ = await claim(session, "api")
    [held] = look.claims
    now = 0.0
    isolation = Isolation(db, Observers(), instance="one", clock=lambda: now, lease_seconds=60.0)
    known = Flows(isolation, Wakeup(asyncio.get_running_loop()))
    known.granted([held], asked_at=0.0)
    known.note_begin(held)
    latest = "select extract(epoch from latest - now())::float8 from tocsin.flow_starts"

    async with asyncio.TaskGroup() as tasks:
        extending = tasks.create_task(known.keep_extending())
        now = 4.0

        async def is_told() -> bool:
            return bool(await connection.fetchval(latest) > 6.0)

        await until(is_told, "that it is yet to start is told")
        extending.cancel()

    now = 4.0 + SENT_SECONDS
    with pytest.raises(PermitOver):
        known.note_start(held, datetime.now(UTC))
    now -= 0.1
    known.note_start(held, datetime.now(UTC))
    assert known.to_tell


async def test_the_doctor_names_pauses_permits_of_the_dead_and_limits_without_jobs(
    session: Session, connection: asyncpg.Connection, db: Database
) -> None:
    """Four flows, of which one is as it should be."""
    for key in ("paused-*", "busy", "fine", "unused"):
        await limit(connection, key, max_concurrency=1)
    await connection.execute("update tocsin.flows set paused_at = now() where flow_key like 'p%'")
    await insert(connection, "paused-one", many=2)
    await insert(connection, "fine")
    await insert(connection, "busy")
    await claim(session, "busy", instance="host:1:dead")

    rows = [TroubledFlow(**row) for row in await db.fetch("doctor.flows", most=1000)]
    told = flows_finding(rows)

    assert [row.flow_key for row in rows] == ["busy", "paused-one", "unused"]
    assert "permits of busy (1) are held by host:1:dead" in told.found
    assert "paused-one is paused, and 2 of its jobs are due" in told.found
    assert "unused has limits, and no job waits" in told.found
    assert told.remedy
    assert not told.grave
    assert not flows_finding([]).remedy


async def test_what_the_target_asks_for_holds_all_jobs_of_the_flow_and_costs_no_attempt(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    sink.on("/", reply(429, headers={"Retry-After": "600"}))
    await limit(connection, "api", max_concurrency=1)
    [first] = await insert(connection, "api", target={"url": sink.url("/")}, max_attempts=3)
    others = await insert(connection, "api", many=3, target={"url": sink.url("/")})
    async with instance(), instance():
        await sink.arrived()
        held = None
        while held is None:
            held = await connection.fetchval(
                "select held_until from tocsin.flow_states where flow_key = 'api'"
            )
            await asyncio.sleep(0.01)
    rows = [await job_row(connection, id) for id in others]

    left = held - datetime.now(UTC)
    assert timedelta(seconds=500) < left <= timedelta(seconds=600)
    assert [(row["attempt"], row["runs"], row["state"]) for row in rows] == [
        (0, 0, "scheduled")
    ] * 3
    assert (await job_row(connection, first))["attempt"] == 1


async def test_the_end_of_a_hold_wakes_the_instances(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    await connection.execute(
        """insert into tocsin.flow_states (flow_key, held_until, held_for)
           values ('api', now() + interval '1 hour', 'the target answered 429')"""
    )
    await insert(connection, "api", target={"url": sink.url("/")})
    async with instance() as (_, facts):
        await connection.execute("select tocsin.release_flow('api')")
        await facts.seen(Settled)


async def test_a_run_that_waited_for_a_permit_is_not_missed(
    connection: asyncpg.Connection, session: Session
) -> None:
    """Its grace is a minute, and others of the flow were in its way for longer."""
    await limit(connection, "api", max_concurrency=1)
    await insert(connection, "api", many=2)
    await claim(session, "api")
    await claim(session, "api")
    await connection.execute(
        """update tocsin.flow_states set waiting_since = now() - interval '10 minutes';
           update tocsin.jobs set locked_until = now() where locked_until is not null"""
    )

    look, _ = await claim(session, "api", limit=1)
    [one] = look.claims

    assert one.waiting_since is not None
    assert lateness_at(one, now=look.begun_at) == one.scheduled_for


def examples() -> list[str]:
    page = (ROOT / "docs" / "flows.md").read_text("utf-8")
    return re.findall(r"```sql\n(.*?)```", page, re.DOTALL)


async def test_the_example_on_the_page_of_flows_keeps_its_limit(
    connection: asyncpg.Connection, session: Session
) -> None:
    await connection.execute(examples()[0])

    look, _ = await claim(session, "api.example.com")

    assert len(look.claims) == 2
    assert await connection.fetchval("select count(*) from tocsin.jobs") == 5


async def test_jobs_are_in_the_flow_of_their_host_where_that_is_set(
    connection: asyncpg.Connection, session: Session, api: httpx.AsyncClient
) -> None:
    await connection.execute(examples()[1])
    [row] = await connection.fetch("select * from tocsin.jobs")
    fields = {"kind": "http", "run_at": "2100-01-01T00:00:00Z"}
    made = (
        await api.post(
            "/v1/jobs",
            json={**fields, "name": "one", "target": {"url": "http://A.example:81/x"}},
        )
    ).json()
    patched = await api.patch("/v1/jobs/one", json={"priority": 1})
    again = await api.patch("/v1/jobs/one", json={"priority": 1})
    moved = await api.patch("/v1/jobs/one", json={"target": {"url": "http://b.example/"}})
    own = await api.patch("/v1/jobs/one", json={"flow_key": "own"})
    await connection.execute("select tocsin.flow_by_host(false)")
    without = await api.patch("/v1/jobs/one", json={"flow_key": None})
    [limits] = await connection.fetch("select (tocsin.flow_limits($1)).*", row["flow_key"])

    assert row["flow_key"] == "host:api.example.com"
    assert (limits["max_concurrency"], limits["rate"]) == (10, 100)
    assert made["flow_key"] == patched.json()["flow_key"] == "host:a.example"
    assert again.json()["updated_at"] == patched.json()["updated_at"]
    assert [one.json()["flow_key"] for one in (moved, own, without)] == [
        *("host:b.example", "own", None)
    ]


@pytest.mark.parametrize("is_set", [False, True])
async def test_a_flow_that_was_asked_for_stays_whatever_it_is_called(
    connection: asyncpg.Connection, api: httpx.AsyncClient, *, is_set: bool
) -> None:
    await connection.execute("select tocsin.flow_by_host($1)", is_set)
    fields = {"kind": "http", "run_at": "2100-01-01T00:00:00Z", "name": "one"}
    fields["target"] = {"url": "http://a.example/"}

    async def flow(method: str, **change: object) -> str | None:
        answer = await api.request(method, "/v1/jobs/one", json=change)
        assert answer.status_code in (200, 201), answer.text
        key: str | None = answer.json()["flow_key"]
        return key

    assert await flow("PUT", **fields, flow_key="host:a.example") == "host:a.example"
    assert await flow("PATCH", priority=1) == "host:a.example"
    assert await flow("PATCH", flow_key="host:other") == "host:other"
    assert await flow("PATCH", target={"url": "http://b.example/"}) == "host:other"
    assert await flow("PATCH", flow_key=None) == ("host:b.example" if is_set else None)


async def test_the_host_of_a_target_is_the_same_in_sql_and_in_python(
    connection: asyncpg.Connection,
) -> None:
    urls = {
        "http://a.example": "host:a.example",
        "HTTPS://u:p@A.Example:8443/x?y=@z": "host:a.example",
        "http://127.0.0.1:9/": "host:127.0.0.1",
        "http://a.example?x": "host:a.example",
        "http://[::1]/": None,
        "http://bücher.example/": None,
        "http://{{ host }}/": None,
        "http://a.{{ zone }}/": None,
        "http://" + "a" * 191 + "/": None,
        "a.example": None,
        "": None,
    }

    for url, expected in urls.items():
        target = {"url": url}
        text = json.encode(target).decode()
        found = await connection.fetchval("select tocsin.host_flow('http', $1::text::jsonb)", text)
        assert (found, host_flow("http", target)) == (expected, expected), url
    assert host_flow("amqp", {"url": "amqp://a"}) is host_flow("http", {"url": 1}) is None


async def test_a_look_at_many_flows_takes_no_more_statements_than_one_at_few(
    connection: asyncpg.Connection, session: Session
) -> None:
    await connection.execute("create extension if not exists pg_stat_statements")
    await session.connection.execute("set pg_stat_statements.track = 'all'")
    inside = """select coalesce(sum(calls), 0)::int from pg_stat_statements where not toplevel
                and dbid = (select oid from pg_database where datname = current_database())"""

    counts = []
    for many in (2, 40):
        keys = [f"{number} of {many}" for number in range(many)]
        for key in keys:
            await insert(connection, key, many=2)
        before = await connection.fetchval(inside)
        for _ in range(2):  # of flows that nobody has seen yet, and of known ones
            look, _ = await claim(session, *keys, limit=many)
            assert {one.flow_key for one in look.claims} == {*keys}
        counts.append(await connection.fetchval(inside) - before)

    assert counts[1] <= counts[0], counts
    assert counts[0] > 0


async def test_a_crowd_that_waits_in_one_flow_is_not_read_for_another(
    connection: asyncpg.Connection,
) -> None:
    """Statistics of a table with one flow make any other index look as good as that of flows."""
    await connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, flow_key)
           select 'http', '{"url": "http://127.0.0.1:9/"}', now(), 'hot'
           from generate_series(1, 5000)"""
    )
    await connection.execute("analyze tocsin.jobs")
    await insert(connection, "other", run_at=datetime.now(UTC))
    for name, value in OF_LOOKS.items():
        await connection.execute(f"set {name} = '{value}'")

    async with connection.transaction():
        found = await connection.fetch(
            """select id from tocsin.permit('{other}', 10, '0.25 s', '60 s', 'infinity', '{http}',
                   '{}', null, 'one') where id is not null"""
        )
        read = await connection.fetchval(
            """select sum(pg_stat_get_xact_tuples_returned(indexrelid)) from pg_index
               where indrelid = 'tocsin.jobs'::regclass"""
        )

    assert len(found) == 1
    assert read < 100
