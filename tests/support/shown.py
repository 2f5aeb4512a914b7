"""Every page of the dashboard by its address, and one of everything that they show."""

import asyncpg
from litestar import Litestar
from litestar.routes import HTTPRoute

from tests.support.builders import insert_job

LONG = "a-name-that-goes-on-and-on-" * 3
OUTCOMES = ("succeeded", "failed", "timed_out", "lost", "cancelled")
PARTS = (
    *("app.web.static_files", "app.web.live", "app.web.live_tables"),
    "app.web.open_lists",
)
"""The modules of what pages load, which is no page."""


def page_routes(app: Litestar) -> set[str]:
    """List the routes of all pages, as they are written."""
    return {
        route.path_format
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if "GET" in handler.http_methods
        and handler.fn.__module__.startswith("app.web.")
        and handler.fn.__module__ not in PARTS
    }


async def make_everything(connection: asyncpg.Connection) -> dict[str, str]:
    """Make one of everything, and return the address of a page of each route."""
    await insert_lists(connection)
    job = await insert_job(
        connection, name=LONG, every_seconds=60, tags=["red", "blue"], calendars=["office"]
    )
    paused = await insert_job(connection, name="paused", every_seconds=3600)
    await connection.execute(
        "update tocsin.jobs set paused_at = now(), next_run = now() - interval '3 h' where id = $1",
        paused,
    )
    at = await connection.fetchval("select date_trunc('hour', now())")
    last = 0
    for fence, outcome in enumerate(OUTCOMES):
        last = await connection.fetchval(
            "insert into tocsin.executions (job_id, fence, kind, scheduled_for, attempt, outcome, "
            "started_at, reason, error, response) values ($1, $2::integer, 'http', $4, "
            "$2::integer + 1, $3, now(), 'status', $5, $6) returning id",
            job,
            fence,
            outcome,
            at,
            "the target answered 503",
            "x" * 300,
        )
    await connection.execute("select tocsin.run_now($1)", job)
    bulk = await connection.fetchval(
        "insert into tocsin.bulk_actions (action, filter, options, expected) "
        "values ('skip', '{\"tag\": \"red\"}', '{\"runs\": 1}', 12) returning id"
    )
    addresses = (
        *("/", "/sign-in", "/jobs", "/new-job", "/executions", "/upcoming?hours=24", "/bulk"),
        *("/flows", "/calendars", "/alerts", "/instances", "/audit", "/keys"),
    )
    return {one.partition("?")[0]: one for one in addresses} | {
        "/jobs/{job}": f"/jobs/{job}?done=skipped",
        "/jobs/{job}/edit": f"/jobs/{job}/edit",
        "/jobs/{job}/pause": f"/jobs/{job}/pause",
        "/jobs/{job}/resume": f"/jobs/{paused}/resume",
        "/jobs/{job}/delete": f"/jobs/{job}/delete",
        "/executions/{id}": f"/executions/{last}",
        "/executions/{id}/cancel": "/executions/999999/cancel",
        "/bulk/new": "/bulk/new?of=jobs&q=tag:red",
        "/bulk/{id}": f"/bulk/{bulk}",
    }


async def insert_lists(connection: asyncpg.Connection) -> None:
    """Make what the lists of flows, calendars, alerts and instances show, and a maintenance."""
    job = await insert_job(connection, name="pays", every_seconds=60, flow_key="bank <1>")
    await connection.execute(
        """
        insert into tocsin.flows (flow_key, max_concurrency, rate, period_seconds)
            values ('bank <1>', 3, 10, 60), ('tenant-*', 1, null, 1);
        set tocsin.actor = 'Ann';
        select tocsin.pause_flow('tenant-*', 'it <moves>');
        reset tocsin.actor;
        insert into tocsin.calendars (name, timezone, weekly)
            values ('office', 'UTC', '{MON 09:00-13:00}');
        insert into tocsin.maintenance (tag, starts_at, ends_at, reason)
            values ('red', now() - interval '1 h', now() + interval '1 h', 'new disks');
        insert into tocsin.alert_channels (name, preset, target)
            values ('ops', 'webhook', '{"url": "https://h/${secret:hook}"}');
        insert into tocsin.instance_rules (name, version, source, slots, product)
            values ('host:1:ab', '2026a', 'system', 100, '0.2.0');
        """
    )
    await connection.execute(
        "update tocsin.jobs set locked_by = 'host:1:ab', locked_until = now() + interval '1 hour', "
        "claimed_at = now(), claimed_for = now(), claimed_attempt = 1, attempt = 1, fence = 9, "
        "execution_id = 999999 where id = $1",
        job,
    )
    rule = await connection.fetchval(
        "insert into tocsin.alert_rules (name, events, after, channels) "
        "values ('loud', '{failed}', 3, '{ops}') returning id"
    )
    await connection.execute(
        "insert into tocsin.alert_states (rule_id, event, job_id, many, since, last_at, told_at) "
        "values ($1, 'failed', $2, 4, now(), now(), now())",
        rule,
        job,
    )
    await connection.execute(
        "insert into tocsin.alerts (rule_id, rule, event, job_id, job, many, since, channel) "
        "values ($1, 'loud', 'failed', $2, 'pays', 4, now(), 'ops')",
        rule,
        job,
    )
