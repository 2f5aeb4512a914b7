"""A process may open no more files: what is due waits, nothing is lost and no attempt is spent."""

import resource
from pathlib import Path

from tests.faults.conftest import Case
from tests.support.cluster import Process

SLOW_SECONDS = 1.0
MANY = 60


def open_files(process: Process) -> int:
    return len(list(Path(f"/proc/{process.process.pid}/fd").iterdir()))


async def test_a_process_without_descriptors_waits_until_there_are_some(case: Case) -> None:
    case.sink.on("/work", case.ledger.receiver(SLOW_SECONDS))  # so that connections are not shared
    instance = await case.processes.instance(concurrency=100)
    pid = instance.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    async with case.load.running(per_second=20):
        await case.moment(2.0)
        with case.ledger.fault("no file descriptors", within=30.0):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(instance), hard))
            for _ in range(MANY):
                await case.load.one_off(case.connection, ahead_seconds=0.0)
            await instance.says("descriptors_exhausted")
            await case.moment(2.0)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))

    await case.verdict()

    spent = await case.connection.fetch(
        "select attempt, outcome, reason, error from tocsin.executions where outcome <> 'succeeded'"
    )
    assert soft == hard, "raised at the start"
    assert spent == []
