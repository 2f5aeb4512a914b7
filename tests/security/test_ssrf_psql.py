"""Rows typed in psql never passed the API; they are judged by the same rules when they are due."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import asyncpg

from app.core.facts import Settled
from tests.security.test_ssrf_corpus import BLOCKED, NAMES, REFUSED
from tests.support.builders import insert_job
from tests.support.canary import Canary
from tests.support.instances import StartInstance

PATIENCE_SECONDS = 30.0
WITHOUT_LOOKUP = [
    url
    for url in BLOCKED
    if (urlsplit(url.replace("PORT", "1")).hostname or "").removesuffix(".") not in NAMES
]
"""What the system's resolver needs no network for."""


async def test_no_trick_typed_in_psql_reaches_anything_near_us(
    instance: StartInstance, connection: asyncpg.Connection, canary: Canary
):
    run_at = datetime.now(UTC) - timedelta(seconds=1)
    jobs = [
        await insert_job(
            connection, target={"url": url.replace("PORT", str(canary.port))}, run_at=run_at
        )
        for url in WITHOUT_LOOKUP + REFUSED
    ]

    async with instance(allow_private_targets=False) as (_, facts):

        def all_settled() -> bool:
            return {fact.job_id for fact in facts.of(Settled)} >= set(jobs)

        await facts.until(all_settled, within=PATIENCE_SECONDS)

    rows = await connection.fetch(
        "select id, plan_error, (select array_agg(reason) from tocsin.executions e"
        " where e.job_id = j.id) as reasons from tocsin.jobs j"
    )
    blocked = [row["id"] for row in rows if row["reasons"] == ["blocked"]]
    invalid = [row["id"] for row in rows if row["plan_error"] and not row["reasons"]]
    assert set(blocked) == set(jobs[: len(WITHOUT_LOOKUP)])
    assert set(invalid) == set(jobs[len(WITHOUT_LOOKUP) :])
    assert canary.hits == 0
