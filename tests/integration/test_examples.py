"""The examples of all pages of the docs: statements, requests, and documents of jobs.

Those that a test follows word by word are left out: the quickstart, the tutorials, docs/sql.md.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.api import NIGHTLY
from tests.support.pages import ROOT

ELSEWHERE = {"quickstart.md", "sql.md"}
PAGES = [one for one in sorted((ROOT / "docs").glob("*.md")) if one.name not in ELSEWHERE]
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SOME_ID = "019c0b7e-0000-7000-8000-000000000001"
JOBS = ("nightly-report", "sync-stock", "charge-cards")
"""The jobs that pages speak of as of their reader's."""
READERS = """
    create function public.stamp() returns trigger language plpgsql as $$ begin return new; end $$;
"""
ICAL = "\r\n".join(
    [
        *("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", "BEGIN:VEVENT", "UID:x"),
        *("DTSTAMP:20300101T000000Z", "DTSTART:20300101T000000Z", "DTEND:20300102T000000Z"),
        *("END:VEVENT", "END:VCALENDAR", ""),
    ]
)
WITH_VALUE = {"-X", "-H", "-d", "--json", "--data-raw", "-m", "--retry", "-c", "-b"}


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, text in BLOCK.findall(page.read_text("utf-8")):
        if language in languages:
            yield text


async def test_every_statement_on_any_page_is_one_that_postgres_carries_out(
    connection: asyncpg.Connection,
) -> None:
    wrong, done = [], 0
    await connection.execute(READERS)
    for name in JOBS:
        await connection.execute("select tocsin.http_job($1, 'https://example.com/')", name)
    for page in PAGES:
        transaction = connection.transaction()
        await transaction.start()
        for text in blocks(page, "sql"):
            known = re.sub(r"create role (\w+)", rf"create role \1_of_{page.stem}", text)
            known = known.replace("'0190…'", f"'{SOME_ID}'")
            try:
                async with connection.transaction():
                    await connection.execute(f"set local search_path = public; {known}")
            except asyncpg.PostgresError as error:
                wrong.append(f"{page.name}: {error}: {text}")
            done += 1
        await transaction.rollback()

    assert not wrong, "\n".join(wrong)
    assert done > 25


def requests_on(page: Path) -> Iterator[tuple[str, str, dict[str, str], str | None]]:
    """Yield (method, address, headers, body) of each curl on a page, as a reader sends it."""
    for text in blocks(page, "sh", "bash"):
        for command in re.split(r"\n(?=[^\s}])", text.replace("\\\n", " ")):
            if "curl " in command and "8080/v1/events" not in command:  # a stream has no end
                yield request_of(
                    shlex.split("curl " + command.partition("curl ")[2], comments=True)
                )


def request_of(words: list[str]) -> tuple[str, str, dict[str, str], str | None]:
    method, address, headers, body = "", "", {}, None
    rest = iter(words[1:])
    for word in rest:
        value = next(rest) if word in WITH_VALUE else ""
        match word:
            case "-X":
                method = value
            case "-H":
                name, _, given = value.partition(": ")
                headers[name] = given
            case "-d" | "--data-raw":
                body = value
            case "--json":
                body = json.dumps({"ical": ICAL}) if value == "@-" else value
                headers["Content-Type"] = "application/json"
            case _ if not word.startswith("-"):
                address = re.sub(r"^(\$TOCSIN|https?://[^/]+(?=/))", "", word)
                address = f"/v1{address}" if word.startswith("$TOCSIN") else address
    return method or ("GET" if body is None else "POST"), address, headers, body


async def test_every_request_on_any_page_is_answered(api: httpx.AsyncClient) -> None:
    wrong, done = [], 0
    made = (await api.post("/v1/keys", json={"name": "me", "scopes": ["admin"]})).json()
    api.headers["Authorization"] = f"Bearer {made['key']}"
    for name in JOBS:
        assert (await api.put(f"/v1/jobs/{name}", json=NIGHTLY)).is_success
    check = NIGHTLY | {"kind": "check", "target": {}, "name": "nightly-backup"}
    assert (await api.post("/v1/jobs", json=check)).is_success
    token = (await api.post("/v1/checks/nightly-backup/token")).json()["token"]
    last = SOME_ID
    for page in [one for one in PAGES if one.name != "api.md"]:  # whose requests have a test
        for method, address, headers, body in requests_on(page):
            path = address.replace("$TOKEN", token).replace("$?", "0").replace(SOME_ID, last)
            given = {
                name: one.replace("tocsin_1f0c…", made["key"]) for name, one in headers.items()
            }
            sent = body and body.replace("tocsin_1f0c…", made["key"])
            answer = await api.request(method, path, headers=given, content=sent)
            if not answer.is_success:
                wrong.append((page.name, method, path, answer.status_code, answer.text[:300]))
            elif address == "/v1/maintenance" and method == "POST":
                last = answer.json()["id"]
            done += 1

    assert wrong == []
    assert done > 15


@pytest.mark.parametrize("page", [one for one in PAGES if any(blocks(one, "json"))], ids=str)
async def test_every_document_on_a_page_is_json_and_one_of_a_job_makes_it(
    page: Path, api: httpx.AsyncClient
) -> None:
    for text in blocks(page, "json"):
        document: dict[str, Any] = json.loads(text)
        if document.keys() >= {"kind", "target"} and "state" not in document:
            later = {"run_at": "2100-01-01T00:00:00Z"}
            scheduled = (
                document
                if {"cron", "run_at", "every_seconds"} & document.keys()
                else document | later
            )
            answer = await api.post("/v1/jobs?dry_run=true", json=scheduled)
            assert answer.status_code in {201, 422}, answer.text
            named = [one["field"] for one in answer.json().get("errors", ())]
            assert [one for one in named if one != "calendars"] == [], answer.text
