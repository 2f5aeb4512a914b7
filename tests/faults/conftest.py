"""What the fault tests share: processes, proxies, the ledger, and the table at the end."""

import asyncio
import math
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from msgspec import convert, to_builtins

from tests.faults.whole import lacking
from tests.support.chance import seed
from tests.support.checker import Findings, Row, check, lateness, table
from tests.support.cluster import Process, Processes
from tests.support.ledger import Ledger, Load
from tests.support.proxy import Proxy
from tests.support.sink import Sink
from tests.support.waiting import until

LEASE_SECONDS = 3.0
MAX_SLEEP_SECONDS = 2.0
SETTINGS = {
    "lease_seconds": LEASE_SECONDS,
    "longest_sleep_seconds": MAX_SLEEP_SECONDS,
    "grace_seconds": 5.0,
    "concurrency": 50,
    "allow_private_targets": "true",
    "log_level": "debug",
}
EVIDENCE = "promises under faults"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(120))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for how in ("passed", "failed")
        for report in terminalreporter.stats.get(how, [])
        if isinstance(report, pytest.TestReport)
    ]
    rows = [
        convert(value, Row)
        for report in sorted(reports, key=lambda report: report.location)
        for name, value in report.user_properties
        if name == EVIDENCE and report.when == "call"
    ]
    if not rows:
        return
    text = table(rows)
    passed = {one.nodeid for one in reports if one.passed and "tests/faults/" in one.nodeid}
    failed = sum(len(terminalreporter.stats.get(how, ())) for how in ("failed", "error"))
    lacks = lacking(terminalreporter.config, passed, failed=failed)
    terminalreporter.section(EVIDENCE + (f", NOT ALL OF THEM: {lacks}" if lacks else ""))
    terminalreporter.write_line(text)
    if path := os.environ.get("FAULTS_TABLE"):
        if lacks:
            terminalreporter.write_line(f"{path} is left as it is: {lacks}")
        else:
            day = f"{datetime.now(UTC):%-d %B %Y}"
            head = f"Last run: {day}, seed {seed()}, all {len(passed)} fault tests."
            Path(path).write_text(f"{head}\n\n{text}\n", "utf-8")


class Case:
    """One test's cluster: processes, what they call, and the evidence of both."""

    def __init__(  # noqa: PLR0913 - the parts of a test, put together in one place
        self,
        *,
        name: str,
        database_url: str,
        connection: asyncpg.Connection,
        processes: Processes,
        proxy: Proxy,
        sink: Sink,
        chance: random.Random,
        report: Callable[[Row], None],
    ) -> None:
        self.name = name
        self.report = report
        """Takes the row for the table."""
        self.database_url = database_url
        """Not through the proxy."""
        self.connection = connection
        self.processes = processes
        self.proxy = proxy
        self.sink = sink
        self.chance = chance
        """Whatever is left to chance comes from here, so that its seed brings it back."""
        self.ledger = Ledger()
        sink.on("/work", self.ledger.receiver(lambda: chance.uniform(0, 0.2)))
        self.load = Load(
            self.ledger,
            database_url=database_url,
            target_url=sink.url("/work"),
            chance=chance,
        )

    async def moment(self, seconds: float) -> None:
        """Let some time pass, of `seconds` on average: what comes next comes at any moment."""
        await asyncio.sleep(self.chance.uniform(0.5, 1.5) * seconds)

    def one_of(self, running: list[Process]) -> Process:
        """Take one of the processes, whichever, out of the list."""
        return running.pop(self.chance.randrange(len(running)))

    async def verdict(
        self,
        *,
        within: float = 20.0,
        late: float = math.inf,
        measured: Callable[[], float] | None = None,
    ) -> Findings:
        """Wait until all that was promised is delivered, check everything, add to the table.

        `late`: seconds by which none of that may have started too late; by `measured`, or else by
        the rows.
        """
        await self.ledger.until_delivered(self.ledger.runs, within=within)
        connection = await asyncpg.connect(self.database_url)
        latest = None
        try:
            await settled(connection)
            findings = await check(connection, self.ledger)
            if math.isfinite(late):
                latest = measured() if measured else await lateness(connection, self.ledger)
        finally:
            await connection.close()
        row = Row(
            case=self.name.removeprefix("test_").replace("_", " "),
            faults=len(self.ledger.faults),
            findings=findings,
            recoveries=self.ledger.recoveries(),
            within=min((one.within for one in self.ledger.faults), default=math.inf),
            latest=latest,
        )
        self.report(row)
        findings.assert_clean()
        if too_late := self.ledger.late():
            said = "\n\n".join(one.tail() for one in self.processes.started)
            raise AssertionError(f"recovered too late: {too_late}\n{said}")
        assert latest is None or latest < late, f"others were late by {latest:.2f} s"
        return findings


@asynccontextmanager
async def standing(
    request: pytest.FixtureRequest,
    database_url: str,
    sink: Sink,
    chance: random.Random,
    *,
    through_proxy: bool,
) -> AsyncIterator[Case]:
    address = urlsplit(database_url)
    proxy = Proxy(str(address.hostname), address.port or 5432)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(proxy.listening())
        url = through(proxy, database_url) if through_proxy else database_url
        processes = Processes(database_url=url, **SETTINGS)
        await stack.enter_async_context(processes.running())
        connection = await asyncpg.connect(database_url)
        stack.callback(connection.terminate)  # its server may be gone
        yield Case(
            name=request.node.name,
            database_url=database_url,
            connection=connection,
            processes=processes,
            proxy=proxy,
            sink=sink,
            chance=chance,
            report=lambda row: request.node.user_properties.append((EVIDENCE, to_builtins(row))),
        )


@pytest.fixture
async def case(
    request: pytest.FixtureRequest, database_url: str, sink: Sink, chance: random.Random
) -> AsyncIterator[Case]:
    """A cluster whose processes speak to Postgres directly."""
    async with standing(request, database_url, sink, chance, through_proxy=False) as case:
        yield case


@pytest.fixture
async def proxied(
    request: pytest.FixtureRequest, database_url: str, sink: Sink, chance: random.Random
) -> AsyncIterator[Case]:
    """A cluster whose processes speak to Postgres through the proxy."""
    async with standing(request, database_url, sink, chance, through_proxy=True) as case:
        yield case


def through(proxy: Proxy, url: str) -> str:
    """Return the URL with the proxy's address in it."""
    address = urlsplit(url)
    credentials, _, _ = address.netloc.rpartition("@")
    at = f"{credentials}@" if credentials else ""
    return address._replace(netloc=f"{at}127.0.0.1:{proxy.port}").geturl()


async def settled(connection: asyncpg.Connection) -> None:
    """Let the recurring jobs come to rest, each between two executions, and wait for the rest.

    One whose holder died is paused only after another has taken it over: a paused job is not
    claimed, and what became of the dead one's execution is recorded by whoever claims next.
    """

    async def all_rest() -> bool:
        await connection.execute(
            """update tocsin.jobs set paused_at = now()
               where cron is not null and paused_at is null and execution_id is null"""
        )
        return bool(
            await connection.fetchval(
                """select not exists (select from tocsin.jobs where paused_at is null
                   and (cron is not null or execution_id is not null or next_run < now()))"""
            )
        )

    await until(all_rest, "everything was settled")
