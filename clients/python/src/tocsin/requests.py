"""What the API is asked with: made by `make client`, not by hand."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict
from uuid import UUID

__all__ = [
    "AskedOverlap",
    "BatchJob",
    "BulkAction",
    "BulkFilter",
    "CalendarDocument",
    "ChannelDocument",
    "DstGap",
    "DstOverlap",
    "Event",
    "FlowLimits",
    "JobPatch",
    "JobSort",
    "JobState",
    "Misfire",
    "Missed",
    "OnClosed",
    "Overlap",
    "Preset",
    "Prune",
    "RuleDocument",
    "Scope",
]


class CalendarDocument(TypedDict, total=False):
    """A set of time: that of all parts together."""

    description: str | None
    timezone: str
    dates: list[str] | tuple[str, ...]
    weekly: list[str] | tuple[str, ...]
    holidays: list[str] | tuple[str, ...]
    rrules: list[str] | tuple[str, ...]
    ical: str | None


class FlowLimits(TypedDict, total=False):
    """What limits the executions of jobs with one `flow_key`; null: nothing, or the pattern."""

    max_concurrency: int | None
    rate: int | None
    period_seconds: float
    burst: int | None
    paused: bool


Preset = Literal[
    "webhook",
    "slack",
    "teams",
    "discord",
    "pagerduty",
    "opsgenie",
    "alertmanager",
    "amqp",
    "smtp",
    "template",
]


class ChannelDocument(TypedDict, total=False):
    """Where alerts go to, and in what form."""

    preset: Preset
    target: Required[Mapping[str, Any]]
    fallback: str | None


Event = Literal[
    "failed",
    "exhausted",
    "missed",
    "invalid",
    "late",
    "not_succeeded",
    "slow",
    "backlog",
    "no_instance",
    "recovered",
]


class RuleDocument(TypedDict, total=False):
    """What is told, of which jobs, and by which channels."""

    events: Required[Sequence[Event]]
    job: str | None
    tag: str | None
    after: int
    seconds: float | None
    factor: float | None
    more_than: int | None
    remind_seconds: float | None
    reasons: list[str] | tuple[str, ...] | None
    channels: list[str] | tuple[str, ...]


Prune = Literal["pause", "delete"]
BulkAction = Literal[
    "edit",
    "delete",
    "pause",
    "resume",
    "run",
    "skip",
    "unskip",
    "reschedule",
    "cancel",
    "replay",
    "redrive",
    "backfill",
]
JobState = Literal["scheduled", "executing", "retrying", "paused", "finished", "failed", "invalid"]
BulkFilter = TypedDict(
    "BulkFilter",
    {
        "all": bool,
        "tag": str | list[str] | tuple[str, ...] | None,
        "kind": str | None,
        "job": str | None,
        "state": JobState | None,
        "name": str | None,
        "q": str | None,
        "last_outcome": str | list[str] | tuple[str, ...] | None,
        "failing": bool | None,
        "next_before": datetime | str | None,
        "outcome": str | list[str] | tuple[str, ...] | None,
        "from": datetime | str | None,
        "to": datetime | str | None,
        "host": str | None,
        "reason": str | list[str] | tuple[str, ...] | None,
        "status": str | list[str] | tuple[str, ...] | None,
        "late_by": float | None,
        "slower_than": float | None,
        "dead_letter": bool | None,
    },
    total=False,
)
"""What an action is for: the parameters of `GET /v1/jobs`, or of `GET /v1/executions`."""

DstGap = Literal["run_after", "skip"]
DstOverlap = Literal["first", "last", "both"]
Misfire = Literal["run_once", "skip", "run_all"]
Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"]
OnClosed = Literal["skip", "next_open"]


class JobPatch(TypedDict, total=False):
    """A merge patch of a job: null takes a field back to its default."""

    name: str | None
    description: str | None
    tags: list[str] | tuple[str, ...] | None
    metadata: Mapping[str, Any] | None
    kind: str | None
    target: Mapping[str, Any] | None
    run_at: datetime | str | None
    run_in_seconds: float | None
    cron: str | None
    timezone: str | None
    every_seconds: float | None
    dst_gap: DstGap | None
    dst_overlap: DstOverlap | None
    starts_at: datetime | str | None
    ends_at: datetime | str | None
    max_runs: int | None
    max_attempts: int | None
    backoff_seconds: float | None
    backoff_max_seconds: float | None
    timeout_seconds: float | None
    misfire: Misfire | None
    misfire_grace_seconds: float | None
    max_catchup: int | None
    overlap: Overlap | None
    flow_key: str | None
    jitter_seconds: float | None
    jitter_percent: float | None
    priority: int | None
    calendars: list[str] | tuple[str, ...] | None
    on_closed: OnClosed | None
    min_gap_seconds: float | None
    paused: bool | None


AskedOverlap = Literal["as_job", "skip", "buffer_one", "buffer_all", "cancel_other", "allow_all"]
Missed = Literal["skip", "once", "all"]


class BatchJob(TypedDict, total=False):
    """A job of a batch."""

    name: str | None
    description: str | None
    tags: list[str] | tuple[str, ...]
    metadata: Mapping[str, Any]
    kind: Required[str]
    target: Required[Mapping[str, Any]]
    run_at: datetime | str | None
    run_in_seconds: float | None
    cron: str | None
    timezone: str
    every_seconds: float | None
    dst_gap: DstGap
    dst_overlap: DstOverlap
    starts_at: datetime | str | None
    ends_at: datetime | str | None
    max_runs: int | None
    max_attempts: int
    backoff_seconds: float
    backoff_max_seconds: float
    timeout_seconds: float
    misfire: Misfire
    misfire_grace_seconds: float | None
    max_catchup: int
    overlap: Overlap
    flow_key: str | None
    jitter_seconds: float | None
    jitter_percent: float | None
    priority: int
    calendars: list[str] | tuple[str, ...] | None
    on_closed: OnClosed
    min_gap_seconds: float | None
    paused: bool
    unchanged_since: datetime | str


Scope = Literal["read", "write", "admin"]
JobSort = Literal["newest", "next_run"]
