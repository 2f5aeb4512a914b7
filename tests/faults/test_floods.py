"""Receivers, brokers and others send without an end: nobody else is late."""

import asyncio

import pytest

from tests.faults.conftest import Case
from tests.support.brokers import Client, scripted
from tests.support.builders import insert_job
from tests.support.sink import Received, Wire
from tests.support.waiting import until

LATE_SECONDS = 1.0
MANY = 10
"""Hostile jobs of each kind."""
PIECE_LENGTH = 65_536
OK = b"HTTP/1.1 200 OK\r\n"
FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "a field": (OK + b"X: ", b"x"),
    "zeros before the size of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
}
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


def flood(client: Client) -> None:
    """Open a connection as brokers do, and send heartbeats for ever."""
    client.open()
    while True:
        client.send(HEARTBEAT * 1_000)


async def until_ended(case: Case, count: int) -> None:
    async def ended() -> bool:
        return bool(
            await case.connection.fetchval(
                "select count(distinct job_id) from tocsin.executions where outcome <> 'succeeded'"
            )
            >= count
        )

    await until(ended, "each of the hostile ones has ended", within=60)


@pytest.mark.parametrize("how", FLOODS)
@pytest.mark.alone
async def test_receivers_that_send_without_an_end_delay_nobody_else(case: Case, how: str) -> None:
    start, piece = FLOODS[how]
    block = piece * (PIECE_LENGTH // len(piece))

    async def pour(wire: Wire, _: Received) -> None:
        await wire.write(start)
        while not wire.closed.is_set():
            await wire.write(block)
            await asyncio.sleep(0)

    case.sink.on("/bad", pour)
    await case.processes.instance()
    async with case.load.running(per_second=20):
        await case.moment(1.0)
        with case.ledger.fault(f"a flood of {how}"):
            for _ in range(MANY):
                await insert_job(
                    case.connection,
                    target={"url": case.sink.url("/bad"), "success": ["5xx"]},
                    timeout_seconds=5,
                    max_attempts=1,
                )
            await until_ended(case, MANY)

    await case.verdict(late=LATE_SECONDS)


@pytest.mark.parametrize("channel", ["tocsin_jobs", "tocsin_recalls", "tocsin_targets"])
@pytest.mark.alone
async def test_notifications_without_an_end_delay_nobody(case: Case, channel: str) -> None:
    instance = await case.processes.instance()
    async with case.load.running(per_second=20):
        await case.moment(1.0)
        with case.ledger.fault(f"a flood of notifications on {channel}"):
            await case.connection.fetchval(
                """select count(pg_notify($1, i || repeat('x', 500)))
                   from generate_series(1, 300000) as i""",
                channel,
            )
            await instance.says("faulted", where="listen")
            await case.moment(2.0)

    await case.verdict(late=LATE_SECONDS)


@pytest.mark.alone
async def test_brokers_that_send_without_an_end_delay_nobody_else(case: Case) -> None:
    with scripted(flood) as port:
        await case.processes.instance()
        async with case.load.running(per_second=20):
            await case.moment(1.0)
            with case.ledger.fault("floods of heartbeats"):
                for number in range(MANY):
                    url = f"amqp://guest:guest@127.0.0.1:{port}/{number}"
                    await insert_job(
                        case.connection,
                        kind="amqp",
                        target={"url": url, "routing_key": "x"},
                        timeout_seconds=5,
                        max_attempts=1,
                    )
                await until_ended(case, MANY)

        await case.verdict(late=LATE_SECONDS)
