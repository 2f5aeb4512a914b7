"""Numbers of a few kilobytes that Postgres writes out as megabytes: others stay on time."""

import asyncpg
import pytest

from tests.faults.conftest import Case

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
