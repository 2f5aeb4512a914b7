"""The API dies or stops in the middle of requests: what it has answered stays, and it answers."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import insert_job
from tests.support.cluster import Process
from tests.support.ledger import key_of
from tests.support.rabbit import free_ports

START_SECONDS = 15.0


class Api:
    """An API process that may be replaced by another on the same port."""

    def __init__(self, case: Case) -> None:
        self.case = case
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"

    async def start(self, **settings: object) -> Process:
        """Start a process and wait until it is ready."""
        process = await self.case.processes.start("api", port=self.port, **settings)
        until = time.monotonic() + START_SECONDS
        async with aiohttp.ClientSession() as session:
            while True:
                assert time.monotonic() < until, process.tail()
                try:
                    async with session.get(f"{self.url}/health/ready") as response:
                        if response.status == 200:
                            return process
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)

    async def create(self, session: aiohttp.ClientSession, *, seconds: float = 0.3) -> int:
        """Create a job that runs soon; what is answered with 201 is promised."""
        run_at = datetime.now(UTC) + timedelta(seconds=seconds)
        job = {
            "kind": "http",
            "target": {"url": self.case.load.target_url},
            "run_at": run_at.isoformat(),
            "max_attempts": 20,
            "backoff_seconds": 0.2,
        }
        async with session.post(f"{self.url}/v1/jobs", json=job) as response:
            answer = await response.json()
            if response.status == 201:
                self.case.ledger.runs.add(key_of(UUID(answer["id"]), run_at))
            return response.status

    async def create_steadily(self, stopping: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as session:
            while not stopping.is_set():
                try:
                    async with asyncio.timeout(2.0):
                        await self.create(session)
                except (aiohttp.ClientError, TimeoutError):
                    pass  # never answered: not promised
                await asyncio.sleep(0.02)


@pytest.fixture
async def api(case: Case) -> Api:
    return Api(case)


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_the_api_stops_in_the_middle_of_requests(case: Case, api: Api, how: str) -> None:
    await case.processes.instance()
    process = await api.start()
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(api.create_steadily(stopping), name="client")
        for _ in range(3):
            await case.moment(0.7)
            with case.ledger.fault(f"{how} of the API"):
                await getattr(process, how)()
            process = await api.start()
        stopping.set()

    findings = await case.verdict()

    assert findings.promised > 100


async def test_a_request_under_way_is_answered_before_the_api_stops(proxied: Case) -> None:
    api = Api(proxied)
    process = await api.start()
    async with aiohttp.ClientSession() as session:
        assert await api.create(session, seconds=3600) == 201
        proxied.proxy.delay_seconds = 0.3
        answer = asyncio.create_task(api.create(session, seconds=3600))
        await asyncio.sleep(0.2)

        code = await process.terminate()

        assert (await answer, code) == (201, 0)


async def test_while_postgres_is_away_the_api_says_so_and_then_serves_again(proxied: Case) -> None:
    api = Api(proxied)
    await api.start()
    async with aiohttp.ClientSession() as session:
        proxied.proxy.refusing = True
        proxied.proxy.cut_all()
        refused = await api.create(session, seconds=3600)
        async with session.get(f"{api.url}/health/ready") as response:
            not_ready = response.status
        async with session.get(f"{api.url}/health/live") as response:
            alive = response.status
        proxied.proxy.refusing = False
        async with asyncio.timeout(3.0):
            while (served := await api.create(session, seconds=3600)) == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    assert (refused, not_ready, alive, served) == (503, 503, 200, 201)


async def test_requests_that_take_every_connection_of_the_api_cost_no_lease(
    case: Case, api: Api
) -> None:
    await case.load.crons(case.connection, 5)
    later = datetime.now(UTC) + timedelta(hours=1)
    await insert_job(case.connection, name="later", run_at=later)
    await case.processes.instance()
    await api.start(connections_per_client=300)
    person = await asyncpg.connect(case.database_url)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def edit(number: int) -> int:
            url = f"{api.url}/v1/jobs/later"
            async with session.patch(url, json={"description": f"edit {number}"}) as response:
                return response.status

        with case.ledger.fault("200 requests at once that wait for a lock"):
            async with person.transaction():
                await person.execute("lock table tocsin.audit_log in access exclusive mode")
                requests = [asyncio.create_task(edit(number)) for number in range(200)]
                await asyncio.sleep(LEASE_SECONDS + 1.0)
                waiting = sum(not one.done() for one in requests)
        answers = await asyncio.gather(*requests)
    await person.close()

    findings = await case.verdict()

    assert waiting == 200
    assert set(answers) <= {200, 409, 503}
    assert (findings.explained, findings.recorded) == (0, 0)
