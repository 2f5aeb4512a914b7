"""Targets that fail or hang by the thousand cost their own jobs, not those of others."""

import asyncio
import statistics

import pytest

from tests.faults.conftest import Case
from tests.support.sink import hang, reply
from tests.support.waiting import until

HANGING = """insert into tocsin.jobs (kind, target, run_at, timeout_seconds, max_attempts)
             select 'http', jsonb_build_object('url', $1::text), now(), 15, 1
             from generate_series(1, 1000)"""


async def lags(case: Case) -> list[float]:
    rows = await case.connection.fetch(
        """select extract(epoch from started_at - scheduled_for)::float8 as lag
           from tocsin.executions where outcome = 'succeeded'"""
    )
    return [row["lag"] for row in rows]


@pytest.mark.alone
async def test_a_thousand_hanging_targets_starve_no_healthy_one(case: Case) -> None:
    instance = await case.processes.instance(concurrency=100)
    case.sink.on("/hangs", hang)
    with case.ledger.fault("a thousand hanging targets"):
        await case.connection.execute(HANGING, case.sink.url("/hangs", host="127.0.0.2"))
        await asyncio.sleep(1.0)
        async with case.load.running(per_second=50):
            await asyncio.sleep(3.0)

    await case.ledger.until_delivered(case.ledger.runs, within=5.0)

    delivered = {one.key for one in case.ledger.deliveries}
    assert len(case.ledger.runs) > 50
    assert case.ledger.runs <= delivered
    assert statistics.quantiles(await lags(case), n=100)[98] < 0.5
    assert instance.said("faulted") == []


@pytest.mark.alone
async def test_what_was_put_off_is_done_once_its_target_answers_again(case: Case) -> None:
    await case.processes.instance(concurrency=20)
    case.sink.on("/hangs", *[hang] * 18, reply())
    await case.connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, timeout_seconds, backoff_seconds)
           select 'http', jsonb_build_object('url', $1::text), now(), 2, 0
           from generate_series(1, 100)""",
        case.sink.url("/hangs"),
    )

    done = "select count(*) = 100 from tocsin.executions where outcome = 'succeeded'"
    await until(lambda: case.connection.fetchval(done), "all were done", within=20.0)

    attempts = "select max(attempt) from tocsin.executions"
    assert await case.connection.fetchval(attempts) == 2, "putting off is no attempt"


@pytest.mark.alone
async def test_one_healthy_target_may_have_nearly_everything(case: Case) -> None:
    await case.processes.instance(concurrency=50)
    case.sink.on("/slow", case.ledger.receiver(1.0))
    await case.connection.execute(
        """insert into tocsin.jobs (kind, target, run_at)
           select 'http', jsonb_build_object('url', $1::text), now()
           from generate_series(1, 90)""",
        case.sink.url("/slow"),
    )
    done = "select count(*) = 90 from tocsin.executions where outcome = 'succeeded'"

    await until(lambda: case.connection.fetchval(done), "all were done", within=6.0)


@pytest.mark.parametrize("status", [500, 429])
@pytest.mark.alone
async def test_a_mass_failure_is_retried_spread_out(case: Case, status: int) -> None:
    await case.processes.instance(concurrency=100)
    case.sink.on("/down", case.ledger.receiver(status=status))
    await case.connection.execute(
        """insert into tocsin.jobs (kind, target, run_at, backoff_seconds, max_attempts)
           select 'http', jsonb_build_object('url', $1::text), now(), 3, 2
           from generate_series(1, 300)""",
        case.sink.url("/down"),
    )
    done = "select count(*) = 600 from tocsin.executions"
    await until(lambda: case.connection.fetchval(done), "all have ended", within=20.0)

    retries = sorted(one.arrived for one in case.ledger.deliveries if one.attempt == 2)
    assert retries[-1] - retries[0] > 0.5
    busiest = max(sum(at <= other < at + 0.1 for other in retries) for at in retries)
    assert busiest < 100
