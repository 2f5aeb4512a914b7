"""APScheduler 3: one process, jobs kept in Postgres through SQLAlchemy, nothing claimed.

Only the scheduler's own process makes it look again, so single jobs are added there.
"""

import asyncio
from datetime import UTC, datetime

import common
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler

client = common.Client()


async def post(number: int) -> None:
    await client.post(number)


def scheduler() -> AsyncIOScheduler:
    url = common.URL.replace("postgresql://", "postgresql+psycopg://")
    return AsyncIOScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=url)},
        executors={"default": AsyncIOExecutor()},
        job_defaults={"misfire_grace_time": None, "max_instances": 1},
        timezone=UTC,
    )


def add(to: AsyncIOScheduler, number: int, at: datetime | None) -> None:
    to.add_job("__main__:post", "date", run_date=at or datetime.now(UTC), args=[number])


async def setup() -> None:
    one = scheduler()
    one.start(paused=True)
    one.shutdown()


async def enqueue() -> None:
    one = scheduler()
    one.start(paused=True)
    for number, at in common.jobs():
        add(one, number, at)
    one.shutdown()


async def work() -> None:
    one = scheduler()
    one.start()
    common.ready()

    async def insert(number: int) -> None:
        add(one, number, None)

    await common.inserting(insert)
    await asyncio.Event().wait()


common.run(setup=setup, enqueue=enqueue, insert=work, work=work)
