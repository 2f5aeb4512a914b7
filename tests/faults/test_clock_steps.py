"""The clock of the database's host jumps ahead and back while instances run: nobody is late."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.conftest import Case
from tests.support.faketime import Clock
from tests.support.ledger import key_of
from tests.support.postgres import PostgresServer

MINUTE, DAY = 60.0, 86_400.0
LATE_SECONDS = 1.0
ONE_OFFS = 80
APART_SECONDS = 0.1


@pytest.fixture
def database_url(stepping: tuple[PostgresServer, Clock]) -> Iterator[str]:
    with stepping[0].database() as url:
        yield url


async def promise_one_offs(case: Case) -> None:
    """Insert jobs for the next seconds, while the database's clock is right."""
    start = datetime.now(UTC) + timedelta(seconds=1)
    rows = await case.connection.fetch(
        """insert into tocsin.jobs (kind, target, run_at, backoff_seconds, max_attempts)
           select 'http', jsonb_build_object('url', $1::text), due, 0.2, 20
           from unnest($2::timestamptz[]) due returning id, scheduled_for""",
        case.load.target_url,
        [start + timedelta(seconds=number * APART_SECONDS) for number in range(ONE_OFFS)],
    )
    case.ledger.runs |= {key_of(row["id"], row["scheduled_for"]) for row in rows}


def lateness(case: Case) -> tuple[float, float]:
    """Return the least and the most seconds from a run's instant to its arrival.

    They are counted by the clock of the receivers' host, which does not step.
    """
    wall, monotonic = time.time(), time.monotonic()
    late = [
        wall
        - monotonic
        + one.arrived
        - datetime.fromisoformat(one.key.partition(":")[2]).timestamp()
        for one in case.ledger.deliveries
    ]
    return min(late), max(late)


@pytest.mark.parametrize("seconds", [5 * MINUTE, 60 * DAY])
@pytest.mark.alone
async def test_a_clock_of_the_database_that_jumps_ahead_and_back_delays_nobody(
    case: Case, clock: Clock, seconds: float
) -> None:
    await case.processes.instances(2)
    await case.load.crons(case.connection, 5)
    await promise_one_offs(case)
    for _ in range(3):
        await case.moment(1.0)
        with case.ledger.fault(f"the clock {seconds:g} s ahead", within=1.0):
            clock.set(seconds)
            await case.moment(1.0)
            clock.set(0)
    findings = await case.verdict(late=LATE_SECONDS, measured=lambda: lateness(case)[1])

    outcomes = await case.connection.fetch("select distinct outcome from tocsin.executions")
    assert findings.promised > ONE_OFFS
    assert (findings.explained, findings.recorded) == (0, 0)
    assert [row["outcome"] for row in outcomes] == ["succeeded"]
    assert lateness(case)[0] > -0.1
