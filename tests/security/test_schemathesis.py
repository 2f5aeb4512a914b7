"""Schemathesis tries everything that the API's own description allows and forbids.

`SCHEMATHESIS_EXAMPLES` is how many requests it makes up for each call in each phase; 900
make more than 20,000 in all.
"""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support.cluster import Process

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "15")
SECONDS = float(EXAMPLES) * 4 + 120


async def output(*command: str, **variables: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, printed.decode()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
async def test_no_request_breaks_the_api_or_its_description(
    database_url: str, tmp_path: Path
) -> None:
    _, key = await output(
        *(sys.executable, "-m", "app", "keys", "create", "fuzz", "--scope", "admin"),
        TOCSIN_DATABASE_URL=database_url,
    )
    key = re.findall(r"tocsin_\w+", key)[0]
    api = await Process.start("api", database_url=database_url, port=0)
    await api.says("serving")
    [line] = api.said("serving")

    code, report = await output(
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
        *("run", f"http://{line['address']}/openapi.json", "--checks", "all"),
        *("--max-examples", EXAMPLES, "--seed", "1", "--continue-on-failure"),
        *("--generation-database", "none", "--header", f"Authorization: Bearer {key}"),
    )
    await api.terminate()

    assert code == 0, report
    assert "Selected: " in report
    assert api.said("faulted") == []
