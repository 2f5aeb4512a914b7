"""The alerts that are shipped for Prometheus, tested by Prometheus's own tools."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import yaml

from app.cli.main import main

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
CASES = ROOT / "tests" / "support" / "prometheus" / "rules_test.yaml"
SUFFIXES = re.compile(r"_(total|bucket|sum|count)$")


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return list(group["rules"])


def test_each_alert_fires_on_what_it_watches_and_none_when_all_is_well(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(CASES, tmp_path)

    done = subprocess.run(  # noqa: S603 - files of our own
        ["promtool", "test", "rules", str(tmp_path / CASES.name)],  # noqa: S607 - as installed
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case() -> None:
    tested = re.findall(r"name: (\w+) fires", CASES.read_text("utf-8"))

    assert tested == [rule["alert"] for rule in rules()]


def test_each_alert_is_about_metrics_that_are_told() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))

    for rule in rules():
        for name in re.findall(r"\btocsin_\w+", rule["expr"]):
            assert SUFFIXES.sub("", name) in told or name in told, rule["alert"]


def test_each_alert_has_a_runbook() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    headings = re.findall(r"^### (\w+)$", page, re.MULTILINE)

    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        anchor = f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == anchor


def test_each_command_of_the_runbooks_exists() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    [section] = re.findall(r"^## Alerts$(.+?)^## ", page, re.DOTALL | re.MULTILINE)
    said = [shlex.split(one) for one in re.findall(r"`tocsin ([^`]+)`", section)]

    assert len(said) > 10
    for words in said:
        command: click.Command | None = main
        while words and isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, words
        known = {option for one in command.params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= known
