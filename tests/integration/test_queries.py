"""Every statement of `db/queries` fits the schema, and the hot ones stay index probes at size."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from uuid import uuid4

import asyncpg
import pytest
from msgspec import json

from app.db import claims
from app.db.listener import open_session
from app.db.queries import load_queries, parse_queries, query
from tests.support.postgres import PostgresServer

ROWS = 100_000
LITERALS = {
    "limit": 100,
    "ahead_seconds": 0.02,
    "lease_seconds": 60.0,
    "kinds": "'{http}'",
    "instance": "'me'",
    "aside": "'{}'",
    "only": "null",
    "believed": "null",
}
SINCES = ["null", "now() - interval '2 seconds'"]


@pytest.fixture(scope="module")
def module_databases(
    postgres_servers: Callable[[str], PostgresServer],
) -> Iterator[Callable[[str], str]]:
    """Give a database of each server, by its name, which the tests of this module share."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(postgres_servers(name).database()))


@pytest.mark.parametrize("name", sorted(load_queries()))
async def test_every_query_prepares_on_every_postgres(
    name: str, any_postgres: PostgresServer, module_databases: Callable[[str], str]
) -> None:
    connection = await asyncpg.connect(module_databases(any_postgres.name))
    try:
        statement = await connection.prepare(query(name).sql)
        parameters = statement.get_parameters()
    finally:
        await connection.close()

    assert len(parameters) == len(query(name).parameters)


def test_parameters_are_numbered_in_the_order_of_their_first_use() -> None:
    text = "-- name: one\n-- why\nselect :b::int, :a, :b, 'HH24:MI', x::text from t;\n"

    one = parse_queries("group", text)["one"]

    assert one.parameters == ("b", "a")
    assert one.sql == "/* group.one */ select $1::int, $2, $1, 'HH24:MI', x::text from t"
    assert one.arguments({"a": 1, "b": 2}) == [2, 1]


@pytest.mark.parametrize(
    "name", sorted(name for name, query in load_queries().items() if query.reads)
)
async def test_what_is_said_to_read_writes_no_row(name: str, module_database: str) -> None:
    nulls = ", ".join(["null"] * len(query(name).parameters))
    connection = await asyncpg.connect(module_database)
    try:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        await connection.execute(f"prepare one as {query(name).sql}")
        plan = await connection.fetch(f"explain execute one{f'({nulls})' if nulls else ''}")
    finally:
        await connection.close()
    text = "\n".join(line for (line,) in plan)

    assert not re.search(r"^\W*(Insert|Update|Delete|Merge) on", text, re.MULTILINE), text


def test_no_query_depends_on_how_a_database_reads_backslashes() -> None:
    assert [name for name, one in load_queries().items() if "\\" in one.sql] == []


def test_arguments_must_be_those_of_the_query() -> None:
    with pytest.raises(TypeError, match="keep_from"):
        query("upkeep.prune_audit_log").arguments({"retention": 1})


async def filled(
    connection: asyncpg.Connection, *, rows: int = ROWS, interval: str = "1 second"
) -> None:
    """Write jobs of which the first was due an hour ago, and one more each `interval`."""
    await connection.execute("alter table tocsin.jobs disable trigger all")
    await connection.execute(
        """insert into tocsin.jobs
               (kind, target, run_at, next_run, scheduled_for, planned_at, unchecked)
           select 'http', '{"url": "x"}', at, at, at, now(), false
           from (select now() - interval '1 hour' + n * $2::text::interval as at
                 from generate_series(1, $1) n) as instants""",
        rows,
        interval,
    )
    await connection.execute("alter table tocsin.jobs enable trigger all")
    await connection.execute("analyze tocsin.jobs")


