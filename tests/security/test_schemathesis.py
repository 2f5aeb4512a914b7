"""Schemathesis tries everything that the API's own description allows and forbids.

`SCHEMATHESIS_EXAMPLES` is how many requests it makes up for each call in each phase: 15 make about
3,000 requests in all; `make schemathesis` makes more than 20,000.
"""

import asyncio
import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.cluster import Process
from tests.support.vault import KEY

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "15"))
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")
SECONDS = EXAMPLES * 8.0 + 400
PHASES = ("Examples", "Coverage", "Fuzzing", "Stateful")


async def output(*command: str, directory: Path | None = None, **variables: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
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
    bearer = {"Authorization": f"Bearer {key}"}
    api = await Process.start("api", database_url=database_url, port=0, secret_keys=KEY)
    await api.says("serving")
    [line] = api.said("serving")

    code, report = await output(
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
        *("run", f"http://{line['address']}/openapi.json", "--checks", "all"),
        *("--max-examples", str(EXAMPLES), "--seed", SEED, "--continue-on-failure"),
        *("--generation-database", "none", "--header", f"Authorization: {bearer['Authorization']}"),
        directory=tmp_path,  # where nothing is kept of a run before, whose answers it would reuse
    )
    async with httpx.AsyncClient(base_url=f"http://{line['address']}") as client:
        afterwards = await client.get("/v1/audit", headers=bearer)
    await api.terminate()

    print(report[report.rfind(" SUMMARY ") :])  # noqa: T201 - `make schemathesis` shows it
    assert code == 0, report
    assert all(re.search(f"✅ {phase}", report) for phase in PHASES)
    [generated] = re.findall(r"(\d+) generated", report)
    assert int(generated) > min(EXAMPLES * 100, 20_000)
    assert afterwards.status_code == 200  # the key was still good: nothing was just refused
    assert api.said("faulted") == []
