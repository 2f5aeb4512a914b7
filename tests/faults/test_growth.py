"""Targets that are large, or that Postgres writes out as megabytes: others stay on time."""

import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.faults.conftest import Case
from tests.support.waiting import until

LATE_SECONDS = 1.0
TRIES = 5
GROWING = {
    "exponents": "('[' || repeat('1e131071,', 9999) || '1]')::jsonb",
    "powers": "('[' || repeat('1e308,', 43000) || '1]')::jsonb",
    "places": "('[' || repeat('1e-16383,', 9999) || '1]')::jsonb",
}


async def try_to_insert(connection: asyncpg.Connection, column: str, growing: str) -> None:
    """Insert a job that is due, as a person would in psql: refused before it has grown."""
    written = {"target": """'{"url": "http://h/"}'""", "metadata": "'{}'"}
    written[column] = f"jsonb_build_object('url', 'http://h/', 'json', {growing})"
    with pytest.raises(asyncpg.CheckViolationError, match="bytes as text"):
        await connection.execute(
            f"""insert into tocsin.jobs (kind, run_at, target, metadata)
                values ('http', now(), {written["target"]}, {written["metadata"]})"""
        )


@pytest.mark.parametrize("column", ["target", "metadata"])
@pytest.mark.alone
async def test_numbers_that_grow_when_they_are_written_out_delay_nobody(
    case: Case, column: str
) -> None:
    await case.processes.instances(2)
    async with case.load.running(per_second=20):
        for name, growing in GROWING.items():
            with case.ledger.fault(f"{column} that grow: {name}", within=1.0):
                for _ in range(TRIES):
                    await try_to_insert(case.connection, column, growing)
            await case.moment(0.5)

    await case.verdict(late=LATE_SECONDS)


LARGE_BYTES = 140_000
"""Of JSON, as Postgres writes it out; a target may have 262,144."""
CROWD = 200
COSTLY = ("0.1234567890123456789", "[" * 60 + "]" * 60)
"""Items of arrays that take long to decode: one a float cannot keep, and levels upon levels."""


@pytest.mark.alone
async def test_a_crowd_of_large_targets_delays_nobody_else(case: Case) -> None:
    await case.processes.instance()
    url = case.sink.url("/crowd", host="127.0.0.2")
    bodies = [f"[{', '.join([one] * (LARGE_BYTES // (len(one) + 2)))}]" for one in COSTLY]
    targets = [f'{{"url": {json.dumps(url)}, "json": {body}}}' for body in bodies]
    at = datetime.now(UTC) + timedelta(seconds=3)

    async def all_ended() -> bool:
        return bool(
            await case.connection.fetchval(
                "select count(*) = $1 from tocsin.executions where scheduled_for = $2", CROWD, at
            )
        )

    async with case.load.running(per_second=20):
        with case.ledger.fault("a crowd of large targets"):
            await case.connection.execute(
                """insert into tocsin.jobs (kind, run_at, target, timeout_seconds)
                   select 'http', $1, target::jsonb, 30
                   from generate_series(1, $3), unnest($2::text[]) as target""",
                *(at, targets, CROWD // len(targets)),
            )
            await until(all_ended, "the crowd has ended", within=60)
        await case.moment(0.5)

    await case.verdict(late=LATE_SECONDS)
