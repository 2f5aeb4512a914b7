"""A kind of job that another package brings, in one file, is served as Tocsin's own are."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from msgspec import json

from app.vault import of_secret
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.cluster import Process, Processes
from tests.support.packages import install
from tests.support.vault import KEY, KEYS
from tests.support.waiting import until

PIGEONS = '''
"""Sends notes by pigeon."""

import asyncio
from collections.abc import Iterable

from app.core.runs.outcome import Outcome, Report
from app.core.secrets.masking import Secret
from app.targets.base import Context, Options, Shown, Target, Where


class PigeonTarget(Target, frozen=True, kw_only=True):
    loft: str
    port: int = 7
    breed: str = "homer"
    note: Secret = ""
    waits: bool = False


class PigeonWhere(Where, frozen=True):
    loft: object = ""
    port: object = 7

    def addresses(self) -> Iterable[str]:
        return (f"pigeon://{self.loft}:{self.port}",)


class Pigeon:
    kind = "pigeon"
    target_type = PigeonTarget
    where_type = PigeonWhere
    shown = {
        "loft": Shown(whole=True),
        "port": Shown(whole=True),
        "breed": Shown(values=("homer", "tippler")),
    }

    def __init__(self, options: Options) -> None:
        pass

    async def execute(self, target: PigeonTarget, context: Context) -> Report:
        if target.waits:
            await asyncio.sleep(context.timeout_seconds)
        return Report(outcome=Outcome.SUCCEEDED, response=f"flew to {target.loft}")

    async def prepare(self, target: PigeonTarget, context: Context) -> None:
        pass

    async def close(self) -> None:
        pass
'''
CONCURRENCY = 10
FAR = {"every_seconds": 86_400}
NEAR, ABROAD = "192.0.2.1", "192.0.2.2"


@pytest.fixture
async def instance(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Process]:
    """Have an instance beside which the package is installed."""
    install(
        *(tmp_path, "pigeons"),
        modules={"pigeons": PIGEONS},
        entry_points={"pigeon": "pigeons:Pigeon"},
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    processes = Processes(
        database_url=database_url, concurrency=CONCURRENCY, secret_keys=KEY, log_level="debug"
    )
    async with processes.running():
        yield await processes.instance()


async def pigeon(connection: asyncpg.Connection, loft: str, **target: object) -> UUID:
    return await insert_job(connection, kind="pigeon", target={"loft": loft, **target})


async def test_its_jobs_are_executed(instance: Process, connection: asyncpg.Connection) -> None:
    job = await pigeon(connection, NEAR)

    await instance.says("settled", job_id=str(job), outcome="succeeded")

    [execution] = await execution_rows(connection, job)
    assert execution["response"] == f"flew to {NEAR}"


async def test_a_host_that_hangs_leaves_slots_to_others(
    instance: Process, connection: asyncpg.Connection
) -> None:
    for _ in range(3 * CONCURRENCY):
        await pigeon(connection, NEAR, waits=True)
    await instance.says("started", count=CONCURRENCY - 1)

    other = await pigeon(connection, ABROAD)
    await instance.says("settled", job_id=str(other), outcome="succeeded")

    hanging = [one for one in instance.said("started") if one["job_id"] != str(other)]
    assert len(hanging) == CONCURRENCY - 1


async def test_a_secret_that_is_bound_to_a_host_is_sent_nowhere_else(
    instance: Process, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into tocsin.secrets (name, value, hosts) values ('TOKEN', $1, $2)",
        *(KEYS.encrypt("open-sesame", of_secret("TOKEN")), [NEAR]),
    )
    allowed = await pigeon(connection, NEAR, note="${secret:TOKEN}")
    refused = await pigeon(connection, ABROAD, note="${secret:TOKEN}")

    await instance.says("settled", job_id=str(allowed), outcome="succeeded")
    await instance.says("settled", job_id=str(refused), outcome="failed")

    [execution] = await execution_rows(connection, refused)
    assert f"may not be sent to {ABROAD}" in execution["error"]


async def test_the_audit_log_keeps_what_the_kind_shows_and_nothing_else(
    instance: Process, connection: asyncpg.Connection
) -> None:
    async def is_told() -> bool:
        return await connection.fetchval(
            "select exists (select from tocsin.kinds where kind = 'pigeon')"
        )

    await until(is_told, "the instance has told its kinds")
    job = await insert_job(
        connection, kind="pigeon", target={"loft": NEAR, "port": 8, "breed": "homer"}, **FAR
    )
    for target in (
        {"loft": ABROAD, "breed": "open-sesame", "note": "open-sesame", "waits": False},
        {"loft": "o" * 201, "port": {"open": "sesame"}},
    ):
        await connection.execute(
            "update tocsin.jobs set target = $2::text::jsonb where id = $1",
            *(job, json.encode(target).decode()),
        )

    rows = await connection.fetch(
        """select after -> 'target' as target from tocsin.audit_log
           where entity_id = $1 order by id""",
        job,
    )
    assert [json.decode(row["target"]) for row in rows] == [
        {"loft": NEAR, "port": 8, "breed": "homer"},
        {"loft": ABROAD, "breed": "***", "note": "***", "waits": "***"},
        {"loft": "***", "port": "***"},
    ]


@pytest.mark.parametrize(
    ("kind", "target", "error"),
    [
        ("pigeon", "{}", "loft"),
        ("pigeon", '{"loft": 1}', "target.loft"),
        ("http", "{}", "url"),
        ("http", '{"path": "/x"}', "path"),
        ("amqp", "{}", "url"),
    ],
)
async def test_what_is_missing_from_a_target_is_told_though_its_run_is_far(
    instance: Process, connection: asyncpg.Connection, kind: str, target: str, error: str
) -> None:
    job = await insert_job(connection, kind=kind, target=json.decode(target), **FAR)

    async def is_refused() -> bool:
        return (await job_row(connection, job))["plan_error"] is not None

    await until(is_refused, "the target is refused")
    assert error in (await job_row(connection, job))["plan_error"]
