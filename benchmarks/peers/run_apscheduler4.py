"""APScheduler 4 (alpha): jobs in Postgres through SQLAlchemy and asyncpg, its own NOTIFY broker."""

import common
from apscheduler import AsyncScheduler
from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore
from apscheduler.eventbrokers.asyncpg import AsyncpgEventBroker
from apscheduler.triggers.date import DateTrigger
from sqlalchemy.ext.asyncio import create_async_engine

client = common.Client()


async def post(number: int) -> None:
    await client.post(number)


def scheduler() -> AsyncScheduler:
    url = common.URL.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, pool_size=20)
    return AsyncScheduler(
        SQLAlchemyDataStore(engine),
        AsyncpgEventBroker(common.URL),
        max_concurrent_jobs=common.CONCURRENCY,
    )


async def setup() -> None:
    async with scheduler():
        pass


async def enqueue() -> None:
    async with scheduler() as one:
        await one.configure_task("post", func=post, max_running_jobs=None)
        for number, at in common.jobs():
            if at is None:
                await one.add_job("post", args=[number])
            else:
                await one.add_schedule("post", DateTrigger(at), args=[number])


async def insert() -> None:
    async with scheduler() as one:
        await one.configure_task("post", func=post, max_running_jobs=None)
        common.ready()
        await common.inserting(lambda number: one.add_job("post", args=[number]))


async def work() -> None:
    async with scheduler() as one:
        await one.configure_task("post", func=post, max_running_jobs=None)
        await one.start_in_background()
        common.ready()
        await one.wait_until_stopped()


common.run(setup=setup, enqueue=enqueue, insert=insert, work=work)
