"""A pooler stands between us and Postgres: it carries every notification, or is refused by name."""

import pytest

from tests.faults.conftest import Case
from tests.support.builders import insert_job
from tests.support.pgbouncer import pooled

OURS = (
    *("jit", "idle_session_timeout", "plan_cache_mode"),
    *("enable_seqscan", "enable_hashjoin", "enable_mergejoin"),
)
REMEDY = "leads through a pooler"


@pytest.mark.parametrize("ignored", [(), OURS])
@pytest.mark.parametrize("command", ["scheduler", "api", "doctor"])
async def test_a_pooler_that_mutes_notifications_or_mixes_sessions_is_refused_at_the_start(
    case: Case, command: str, ignored: tuple[str, ...]
) -> None:
    async with pooled(case.database_url, mode="transaction", ignored=ignored) as url:
        process = await case.processes.start(command, database_url=url, port=0)

        assert await process.ended() == 1

    assert REMEDY in "\n".join(process.text)


async def test_a_pooler_that_keeps_sessions_carries_notifications(case: Case) -> None:
    case.sink.on("/due", case.ledger.receiver())
    async with pooled(case.database_url, mode="session", ignored=OURS) as url:
        doctor = await case.processes.start("doctor", database_url=url)
        await doctor.ended()
        assert REMEDY not in "\n".join(doctor.text)
        instance = await case.processes.instance(database_url=url, longest_sleep_seconds=30)
        await insert_job(case.connection, target={"url": case.sink.url("/due")})
        [request] = await case.sink.arrived(1)
        await instance.says("settled", outcome="succeeded")

    assert request.path == "/due"
