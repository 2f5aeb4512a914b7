"""What docs/api.md shows is what happens."""

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx

from app.api.problems import KINDS, REFUSALS
from app.db.listener import Session
from tests.support.api import NIGHTLY
from tests.support.builders import execution_rows, insert_job
from tests.support.sessions import claimed_one

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
COMMANDS = [
    command
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for command in re.split(r"\n(?=curl )", block.replace("\\\n", " "))
    if command.startswith("curl")
]
NUMBER = 31
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def request_of(command: str) -> tuple[str, str, dict[str, str], str | None]:
    """Read (method, address, headers, body) out of a curl command."""
    words = iter(shlex.split(command)[1:])
    method, address, headers, body = None, "", {}, None
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case _:
                address = word.replace("$TOCSIN", "/v1")
    return method or ("POST" if body else "GET"), address, headers, body


async def test_every_command_of_the_page_works_in_its_order(api: httpx.AsyncClient) -> None:
    assert len(COMMANDS) == NUMBER
    for command in COMMANDS:
        method, address, headers, body = request_of(command)

        answer = await api.request(method, address, headers=headers, content=body)

        assert answer.is_success, (command, answer.text)


async def test_the_failing_job_on_the_page_is_answered_so(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    [text] = re.findall(r'^\{"name".*"failing".*\}$', PAGE, re.MULTILINE)
    shown = json.loads(text)
    job_id = await insert_job(connection, name=shown["name"], run_at=FAR)
    await connection.execute(
        "update tocsin.jobs set consecutive_failures = $2, last_outcome = $3 where id = $1",
        job_id,
        shown["consecutive_failures"],
        shown["last_outcome"],
    )

    answered = (await api.get(f"/v1/jobs/{shown['name']}")).json()

    assert {name: answered[name] for name in shown} == shown


async def test_the_execution_that_the_page_cancels_is_answered_so(
    api: httpx.AsyncClient, connection: asyncpg.Connection, session: Session
) -> None:
    [block] = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    [shown] = re.findall(r'^\{"id": 4711.*\}$', PAGE, re.MULTILINE)
    await insert_job(connection, name="nightly-report")
    claim = await claimed_one(session)
    commands = block.replace("4711", str(claim.execution_id)).splitlines()

    answers = []
    for command in commands:
        method, address, headers, body = request_of(command)
        answers.append(await api.request(method, address, headers=headers, content=body))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["execution_id"] == claim.execution_id
    cancelled = json.loads(shown) | {"id": claim.execution_id}
    assert {name: answers[1].json()[name] for name in cancelled} == cancelled


async def test_the_statement_of_the_page_cancels_a_run_beside_the_plan_too(
    connection: asyncpg.Connection, session: Session
) -> None:
    [statement] = re.findall(
        r"^```sql\n(select tocsin.cancel.*?)^```", PAGE, re.DOTALL | re.MULTILINE
    )
    job_id = await insert_job(connection, name="nightly-report", run_at=FAR)
    await connection.execute("select tocsin.run_now($1)", job_id)
    claim = await claimed_one(session)

    await connection.execute(statement)

    [row] = await execution_rows(connection, job_id)
    assert (row["id"], row["outcome"]) == (claim.execution_id, "cancelled")


def test_every_type_of_problem_on_the_page_exists() -> None:
    shown = re.findall(r"`([a-z]+-[a-z-]+)`", PAGE.split("## When something is wrong")[1])
    slugs = {kind.slug for kind in (*KINDS.values(), *REFUSALS.values())} | {"internal-error"}

    assert len(shown) >= 12
    assert set(shown) <= slugs
    assert slugs - set(shown) == {"not-acceptable"} - set(shown)


async def test_the_problem_on_the_page_is_the_one_that_is_answered(api: httpx.AsyncClient) -> None:
    [shown] = re.findall(r'^```json\n({\n  "type".*?)^```', PAGE, re.DOTALL | re.MULTILINE)

    answer = await api.post("/v1/jobs", json=NIGHTLY | {"timezone": "Europe/Pari"})

    assert answer.json() == json.loads(shown)
