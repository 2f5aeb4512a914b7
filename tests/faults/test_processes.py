"""`tocsin scheduler --processes N`: a parent and its instances are stopped, killed, refused."""

import asyncio
import os
import signal
import time
from uuid import UUID

import pytest

from tests.faults.conftest import LEASE_SECONDS, Case
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.cluster import Process, lives
from tests.support.waiting import until

COUNT = 2


async def several(case: Case, **settings: object) -> Process:
    """Start a parent and wait until all its instances look."""
    parent = await case.processes.start("scheduler", "--processes", str(COUNT), **settings)
    await parent.says("connected", count=COUNT)
    return parent


def pids(parent: Process) -> list[int]:
    """The processes of its instances, in the order in which they connected."""
    return [int(line["instance"].split(":")[-2]) for line in parent.said("connected")]


async def one_each(case: Case) -> list[UUID]:
    """Give each of the instances, which have one slot each, something long to do."""
    case.sink.on("/long", *[case.ledger.receiver(30.0)] * COUNT)
    jobs = []
    for number in range(COUNT):
        jobs.append(await insert_job(case.connection, target={"url": case.sink.url("/long")}))
        await case.sink.arrived(number + 1)
        await asyncio.sleep(0.5)  # just after a start an instance expects more of them to be short
    return jobs


async def gone(*processes: int, within: float) -> None:
    """Wait until none of these processes lives."""

    async def all_gone() -> bool:
        return not any(map(lives, processes))

    await until(all_gone, f"{processes} are gone", within=within)


async def test_each_process_is_an_instance_and_all_share_the_work(case: Case) -> None:
    parent = await several(case, concurrency=1)
    jobs = await one_each(case)

    holders = {(await job_row(case.connection, job_id))["locked_by"] for job_id in jobs}

    assert holders == {line["instance"] for line in parent.said("connected")}
    assert {line["instance"] for line in parent.said("started")} == holders


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_the_parent_drains_all(case: Case, number: signal.Signals) -> None:
    parent = await several(case)
    case.sink.on("/slow", *[case.ledger.receiver(1.0)] * 10)
    jobs = [
        await insert_job(case.connection, target={"url": case.sink.url("/slow")}) for _ in range(10)
    ]
    await case.sink.arrived(10)

    parent.send(number)
    code = await parent.ended()

    assert code == 0
    assert len(parent.said("stopped")) == COUNT
    for job_id in jobs:
        [row] = await execution_rows(case.connection, job_id)
        assert row["outcome"] == "succeeded"
    assert not any(map(lives, pids(parent)))


async def test_a_second_signal_to_the_parent_cuts_the_grace_of_all_short(case: Case) -> None:
    parent = await several(case, grace_seconds=60, concurrency=1)
    jobs = await one_each(case)

    parent.send(signal.SIGTERM)
    await parent.says("draining", count=COUNT)
    parent.send(signal.SIGTERM)

    assert await parent.ended(within=5.0) == 0
    for job_id in jobs:
        [row] = await execution_rows(case.connection, job_id)
        assert (row["outcome"], row["reason"]) == ("cancelled", "drain")


async def test_a_killed_child_is_replaced_and_its_work_taken_over(case: Case) -> None:
    parent = await several(case)
    case.sink.on("/long", case.ledger.receiver(30.0), case.ledger.receiver())
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/long")})
    await case.sink.arrived(1)
    holder = (await job_row(case.connection, job_id))["locked_by"]

    killed_at = time.monotonic()
    os.kill(int(holder.split(":")[-2]), signal.SIGKILL)
    await parent.says("settled", outcome="succeeded")

    assert case.ledger.deliveries[1].arrived - killed_at < LEASE_SECONDS + 1.0
    rows = await execution_rows(case.connection, job_id)
    assert [row["outcome"] for row in rows] == ["lost", "succeeded"]
    await parent.says("connected", count=COUNT + 1)
    [ended] = parent.said("process_ended")
    assert (ended["pid"], ended["code"]) == (int(holder.split(":")[-2]), -signal.SIGKILL)
    assert parent.said("connected")[-1]["instance"] != holder
    assert await parent.terminate() == 0


async def test_children_drain_and_end_when_the_parent_is_killed(case: Case) -> None:
    parent = await several(case)
    case.sink.on("/slow", case.ledger.receiver(1.0))
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/slow")})
    await case.sink.arrived(1)

    parent.process.kill()
    await gone(*pids(parent), within=5.0)

    [row] = await execution_rows(case.connection, job_id)
    assert row["outcome"] == "succeeded"


async def test_children_that_the_parent_stopped_still_have_their_grace_when_it_is_killed(
    case: Case,
) -> None:
    parent = await several(case)
    case.sink.on("/slow", case.ledger.receiver(2.0))
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/slow")})
    await case.sink.arrived(1)

    parent.send(signal.SIGTERM)
    await parent.says("draining", count=COUNT)
    parent.process.kill()
    await gone(*pids(parent), within=5.0)

    [row] = await execution_rows(case.connection, job_id)
    assert row["outcome"] == "succeeded"


async def test_a_child_that_does_not_drain_is_told_by_the_exit_code(case: Case) -> None:
    parent = await several(case, grace_seconds=60)
    case.sink.on("/long", case.ledger.receiver(30.0))
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/long")})
    await case.sink.arrived(1)
    holder = (await job_row(case.connection, job_id))["locked_by"]

    parent.send(signal.SIGTERM)
    await parent.says("draining", count=COUNT)
    os.kill(int(holder.split(":")[-2]), signal.SIGKILL)

    assert await parent.ended() == 1
    assert "1 of 2 instances ended with -9" in "\n".join(parent.text)


async def test_a_mistake_that_no_instance_can_start_with_ends_the_parent(case: Case) -> None:
    await case.connection.execute("delete from tocsin.schema_migrations")

    parent = await case.processes.start("scheduler", "--processes", str(COUNT))

    assert await parent.ended() == 1
    assert "tocsin migrate" in "\n".join(parent.text)
    assert parent.said("process_ended") == []


async def test_a_parent_without_a_database_says_so_once() -> None:
    parent = await Process.start("scheduler", "--processes", str(COUNT))

    assert await parent.ended() == 1
    [line] = parent.text
    assert "TOCSIN_DATABASE_URL is not set" in line


async def test_an_idle_instance_is_small_and_carries_no_web_framework(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # names each import on stderr

    instance = await case.processes.instance()

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in instance.text}
    assert imported >= {"asyncpg", "uvloop"}
    assert imported.isdisjoint({"litestar", "uvicorn", "hypothesis", "schemathesis", "pytest"})
    assert instance.resident_kb() < 80_000
