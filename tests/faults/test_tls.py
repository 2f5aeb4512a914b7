"""Hundreds of jobs have a client certificate each, which have to be loaded: nobody is late."""

import pytest

from tests.faults.conftest import Case
from tests.support.builders import insert_job
from tests.support.certificate import certificate
from tests.support.waiting import until

LATE_SECONDS = 1.0
MANY = 300


@pytest.mark.alone
async def test_any_number_of_client_certificates_delays_nobody_else(case: Case) -> None:
    await case.processes.instance(concurrency=100)
    targets = [{"url": "https://127.0.0.2:1/bad", **certificate(number)} for number in range(MANY)]
    async with case.load.running(per_second=20):
        with case.ledger.fault(f"{MANY} client certificates"):
            async with case.connection.transaction():  # so that all are due at once
                for target in targets:
                    await insert_job(case.connection, target=target, max_attempts=1)
            await until(lambda: all_ended(case), "each has found nobody there", within=60)

    await case.verdict(late=LATE_SECONDS)


async def all_ended(case: Case) -> bool:
    """Whether each certificate was loaded, and its one attempt has failed for want of a server."""
    ended = await case.connection.fetchval(
        "select count(*) from tocsin.executions where outcome = 'failed' and reason = 'connect'"
    )
    return bool(ended == MANY)
