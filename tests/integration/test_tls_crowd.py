"""More certificates than are loaded at a time: their executions come later, and cost no attempt."""

import asyncpg
import pytest

from app.auth import tls_contexts
from tests.support.builders import insert_job
from tests.support.certificates import certificate
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

MANY = 30


async def test_executions_for_which_too_many_certificates_wait_are_put_off_without_an_attempt(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused: list[int] = []

    class Crowded(tls_contexts.ContextsCrowded):
        def __init__(self, times: int) -> None:
            super().__init__(times)
            refused.append(times)

    monkeypatch.setattr(tls_contexts, "ContextsCrowded", Crowded)
    monkeypatch.setattr(tls_contexts, "MAX_WAITING", 1)
    for number in range(MANY):
        target = {"url": "https://127.0.0.2:1/", **certificate(number)}
        await insert_job(connection, target=target, max_attempts=1)
    healthy = await insert_job(connection, target={"url": sink.url("/healthy")})

    async def ended() -> bool:
        count = await connection.fetchval(
            """select count(*) from tocsin.executions
               where outcome = 'failed' and reason = 'connect' and attempt = 1"""
        )
        return bool(count == MANY)

    async with instance(concurrency=100):
        await until(ended, "each certificate was loaded, and the one attempt made")

    outcomes = await connection.fetch("select job_id, outcome from tocsin.executions")
    assert len(outcomes) == MANY + 1
    assert (healthy, "succeeded") in [tuple(row) for row in outcomes]
    assert refused
