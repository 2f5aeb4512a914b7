"""A statement about many jobs reads each of them once, and no others."""

from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from msgspec import json

from app.db import Database, claims
from app.db.listener import Session
from app.db.queries import query
from tests.support.claims import closed_now
from tests.support.sessions import LEASE_SECONDS

MANY = 400
"""So many leases of others that no plan should read all of them for one settlement."""


@pytest.fixture
def database_url(any_database: str) -> str:
    """Run on every Postgres there is."""
    return any_database


async def leased(connection: asyncpg.Connection, session: Session) -> claims.Look:
    """Lease many jobs, of which Postgres's statistics know nothing, and claim one more."""
    insert = """insert into tocsin.jobs (kind, target, run_at)
                select 'http', '{"url": "http://a.example/"}', now() from generate_series(1, $1)"""
    await connection.execute(insert, MANY + 1)
    await connection.execute("vacuum analyze tocsin.jobs")
    looks = [
        await claims.look(
            session,
            limit=limit,
            kinds=("http",),
            instance="me",
            ahead_seconds=0.0,
            lease_seconds=LEASE_SECONDS,
        )
        for limit in (MANY, 1)
    ]
    return looks[-1]


async def explained(
    connection: asyncpg.Connection, name: str, **arguments: object
) -> list[dict[str, Any]]:
    """Run a query, and return all nodes of the plan that it had."""
    wanted = query(name)
    text = await connection.fetchval(
        f"explain (analyze, format json) {wanted.sql}", *wanted.arguments(arguments)
    )
    return list(nodes(json.decode(text)[0]["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def rows_read(plan: list[dict[str, Any]]) -> int:
    """Count the rows of `jobs` that a plan reads."""
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in plan
        if node.get("Relation Name") == "jobs" and node["Node Type"] != "ModifyTable"
    )


async def test_a_settlement_and_an_extension_read_no_lease_but_their_own(
    connection: asyncpg.Connection, session: Session
) -> None:
    [claim] = (await leased(connection, session)).claims
    settlement = closed_now(claim, by="me")

    extension = await explained(
        connection,
        "leases.extend",
        ids=[claim.id],
        fences=[claim.fence],
        claimed_ats=[claim.claimed_at],
        lease_seconds=LEASE_SECONDS,
    )
    ours = {
        "settlements": json.encode(
            [claims.SettlementRow.of(settlement, *settlement.executions)]
        ).decode(),
        "executions": "[]",
        "claimed_ats": [str(claim.claimed_at)],
        "instance": None,
        "many": 1,
    }
    settled = await explained(connection, "claims.settle", **ours)
    again = await explained(connection, "claims.settle", **ours)

    assert rows_read(extension) <= 4
    assert rows_read(settled) <= 4
    assert rows_read(again) <= 4


async def test_the_jobs_of_a_batch_are_matched_without_a_comparison_of_all_with_all(
    db: Database, connection: asyncpg.Connection
) -> None:
    insert = """insert into tocsin.jobs (kind, target, run_at)
                select 'http', '{"url": "http://a.example/"}', now() + interval '1 day'
                from generate_series(1, $1) returning id, to_jsonb(jobs) as job, edited_at"""
    rows = await connection.fetch(insert, MANY)
    await connection.execute("vacuum analyze tocsin.jobs")
    given: dict[str, object] = {
        "actor": "me",
        "jobs": "[" + ",".join(row["job"] for row in rows) + "]",
        "ids": [row["id"] for row in rows],
        "unchanged_since": [row["edited_at"] for row in rows],
        "checked": [True] * MANY,
    }

    async with connection.transaction():
        replaced = await explained(connection, "jobs.replace_many", **given)
    again = await connection.fetch("select id, edited_at from tocsin.jobs")
    edited = {row["id"]: row["edited_at"] for row in again}
    given |= {"unchanged_since": [edited[row["id"]] for row in rows]}
    given |= {"waiting": False, "next_runs": [None] * MANY}
    updated = await explained(connection, "jobs.update_many", **given)

    for plan in (replaced, updated):
        assert max(node.get("Rows Removed by Join Filter", 0) for node in plan) < MANY
