"""A database of an older version becomes one of the newer: nothing is lost, late or done twice."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from tests.faults.conftest import Case
from tests.support.builders import execution_rows, insert_job
from tests.support.cluster import Process
from tests.support.dump import dumped
from tests.support.ledger import key_of
from tests.support.limited import most_at_once
from tests.support.rabbit import free_ports
from tests.support.sink import Received, Wire
from tests.support.waiting import until
from tests.upgrade.compared import changed_rows, doubtful, rows_at_rest
from tests.upgrade.filled import (
    SECRET,
    SUCCEED,
    create_jobs,
    create_secret_and_key,
    fill,
    times_referred,
)
from tests.upgrade.trees import Tree, upgrades

LATE_SECONDS = 5.0
"""The longest that a job may be late by: processes start beside it, on however busy a machine."""
START_SECONDS = 20.0

BASIC = f"Basic {b64encode(f'me:{SECRET}'.encode()).decode()}"


class Client:
    """A program that reads and writes over the API all the time, and notes what went wrong."""

    def __init__(self, case: Case, url: str, api_key: str) -> None:
        self.case = case
        self.url = url
        """The API to use from now on."""
        self.api = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"}, timeout=LATE_SECONDS
        )
        self.troubles: list[str] = []
        self.calls = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        task = asyncio.create_task(self.call_until(stopping), name="client of the API")
        try:
            yield
        finally:
            stopping.set()
            await task
            await self.api.aclose()

    async def call_until(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            job = await self.create()
            await self.call("GET", f"/v1/jobs/{job}")
            await self.call("GET", "/v1/jobs?state=paused")
            await self.call("PATCH", "/v1/jobs/moves-unchecked", json={"description": job})
            await self.call("GET", "/v1/executions")
            await asyncio.sleep(self.case.chance.uniform(0, 0.6))

    async def create(self) -> str:
        """Create a job that runs soon; what was answered is promised."""
        run_at = datetime.now(UTC) + timedelta(seconds=0.5)
        target = {"url": self.case.load.target_url}
        job = {"kind": "http", "target": target, "run_at": run_at.isoformat()}
        answer = await self.call("POST", "/v1/jobs", json=job)
        if "id" in answer:
            self.case.ledger.runs.add(key_of(UUID(answer["id"]), run_at))
        return str(answer.get("id"))

    async def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the answer; an empty one if it was none of success."""
        try:
            answer = await self.api.request(method, self.url + path, **arguments)
        except httpx.TransportError as error:
            self.troubles.append(f"{method} {path}: {error!r}")
            return {}
        if not answer.is_success:
            self.troubles.append(f"{method} {path}: {answer.status_code} {answer.text}")
            return {}
        self.calls += 1
        return dict(answer.json())


