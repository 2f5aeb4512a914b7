"""Two versions side by side, as in a rolling deploy: each runs what it knows, and no more."""

import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Case
from tests.support.builders import insert_job, job_row
from tests.support.cluster import ROOT
from tests.support.packages import install
from tests.support.waiting import until

PIGEON = """
from typing import ClassVar

from app.core.runs.outcome import Outcome, Report
from app.targets.base import Context, Options, Target, Where


class PigeonTarget(Target, frozen=True, kw_only=True):
    loft: str


class Pigeon:
    kind: ClassVar[str] = "pigeon"
    target_type: ClassVar[type[Target]] = PigeonTarget
    where_type: ClassVar[type[Where]] = Where
    shown: ClassVar[dict[str, object]] = {}

    def __init__(self, options: Options) -> None:
        pass

    async def execute(self, target: PigeonTarget, context: Context) -> Report:
        return Report(outcome=Outcome.SUCCEEDED, response=f"flew to {target.loft}")

    async def prepare(self, target: PigeonTarget, context: Context) -> None:
        pass

    async def close(self) -> None:
        pass
"""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """Have a version of Tocsin that knows one more kind of job."""
    for name in ("app", "db"):
        shutil.copytree(ROOT / name, tmp_path / name)
    install(
        *(tmp_path, "pigeons"),
        modules={"pigeons": PIGEON},
        entry_points={"pigeon": "pigeons:Pigeon"},
    )
    return tmp_path


async def test_an_older_instance_leaves_a_kind_that_only_a_newer_one_knows(
    case: Case, newer: Path
) -> None:
    case.sink.on("/due", case.ledger.receiver())
    older = await case.processes.instance(longest_sleep_seconds=30)
    pigeon = await insert_job(case.connection, kind="pigeon", target={"loft": "roof"})
    await insert_job(case.connection, target={"url": case.sink.url("/due")})
    await older.says("settled", outcome="succeeded")
    left = await job_row(case.connection, pigeon)
    assert left["state"] == "invalid"
    looks = len(older.said("looked"))

    instance = await case.processes.instance(tree=newer)
    await instance.says("settled", job_id=str(pigeon), outcome="succeeded")

    assert (left["locked_by"], left["fence"], left["plan_error"]) == (None, 0, None)
    assert looks < 20, "what it may not claim keeps it from sleeping"
    assert older.said("started", job_id=str(pigeon)) == []
    [row] = await case.connection.fetch("select * from tocsin.executions where kind = 'pigeon'")
    assert row["response"] == "flew to roof"


async def test_an_older_instance_refuses_a_newer_schema_that_breaks_it(case: Case) -> None:
    await case.connection.execute("insert into tocsin.schema_migrations values (8000, false)")
    running = await case.processes.instance()
    await case.connection.execute("insert into tocsin.schema_migrations values (9000, true)")

    refused = await case.processes.start("scheduler")
    code = await refused.ended()
    await case.connection.execute(
        """select pg_terminate_backend(pid) from pg_stat_activity
           where application_name like 'tocsin scheduler%' and datname = current_database()"""
    )
    code_of_running = await running.ended()

    assert (code, code_of_running) == (1, 1)
    for one in (refused, running):
        assert "the database has schema version 9000" in "\n".join(one.text)


async def test_an_instance_that_stays_behind_gives_its_executions_back(case: Case) -> None:
    case.sink.on("/long", case.ledger.receiver(30.0))
    running = await case.processes.instance(grace_seconds=60)
    job_id = await insert_job(case.connection, target={"url": case.sink.url("/long")})
    await case.sink.arrived(1)
    await case.connection.execute("insert into tocsin.schema_migrations values (9000, true)")

    await case.connection.execute(
        """select pg_terminate_backend(pid) from pg_stat_activity
           where application_name like 'tocsin scheduler%' and datname = current_database()"""
    )
    await running.ended()

    async def given_back() -> bool:
        return str((await job_row(case.connection, job_id))["state"]) != "executing"

    await until(given_back, "the lease was given back or ran out")
