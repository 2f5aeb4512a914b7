"""Sizes are judged as Postgres writes documents out, before that costs anything, at every door."""

import random
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import json

from app.core.facts import Looked
from app.core.job import MOST_METADATA_BYTES, MOST_TARGET_BYTES
from app.core.sizes import exceeds
from app.db import claims
from app.db.database import MOST_PAGE_BYTES
from app.db.listener import listening
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

QUICK_SECONDS = 5.0
"""On a busy machine; what is wrong takes minutes, or all the memory."""
LARGE = {"url": "http://127.0.0.1:9/", "body": "x" * (MOST_TARGET_BYTES - 1000)}

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), inner
        )
    ),
    max_leaves=20,
)

GROWING = {
    "exponents": "('[' || repeat('1e131071,', 9999) || '1]')::jsonb",
    "powers": "('[' || repeat('1e308,', 43000) || '1]')::jsonb",
    "places": "('[' || repeat('1e-16383,', 9999) || '1]')::jsonb",
    "keys": """('{"b": [' || repeat('-1e9999,', 99) || '1]}')::jsonb""",
    "escapes": """to_jsonb(repeat(E'\u0001', 60000))""",
    "texts": "to_jsonb(repeat('x', 300000))",
    "many": "('[' || repeat('1,', 99999) || '1]')::jsonb",
}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=st.dictionaries(st.text("abc", min_size=1), JSON_VALUES))
@example(document={})
@example(document={"a": [], "b": {}})
@example(document={"a": [1e308, -1.5e-300, 0.1, 1e16, 123456789012345680000.0]})
async def test_a_document_is_as_long_as_postgres_writes_it(
    connection: asyncpg.Connection, document: dict[str, object]
) -> None:
    text = json.encode(document).decode()
    length = await connection.fetchval("select octet_length($1::jsonb::text)", text)

    assert exceeds(document, length - 1)
    assert not exceeds(document, length)


@pytest.mark.parametrize("growing", GROWING.values(), ids=GROWING)
@pytest.mark.parametrize("column", ["target", "metadata"])
@pytest.mark.parametrize("trusted", [False, True], ids=["with triggers", "without"])
async def test_what_grows_is_refused_in_sql_before_it_does(
    connection: asyncpg.Connection, column: str, growing: str, *, trusted: bool
) -> None:
    if trusted:
        await connection.execute("set session_replication_role = replica")
    began = time.monotonic()
    document = f"""jsonb_build_object('url', 'http://h/', 'json', {growing})"""
    values = {"target": """'{"url": "http://h/"}'""", "metadata": "'{}'"} | {column: document}

    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await connection.execute(
            f"""insert into tocsin.jobs (kind, run_at, target, metadata)
                values ('http', now(), {values["target"]}, {values["metadata"]})"""
        )

    assert refused.value.column_name == column
    assert "bytes as text" in refused.value.message
    assert "1e308" in refused.value.hint
    assert time.monotonic() - began < QUICK_SECONDS


async def test_what_is_as_large_as_may_be_is_taken(
    connection: asyncpg.Connection, api: httpx.AsyncClient
) -> None:
    rest = json.encode({"url": "http://h/", "body": ""}).decode()
    target = {"url": "http://h/", "body": "x" * (MOST_TARGET_BYTES - len(rest) - 3)}
    metadata = {"text": "x" * (MOST_METADATA_BYTES - 12)}

    await insert_job(connection, target=target, metadata=metadata)
    answer = await api.post(
        "/v1/jobs",
        json={"kind": "http", "target": target, "metadata": metadata, "every_seconds": 60},
    )

    assert answer.status_code == 201, answer.text
    for length in await connection.fetch(
        "select octet_length(target::text) t, octet_length(metadata::text) m from tocsin.jobs"
    ):
        assert (length["t"], length["m"]) == (MOST_TARGET_BYTES, MOST_METADATA_BYTES)


async def test_a_batch_of_jobs_that_grow_is_refused_with_each_of_them(
    api: httpx.AsyncClient,
) -> None:
    target = {"url": "http://h/", "json": [1e308] * 1000}
    job = {"kind": "http", "target": target, "every_seconds": 60}

    answer = await api.post("/v1/jobs/batch", json=[job] * 50, timeout=30)

    assert answer.status_code == 422
    [first, *others] = answer.json()["errors"]
    assert first["field"] == "[0].target"
    assert "more than 262144 bytes as Postgres writes it out" in first["message"]
    assert len(others) == 49


async def test_a_look_claims_a_few_large_targets_at_a_time_and_all_small_ones(
    connection: asyncpg.Connection, database_url: str
) -> None:
    due = datetime.now(UTC)
    for _ in range(40):
        await insert_job(connection, target=LARGE, run_at=due)
    for _ in range(100):
        await insert_job(connection, run_at=due.replace(year=due.year - 1))

    found = []
    async with listening(database_url, ring=lambda: None, application_name="test") as session:
        while True:
            look = await claims.look(
                session,
                limit=500,
                ahead_seconds=0.0,
                lease_seconds=60.0,
                kinds=("http",),
                instance="me",
            )
            if not look.claims:
                break
            found.append([len(claim.target) > 2000 for claim in look.claims])
            left = 140 - sum(map(len, found))
            assert (look.left_from is not None) == (left > 0), "what is left is looked for at once"
            assert not look.blocked

    assert [len(large) for large in found] == [104] + [4] * 9
    assert [sum(large) for large in found] == [4] * 10


