"""procrastinate, tuned as its docs say: asynchronous tasks, one worker with many slots, LISTEN on.

Jobs of later are found by polling only, every 5 s unless told otherwise: here every 100 ms. Done
jobs are deleted, which its docs recommend for throughput.
"""

import common
import procrastinate

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=common.URL, min_size=4, max_size=20)
)
client = common.Client()


@app.task(name="post")
async def post(number: int) -> None:
    await client.post(number)


async def setup() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def enqueue() -> None:
    async with app.open_async():
        jobs = common.jobs()
        for first in range(0, len(jobs), 1000):
            part = jobs[first : first + 1000]
            if all(at is None for _, at in part):
                await post.batch_defer_async(*({"number": number} for number, _ in part))
                continue
            for number, at in part:
                await post.configure(schedule_at=at).defer_async(number=number)


async def insert() -> None:
    async with app.open_async():
        common.ready()
        await common.inserting(lambda number: post.defer_async(number=number))


async def work() -> None:
    async with app.open_async():
        common.ready()
        await app.run_worker_async(
            concurrency=common.CONCURRENCY,
            fetch_job_polling_interval=0.1,
            delete_jobs="successful",
            install_signal_handlers=False,
        )


common.run(setup=setup, enqueue=enqueue, insert=insert, work=work)
