"""What docs/api.md shows is what happens."""

import json
import re
import shlex
from pathlib import Path

import httpx

from app.api.problems import KINDS, REFUSALS
from tests.support.api import NIGHTLY

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
COMMANDS = [
    command
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for command in re.split(r"\n(?=curl )", block.replace("\\\n", " "))
    if command.startswith("curl")
]
NUMBER = 16


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