def body_of(length: int, *, compressed: bool) -> str:
    """Return text that Postgres stores in a few bytes or in about as many."""
    return "x" * length if compressed else random.Random(1).randbytes(length // 2).hex()


@pytest.mark.parametrize("compressed", [True, False], ids=["short when stored", "long"])
async def test_a_backlog_of_bodies_of_a_few_kilobytes_is_looked_for_without_a_rest(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, *, compressed: bool
) -> None:
    due = datetime.now(UTC)
    target = {"url": sink.url("/"), "method": "POST"}
    bodies = {"body": body_of(4000, compressed=compressed)}
    async with instance(longest_sleep_seconds=5, concurrency=1000) as (_, facts):
        async with connection.transaction():
            for place in range(500):
                await insert_job(
                    connection, target=target | bodies, run_at=due - timedelta(seconds=60 + place)
                )
            for _ in range(50):
                await insert_job(connection, target=target, run_at=due)

        async def all_claimed() -> bool:
            return sum(look.claimed for look in facts.of(Looked)) >= 550

        await until(all_claimed, "all were claimed", within=30.0)

    looks = [look for look in facts.of(Looked) if look.claimed]
    assert len(looks) < 10
    assert [look.sleep_seconds for look in looks[:-1]] == [0.0] * (len(looks) - 1)


async def test_what_is_stored_in_few_bytes_counts_as_it_is_read(
    connection: asyncpg.Connection,
) -> None:
    for _ in range(20):
        await insert_job(connection, target=LARGE)
    stored = await connection.fetchval("select sum(pg_column_size(target)) from tocsin.jobs")
    ids = await connection.fetchval("select array_agg(id) from tocsin.jobs")

    affordable = await connection.fetch(
        """select cardinality(tocsin.affordable($1, most)) as jobs
           from unnest('{1,600000,1048576,100000000}'::int[]) as most""",
        ids,
    )

    assert stored < 100_000
    assert [row["jobs"] for row in affordable] == [1, 2, 4, 20]


async def test_an_instance_that_can_claim_none_of_what_it_left_does_not_look_all_the_time(
    connection: asyncpg.Connection, instance: StartInstance
) -> None:
    for _ in range(8):
        await insert_job(connection, target=LARGE)
    await connection.execute(
        """create function public.mine() returns trigger language plpgsql as
           $$ begin if new.locked_until is not null then return null; end if; return new; end $$;
           create trigger mine before update on tocsin.jobs
           for each row execute function public.mine()"""
    )

    async with instance(longest_sleep_seconds=5) as (_, facts):
        await facts.seen(Looked, claimed=0)
        looks = facts.of(Looked)

    assert all(look.sleep_seconds > 0 for look in looks)


async def test_a_bystander_of_a_hundred_large_targets_runs_in_time(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink
) -> None:
    due = datetime.now(UTC)
    target = LARGE | {"url": sink.url("/large"), "method": "POST"}
    for _ in range(100):
        await insert_job(connection, target=target, run_at=due, paused_at=due)
    async with instance(longest_sleep_seconds=5):
        await connection.execute("update tocsin.jobs set paused_at = null")
        bystander = await insert_job(connection, target={"url": sink.url("/small")})

        async def all_done() -> bool:
            return bool(
                await connection.fetchval(
                    "select count(*) = 101 from tocsin.jobs where last_outcome = 'succeeded'"
                )
            )

        await until(all_done, "all were executed", within=15.0)

    late = await connection.fetchval(
        """select extract(epoch from started_at - scheduled_for)::float8 from tocsin.executions
           where job_id = $1""",
        bystander,
    )
    assert late < QUICK_SECONDS


async def test_pages_of_large_jobs_end_early_and_go_on(
    connection: asyncpg.Connection, api: httpx.AsyncClient
) -> None:
    for _ in range(40):
        await insert_job(connection, target=LARGE, run_at=datetime(2100, 1, 1, tzinfo=UTC))

    pages, cursor = [], ""
    while cursor is not None:
        answer = await api.get("/v1/jobs", params={"limit": 100, "cursor": cursor})
        assert answer.status_code == 200
        assert len(answer.content) < 2 * MOST_PAGE_BYTES
        pages.append([job["id"] for job in answer.json()["items"]])
        cursor = answer.json()["next_cursor"]

    assert len(pages) > 1
    assert len({id for page in pages for id in page}) == 40


async def test_the_audit_log_keeps_bounded_values_and_tells_of_each_change(
    connection: asyncpg.Connection, api: httpx.AsyncClient
) -> None:
    target = {"url": "http://h/", "headers": {}} | {f"k{n}": "x" for n in range(5000)}
    job_id = await insert_job(
        connection,
        target=target,
        metadata={"text": "x" * 60_000},
        description="y" * 10_000,
        run_at=datetime(2100, 1, 1, tzinfo=UTC),
    )
    await connection.execute(
        """update tocsin.jobs set metadata = jsonb_build_object('text', repeat('z', 60000)),
               description = repeat('y', 9999) || 'z', target = target || '{"k7": "y"}'"""
    )
    await connection.execute("delete from tocsin.jobs")

    entries = (await api.get("/v1/audit", params={"entity_id": str(job_id)})).json()["items"]
    assert [entry["action"] for entry in entries] == ["delete", "update", "create"]
    assert entries[1]["changed"] == ["description", "metadata", "target.k7"]
    assert entries[1]["before"]["metadata"] != entries[1]["after"]["metadata"]
    longest = await connection.fetchval(
        """select max(octet_length(coalesce(before::text, '') || coalesce(after::text, '')))
           from tocsin.audit_log"""
    )
    assert longest < 10_000
