"""The figures of docs/comparison.md are those that were measured."""

import json
import re

from tests.support.pages import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text("utf-8")
QUEUES = ("procrastinate", "pgqueuer", "graphile-worker", "pg-boss")


def test_how_late_jobs_are_is_as_measured() -> None:
    rows = json.loads((ROOT / "benchmarks" / "results" / "lateness.json").read_text("utf-8"))
    p99 = {one["contestant"]: one["p99 ms"] for one in rows if one["load"] == "calm"}
    [line] = re.findall(r"^\| from being due to the call, p99 \| (.*)", PAGE, re.MULTILINE)
    ours, _, queues, *_ = line.split(" | ")

    assert ours.startswith(f"[{p99['tocsin']:.1f} ms]")
    among = [p99[name] for name in QUEUES]
    assert queues.startswith(f"[{min(among):.0f} to {max(among):.0f} ms]")


def test_how_many_jobs_are_drained_a_second_is_as_measured() -> None:
    rows = json.loads((ROOT / "benchmarks" / "results" / "drain.json").read_text("utf-8"))
    [said] = re.findall(
        r"graphile-worker drains ([\d,]+) jobs.*?starts\s+([\d,]+) ", PAGE, re.DOTALL
    )
    rates = {one["contestant"]: one["jobs/s"] for one in rows if one["instances"] == 1}

    assert said == (f"{rates['graphile-worker']:,.0f}", f"{rates['tocsin']:,.0f}")
