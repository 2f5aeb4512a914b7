"""A dry run of each write that the API has answers as if it were done, and changes nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx

from app.db.listener import Session
from tests.repository.test_openapi import DOCUMENT
from tests.support.api import LATER, NIGHTLY, serving
from tests.support.recorder import Recorder
from tests.support.sessions import claimed_one
from tests.support.vault import KEY

TABLES = """
    select relname from pg_class
    where relnamespace = 'tocsin'::regnamespace and relkind in ('r', 'p') and not relispartition
"""
URL = {"url": "http://127.0.0.1:9/"}
SET = {"set": "billing", "jobs": {"of-set": {"http": URL, "cron": "@daily"}}}
THERE: list[tuple[str, str, Any]] = [
    ("PUT", "secrets/token", {"value": "sesame"}),
    ("PUT", "calendars/work", {"weekly": ["MON-FRI 09:00-17:00"]}),
    ("PUT", "flows/tenant", {"max_concurrency": 3}),
    ("PUT", "jobs/there", NIGHTLY | {"tags": ["x"]}),
    ("POST", "jobs/there/skip", {"runs": 2}),
    ("PUT", "jobs/watch", {"kind": "check", "target": {}, "every_seconds": 60}),
    ("POST", "checks/watch/token", None),
    ("PUT", "alerts/channels/ops", {"target": URL}),
    ("PUT", "alerts/rules/all", {"events": ["failed"]}),
    ("POST", "jobs/apply", SET),
]
"""What there is before."""


@asynccontextmanager
async def furnished(api_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the API, with a key and what there is before."""
    async with serving(api_url, Recorder(), secret_keys=(KEY,)) as client:
        made = await client.post("/v1/keys", json={"name": "me", "scopes": ["admin"]})
        client.headers["Authorization"] = f"Bearer {made.json()['key']}"
        for method, path, body in THERE:
            answer = await client.request(method, f"/v1/{path}", json=body)
            assert answer.is_success, answer.text
        yield client


