"""More certificates than are loaded at a time: their executions come later, and cost no attempt."""

import ssl
import threading

import asyncpg
import pytest

from app.targets.base import Target
from app.targets.executors import Executors
from app.targets.net import tls_contexts
from app.targets.net.tls import Tls, tls_context
from tests.support.builders import insert_job
from tests.support.certificate import certificate
from tests.support.instances import StartInstance
from tests.support.sink import Sink
from tests.support.waiting import until

MANY = 30
FEW_SLOTS = 2


async def load_nothing(executors: Executors, target: Target) -> None:
    del executors, target


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
    # As if each had been dropped again before its execution had a slot.
    monkeypatch.setattr(Executors, "load", load_nothing)
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


async def test_certificates_that_are_being_loaded_take_no_slot_from_anybody(
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_go_on = threading.Event()

    def slow_context(tls: Tls) -> ssl.SSLContext:
        may_go_on.wait()
        return tls_context(tls)

    monkeypatch.setattr(tls_contexts, "tls_context", slow_context)
    for number in range(MANY):
        target = {"url": f"https://127.0.0.{number + 2}:1/", **certificate(number)}
        await insert_job(connection, target=target, max_attempts=1)
    healthy = [
        await insert_job(connection, target={"url": sink.url("/healthy")})
        for _ in range(2 * FEW_SLOTS)
    ]

    async def others_ended() -> bool:
        count = await connection.fetchval(
            "select count(*) from tocsin.executions where outcome = 'succeeded'"
        )
        return bool(count == len(healthy))

    async def ended() -> bool:
        count = await connection.fetchval(
            """select count(*) from tocsin.executions
               where outcome = 'failed' and reason = 'connect' and attempt = 1"""
        )
        return bool(count == MANY)

    try:
        async with instance(concurrency=FEW_SLOTS):
            await until(others_ended, "the others ended before any certificate was loaded")
            may_go_on.set()
            await until(ended, "each certificate was loaded, and the one attempt made")
    finally:
        may_go_on.set()
