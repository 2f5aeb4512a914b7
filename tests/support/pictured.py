"""What the pictures of the documentation show: a made-up night, and the morning after it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx

from tests.support.browser import Site

WORKERS = ("worker-1:811:k3d9", "worker-2:807:m2x4")
ETL = {"kind": "http", "target": {"url": "https://etl.example.com/export", "method": "POST"}}
PSP = {"kind": "http", "target": {"url": "https://psp.example.com/settle", "method": "POST"}}
BERLIN = {"timezone": "Europe/Berlin"}
JOBS: dict[str, dict[str, Any]] = {
    "newsletter": BERLIN | {"cron": "0 9 * * 2", "tags": ["marketing"]},
    "cleanup-uploads": {"cron": "H 4 * * *", "tags": ["infra"]},
    **{f"invoices-{n}": {"cron": "0 3 * * *", "tags": ["billing"]} for n in (1, 2, 3, 4)},
    "backup": {"cron": "30 3 * * *", "tags": ["infra"]},
    "nightly-report": BERLIN
    | {"cron": "0 3 * * *", "tags": ["reports"], "calendars": ["business"]},
    "sync-stock": {"every_seconds": 1800, "tags": ["etl"]},
    "settle-payments": PSP | {"every_seconds": 300, "tags": ["billing"], "flow_key": "psp"},
    "warm-cache": {"every_seconds": 60, "tags": ["infra"]},
    "export-warehouse": {
        "cron": "0 1 * * *",
        "tags": ["etl"],
        "timeout_seconds": 30,
        "description": "Yesterday's orders, for the analysts. Owned by data@example.com.",
    },
}
CALENDAR = {
    "description": "When somebody is in the office",
    "timezone": "Europe/Berlin",
    "weekly": ["MON-THU 08:00-18:00", "FRI 08:00-15:00"],
    "holidays": ["DE"],
}
RAN = """
insert into tocsin.executions (job_id, kind, fence, scheduled_for, attempt, outcome, reason,
    status_code, error, response, started_at, finished_at, instance)
select j.id, 'http', $3 - n + 1000 * a, at, 1 + a, outcome,
    case outcome when 'failed' then 'status' end,
    case outcome when 'failed' then 503 else 200 end,
    case outcome when 'failed' then 'the target answered 503' end,
    case outcome when 'failed' then '{"error": "the warehouse is read-only: quota exceeded"}'
        else '{"rows": 48211}' end,
    began, began + ($5 + n * 37 % 290) * interval '1 ms', $6
from tocsin.jobs j, generate_series(1, $3::integer) as n,
    lateral (select case when n <= $4 then 'failed' else 'succeeded' end as outcome) as ends,
    generate_series(0, case outcome when 'failed' then 2 else 0 end) as a,
    lateral (select $2::text::interval as every, $8::text::interval as start) as given,
    lateral (select date_trunc($7, now(), 'UTC') - (n - 1) * every + start as at) as runs,
    lateral (select at + interval '3 ms' + a * interval '30 s' as began) as attempts
where j.name = $1 and at < now() - interval '2 s'
order by n desc, a
"""
"""Records runs of a job: its name, their distance, how many, how many of the last failed, the
shortest that they take in ms, by which instance, and where they lie in a day or minute."""
REST = """
insert into tocsin.executions (job_id, kind, fence, scheduled_for, outcome, reason, missed_runs,
    missed_until, finished_at)
select id, 'http', 7, now() - interval '31 min', 'missed', 'overlap', 2, now() - interval '30 min',
    now() - interval '30 min'
from tocsin.jobs where name = 'sync-stock';
insert into tocsin.executions (job_id, kind, fence, scheduled_for, attempt, outcome, reason, error,
    started_at, finished_at, instance)
select id, 'http', 8, now() - interval '14 min', 1, 'timed_out', 'total', 'no answer within 30 s',
    now() - interval '14 min', now() - interval '13 min 30 s', 'worker-2:807:m2x4'
from tocsin.jobs where name = 'settle-payments';
update tocsin.jobs j set created_at = now() - interval '60 days', runs = 50,
    last_outcome = e.outcome, last_finished_at = e.finished_at
from (select distinct on (job_id) * from tocsin.executions order by job_id, id desc) as e
where e.job_id = j.id;
update tocsin.jobs j set next_run = now() + ahead, scheduled_for = now() + ahead
from (values (60, interval '40 s'), (300, interval '2 min'), (1800, interval '11 min'))
    as v (every, ahead)
where j.every_seconds = v.every;
update tocsin.jobs set consecutive_failures = 4 where name = 'export-warehouse';
update tocsin.jobs set locked_by = 'worker-2:807:m2x4', locked_until = now() + interval '1 hour',
    claimed_at = now() - interval '4 s', claimed_for = next_run, claimed_attempt = 1, attempt = 1,
    execution_id = nextval('tocsin.executions_id_seq')
where name = 'backup';
insert into tocsin.flows (flow_key, max_concurrency, rate, period_seconds, burst)
    values ('psp', 3, 20, 60, 5), ('partner-*', 1, null, 1, null), ('reports', 2, null, 1, null);
insert into tocsin.instance_rules (name, version, source, slots, product)
    select name, '2026c', 'system', 100, '0.2.0' from unnest($1::text[]) as name;
