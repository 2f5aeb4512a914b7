"""Jobs are paused by their tag while instances die: nothing starts, and then all goes on."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.waiting import until

JOBS = 3
PAUSE_SECONDS = 5.0
CLAIMED_SECONDS = 0.5
"""How long what was claimed before the pause may wait in its instance."""


async def test_a_pause_of_a_tag_holds_and_ends_by_itself_though_instances_are_killed(
    case: Case,
) -> None:
    running = await case.processes.instances(3)
    job_ids = [
        await insert_job(
            case.connection, target={"url": case.sink.url()}, every_seconds=1, tags=["reports"]
        )
        for _ in range(JOBS)
    ]
    await case.sink.arrived(2 * JOBS)
    began: datetime = await case.connection.fetchval("select clock_timestamp()")
    ends = began + timedelta(seconds=PAUSE_SECONDS)
    await case.connection.execute("select * from tocsin.pause_tag('reports', null, $1)", ends)

    for victim in running[:2]:
        await case.moment(1.0)
        await victim.kill()
        await case.processes.instance()

    async def go_on() -> bool:
        rows = [row for id in job_ids for row in await executed(case, id)]
        later = {row["job_id"] for row in rows if row["started_at"] > ends}
        return later == set(job_ids)

    await until(go_on, "each job goes on", within=PAUSE_SECONDS + 10 * LEASE_SECONDS)
    for job_id in job_ids:
        rows = await executed(case, job_id)
        late = began + timedelta(seconds=CLAIMED_SECONDS)
        assert [row for row in rows if late < row["started_at"] < ends] == []
        carried_out = [row["scheduled_for"] for row in rows if row["outcome"] == "succeeded"]
        assert len(carried_out) == len(set(carried_out))
        job = await job_row(case.connection, job_id)
        assert (job["paused_at"], job["pending_runs"]) == (None, 0)
    assert await case.connection.fetchval("select count(*) from tocsin.pauses") == 0


async def executed(case: Case, job_id: UUID) -> list[dict[str, Any]]:
    rows = await execution_rows(case.connection, job_id)
    return [dict(row) for row in rows if row["started_at"] is not None]