def scans(plan: dict[str, object]) -> list[tuple[str, str, int]]:
    """Return (node, index or relation, rows read) of every scan in a plan."""
    found = []
    if "Scan" in str(plan["Node Type"]) and "Relation Name" in plan:
        read = int(str(plan["Actual Rows"]).split(".")[0]) + int(
            str(plan.get("Rows Removed by Filter", 0))
        )
        found.append((str(plan["Node Type"]), str(plan.get("Index Name")), read))
    for child in plan.get("Plans", []):  # type: ignore[attr-defined]
        found += scans(child)
    return found


async def look_plan(database: str, *, since: str = "null") -> list[tuple[str, str, int]]:
    """Return the scans of a look as an instance's session makes it: planned without its values."""
    async with open_session(database, wake=lambda: None, application_name="test") as session:
        look = query("claims.look")
        await session.connection.execute(f"prepare look as {look.sql}")
        literals = LITERALS | {"since": since}
        values = ", ".join(str(literals[name]) for name in look.parameters)
        plan = await session.connection.fetchval(
            f"explain (analyze, format json) execute look ({values})"
        )
    return scans(json.decode(plan)[0]["Plan"])


async def test_a_look_reads_as_many_rows_as_it_claims(any_database: str) -> None:
    connection = await asyncpg.connect(any_database)
    await filled(connection)
    await connection.close()

    found = await look_plan(any_database)

    assert {node for node, _, _ in found} <= {"Index Scan", "Index Only Scan"}
    assert {index for _, index, _ in found} == {
        "jobs_claimable",
        "jobs_pkey",
        "jobs_unplanned",
        "pauses_order",
        "polling_pkey",
    }
    assert max(read for _, _, read in found) == 100


async def test_asking_for_unchecked_targets_reads_none_of_those_checked(any_database: str) -> None:
    connection = await asyncpg.connect(any_database)
    await filled(connection)
    unchecked = query("targets.unchecked")
    await connection.execute(f"prepare unchecked as {unchecked.sql}")
    given = {"kinds": "'{amqp,http}'", "aside": "'{}'"}
    values = ", ".join(given.get(name, "null") for name in unchecked.parameters)

    plan = await connection.fetchval(f"explain (analyze, format json) execute unchecked ({values})")

    await connection.close()
    assert {index for _, index, _ in scans(json.decode(plan)[0]["Plan"])} >= {"jobs_unchecked"}
    assert max(read for _, _, read in scans(json.decode(plan)[0]["Plan"])) == 0


async def test_a_page_of_the_audit_log_reads_no_jobs_but_its_own_and_those_under_way(
    any_database: str,
) -> None:
    connection = await asyncpg.connect(any_database)
    await filled(connection, rows=20_000)
    await connection.execute(
        """alter table tocsin.jobs disable trigger all;
           create sequence numbers;
           update tocsin.jobs set creation = nextval('numbers');
           update tocsin.jobs set locked_until = now() + interval '1 hour' where creation <= 100;
           alter table tocsin.jobs enable trigger all"""
    )
    await connection.execute("vacuum analyze tocsin.jobs")
    page = query("audit.page")
    await connection.execute(f"prepare page as {page.sql}")
    values = ", ".join("20" if name == "limit" else "null" for name in page.parameters)

    plan = await connection.fetchval(f"explain (analyze, format json) execute page ({values})")

    await connection.close()
    assert max(read for _, _, read in scans(json.decode(plan)[0]["Plan"])) == 100


@pytest.mark.parametrize("rows", [2_000, 20_000])
async def test_a_look_at_a_backlog_reads_no_more_than_it_claims(
    any_database: str, rows: int
) -> None:
    connection = await asyncpg.connect(any_database)
    await filled(connection, rows=rows, interval="1 millisecond")
    await connection.close()

    found = await look_plan(any_database)

    assert max(read for _, _, read in found) == 100


