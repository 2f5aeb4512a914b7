"""Whoever reads the log of an instance stops for a while: nobody is late."""

import asyncio

import pytest

from tests.faults.conftest import Case

LATE_SECONDS = 1.0
MANY = 400
"""Jobs; their lines are several times what a pipe holds."""


@pytest.mark.alone
async def test_a_log_reader_that_is_stuck_delays_nobody(case: Case) -> None:
    instance = await case.processes.instance()
    transport = instance.process._transport.get_pipe_transport(2)  # type: ignore[attr-defined]
    assert isinstance(transport, asyncio.ReadTransport)
    async with case.load.running(per_second=50):
        with case.ledger.fault("a log reader that is stuck", within=1.0):
            transport.pause_reading()
            for _ in range(MANY):
                await case.load.one_off(case.connection, ahead_seconds=0.5)
            await case.ledger.until_delivered(set(case.ledger.runs), within=60)
            read = len(instance.said("settled"))
        transport.resume_reading()

    await case.verdict(late=LATE_SECONDS)
    await instance.says("settled", count=len(case.ledger.runs))

    assert read < MANY, "the reader was stuck"
