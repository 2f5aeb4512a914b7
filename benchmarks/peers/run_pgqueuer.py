"""pgqueuer on asyncpg: large batches as its benchmark has them, and a short wait between polls.

Jobs of later are found when `dequeue_timeout` is over, 30 s unless told otherwise: here 100 ms.
"""

from datetime import UTC, datetime, timedelta

import asyncpg
import common
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

client = common.Client()
BATCH = 100


async def connected() -> asyncpg.Connection:
    return await asyncpg.connect(common.URL)


async def setup() -> None:
    await Queries(AsyncpgDriver(await connected())).install()


async def enqueue() -> None:
    queries = Queries(AsyncpgDriver(await connected()))
    jobs = common.jobs()
    for first in range(0, len(jobs), 1000):
        part = jobs[first : first + 1000]
        now = datetime.now(UTC)
        await queries.enqueue(
            ["post"] * len(part),
            [str(number).encode() for number, _ in part],
            [0] * len(part),
            [timedelta(0) if at is None else at - now for _, at in part],
        )


async def insert() -> None:
    queries = Queries(AsyncpgDriver(await connected()))
    common.ready()
    await common.inserting(lambda number: queries.enqueue("post", str(number).encode()))


async def work() -> None:
    queuer = PgQueuer(AsyncpgDriver(await connected()))

    @queuer.entrypoint("post")
    async def post(job: Job) -> None:
        await client.post(int(job.payload or b""))

    common.ready()
    await queuer.run(
        batch_size=BATCH,
        max_concurrent_tasks=2 * max(BATCH, common.CONCURRENCY),
        dequeue_timeout=timedelta(milliseconds=100),
    )


common.run(setup=setup, enqueue=enqueue, insert=insert, work=work)