async def made_with_ids(api: httpx.AsyncClient, session: Session) -> dict[str, object]:
    """Make what is known by an id alone: return the ids."""

    async def made(path: str, body: object = None) -> Any:  # noqa: ANN401
        answer = await api.post(f"/v1/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    await made("jobs", LATER | {"name": "once", "run_at": "2020-01-01T00:00:00Z"})
    claim = await claimed_one(session)
    return {
        "pause": (await made("pauses", {"tag": "nobody-has-it"}))["id"],
        "window": (await made("maintenance", {"tag": "y", "ends_at": "2100-01-01T00:00:00Z"}))[
            "id"
        ],
        "bulk": (await made("bulk", {"action": "unskip", "filter": {"tag": "y"}}))["id"],
        "key": (await made("keys", {"name": "other", "scopes": ["read"]}))["prefix"],
        "execution": claim.execution_id,
    }


def writes(ids: dict[str, object]) -> dict[str, tuple[str, Any]]:
    """Return the path and the body of each write, by the id of its operation."""
    job, until = NIGHTLY | {"name": "new"}, "2100-01-01T00:00:00Z"
    return {
        "createJob": ("jobs", job),
        "createJobs": ("jobs/batch", [job, LATER]),
        "putJob": ("jobs/there", NIGHTLY | {"priority": 2}),
        "patchJob": ("jobs/there", {"description": "other"}),
        "deleteJob": ("jobs/there", None),
        "pauseJob": ("jobs/there/pause", {"reason": "moved"}),
        "resumeJob": ("jobs/there/resume", None),
        "runJob": ("jobs/there/run", None),
        "skipRuns": ("jobs/there/skip", {"runs": 1}),
        "unskipRuns": ("jobs/there/unskip", None),
        "testJob": ("jobs/there/test", None),
        "testTarget": ("tests", {"kind": "http", "target": URL}),
        "planJobs": ("jobs/plan", SET | {"jobs": {}}),
        "applyJobs": ("jobs/apply", SET | {"jobs": {}, "prune": "delete"}),
        "deleteSet": ("sets/billing", None),
        "cancelExecution": (f"executions/{ids['execution']}/cancel", {"retry": True}),
        "replayExecution": (f"executions/{ids['replayed']}/replay", None),
        "askBulk": ("bulk", {"action": "pause", "filter": {"tag": "x"}}),
        "cancelBulk": (f"bulk/{ids['bulk']}/cancel", None),
        "beginMaintenance": ("maintenance", {"tag": "x", "ends_at": until}),
        "endMaintenance": (f"maintenance/{ids['window']}", None),
        "pause": ("pauses", {"all": True}),
        "endPause": (f"pauses/{ids['pause']}/resume", None),
        "makeCheckToken": ("checks/watch/token", None),
        "revokeCheckToken": ("checks/watch/token", None),
        "previewSchedule": ("schedule/preview", {"cron": "@daily"}),
        "putFlow": ("flows/tenant", {"max_concurrency": 4}),
        "deleteFlow": ("flows/tenant", None),
        "releaseFlow": ("flows/tenant/release", None),
        "pauseFlow": ("flows/tenant/pause", {"reason": "moved"}),
        "resumeFlow": ("flows/tenant/resume", None),
        "putAlertRule": ("alerts/rules/all", {"events": ["missed"]}),
        "deleteAlertRule": ("alerts/rules/all", None),
        "putAlertChannel": ("alerts/channels/new", {"target": URL}),
        "deleteAlertChannel": ("alerts/channels/ops", None),
        "testAlertChannel": ("alerts/channels/ops/test", None),
        "putCalendar": ("calendars/work", {"weekly": ["MON 09:00-10:00"]}),
        "deleteCalendar": ("calendars/work", None),
        "createKey": ("keys", {"name": "new", "scopes": ["read"]}),
        "revokeKey": (f"keys/{ids['key']}", None),
        "putSecret": ("secrets/token", {"value": "other"}),
        "deleteSecret": ("secrets/token", None),
    }


async def state_of(connection: asyncpg.Connection) -> dict[str, str | None]:
    """Return a digest of the rows of each table."""
    return {
        name: await connection.fetchval(
            f"""select md5(string_agg(of.line, ',' order by of.line)) from tocsin.{name} t,
                lateral (select (to_jsonb(t) - 'last_used_at')::text) as of (line)"""
        )
        for [name] in await connection.fetch(TABLES)
    }


async def test_a_dry_run_of_any_write_answers_and_leaves_all_as_it_was(
    api_url: str, connection: asyncpg.Connection, session: Session
) -> None:
    async with furnished(api_url) as api:
        await try_all(api, connection, session)


async def try_all(api: httpx.AsyncClient, connection: asyncpg.Connection, session: Session) -> None:
    ids = await made_with_ids(api, session)
    ids["replayed"] = await connection.fetchval(
        """insert into tocsin.executions (job_id, kind, scheduled_for, attempt, outcome, started_at)
           select id, kind, now(), 1, 'failed', now() from tocsin.jobs where name = 'there'
           returning id"""
    )
    known = writes(ids)
    wrong = []
    before = await state_of(connection)
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method == "get" or not path.startswith("/v1/"):
                continue
            assert operation["operationId"] in known, "have writes() try it too"
            at, body = known.pop(operation["operationId"])
            key = {"Idempotency-Key": operation["operationId"]} if method == "post" else {}
            answer = await api.request(
                method.upper(), f"/v1/{at}?dry_run=true", json=body, headers=key
            )
            after = await state_of(connection)
            changed = [name for name in before if before[name] != after[name]]
            if not answer.is_success or changed:
                wrong.append(
                    (operation["operationId"], answer.status_code, answer.text[:200], changed)
                )

    assert not wrong
    assert known == {}
