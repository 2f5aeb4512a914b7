"""Instances die, freeze, are stopped; others take over and nothing is lost or done twice."""

import asyncio
import signal
import time

from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.waiting import until

ROUNDS = 3
TAKEN_OVER_SECONDS = LEASE_SECONDS + 1.0
"""The longest until what a dead instance was executing is executed by another."""


async def test_an_instance_is_killed_again_and_again(case: Case) -> None:
    running = await case.processes.instances(2)
    await case.load.crons(case.connection, 5)
    async with case.load.running(per_second=20):
        for _ in range(ROUNDS):
            await case.moment(1.0)
            victim = case.one_of(running)
            with case.ledger.fault(
                "kill -9 of an instance", within=TAKEN_OVER_SECONDS, orphans=True
            ):
                await victim.kill()
            running.append(await case.processes.instance())

    findings = await case.verdict()

    assert findings.promised > 50


async def test_what_a_killed_instance_was_executing_is_taken_over_when_its_lease_ends(
    case: Case,
) -> None:
    victim = await case.processes.instance()
    case.sink.on("/long", case.ledger.receiver(30.0), case.ledger.receiver())
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/long")})
    await case.sink.arrived(1)

    other = await case.processes.instance()
    killed_at = time.monotonic()
    await victim.kill()
    await other.says("settled", outcome="succeeded")

    again = case.ledger.deliveries[1]
    assert again.arrived - killed_at < TAKEN_OVER_SECONDS
    assert (again.attempt, again.key) == (2, case.ledger.deliveries[0].key)
    rows = await execution_rows(case.connection, job_id)
    assert [row["outcome"] for row in rows] == ["lost", "succeeded"]
    assert rows[0]["id"] == case.ledger.deliveries[0].execution_id


async def test_all_instances_are_killed_and_nothing_is_forgotten(case: Case) -> None:
    running = await case.processes.instances(2)
    await case.load.crons(case.connection, 5)
    async with case.load.running(per_second=20):
        await case.moment(1.0)
        with case.ledger.fault("kill -9 of all instances", within=TAKEN_OVER_SECONDS):
            await asyncio.gather(*(one.kill() for one in running))
            await case.moment(1.5)
        await case.processes.instance()

    await case.verdict()


async def test_a_frozen_holder_can_neither_settle_nor_extend_nor_overwrite(case: Case) -> None:
    frozen = await case.processes.instance()
    case.sink.on(
        "/slow",
        case.ledger.receiver(1.0),
        case.ledger.receiver(LEASE_SECONDS),
        case.ledger.receiver(),
    )
    job_id = await insert_job(
        case.connection, target={"url": case.sink.url("/slow")}, every_seconds=3600, next_run=None
    )
    await case.connection.execute("select tocsin.run_now($1)", job_id)
    await case.sink.arrived(1)

    frozen.freeze()
    other = await case.processes.instance()
    await case.sink.arrived(2)  # the other instance has taken over and is at it
    frozen.thaw()
    await frozen.says("lease_lost")
    while_at_it = await job_row(case.connection, job_id)
    await other.says("settled", outcome="succeeded")

    assert while_at_it["state"] == "executing"
    assert (
        while_at_it["locked_by"] != (await execution_rows(case.connection, job_id))[0]["instance"]
    )
    rows = await execution_rows(case.connection, job_id)
    assert [row["outcome"] for row in rows] == ["lost", "succeeded"]
    assert frozen.said("settled") == []
    assert (await job_row(case.connection, job_id))["runs"] == 1
    findings = await case.verdict()
    assert findings.explained == 1


async def test_an_instance_that_freezes_again_and_again_explains_every_duplicate(
    case: Case,
) -> None:
    running = await case.processes.instances(2)
    await case.load.crons(case.connection, 5)
    async with case.load.running(per_second=20):
        for frozen in case.chance.sample(running, k=2):
            await case.moment(0.5)
            with case.ledger.fault("SIGSTOP for longer than a lease"):
                frozen.freeze()
                await asyncio.sleep(LEASE_SECONDS + case.chance.uniform(0.1, 1.0))
                frozen.thaw()

    await case.verdict()


async def test_a_rolling_deploy_hands_everything_over(case: Case) -> None:
    running = await case.processes.instances(2)
    await case.load.crons(case.connection, 5)
    codes = []
    async with case.load.running(per_second=20):
        for _ in range(3):
            await case.moment(0.3)
            with case.ledger.fault("SIGTERM of an instance", within=1.0):
                codes.append(await case.one_of(running).terminate())
            running.append(await case.processes.instance())

    findings = await case.verdict()

    assert codes == [0, 0, 0]
    assert (findings.explained, findings.recorded) == (0, 0)


async def test_what_a_stopped_instance_gives_back_starts_elsewhere_at_once(case: Case) -> None:
    await case.connection.execute("alter table tocsin.jobs disable trigger jobs_900_wake_update")
    stopped = await case.processes.instance(grace_seconds=0.5)
    case.sink.on("/long", case.ledger.receiver(30.0), case.ledger.receiver())
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/long")})
    await case.sink.arrived(1)
    other = await case.processes.instance(longest_sleep_seconds=30, lease_seconds=60)
    await case.connection.execute(
        "update tocsin.jobs set locked_until = now() + interval '60 s' where id = $1", job_id
    )

    code = await stopped.terminate()
    await other.says("settled", outcome="succeeded")

    first, again = case.ledger.deliveries
    assert code == 0
    assert first.ended is not None
    assert again.arrived - first.ended < 1.0
    rows = await execution_rows(case.connection, job_id)
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("cancelled", "drain"),
        ("succeeded", None),
    ]


async def test_a_second_sigterm_cuts_the_grace_short(case: Case) -> None:
    stopped = await case.processes.instance(grace_seconds=60)
    case.sink.on("/long", case.ledger.receiver(30.0))
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/long")})
    await case.sink.arrived(1)

    stopped.send(signal.SIGTERM)
    await stopped.says("draining")
    stopped.send(signal.SIGTERM)

    assert await stopped.ended(within=5.0) == 0
    assert (await job_row(case.connection, job_id))["state"] == "retrying"
    [row] = await execution_rows(case.connection, job_id)
    assert (row["outcome"], row["reason"]) == ("cancelled", "drain")


async def test_a_run_is_started_by_whoever_is_there_when_the_last_instance_died_before_it(
    case: Case,
) -> None:
    case.sink.on("/due", case.ledger.receiver())
    only = await case.processes.instance()
    run_at = await case.connection.fetchval("select clock_timestamp() + interval '1 s'")
    await insert_job(case.connection, target={"url": case.sink.url("/due")}, run_at=run_at)
    await only.kill()
    await until(
        lambda: case.connection.fetchval("select clock_timestamp() > $1", run_at), "it is due"
    )

    later = await case.processes.instance()
    await later.says("settled", outcome="succeeded")

    assert len(case.ledger.deliveries) == 1


async def test_a_restarted_process_of_the_same_host_is_another_instance(case: Case) -> None:
    case.sink.on("/long", case.ledger.receiver(30.0), case.ledger.receiver())
    first = await case.processes.instance()
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/long")})
    await case.sink.arrived(1)
    holder = (await job_row(case.connection, job_id))["locked_by"]

    second = await case.processes.restarted(first)
    await second.says("settled", outcome="succeeded")

    assert second.said("connected")[0]["instance"] != holder
    rows = await execution_rows(case.connection, job_id)
    assert [row["outcome"] for row in rows] == ["lost", "succeeded"]
