"""The queries of docs/operations.md answer what they ask."""

import re
from pathlib import Path

import asyncpg

from tests.support.builders import insert_job
from tests.support.cluster import ROOT

PAGE = ROOT / "docs" / "operations.md"


def query_under(question: str, page: Path = PAGE) -> str:
    [sql] = re.findall(rf"-- {re.escape(question)}\n(.+?;)\n", page.read_text("utf-8"), re.DOTALL)
    return str(sql)


async def test_why_it_has_not_run_shows_a_kind_that_nobody_has(
    connection: asyncpg.Connection,
) -> None:
    past = await connection.fetchval("select now() - interval '10 minutes'")
    await insert_job(connection, name="nightly-report", kind="htpp", run_at=past)

    [why] = await connection.fetch(query_under("Why has it not run?"))
    [row] = await connection.fetch(query_under("What is due and has not started?"))

    assert (row["name"], row["kind"], row["state"]) == ("nightly-report", "htpp", "invalid")
    assert why["reason"] == "unsupported_kind"
    assert "'htpp'" in why["detail"]


async def test_what_became_of_a_run_is_answered_as_the_page_asks(
    connection: asyncpg.Connection,
) -> None:
    await insert_job(connection, name="nightly-report")

    [what] = await connection.fetch(query_under("What became of the run of that instant?"))

    assert what["reason"] == "not_created"


async def test_the_page_says_what_invalid_without_an_error_means() -> None:
    assert "`invalid` without a `plan_error`" in PAGE.read_text("utf-8")
