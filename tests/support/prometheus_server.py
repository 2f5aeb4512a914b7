"""A real Prometheus that scrapes a running system, as docs/operations.md sets it up."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.pages import ROOT
from tests.support.waiting import until

PATIENCE_SECONDS = 30.0
EVERY = "200ms"
"""The interval of scrapes and of the evaluation of rules."""
WINDOW = "8s"
"""What stands in place of each range of the rules and dashboards."""


def config_of_page() -> dict[str, Any]:
    """Return the configuration that the page of operations shows."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    [shown] = re.findall(r"```yaml\n(# prometheus.yml\n.*?)```", page, re.DOTALL)
    config: dict[str, Any] = yaml.safe_load(shown)
    return config


def shortened(rules: str) -> str:
    """Return rules whose alerts need seconds instead of minutes; all else stays as it is."""
    rules = re.sub(r"for: [1-9]\d*[mh]", "for: 1s", rules)
    return re.sub(r"(\[|offset )\d+m", rf"\g<1>{WINDOW}", rules)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.fired: set[str] = set()
        """The alerts that were seen to fire."""

    async def firing(self) -> set[str]:
        """Return the alerts that fire now."""
        answer = await self.client.get("/api/v1/alerts")
        alerts = answer.json()["data"]["alerts"]
        names = {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
        self.fired |= names
        return names

    async def fires(self, *names: str) -> None:
        """Wait until each of these alerts was seen to fire."""

        async def all_fired() -> bool:
            await self.firing()
            return set(names) <= self.fired

        await until(all_fired, f"{names} fire", within=PATIENCE_SECONDS)

    async def query(self, expression: str) -> list[Any]:
        """Return the series that an expression finds.

        Raises:
            AssertionError: Prometheus refuses the expression.
        """
        answer = await self.client.get("/api/v1/query", params={"query": expression})
        assert answer.json()["status"] == "success", (expression, answer.text)
        found: list[Any] = answer.json()["data"]["result"]
        return found

    async def scrapes(self, count: int) -> None:
        """Wait until so many processes answer."""

        async def up() -> bool:
            return len(await self.query("up == 1")) == count

        await until(up, f"{count} processes are scraped", within=PATIENCE_SECONDS)


@asynccontextmanager
async def running_prometheus(
    home: Path, *, port: int, targets: Mapping[str, int]
) -> AsyncIterator[Prometheus]:
    """Run Prometheus with the shipped rules; `targets` are the ports of the jobs of the page."""
    rules = home / "rules.yaml"
    shipped = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text("utf-8")
    rules.write_text(shortened(shipped), "utf-8")
    config = config_of_page()
    assert config["rule_files"] == ["deploy/prometheus/rules.yaml"]
    config |= {
        "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
        "rule_files": [str(rules)],
    }
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{targets[job['job_name']]}"]}]
        job["scrape_timeout"] = job["scrape_interval"] = EVERY
    file = home / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        *(f"--config.file={file}", f"--storage.tsdb.path={home / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"),
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/-/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready, "Prometheus answers", within=PATIENCE_SECONDS)
            yield Prometheus(client)
    finally:
        process.kill()
        await process.wait()