"""


async def fill(site: Site, database_url: str) -> dict[str, str]:
    """Make what there is to see; return the headers with which it is seen."""
    person = await asyncpg.connect(database_url)
    async with httpx.AsyncClient(base_url=site.address) as api:
        (await api.put("/v1/calendars/business", json=CALENDAR)).raise_for_status()
        for name, fields in JOBS.items():
            (await api.put(f"/v1/jobs/{name}", json=ETL | fields)).raise_for_status()
        await person.execute("alter table tocsin.jobs disable trigger all")
        one, other = WORKERS
        for ran in (
            ("export-warehouse", "1 day", 50, 4, 900, one, "day", "1 h"),
            *((f"invoices-{n}", "1 day", 30, 0, 300, other, "day", "3 h") for n in (1, 2, 3, 4)),
            ("nightly-report", "1 day", 40, 0, 4000, one, "day", "2 h"),
            ("backup", "1 day", 45, 0, 60_000, other, "day", "3 h 30 min"),
            ("cleanup-uploads", "1 day", 50, 0, 30, one, "day", "4 h 17 min"),
            ("sync-stock", "30 min", 48, 0, 80, other, "minute", "-11 min"),
            ("settle-payments", "5 min", 50, 0, 120, one, "minute", "-3 min"),
            ("warm-cache", "1 min", 59, 0, 4, other, "minute", "-1 min"),
        ):
            name, distance, *rest, start = ran
            await person.execute(RAN, name, distance, *rest, start)
        for statement in REST.split(";")[:-2]:
            await person.execute(statement)
        await person.execute(REST.split(";")[-2], list(WORKERS))
        await person.execute(
            "select tocsin.add_partition(current_date - n) from generate_series(0, 60) as n"
        )
        await person.execute("alter table tocsin.jobs enable trigger all")
        await act(api, person)
        key = await api.post("/v1/keys", json={"name": "ann", "scopes": ["admin"]})
        headers = {"Authorization": f"Bearer {key.json()['key']}"}
        for name, scopes in (("deploys", ["write"]), ("grafana", ["read"])):
            body = {"name": name, "scopes": scopes}
            await api.post("/v1/keys", json=body, headers=headers)
    await person.close()
    return headers


async def act(api: httpx.AsyncClient, person: asyncpg.Connection) -> None:
    """Change some jobs, and have alert rules tell of what fails."""
    changed = {"timeout_seconds": 120, "target": {"url": "https://etl.example.com/v2/export"}}
    (await api.patch("/v1/jobs/export-warehouse", json=changed)).raise_for_status()
    pause = {"reason": "Stock is counted by hand this week"}
    (await api.post("/v1/jobs/cleanup-uploads/pause", json=pause)).raise_for_status()
    await person.execute(
        "update tocsin.jobs set next_run = now() - interval '2 days 3 h' "
        "where name = 'cleanup-uploads'"
    )
    await api.post("/v1/flows/partner-*/pause", json={"reason": "They move their servers"})
    for name, preset, target in (
        ("ops", "slack", {"url": "https://hooks.slack.example.com/${secret:slack}"}),
        ("on-call", "pagerduty", {"url": "https://events.pagerduty.example.com/v2/enqueue"}),
    ):
        await person.execute(
            "insert into tocsin.alert_channels (name, preset, target) values ($1, $2, $3)",
            *(name, preset, httpx.Response(200, json=target).text),
        )
    for rule, events, after, channels in (
        ("failures", ["failed", "recovered"], 3, ["ops"]),
        ("late", ["late"], 1, ["on-call"]),
    ):
        await person.execute(
            "insert into tocsin.alert_rules (name, events, after, channels, seconds) "
            "values ($1, $2, $3, $4, case when 'late' = any($2) then 60 end)",
            *(rule, events, after, channels),
        )
    await person.execute(
        """insert into tocsin.alert_states (rule_id, event, job_id, many, since, last_at, told_at,
                                            execution_id)
           select r.id, 'failed', j.id, 4, e.finished_at - interval '3 days', e.finished_at,
               e.finished_at - interval '1 day', e.id
           from tocsin.alert_rules r, tocsin.jobs j, lateral (
               select * from tocsin.executions x where x.job_id = j.id order by id desc limit 1) e
           where r.name = 'failures' and j.name = 'export-warehouse'"""
    )
    await person.execute(
        """insert into tocsin.alerts (rule_id, rule, event, of_event, job_id, job, many, since,
                                      channel, at, sent_at, delivered_at, failed_at, error)
           select r.id, 'failures', told.event, 'failed', j.id, j.name, told.many,
               now() - told.ago - interval '2 h', 'ops', now() - told.ago, now() - told.ago,
               case when told.error is null then now() - told.ago end,
               case when told.error is not null then now() - told.ago end, told.error
           from tocsin.alert_rules r, (values
               ('export-warehouse', 'failed', 3, interval '31 h', null),
               ('settle-payments', 'recovered', null, interval '50 h', null),
               ('settle-payments', 'failed', 3, interval '51 h', 'the target answered 502')
           ) as told (job, event, many, ago, error) join tocsin.jobs j on j.name = told.job
           where r.name = 'failures' order by told.ago desc"""
    )


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[None]:
    """Have sessions that are named as those of instances."""
    sessions = [
        await asyncpg.connect(
            database_url, server_settings={"application_name": f"tocsin scheduler {name}"}
        )
        for name in WORKERS
    ]
    yield
    for session in sessions:
        await session.close()
