"""A dump that is restored elsewhere, as docs/deployment.md has it: what becomes of overdue jobs."""

import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg

from app.devdb.places import embedded_programs
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.cluster import ROOT, Processes
from tests.support.sink import Sink
from tests.support.waiting import until

PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")
OLD, NEW = "$TOCSIN_DATABASE_URL", "$NEW_DATABASE_URL"
OVERDUE = """
alter table tocsin.jobs disable trigger user;
update tocsin.jobs set
    next_run = now() - interval '2 hours', scheduled_for = now() - interval '2 hours',
    planned_at = now() - interval '2 hours',
    locked_until = case when name = 'held' then now() - interval '1 hour' end,
    locked_by = case when name = 'held' then 'gone:1:abcd' end;
alter table tocsin.jobs enable trigger user;
"""


def run_as_shown(program: str, addresses: dict[str, str], folder: Path) -> None:
    """Run the page's command of a program, with these addresses."""
    [line] = re.findall(rf"^({program} .*)$", PAGE, re.MULTILINE)
    words = [addresses.get(word, word) for word in shlex.split(line)]
    words = [re.sub(r"\$\w+", lambda name: addresses[name[0]], word) for word in words]
    subprocess.run(  # noqa: S603 - a program of the wheel
        [embedded_programs() / words[0], *words[1:]], check=True, cwd=folder, timeout=60
    )


async def test_what_is_overdue_after_a_restore_becomes_what_the_page_says(
    database_url: str, connection: asyncpg.Connection, sink: Sink, tmp_path: Path
) -> None:
    hour = {"every_seconds": 3600.0, "starts_at": datetime.now(UTC) - timedelta(hours=24.5)}
    jobs = {
        name: await insert_job(connection, name=name, target={"url": sink.url(f"/{name}")}, **more)
        for name, more in {
            "once": {},
            "too-late": {"misfire": "skip", "misfire_grace_seconds": 60},
            "latest": hour,
            "skipped": hour | {"misfire": "skip"},
            "held": {},
        }.items()
    }
    await connection.execute(OVERDUE)
    name = f"restored_{uuid4().hex}"
    await connection.execute(f"create database {name}")
    restored_url = urlsplit(database_url)._replace(path=f"/{name}").geturl()
    addresses = {OLD: database_url, NEW: restored_url}

    run_as_shown("pg_dump", addresses, tmp_path)
    run_as_shown("pg_restore", addresses, tmp_path)

    restored = await asyncpg.connect(restored_url)
    try:
        async with Processes(
            database_url=restored_url, allow_private_targets="true"
        ).running() as processes:
            await processes.instance()
            await until(lambda: settled(restored, jobs), "all are settled", within=40)
        found = {name: await outcomes(restored, job) for name, job in jobs.items()}
        coming = {name: (await job_row(restored, job))["next_run"] for name, job in jobs.items()}
    finally:
        await restored.close()
        await connection.execute(f"drop database {name} with (force)")

    assert found["once"] == ["succeeded"]
    assert found["too-late"] == ["missed"]
    assert found["latest"][-1] == "succeeded"
    assert set(found["latest"][:-1]) == {"missed"}
    assert set(found["skipped"]) == {"missed"}
    assert found["held"][-1] == "succeeded"
    assert sorted(request.path for request in sink.requests) == ["/held", "/latest", "/once"]
    assert all(coming[name] > datetime.now(UTC) for name in ("latest", "skipped"))
    assert all(coming[name] is None for name in ("once", "too-late", "held"))


async def outcomes(connection: asyncpg.Connection, job: UUID) -> list[str]:
    return [row["outcome"] for row in await execution_rows(connection, job)]


async def settled(connection: asyncpg.Connection, jobs: dict[str, UUID]) -> bool:
    """Return whether nothing is due or under way, and each job has a row."""
    for job in jobs.values():
        row = await job_row(connection, job)
        if row["locked_until"] is not None or not await outcomes(connection, job):
            return False
        if row["next_run"] is not None and row["next_run"] < datetime.now(UTC):
            return False
    return True
