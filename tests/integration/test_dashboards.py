"""The dashboards for Grafana: every query is parsed, and those for Postgres are run."""

import re
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from msgspec import json

from tests.support.builders import insert_job
from tests.support.roles import as_role

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "deploy" / "grafana"
MACROS = {"$__timeFilter(finished_at)": "finished_at between now() - interval '6 h' and now()"}


def targets(name: str) -> list[tuple[str, dict[str, Any]]]:
    """List the queries of a dashboard with the titles of their panels."""
    dashboard = json.decode((DASHBOARDS / name).read_bytes())
    return [
        (panel["title"], target) for panel in dashboard["panels"] for target in panel["targets"]
    ]


def test_every_query_for_prometheus_is_one(tmp_path: Path) -> None:
    rules = [
        {
            "record": f"dashboard:query:{number}",
            "expr": target["expr"].replace("$__rate_interval", "1m"),
        }
        for number, (_, target) in enumerate(targets("prometheus.json"))
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")

    done = subprocess.run(  # noqa: S603 - a file of our own
        ["promtool", "check", "rules", str(file)],  # noqa: S607 - as installed
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("title", "target"), targets("postgres.json"))
async def test_every_query_for_postgres_runs_for_a_reader(
    connection: asyncpg.Connection, database_url: str, title: str, target: dict[str, Any]
) -> None:
    """With the rights of `tocsin_reader`, which docs/security.md gives to Grafana."""
    await insert_job(connection)
    query = target["rawSql"]
    for macro, condition in MACROS.items():
        query = query.replace(macro, condition)

    async with asyncpg.create_pool(as_role("reader", database_url), min_size=0) as reader:
        await reader.fetch(query)

    assert "$__" not in query, title


@pytest.mark.parametrize("name", ["prometheus.json", "postgres.json"])
def test_panels_lie_beside_each_other_and_have_numbers_of_their_own(name: str) -> None:
    panels = json.decode((DASHBOARDS / name).read_bytes())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_each_query_for_prometheus_is_about_metrics_that_are_told() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))

    for title, target in targets("prometheus.json"):
        for name in re.findall(r"\b(?:tocsin|http_server)_\w+", target["expr"]):
            assert {name, re.sub(r"_(total|bucket|sum|count)$", "", name)} & told, title
