"""Connections that results are written on go silent: results are written on others, and once."""

import time

from tests.faults.conftest import Case
from tests.support.builders import execution_rows, insert_job
from tests.support.waiting import until

SETTLER = "tocsin settle"
SETTLED_SECONDS = 5.0
"""The longest until a result is written although every connection for it went silent."""


async def settled_within(case: Case, what: str) -> float:
    """Let the connections for results go silent while three jobs execute; return the seconds."""
    instance = await case.processes.instance(lease_seconds=60)
    case.sink.on("/first", case.ledger.receiver())
    await insert_job(case.connection, target={"url": case.sink.url("/first")})
    await instance.says("settled", outcome="succeeded")  # there is a connection that can go silent
    case.sink.on("/slow", case.ledger.receiver(1.0))
    jobs = [
        await insert_job(case.connection, target={"url": case.sink.url("/slow")}) for _ in range(3)
    ]
    await case.sink.arrived(4)
    silent = list(case.proxy.named(SETTLER))
    assert silent
    with case.ledger.fault(what):
        for link in silent:
            link.half_open() if what == "half-open" else link.stall()
    await until(lambda: answered(case), "all were answered")
    began = time.monotonic()
    await instance.says("settled", count=4, outcome="succeeded")
    took = time.monotonic() - began
    for link in silent:
        link.resume()
    for job_id in jobs:
        rows = await execution_rows(case.connection, job_id)
        assert [row["outcome"] for row in rows] == ["succeeded"]
    assert len(case.ledger.deliveries) == 4
    await case.verdict()
    return took


async def answered(case: Case) -> bool:
    return len([one for one in case.ledger.deliveries if one.ended]) == 4


async def test_results_are_written_soon_although_their_connections_are_half_open(
    proxied: Case,
) -> None:
    assert await settled_within(proxied, "half-open") < SETTLED_SECONDS


async def test_results_that_are_held_up_on_their_way_and_come_twice_change_nothing(
    proxied: Case,
) -> None:
    assert await settled_within(proxied, "stalled, and let go later") < SETTLED_SECONDS
