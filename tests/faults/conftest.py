"""What the fault tests share: processes, proxies, the ledger, and the table at the end."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support.checker import Findings, Row, check, table
from tests.support.cluster import Processes
from tests.support.ledger import Ledger, Load
from tests.support.proxy import Proxy
from tests.support.sink import Sink
from tests.support.waiting import until

LEASE_SECONDS = 3.0
SETTINGS = {
    "lease_seconds": LEASE_SECONDS,
    "longest_sleep_seconds": 2.0,
    "grace_seconds": 5.0,
    "concurrency": 50,
    "allow_private_targets": "true",
    "log_level": "debug",
}
ROWS: list[Row] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(120))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    text = table(ROWS)
    terminalreporter.section("promises under faults")
    terminalreporter.write_line(text)
    if path := os.environ.get("FAULTS_TABLE"):
        Path(path).write_text(text + "\n", "utf-8")


@pytest.fixture
async def processes(database_url: str) -> AsyncIterator[Processes]:
    """Start processes on the test's database, with short leases."""
    async with Processes(database_url=database_url, **SETTINGS).running() as processes:
        yield processes


@pytest.fixture
async def postgres_proxy(database_url: str) -> AsyncIterator[Proxy]:
    """Stand between processes and Postgres."""
    address = urlsplit(database_url)
    async with Proxy(str(address.hostname), address.port or 5432).listening() as proxy:
        yield proxy


@pytest.fixture
async def proxied(database_url: str, postgres_proxy: Proxy) -> AsyncIterator[Processes]:
    """Start processes whose every connection to Postgres goes through the proxy."""
    url = through(postgres_proxy, database_url)
    async with Processes(database_url=url, **SETTINGS).running() as processes:
        yield processes


def through(proxy: Proxy, url: str) -> str:
    """Return the URL with the proxy's address in it."""
    address = urlsplit(url)
    credentials, _, _ = address.netloc.rpartition("@")
    at = f"{credentials}@" if credentials else ""
    return address._replace(netloc=f"{at}127.0.0.1:{proxy.port}").geturl()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def load(ledger: Ledger, sink: Sink, database_url: str) -> Iterator[Load]:
    """Insert jobs for a receiver that notes each delivery and takes a tenth of a second."""
    sink.on("/work", ledger.receiver(0.1))
    return Load(ledger, database_url=database_url, target_url=sink.url("/work"))


Verdict = Callable[..., Awaitable[Findings]]


@pytest.fixture
def verdict(
    request: pytest.FixtureRequest, ledger: Ledger, connection: asyncpg.Connection
) -> Verdict:
    """Wait until all that was promised is delivered, check everything, put it into the table."""

    async def judge(*, within: float = 20.0) -> Findings:
        await ledger.until_delivered(ledger.runs, within=within)
        await settled(connection)
        findings = await check(connection, ledger)
        ROWS.append(
            Row(
                case=request.node.name.removeprefix("test_").replace("_", " "),
                faults=len(ledger.faults),
                findings=findings,
                recoveries=ledger.recoveries(),
            )
        )
        findings.assert_clean()
        return findings

    return judge


async def settled(connection: asyncpg.Connection) -> None:
    """Pause the recurring jobs and wait until nothing is in progress any more."""
    await connection.execute("update tocsin.jobs set paused_at = now() where cron is not null")
    await until(
        lambda: connection.fetchval(
            """select not exists (select from tocsin.jobs
               where locked_until > now() or (next_run < now() and paused_at is null))"""
        ),
        "everything was settled",
    )