@pytest.mark.parametrize("since", SINCES)
async def test_a_look_at_a_sleeping_table_reads_one_row(any_database: str, since: str) -> None:
    connection = await asyncpg.connect(any_database)
    await filled(connection)
    await connection.execute("alter table tocsin.jobs disable trigger all")
    await connection.execute("update tocsin.jobs set next_run = next_run + interval '1 day'")
    await connection.execute("vacuum analyze tocsin.jobs")
    await connection.close()

    found = await look_plan(any_database, since=since)

    assert {node for node, _, _ in found} <= {"Index Scan", "Index Only Scan"}
    assert max(read for _, _, read in found) <= 1


async def test_the_first_look_of_a_session_asks_the_server_about_no_type(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = asyncpg.Connection._introspect_types

    async def noted(connection: asyncpg.Connection, oids: Iterable[int], *rest: object) -> object:
        asked.extend(oids)
        return await real(connection, oids, *rest)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", noted)
    async with open_session(database_url, wake=lambda: None, application_name="test") as session:
        assert asked  # at its start
        asked.clear()
        for ids in ([], [uuid4()]):
            look = await claims.look(
                session,
                limit=1,
                ahead_seconds=0.0,
                lease_seconds=60.0,
                kinds=("http",),
                instance="me",
                aside=ids,
                only=ids,
            )
            assert look.claims == []

    assert asked == []


async def test_what_an_old_snapshot_keeps_below_the_floor_is_not_walked(any_database: str) -> None:
    connection, reader = await asyncpg.connect(any_database), await asyncpg.connect(any_database)
    await filled(connection)
    await reader.execute("begin isolation level repeatable read; select 1 from tocsin.jobs limit 1")
    await connection.execute("alter table tocsin.jobs disable trigger all")
    # What comes due while this test runs as well: the looks are to claim nothing.
    await connection.execute(
        "update tocsin.jobs set next_run = null where next_run < now() + interval '1 minute'"
    )

    everything = await pages_of_look(any_database, since="null")
    above = await pages_of_look(any_database, since="now() - interval '2 seconds'")

    await reader.close()
    await connection.close()
    assert everything > 100
    assert above < everything / 5


async def pages_of_look(database: str, *, since: str) -> int:
    """Return how many pages a look that claims nothing touches."""
    async with open_session(database, wake=lambda: None, application_name="test") as session:
        look = query("claims.look")
        await session.connection.execute(f"prepare look as {look.sql}")
        literals = LITERALS | {"since": since, "ahead_seconds": 0.0}
        values = ", ".join(str(literals[name]) for name in look.parameters)
        plan = await session.connection.fetchval(
            f"explain (analyze, buffers, format json) execute look ({values})"
        )
    return int(json.decode(plan)[0]["Plan"]["Shared Hit Blocks"])


def test_statements_have_the_parts_that_they_name() -> None:
    text = (
        "-- part: wanted\n-- Why.\na = :a\n\n-- name: some\nselect 1 where {wanted} and b = :b;\n"
    )

    [found] = parse_queries("group", text).values()

    assert found.sql == "/* group.some */ select 1 where a = $1 and b = $2"
    assert found.parameters == ("a", "b")


def test_a_part_that_is_not_above_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="wanted"):
        parse_queries("group", "-- name: some\nselect {wanted}\n")


async def test_an_update_of_a_job_compares_few_columns(any_database: str) -> None:
    connection = await asyncpg.connect(any_database)
    definitions = await connection.fetchval(
        """select string_agg(pg_get_indexdef(indexrelid), ' ')
           from pg_index where indrelid = 'tocsin.jobs'::regclass"""
    )
    columns = await connection.fetchval(
        """select array_agg(attname::text) from pg_attribute
           where attrelid = 'tocsin.jobs'::regclass and attnum > 0"""
    )
    await connection.close()

    behind_a_row = r"'\w+'|\((?:tocsin\.)?whole\(jobs\.\*\)\)\.\w+"
    named = re.findall(r"\w+", re.sub(behind_a_row, "", definitions))

    assert {*named} & {*columns} == {"id", "name", "tags", "metadata", "kind", "run_of", "flow_key"}
