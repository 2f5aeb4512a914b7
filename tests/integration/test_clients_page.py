"""The examples on the page of the client do what they say."""

import asyncio
import os
import re
import subprocess
import sys

from tocsin import AsyncTocsin, Tocsin
from tocsin.namespaces import Does, Lists, Namespace

from tests.support.pages import ROOT

PAGE = (ROOT / "docs/clients.md").read_text("utf-8")
README = (ROOT / "clients/python/README.md").read_text("utf-8")
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", PAGE.partition("\n## Receivers")[0] + README, re.DOTALL | re.MULTILINE
)


async def test_the_examples_of_calls_do_what_they_say(served: str) -> None:
    environment = os.environ | {
        "TOCSIN_URL": served,
        "PYTHONPATH": str(ROOT / "clients/python/src"),
    }
    environment |= {"PYTHONWARNINGS": "error"}
    printed = []
    for example in EXAMPLES:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", example, env=environment, stdout=subprocess.PIPE
        )
        text, _ = await process.communicate()
        assert process.returncode == 0, example
        printed.append(text.decode())

    assert len(EXAMPLES) == 4
    assert printed[1].startswith("scheduled 2")
    assert {line.split()[0] for line in printed[1].splitlines()[1:]} == {"cron", "target.url"}
    assert printed[2] == "nightly\n"
    assert printed[3] == ""
    async with AsyncTocsin(served) as tocsin:
        job = await tocsin.jobs.get("nightly")
    assert (job.timezone, job.cron) == ("Europe/Paris", "0 3 * * *")
    assert job.timeout_seconds == 30, "README says nothing of it"


def test_the_page_has_every_call_of_the_client() -> None:
    rows = re.findall(r"^\| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    with Tocsin("http://127.0.0.1:1") as tocsin:
        parts = {
            name: one
            for name, one in vars(tocsin).items()
            if isinstance(one, Namespace) and one is not tocsin
        }
        there = {name: calls_of(one) for name, one in parts.items()} | {"itself": calls_of(tocsin)}

    assert len(there) > 10
    for name, calls in there.items():
        [said] = [text for of, text in rows if name in re.findall(r"\w+", of)]
        assert calls - {*re.findall(r"\w+", said)} == set(), name


def calls_of(one: object) -> set[str]:
    return {
        name
        for kind in type(one).__mro__
        for name, call in vars(kind).items()
        if isinstance(call, Does | Lists)
    }
