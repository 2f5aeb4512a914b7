"""Sizes are judged as Postgres writes documents out, before that costs anything, at every door."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Raw, json

from app.api import body as body_reader
from app.core.facts import Looked
from app.core.jobs.exact_json import number
from app.core.jobs.job import MAX_METADATA_BYTES, MAX_TARGET_BYTES
from app.core.jobs.json_size import MAX_GROWTH_LENGTH, exceeds, numbers_exceed
from app.db.database import MAX_PAGE_BYTES
from app.db.listener import open_session
from app.wire import batch as batch_reader
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sessions import look_once
from tests.support.sink import Sink
from tests.support.waiting import until

QUICK_SECONDS = 5.0
"""On a busy machine; what is wrong takes minutes, or all the memory."""
LARGE = {"url": "http://127.0.0.1:9/", "body": "x" * (MAX_TARGET_BYTES - 1000)}

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
@example(document={"a": 1.0000000000000002e16})  # shorter without the exponent
@example(document={"a": [1e308, -1.5e-300, 0.1, 1e16, 123456789012345680000.0]})
@example(document={"a": ["1e308, -0.0", "\\", '"1e9'], "b:": [-0.0, 0.0, -0.5, 1e300]})
@example(document={"a": [Raw(b"1.23456789012345678901e300"), Raw(b"-0.123456789012345678901E-9")]})
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
@pytest.mark.alone
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
    target = {"url": "http://h/", "body": "x" * (MAX_TARGET_BYTES - len(rest) - 3)}
    metadata = {"text": "x" * (MAX_METADATA_BYTES - 12)}

    await insert_job(connection, target=target, metadata=metadata)
    answer = await api.post(
        "/v1/jobs",
        json={"kind": "http", "target": target, "metadata": metadata, "every_seconds": 60},
    )

    assert answer.status_code == 201, answer.text
    for length in await connection.fetch(
        "select octet_length(target::text) t, octet_length(metadata::text) m from tocsin.jobs"
    ):
        assert (length["t"], length["m"]) == (MAX_TARGET_BYTES, MAX_METADATA_BYTES)


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


HEAVY = {
    "powers": ["1e308"] * 43_000,
    "powers beside many lists": ["[]"] * 200 + ["1e308"] * 42_000,
    "small powers": ["1e-300"] * 36_000,
}


@pytest.mark.parametrize("values", HEAVY.values(), ids=HEAVY)
@pytest.mark.parametrize("column", ["target", "metadata"])
@pytest.mark.alone
async def test_a_batch_of_numbers_that_take_long_to_read_is_refused_soon(
    api: httpx.AsyncClient, column: str, values: list[str]
) -> None:
    rest = {"target": '{"url": "http://h/"}', "metadata": "{}"}
    rest |= {column: '{"url": "http://h/", "json": [' + ",".join(values) + "]}"}
    job = '{"kind": "http", "every_seconds": 60, "target": %(target)s, "metadata": %(metadata)s}'
    began = time.monotonic()

    answer = await api.post(
        "/v1/jobs/batch",
        content="[" + ",".join([job % rest] * 50) + "]",
        headers={"content-type": "application/json"},
        timeout=60,
    )

    errors = answer.json()["errors"]
    assert (answer.status_code, len(errors)) == (422, 50)
    assert {one["field"] for one in errors} == {f"[{index}].{column}" for index in range(50)}
    assert all("bytes as Postgres writes it out" in one["message"] for one in errors)
    assert time.monotonic() - began < 4 * QUICK_SECONDS


LONG = {
    "powers": "1e308," * 160_000 + "1",
    "ordinary numbers": "1.5," * 240_000 + "1",
    "zeros": "0e308," * 160_000 + "1",
    "texts": '"a",' * 240_000 + "1",
    "objects": "{}," * 300_000 + "1",
    "brackets": "[" * 99 + "]" * 99 + ",1e308" * 160_000,
    "what is no JSON at its end": "1e308," * 160_000 + "?",
}


@pytest.mark.parametrize("values", LONG.values(), ids=LONG)
@pytest.mark.parametrize("door", ["post", "put", "patch", "batch"])
async def test_no_body_holds_up_other_requests(
    api: httpx.AsyncClient, door: str, values: str
) -> None:
    """By what runs on the event loop, which the test shares with the API."""
    job = '{"kind": "http", "every_seconds": 60, "target": {"url": "http://h/", "json": [%s]}}'
    await api.put("/v1/jobs/one", content=job % "1")
    method, path, body = {
        "post": ("POST", "/v1/jobs", job),
        "put": ("PUT", "/v1/jobs/one", job),
        "patch": ("PATCH", "/v1/jobs/one", '{"target": {"json": [%s]}}'),
        "batch": ("POST", "/v1/jobs/batch", "[" + job + "]"),
    }[door]
    on_the_loop = []
    loop = threading.get_ident()
    real = body_reader.read

    def noted(body: bytes, *args: object, **options: object) -> object:
        if threading.get_ident() == loop:
            on_the_loop.append(len(body))
        return real(body, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_reader, "read", noted)
        patch.setattr(batch_reader, "read", noted)
        answer = await api.request(method, path, content=body % values, timeout=60)

    assert answer.status_code in {400, 422}
    assert all(length <= body_reader.MAX_AT_ONCE_BYTES for length in on_the_loop)


@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-10, 10, places=20))
@example(value=5e-324)
@example(value=-0.0)
def test_numbers_are_read_alike_on_the_quick_way(value: object) -> None:
    text = str(value)
    read = number(text)

    assert Decimal(bytes(read).decode() if isinstance(read, Raw) else repr(read)) == Decimal(text)


@given(document=JSON_VALUES)
def test_what_the_numbers_of_a_text_take_is_never_too_much(document: object) -> None:
    text = json.encode(document)
    longest = len(json.encode(document)) * MAX_GROWTH_LENGTH

    assert not numbers_exceed(text, longest)
    for most in (0, 10, 100, 1000):
        assert exceeds(document, most) or not numbers_exceed(text, most)


@pytest.mark.parametrize(
    "hostile", ['"' + '\\"' * 300_000, "1" * 600_000, "1e" * 300_000, '"' * 600_000]
)
@pytest.mark.alone
def test_the_numbers_of_any_text_are_counted_in_one_pass(hostile: str) -> None:
    began = time.monotonic()
    numbers_exceed(hostile.encode(), 10**9)
    assert time.monotonic() - began < QUICK_SECONDS


async def test_a_look_claims_a_few_large_targets_at_a_time_and_all_small_ones(
    connection: asyncpg.Connection, database_url: str
) -> None:
    due = datetime.now(UTC)
    for _ in range(40):
        await insert_job(connection, target=LARGE, run_at=due)
    for _ in range(100):
        await insert_job(connection, run_at=due.replace(year=due.year - 1))

    found = []
    async with open_session(database_url, wake=lambda: None, application_name="test") as session:
        while True:
            look = await look_once(session, limit=500)
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
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    *,
    compressed: bool,
) -> None:
    monkeypatch.setattr("app.scheduler.next_look.PACE", 0.0)  # every look sees what is long due
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

    affordable = [
        await connection.fetchval(
            "select count(tocsin.long_target(id, $2)) from unnest($1::uuid[]) as id", ids, most
        )
        for most in (1, 600_000, 1_048_576, 100_000_000)
    ]

    assert stored < 100_000
    assert affordable == [1, 2, 4, 20]


@pytest.mark.parametrize("number", ["1e131071", "1e-16383", "1e9999"])
async def test_a_look_reads_no_more_of_what_is_short_only_when_stored(
    connection: asyncpg.Connection, database_url: str, number: str
) -> None:
    due = datetime.now(UTC)
    for _ in range(300):
        await connection.execute(
            """insert into tocsin.jobs (kind, run_at, target)
               values ('http', $1, ('{"url": "http://h/", "json": ' || $2 || '}')::jsonb)""",
            due - timedelta(seconds=60),
            number,
        )
    await insert_job(connection, run_at=due)

    found = []
    async with open_session(database_url, wake=lambda: None, application_name="test") as session:
        while sum(map(len, found)) < 301:
            look = await look_once(session, limit=500)
            assert look.claims
            found.append([len(claim.target) for claim in look.claims])

    assert all(sum(lengths) <= 2**20 + 100 for lengths in found)


@pytest.mark.parametrize("growing", ["exponents", "places", "keys"])
async def test_a_target_that_came_past_every_judgement_is_put_aside_and_delays_nobody(
    connection: asyncpg.Connection, instance: StartInstance, sink: Sink, growing: str
) -> None:
    due = datetime.now(UTC)
    await connection.execute("set session_replication_role = replica")
    hostile = await connection.fetch(
        f"""insert into tocsin.jobs (
                kind, run_at, next_run, scheduled_for, planned_at, validated, target)
            select 'http', $1, $1, $1, $1, true,
                jsonb_build_object('url', 'http://h/', 'json', {GROWING[growing]})
            from generate_series(1, 5) returning id""",
        due - timedelta(seconds=60),
    )
    await connection.execute("reset session_replication_role")
    async with instance(longest_sleep_seconds=5):
        bystander = await insert_job(connection, target={"url": sink.url("/")}, run_at=due)

        async def all_done() -> bool:
            return bool(
                await connection.fetchval(
                    """select count(*) filter (where plan_error like '%262144 bytes%') = 5
                           and count(*) filter (where last_outcome = 'succeeded') = 1
                       from tocsin.jobs"""
                )
            )

        await until(all_done, "the bystander ran and the others were put aside", within=30.0)

    late = await connection.fetchval(
        """select extract(epoch from started_at - scheduled_for)::float8 from tocsin.executions
           where job_id = $1""",
        bystander,
    )
    assert len(hostile) == 5
    assert late < QUICK_SECONDS


@pytest.mark.alone
async def test_what_comes_compressed_from_another_table_is_judged_as_it_is_written_out(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        f"""create temp table source as
            select jsonb_build_object('url', 'http://h/', 'json', {GROWING["places"]})
                as document"""
    )
    assert await connection.fetchval("select pg_column_size(document) from source") < 3000
    began = time.monotonic()

    with pytest.raises(asyncpg.CheckViolationError, match="target has more than 262144 bytes"):
        await connection.execute(
            """insert into tocsin.jobs (kind, run_at, target)
               select 'http', now(), document from source"""
        )

    assert time.monotonic() - began < QUICK_SECONDS


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=JSON_VALUES, times=st.sampled_from([1, 200, 3000]))
@example(document=1e308, times=3000)
@example(document="\x01", times=3000)
@example(document=[0.1, None, False, {}], times=3000)
async def test_what_fits_is_what_has_so_few_bytes_however_it_is_found(
    connection: asyncpg.Connection, document: object, times: int
) -> None:
    text = json.encode([document] * times).decode()
    length = await connection.fetchval("select octet_length($1::jsonb::text)", text)

    for function in ("fits", "fits_at_once") if length > 100 else ("fits",):  # no limit is as low
        for most, fits in ((length, True), (length - 1, False)):
            found = await connection.fetchval(
                f"select tocsin.{function}($1::jsonb, $2)", text, most
            )
            assert found is fits


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
        assert len(answer.content) < 2 * MAX_PAGE_BYTES
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
