"""Runs are skipped while instances die: each is on record once, and none is carried out."""

from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.waiting import until

SKIPPED = 6


async def test_skipped_runs_are_dropped_once_each_though_instances_are_killed(case: Case) -> None:
    running = await case.processes.instances(2)
    job_id = await insert_job(
        case.connection, name="report", target={"url": case.sink.url("/report")}, every_seconds=1
    )
    await case.sink.arrived(1)
    await case.connection.execute("select * from tocsin.skip('report', $1)", SKIPPED)

    for victim in running:
        await case.moment(1.0)
        await victim.kill()
        await case.processes.instance()

    async def skipped_all() -> bool:
        return (await job_row(case.connection, job_id))["skip_runs"] is None

    await until(skipped_all, "all runs are skipped", within=SKIPPED + 10 * LEASE_SECONDS)
    await case.sink.arrived(len(case.sink.requests) + 1)

    async def recorded() -> bool:
        rows = await execution_rows(case.connection, job_id)
        return rows[-1]["outcome"] == "succeeded"

    await until(recorded, "a run after those is carried out")
    rows = await execution_rows(case.connection, job_id)
    skipped = [row["scheduled_for"] for row in rows if row["reason"] == "skipped"]
    assert len(skipped) == len(set(skipped)) == SKIPPED
    others = {row["scheduled_for"] for row in rows if row["outcome"] not in {"missed", "lost"}}
    assert not [run for run in others if skipped[0] <= run <= skipped[-1]]
