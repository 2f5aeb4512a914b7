"""Hosts' clocks are wrong by hours: the database's alone counts."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.faults.conftest import Case

WRONG_CLOCK = Path(__file__).parents[1] / "support" / "wrongclock"
HOUR = 3600.0


@pytest.mark.parametrize("hours", [(-3, 3), (0, -1), (5, 5)])
async def test_clocks_of_hosts_may_be_wrong_by_hours(
    case: Case, hours: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.fspath(WRONG_CLOCK))
    for wrong_by in hours:
        monkeypatch.setenv("WRONG_BY_SECONDS", str(wrong_by * HOUR))
        await case.processes.instance()
    await case.load.crons(case.connection, 5)
    with case.ledger.fault(f"clocks wrong by {hours[0]} and {hours[1]} h"):
        async with case.load.running(per_second=20):
            await asyncio.sleep(3.0)

    findings = await case.verdict()

    assert findings.promised > 30
    assert (findings.explained, findings.recorded) == (0, 0)
    lags = await case.connection.fetch(
        "select started_at - scheduled_for as lag, outcome from tocsin.executions"
    )
    assert {row["outcome"] for row in lags} == {"succeeded"}
    assert max(row["lag"].total_seconds() for row in lags) < 1.0
    assert min(row["lag"].total_seconds() for row in lags) >= 0.0
