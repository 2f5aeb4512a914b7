"""A long run under random faults: `make soak ARGS="--minutes 60 --seed 7"`.

Three instances behind a proxy, a steady load and recurring jobs; every few seconds something
breaks. At the end the checker judges the whole run, and memory has to have stayed flat.
"""

import argparse
import asyncio
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg

from app.devdb.cluster import Cluster
from app.devdb.places import embedded_programs
from tests.faults.conftest import LEASE_SECONDS, SETTINGS, Case, through
from tests.support.checker import Row, table
from tests.support.cluster import Process, Processes, kill_postgres
from tests.support.postgres import SCHEMA, throwaway_cluster
from tests.support.proxy import Cut, Proxy
from tests.support.psql import run_psql
from tests.support.sink import Sink

INSTANCES = 3


class Soak:
    """What breaks things, and what is there to be broken."""

    def __init__(self, case: Case, cluster: Cluster, chance: random.Random) -> None:
        self.case = case
        self.cluster = cluster
        self.chance = chance
        self.instances: list[Process] = []

    async def kill(self) -> None:
        victim = self.instances.pop(self.chance.randrange(INSTANCES))
        await victim.kill()
        self.instances.append(await self.case.processes.instance())

    async def terminate(self) -> None:
        victim = self.instances.pop(self.chance.randrange(INSTANCES))
        victim.send(signal.SIGTERM)
        await victim.ended(within=60)  # its results may be in a connection that has gone deaf
        self.instances.append(await self.case.processes.instance())

    async def freeze(self) -> None:
        victim = self.chance.choice(self.instances)
        victim.freeze()
        await asyncio.sleep(self.chance.uniform(0.5, LEASE_SECONDS + 3))
        victim.thaw()

    async def cut_everything(self) -> None:
        self.case.proxy.cut_all()

    async def cut_at_a_statement(self) -> None:
        statement = self.chance.choice(["claims.look", "claims.settle"])
        trap = self.case.proxy.cut_at(statement, self.chance.choice(list(Cut)))
        async with asyncio.timeout(30):
            await trap.sprung.wait()

    async def stall(self) -> None:
        self.case.proxy.stall_all()
        await asyncio.sleep(self.chance.uniform(0.5, LEASE_SECONDS + 3))
        self.case.proxy.resume_all()

    async def refuse(self) -> None:
        self.case.proxy.refusing = True
        self.case.proxy.cut_all()
        await asyncio.sleep(self.chance.uniform(0.2, LEASE_SECONDS + 2))
        self.case.proxy.refusing = False

    async def half_open(self) -> None:
        for link in self.chance.sample(self.case.proxy.links, k=len(self.case.proxy.links) // 2):
            link.half_open()

    async def kill_postgres(self) -> None:
        kill_postgres(self.cluster)
        await asyncio.sleep(self.chance.uniform(0, 3))
        await asyncio.to_thread(self.cluster.start, 0)

    async def restart_postgres(self) -> None:
        await asyncio.to_thread(self.cluster.stop)
        await asyncio.to_thread(self.cluster.start, 0)

    async def lock_rows(self) -> None:
        person = await asyncpg.connect(self.case.database_url)
        try:
            async with person.transaction():
                await person.execute(
                    "select from tocsin.jobs where next_run < now() + interval '1 s' for update"
                )
                await asyncio.sleep(self.chance.uniform(0.2, LEASE_SECONDS + 1))
        finally:
            await person.close()

    def faults(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            *(self.kill, self.terminate, self.freeze, self.cut_everything),
            *(self.cut_at_a_statement, self.stall, self.refuse, self.half_open),
            *(self.kill_postgres, self.restart_postgres, self.lock_rows),
        ]

    async def run(self, seconds: float) -> None:
        """Break something every few seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(self.chance.uniform(0.5, 4.0))
            fault = self.chance.choice(self.faults())
            with self.case.ledger.fault(fault.__name__):
                await fault()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def resident_kb(process: Process) -> int:
    status = Path(f"/proc/{process.process.pid}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


async def soak(*, minutes: float, seed: int, cluster: Cluster) -> bool:
    """Run it; tell whether all promises were kept."""
    url = cluster.server().url
    chance = random.Random(seed)
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(Sink().listening())
        port = int((cluster.home / "port").read_text("ascii"))
        proxy = await stack.enter_async_context(Proxy("127.0.0.1", port).listening())
        processes = Processes(database_url=through(proxy, url), **SETTINGS)
        await stack.enter_async_context(processes.running())
        connection = await asyncpg.connect(url)
        case = Case(
            name=f"soak of {minutes:g} minutes, seed {seed}",
            database_url=url,
            connection=connection,
            processes=processes,
            proxy=proxy,
            sink=sink,
            chance=chance,
            report=rows.append,
        )
        await case.load.crons(connection, 10)
        await connection.close()
        run = Soak(case, cluster, chance)
        run.instances = [await processes.instance() for _ in range(INSTANCES)]
        async with case.load.running(per_second=30):
            await run.run(minutes * 60)
        try:
            await case.verdict(within=60)
        except AssertionError as error:
            say(f"BROKEN: {error}")
            return False
        finally:
            say(table(rows))
            sizes = [resident_kb(one) for one in run.instances]
            say(f"resident memory of the instances at the end, kB: {sizes}")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    given = parser.parse_args()
    say(f"seed {given.seed}")
    with throwaway_cluster(embedded_programs()) as cluster:
        run_psql(cluster.server().url, files=SCHEMA)
        kept = asyncio.run(soak(minutes=given.minutes, seed=given.seed, cluster=cluster))
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
