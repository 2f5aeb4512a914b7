"""Does an instance's memory stay flat? `python -m benchmarks.memory [executions]`.

One instance carries out jobs whose receiver answers at once; its resident memory is read after
each tenth. What grows with the number of executions is a leak; the first tenth is warming up.
"""

import asyncio
import sys
from contextlib import AsyncExitStack

import asyncpg

from app.devdb.places import embedded_programs
from tests.support.cluster import Processes
from tests.support.postgres import SCHEMA, throwaway_cluster
from tests.support.psql import run_psql
from tests.support.sink import Sink

EXECUTIONS = 200_000
TENTHS = 10


async def measure(url: str, executions: int) -> list[int]:
    """Return the resident memory, kB, after each tenth of the executions."""
    sizes = []
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(Sink().listening())
        sink.requests = Forgetful()
        processes = Processes(
            database_url=url, concurrency=200, allow_private_targets="true", log_level="warning"
        )
        await stack.enter_async_context(processes.running())
        instance = await processes.start("scheduler")
        connection = await asyncpg.connect(url)
        for _ in range(TENTHS):
            await connection.execute(
                """insert into tocsin.jobs (kind, target, run_at)
                   select 'http', jsonb_build_object('url', $1::text), now()
                   from generate_series(1, $2)""",
                sink.url("/"),
                executions // TENTHS,
            )
            while await connection.fetchval(
                "select exists (select from tocsin.jobs where next_run is not null)"
            ):
                await asyncio.sleep(0.2)
            sizes.append(instance.resident_kb())
            print(
                f"{len(sizes) * executions // TENTHS:>9,} executions: {sizes[-1]:,} kB", flush=True
            )
        await connection.close()
    return sizes


class Forgetful(list):  # type: ignore[type-arg]
    """Keeps nothing: the receiver's own memory is not the question."""

    def append(self, _: object) -> None:
        """Forget it."""


def main() -> None:
    """Measure and tell."""
    executions = int(sys.argv[1]) if len(sys.argv) > 1 else EXECUTIONS
    with throwaway_cluster(embedded_programs()) as cluster:
        run_psql(cluster.server().url, files=SCHEMA)
        sizes = asyncio.run(measure(cluster.server().url, executions))
    print(f"growth after the first tenth: {sizes[-1] - sizes[0]:,} kB")


if __name__ == "__main__":
    main()
