"""The metrics of instances and of the API, and the alert rules on them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import yaml
from prometheus_client import Metric

from app.api.metrics import DatabaseMetrics
from app.db.levels import AskingJob, FlowLevel
from app.db.levels import Levels as DatabaseLevels
from app.telemetry.counts import Counts
from app.telemetry.exposition import InstanceMetrics, Levels
from app.wire.instances import Stats
from handbook.places import ROOT
from handbook.tables import code, table

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def of_instances() -> Iterable[Metric]:
    """Return the metrics of an instance that has done nothing yet."""
    levels = Levels(
        slots=0,
        busy_slots=0,
        held_claims=0,
        unsettled_results=0,
        retention_seconds=0,
        notifications=0,
    )
    return InstanceMetrics("", Counts(), lambda: levels, traced=False).collect()


def of_the_database() -> Iterable[Metric]:
    """Return the metrics of a database with a job that asks for metrics, and a flow."""
    told = DatabaseMetrics()
    told.stats = Stats(
        **dict.fromkeys(("executing", "retrying", "paused", "failed", "invalid", "jobs", "due"), 0),
        at=NOW,
        oldest_due_seconds=0.0,
        next_due_at=NOW,
        outcomes={},
        outcomes_since=NOW,
    )
    told.levels = DatabaseLevels(
        notify_queue_ratio=0.0,
        failing_jobs=0,
        repeatedly_failing_jobs=0,
        instances=0,
        polling_seconds=0.0,
        asking_jobs=1,
        oldest_partition_seconds=0.0,
    )
    told.flows = [FlowLevel(flow_key="", active=0, waiting=0, held_seconds=0.0)]
    told.jobs = [
        AskingJob(
            id=UUID(int=0),
            name="",
            kind="http",
            consecutive_failures=0,
            next_run=NOW,
            succeeded_at=NOW,
        )
    ]
    return told.collect()


def rows(metrics: Iterable[Metric]) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each metric: name as it is scraped, type, meaning."""
    for one in metrics:
        name = f"{one.name}_total" if one.type == "counter" else one.name
        yield code(name), one.type, one.documentation


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return list(group["rules"])


def metrics_page() -> str:
    """Return the page of all metrics and alert rules."""
    heads = ("metric", "type", "meaning")
    parts = [
        "# Metrics and alerts",
        "[Metrics](../metrics.md) says where they are scraped, and what their labels are.",
        "## Of an instance",
        table(heads, rows(of_instances())),
        "## Of the API",
        "Each process also counts its own requests, as `http_server_request_duration_seconds`.",
        table(heads, rows(of_the_database())),
        "## Alert rules",
        (
            "Of [deploy/prometheus/rules.yaml](../../deploy/prometheus/rules.yaml); each links to "
            "what to do."
        ),
    ]
    for rule in rules():
        runbook = rule["annotations"]["runbook_url"].removeprefix("docs/")
        parts += [
            f"### [{rule['alert']}](../{runbook})",
            (
                f"{rule['annotations']['summary']} Severity: {rule['labels']['severity']}; "
                f"for {rule['for']}."
            ),
            f"```promql\n{rule['expr']}\n```",
        ]
    return "\n\n".join(parts)
