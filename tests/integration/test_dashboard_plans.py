"""What the dashboard asks of Postgres goes by an index and stops at a bound, at whatever size."""

from typing import Any

import asyncpg
import pytest
from msgspec import json

from app.db.queries import load_queries, query

ROWS = 1000
"""Jobs and executions of each sort: many times what any statement here may read."""
BOUND = 100
NOON = "(date_trunc('day', now(), 'UTC') + interval '12 hours')"
"""An instant far from a change of day: at whatever hour one partition has all of the executions."""
JOB = "6f1c9a52-0d53-4d0c-9d0e-3a8f6d1c5b07"
SORTS = {
    "planned": "next_run = now() + n * interval '1 s'",
    "late": "next_run = now() - interval '1 hour'",
    "of a flow": "next_run = now() - interval '1 hour', flow_key = 'a'",
    "invalid": "plan_error = 'minute 61'",
    "of no kind": "kind = 'pager'",
    "failing": "next_run = now() + interval '1 day', consecutive_failures = 2",
    "failed": "next_run = null, last_outcome = 'failed'",
    "leased": "locked_until = now() + interval '1 hour', locked_by = 'a', claimed_at = now(), "
    "claimed_for = now(), claimed_attempt = 1, execution_id = n",
}
GIVEN = {
    "pages.under_way": {"window": "50", "limit": "8"},
    "pages.attention": {"late_seconds": "10", "few": "9"},
    "pages.troubled": {"since": f"{NOON} - interval '1 day'", "window": "50", "limit": "8"},
    "pages.hour": {"since": f"{NOON} - interval '1 hour'", "most": "50"},
    "pages.rows": {"ids": f"array['{JOB}'::uuid]", "most": "50"},
    "pages.pending_runs": {"job_id": f"'{JOB}'", "limit": "20"},
    "pages.firing": {"limit": "9"},
    "pages.in_minute": {"at": "now()", "but": f"'{JOB}'", "most": "50"},
    "instances.stats": {"most": "50", "newest": "50"},
}
"""The statements of the pages, with what they are asked for here."""


@pytest.fixture
async def full(connection: asyncpg.Connection) -> asyncpg.Connection:
    """Fill the tables with many rows of each sort, all of which are what somebody asks for."""
    await connection.execute("alter table tocsin.jobs disable trigger all")
    for name, changes in SORTS.items():
        await connection.execute(
            """insert into tocsin.jobs (kind, target, run_at, next_run, scheduled_for, planned_at,
                                        unchecked, description)
               select 'http', '{"url": "x"}', now(), now(), now(), now(), false, $2
               from generate_series(1, $1)""",
            ROWS,
            name,
        )
        await connection.execute(
            f"""update tocsin.jobs j set {changes}
                from (select id, row_number() over () as n from tocsin.jobs) as numbered
                where j.id = numbered.id and j.description = $1""",
            name,
        )
    await connection.execute(
        f"""insert into tocsin.jobs (kind, target, run_at, next_run, scheduled_for, planned_at,
                                     validated, unchecked, run_of, request)
                select 'http', '{{}}', now(), now() + interval '1 hour', now(), now(), true, null,
                    '{JOB}', 'run_now'
                from generate_series(1, {ROWS});
            insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome,
                                           started_at, finished_at, fence)
                select '{JOB}', 'http', now(), 1, (array['failed', 'succeeded'])[1 + n % 2],
                    {NOON}, {NOON} - ({ROWS} - n) * interval '20 s', n
                from generate_series(1, {ROWS}) as n;
            insert into tocsin.alert_rules (name, events) values ('loud', '{{failed}}');
            insert into tocsin.alert_states (rule_id, event, job_id, many, since, last_at, told_at)
                select r.id, 'failed', gen_random_uuid(), 1, now(), now(), now()
                from tocsin.alert_rules r, generate_series(1, {ROWS});
            analyze tocsin.jobs;
            analyze tocsin.executions;
            analyze tocsin.alert_states;"""
    )
    return connection


def read(plan: dict[str, Any]) -> list[tuple[str, int]]:
    """List the scans of the tables of jobs, executions and alerts, with the rows that each read."""
    relation = str(plan.get("Relation Name", ""))
    found = []
    if relation.startswith(("jobs", "executions", "alert_states")):
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        node = f"{plan['Node Type']} of {plan.get('Index Name') or relation}"
        found.append((node, round(rows * plan["Actual Loops"])))
    for child in plan.get("Plans", ()):
        found += read(child)
    return found


async def test_each_statement_of_the_dashboard_reads_no_more_than_its_bound(
    full: asyncpg.Connection,
) -> None:
    await full.execute("set plan_cache_mode = force_custom_plan")

    for name, given in GIVEN.items():
        one = query(name)
        values = ", ".join(given[parameter] for parameter in one.parameters)
        await full.execute(f"prepare asked as {one.sql}")
        plan = await full.fetchval(f"explain (analyze, format json) execute asked ({values})")
        await full.execute("deallocate asked")
        scans = read(json.decode(plan)[0]["Plan"])

        assert scans, name
        assert {one for one in scans if one[1] > BOUND} == set(), name


def test_no_statement_of_the_pages_is_left_out_here() -> None:
    assert {name for name in load_queries() if name.startswith("pages.")} <= GIVEN.keys()
