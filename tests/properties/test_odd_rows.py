"""No row, whatever is in it and however it got there, harms its neighbours."""

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.facts import Connected
from tests.support.builders import insert_job
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

INSTANTS = st.sampled_from(
    ["'infinity'", "'-infinity'", "'4000-01-01 BC'", "'200000-01-01'", "now()", "null"]
)
NUMERICS = st.sampled_from(
    ["1e-400", "1e400", "'NaN'", "'Infinity'", "'-Infinity'", "-1", "0", "round(1, 9000)"]
) | st.decimals(allow_nan=False, allow_infinity=False).map(str)
INTEGERS = st.sampled_from(["2147483647", "-2147483648", "0", "-1", "1001"])
BIGINTS = INTEGERS | st.sampled_from(["9223372036854775807", "-9223372036854775808", "null"])
TEXTS = st.sampled_from(
    [
        *("null", "''", "E'\\u202e'", "E'\\x01\\x7f'", "'a/b'", "repeat('x', 100000)", "'../../x'"),
        *("'\N{PILE OF POO}'", "E'a\\nb'", "'* * * * * *'", "'@every'", "'Mars/Base'", "'skip'"),
    ]
)
DOCUMENTS = st.sampled_from(
    [
        *("'null'", "'[]'", "'1'", "'{}'", """'{"url": null}'""", """'{"url": "\\u0001"}'"""),
        *("""'{"url": "http://[::1"}'""", "(repeat('[', 500) || repeat(']', 500))::jsonb"),
        """jsonb_build_object('url', 'http://h/', 'json', 1e131071)""",
    ]
)
LISTS = st.sampled_from(
    [
        *("'{}'", "null", "'{a,b}'", "'{{a,b},{c,d}}'", "'{NULL}'", "'{\"\"}'", "'{!a,!b,a}'"),
        *("array_fill('x'::text, '{2000}')", "array[repeat('x', 100000)]", "'[5:6]={a,b}'"),
    ]
)
UUIDS = st.sampled_from(["null", "gen_random_uuid()", "'00000000-0000-0000-0000-000000000000'"])
BOOLEANS = st.sampled_from(["null", "true", "false"])
COLUMNS = {
    **dict.fromkeys(("next_run", "scheduled_for", "planned_at", "locked_until"), INSTANTS),
    **dict.fromkeys(("claimed_at", "claimed_for", "starts_at", "ends_at", "run_at"), INSTANTS),
    **dict.fromkeys(("last_finished_at", "created_at", "updated_at", "edited_at"), INSTANTS),
    **dict.fromkeys(("every_seconds", "backoff_seconds", "backoff_max_seconds"), NUMERICS),
    **dict.fromkeys(("timeout_seconds", "misfire_grace_seconds"), NUMERICS),
    **dict.fromkeys(("attempt", "claimed_attempt", "consecutive_failures", "max_runs"), INTEGERS),
    **dict.fromkeys(("max_attempts", "max_catchup", "pending_runs"), INTEGERS),
    **dict.fromkeys(("fence", "execution_id", "runs"), BIGINTS),
    **dict.fromkeys(("description", "cron", "timezone", "dst_gap", "dst_overlap"), TEXTS),
    **dict.fromkeys(("misfire", "overlap", "locked_by", "last_outcome", "name"), TEXTS),
    **dict.fromkeys(("paused_at", "resumed_at", "skip_until"), INSTANTS),
    **dict.fromkeys(("jitter_seconds", "jitter_percent", "min_gap_seconds"), NUMERICS),
    **dict.fromkeys(("skip_runs", "priority"), INTEGERS),
    "creation": BIGINTS,
    **dict.fromkeys(("flow_key", "on_closed", "resume_missed", "request", "plan_error"), TEXTS),
    **dict.fromkeys(("created_by", "created_as", "created_with"), TEXTS),
    **dict.fromkeys(("tags", "calendars"), LISTS),
    "run_of": UUIDS,
    **dict.fromkeys(("validated", "unchecked"), BOOLEANS),
    **dict.fromkeys(("target", "metadata"), DOCUMENTS),
}
ODD_ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(sorted(COLUMNS)), st.just(None), min_size=1, max_size=3
    ).flatmap(lambda names: st.fixed_dictionaries({name: COLUMNS[name] for name in names})),
    min_size=1,
    max_size=12,
)


async def without_constraints(connection: asyncpg.Connection) -> None:
    """Let everything in, as a superuser can."""
    await connection.execute(
        """alter table tocsin.jobs drop constraint if exists jobs_sound;
           alter table tocsin.jobs drop constraint if exists jobs_within_range;
           alter table tocsin.jobs disable trigger all"""
    )


async def insert_odd(connection: asyncpg.Connection, row: dict[str, str], due: str) -> bool:
    """Insert a row of SQL expressions that is due; tell whether Postgres took it."""
    row = {
        "kind": "'http'",
        "target": '\'{"url": "http://127.0.0.1:9/"}\'',
        **dict.fromkeys(("run_at", "next_run", "scheduled_for", "planned_at"), due),
    } | row
    try:
        await connection.execute(
            f"insert into tocsin.jobs ({', '.join(row)}) values ({', '.join(row.values())})"
        )
    except asyncpg.PostgresError:
        return False
    return True


@pytest.mark.timeout(300)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=ODD_ROWS)
async def test_a_bystander_of_odd_rows_is_executed_in_time(
    connection: asyncpg.Connection,
    instance: StartInstance,
    sink: Sink,
    rows: list[dict[str, str]],
) -> None:
    await without_constraints(connection)
    await connection.execute("delete from tocsin.jobs")
    due = await connection.fetchval("select now()::text")
    for row in rows[::2]:
        await insert_odd(connection, row, f"'{due}'")
    await connection.execute("alter table tocsin.jobs enable trigger all")
    bystander = await insert_job(connection, target={"url": sink.url("/")}, cron="* * * * * *")
    one_off = await insert_job(connection, target={"url": sink.url("/")})
    await connection.execute("alter table tocsin.jobs disable trigger all")
    for row in rows[1::2]:
        await insert_odd(connection, row, f"'{due}'")
    await connection.execute("alter table tocsin.jobs enable trigger all")

    async with instance(longest_sleep_seconds=2, grace_seconds=10) as (_, facts):
        await facts.seen(Connected)

        async def both_ran() -> bool:
            ran = await connection.fetchval(
                """select count(*) from tocsin.jobs
                   where id = any($1) and runs > 0 and last_outcome = 'succeeded'""",
                [bystander, one_off],
            )
            return bool(ran == 2)

        await until(both_ran, f"the bystanders ran beside {rows}", within=10.0)
        assert len(facts.of(Connected)) == 1, "no look ended the session"


async def test_no_column_but_id_and_kind_is_left_out_here(connection: asyncpg.Connection) -> None:
    columns = await connection.fetch(
        """select attname::text as name from pg_attribute
           where attrelid = 'tocsin.jobs'::regclass and attnum > 0 and not attisdropped"""
    )

    assert {row["name"] for row in columns} - COLUMNS.keys() == {"id", "kind"}
    assert COLUMNS.keys() <= {row["name"] for row in columns}
