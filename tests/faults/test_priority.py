"""Raised and spread runs amid a storm, while instances die: each is carried out, none early."""

from datetime import timedelta

from app.core.schedule.schedule import Schedule
from app.core.schedule.spread import effective
from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job
from tests.support.sink import late, reply
from tests.support.waiting import until

STORM = 400
RUNS = 5


async def test_raised_and_spread_runs_are_each_carried_out_though_instances_are_killed(
    case: Case,
) -> None:
    running = await case.processes.instances(2)
    case.sink.on("/storm", late(0.05, reply()))
    starts_at = await case.connection.fetchval(
        "select date_trunc('second', now()) + interval '2 s'"
    )
    job_id = await insert_job(
        case.connection,
        target={"url": case.sink.url("/raised")},
        every_seconds=1,
        starts_at=starts_at,
        max_runs=RUNS,
        misfire="run_all",
        priority=3,
        jitter_percent=80,
        backoff_seconds=0,
    )
    await case.connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, backoff_seconds)
           select 'http', jsonb_build_object('url', $2::text), now(), 0
           from generate_series(1, $1::int)""",
        STORM,
        case.sink.url("/storm"),
    )

    for victim in running:
        await case.moment(1.0)
        await victim.kill()
        await case.processes.instance()

    async def all_over() -> bool:
        return bool(
            await case.connection.fetchval(
                """select bool_and(next_run is null and locked_until is null
                       and planned_at is not null) from tocsin.jobs"""
            )
        )

    await until(all_over, "all has been carried out", within=RUNS + 20 * LEASE_SECONDS)
    rows = await execution_rows(case.connection, job_id)
    done = [row for row in rows if row["outcome"] == "succeeded"]
    schedule = Schedule(every_seconds=1, starts_at=starts_at, jitter_percent=80)
    nominal = [starts_at + timedelta(seconds=n) for n in range(RUNS)]
    assert [row["scheduled_for"] for row in done] == nominal
    early = [
        (
            row["attempt"],
            row["outcome"],
            row["reason"],
            due,
            row["started_at"],
            row["started_at"] - due,
        )
        for row in rows
        if row["started_at"]
        and row["started_at"] < (due := effective(schedule, row["scheduled_for"], job_id=job_id))
    ]
    assert early == []
    left = await case.connection.fetchval(
        """select count(*) from tocsin.jobs j where run_at is not null and not exists (
               select from tocsin.executions e where e.job_id = j.id and e.outcome = 'succeeded')"""
    )
    assert left == 0