async def start_api(case: Case, tree: Tree) -> tuple[str, Process]:
    """Start an API of a version and wait until it is ready; return its URL too."""
    [port] = free_ports(1)
    process = await case.processes.start("api", tree=tree.path, port=port)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as client:

        async def is_ready() -> bool:
            try:
                return (await client.get(f"{url}/health/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await until(is_ready, "the API is ready", within=START_SECONDS)
    return url, process


async def migrate(case: Case, tree: Tree) -> None:
    process = await case.processes.start("migrate", tree=tree.path)
    assert await process.ended(within=60) == 0, process.tail()


async def end(*processes: Process) -> list[int]:
    """Ask processes to stop, one after the other; return their exit codes."""
    return [await one.terminate() for one in processes]


async def begin_execution(case: Case, ending: asyncio.Event) -> UUID:
    """Have an instance begin an execution of a job that is answered at `ending`."""
    answer = case.ledger.receiver()

    async def behave(wire: Wire, request: Received) -> None:
        await ending.wait()
        await answer(wire, request)

    job_id = await insert_job(case.connection, target={"url": case.sink.on("/slow", behave)})
    await case.sink.until(lambda: any(one.path == "/slow" for one in case.sink.requests))
    return job_id


async def outcomes(connection: asyncpg.Connection, job_id: UUID) -> list[str]:
    return [row["outcome"] for row in await execution_rows(connection, job_id)]


async def until_all_succeeded(connection: asyncpg.Connection) -> None:
    """Wait until each job that was due has had its runs, and no more than those."""

    async def have_run() -> bool:
        rows = await connection.fetch(
            """select j.name, count(*)
               from tocsin.jobs j join tocsin.executions e on e.job_id = j.id
               where e.outcome = 'succeeded' and j.name = any($1) group by j.name""",
            list(SUCCEED),
        )
        return {row["name"]: row["count"] for row in rows} == SUCCEED

    await until(have_run, f"these have succeeded so often: {SUCCEED}")


async def latest_start(connection: asyncpg.Connection, runs: set[str]) -> float:
    """Return how late the latest start of these runs was, seconds."""
    seconds: float = await connection.fetchval(
        """select max(extract(epoch from started_at - scheduled_for))::float8
           from tocsin.executions where job_id = any($1)""",
        [UUID(key.partition(":")[0]) for key in runs],
    )
    return seconds


async def limit_a_flow(case: Case) -> set[str]:
    """Have jobs of a flow be due of which one may execute at a time; return their runs."""
    await case.connection.execute(
        """insert into tocsin.flows (flow_key, max_concurrency) values ('one', 1)
           on conflict (flow_key) do nothing"""
    )
    rows = await case.connection.fetch(
        """insert into tocsin.jobs (kind, target, run_at, flow_key)
           select 'http', jsonb_build_object('url', $1::text), now(), 'one'
           from generate_series(1, 12) returning id, run_at""",
        case.load.target_url,
    )
    runs = {key_of(row["id"], row["run_at"]) for row in rows}
    case.ledger.runs |= runs
    return runs


async def use_what_was_stored(case: Case, client: Client, older: Tree) -> None:
    """Run a job with secrets that were stored before the upgrade, with an API key of then."""
    assert await client.call("POST", "/v1/jobs/at-rest-secret/run")

    often = times_referred(older) * SECRET

    def has_arrived() -> bool:
        return any(
            [one.headers.get(name) for name in ("x-partner", "x-often", "authorization")]
            == [SECRET, often, BASIC]
            for one in case.sink.requests
        )

    await case.sink.until(has_arrived)


@upgrades(breaking=False)
async def test_both_versions_run_side_by_side_under_load(
    case: Case, older: Tree, newer: Tree, fresh_url: str
) -> None:
    await asyncio.to_thread(fill, older, case.database_url, target_url=case.load.target_url)
    api_key = await create_secret_and_key(older, case.database_url, host=case.sink.url(""))
    old_url, old_api = await start_api(case, older)
    client = Client(case, old_url, api_key)
    url = case.load.target_url
    await create_jobs(client.api, f"{old_url}/v1/jobs", tree=older, target_url=url)
    leaving = await case.processes.instances(2, tree=older.path)
    await case.load.crons(case.connection, 3)
    before = await rows_at_rest(case.connection)
    migrated = asyncio.Event()
    slow = await begin_execution(case, migrated)

    async with case.load.running(per_second=10), client.running():
        with case.ledger.fault("an upgrade"):
            await migrate(case, newer)
            limited = await limit_a_flow(case)
            during, calls = await outcomes(case.connection, slow), client.calls
            migrated.set()
            await case.processes.instance(tree=newer.path)
            calls_after = client.calls - calls
            client.url, _ = await start_api(case, newer)
            codes = await end(*leaving, old_api)
        await case.moment(1.0)
        after = await rows_at_rest(case.connection)
        await use_what_was_stored(case, client, older)

    await until_all_succeeded(case.connection)
    await case.verdict()
    assert (codes, client.troubles) == ([0, 0, 0], [])
    assert changed_rows(before, after) == {}
    assert (during, await outcomes(case.connection, slow)) == ([], ["succeeded"])
    assert most_at_once([one for one in case.ledger.deliveries if one.key in limited]) == 1
    assert calls_after > 0, "nobody used the old API after the migration"
    assert await latest_start(case.connection, case.ledger.runs - limited) < LATE_SECONDS
    assert await asyncio.to_thread(dumped, case.database_url) == dumped(fresh_url)
    assert await doubtful(case.connection) == []


@upgrades(breaking=True)
async def test_after_a_breaking_migration_the_older_version_refuses_and_the_newer_goes_on(
    case: Case, older: Tree, newer: Tree, fresh_url: str
) -> None:
    await asyncio.to_thread(fill, older, case.database_url, target_url=case.load.target_url)
    leaving = await case.processes.instance(tree=older.path)
    before = await rows_at_rest(case.connection)

    async with case.load.running(per_second=20):
        with case.ledger.fault("an upgrade that stops all instances"):
            code_of_leaving = await leaving.terminate()
            await migrate(case, newer)
            refused = await case.processes.start("scheduler", tree=older.path)
            code_of_refused = await refused.ended()
            await case.processes.instance(tree=newer.path)
        await case.moment(1.0)

    await until_all_succeeded(case.connection)
    after = await rows_at_rest(case.connection)
    await case.verdict()
    assert (code_of_leaving, code_of_refused) == (0, 1)
    assert "it needs a newer Tocsin" in "\n".join(refused.text)
    assert changed_rows(before, after) == {}
    assert await asyncio.to_thread(dumped, case.database_url) == dumped(fresh_url)
