"""A request for each operation of the API: made by `make client`, not by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from tocsin.answers import (
    AlertPage,
    AlertRule,
    AlertRulePage,
    ApiKey,
    AuditEntry,
    AuditPage,
    Bulk,
    BulkPage,
    BulkPreview,
    Calendar,
    CalendarPage,
    Channel,
    ChannelPage,
    Check,
    CheckAddress,
    EndedPause,
    Execution,
    ExecutionPage,
    Explanation,
    Flow,
    FlowPage,
    Health,
    Instance,
    InstanceList,
    Job,
    JobList,
    JobPage,
    KeyPage,
    Maintenance,
    MaintenanceList,
    NamedSecret,
    NewKey,
    Pause,
    PauseList,
    PausePreview,
    PreviewedSchedule,
    SecretPage,
    SessionState,
    SetMembers,
    SetPage,
    SetPlan,
    SetState,
    Stats,
    TestedTarget,
    ToldAlert,
    Upcoming,
    UpcomingRun,
)
from tocsin.calls import Call, Listing, address, given, tag_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any, Literal
    from uuid import UUID

    from msgspec import UnsetType

    from tocsin.requests import (
        AskedOverlap,
        BatchJob,
        BulkAction,
        BulkFilter,
        CalendarDocument,
        ChannelDocument,
        DstGap,
        DstOverlap,
        Event,
        FlowLimits,
        JobPatch,
        JobSort,
        JobState,
        Misfire,
        Missed,
        OnClosed,
        Overlap,
        Preset,
        Prune,
        RuleDocument,
        Scope,
    )


def apply_jobs(
    *,
    set: str,
    defaults: Mapping[str, Any] | UnsetType = UNSET,
    jobs: Mapping[str, Mapping[str, Any]] | UnsetType = UNSET,
    calendars: Mapping[str, CalendarDocument] | UnsetType = UNSET,
    flows: Mapping[str, FlowLimits] | UnsetType = UNSET,
    channels: Mapping[str, ChannelDocument] | UnsetType = UNSET,
    rules: Mapping[str, RuleDocument] | UnsetType = UNSET,
    prune: Prune | UnsetType = UNSET,
    take_over: list[str] | tuple[str, ...] | UnsetType = UNSET,
    digest: str | UnsetType | None = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[SetPlan]:
    """Make all jobs as a set has them, or change nothing. One transaction; what was done is
    answered as the plan is. Applied again it changes nothing.
    """
    return Call(
        "POST",
        address("/v1/jobs/apply"),
        answer=SetPlan,
        idempotency_key=idempotency_key,
        body=given(
            {
                "set": set,
                "defaults": defaults,
                "jobs": jobs,
                "calendars": calendars,
                "flows": flows,
                "channels": channels,
                "rules": rules,
                "prune": prune,
                "take_over": take_over,
                "digest": digest,
            }
        ),
        query={"dry_run": dry_run or None},
    )


def ask_bulk(
    *,
    action: BulkAction,
    filter: BulkFilter,
    patch: JobPatch | UnsetType | None = UNSET,
    shift_seconds: float | UnsetType | None = UNSET,
    at: datetime | str | UnsetType | None = UNSET,
    retry: bool | UnsetType = UNSET,
    since: datetime | str | UnsetType | None = UNSET,
    until: datetime | str | UnsetType | None = UNSET,
    rate_per_second: float | UnsetType | None = UNSET,
    overlap: AskedOverlap | UnsetType | None = UNSET,
    runs: int | UnsetType | None = UNSET,
    up_to: datetime | str | UnsetType | None = UNSET,
    why: str | UnsetType | None = UNSET,
    missed: Missed | UnsetType | None = UNSET,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Bulk]:
    """Do something with all jobs, or executions, that a filter finds. With `dry_run` it is counted
    and shown what is found (200), and nothing is changed.
    """
    return Call(
        "POST",
        address("/v1/bulk"),
        answer=Bulk,
        idempotency_key=idempotency_key,
        body=given(
            {
                "action": action,
                "filter": filter,
                "patch": patch,
                "shift_seconds": shift_seconds,
                "at": at,
                "retry": retry,
                "from": since,
                "to": until,
                "rate_per_second": rate_per_second,
                "overlap": overlap,
                "runs": runs,
                "until": up_to,
                "reason": why,
                "missed": missed,
                "dry_run": False,
            }
        ),
    )


def begin_maintenance(
    *,
    tag: str | UnsetType | None = UNSET,
    all: bool | UnsetType = UNSET,
    starts_at: datetime | str | UnsetType | None = UNSET,
    ends_at: datetime | str | UnsetType | None = UNSET,
    calendar: str | UnsetType | None = UNSET,
    on_closed: OnClosed | UnsetType = UNSET,
    reason: str | UnsetType | None = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Maintenance]:
    """Lay a window of maintenance over a tag, or over all jobs. Runs that are due in it are
    missed, or start once it is over; nothing is told of them.
    """
    return Call(
        "POST",
        address("/v1/maintenance"),
        answer=Maintenance,
        idempotency_key=idempotency_key,
        body=given(
            {
                "tag": tag,
                "all": all,
                "starts_at": starts_at,
                "ends_at": ends_at,
                "calendar": calendar,
                "on_closed": on_closed,
                "reason": reason,
            }
        ),
        query={"dry_run": dry_run or None},
    )


def cancel_bulk(
    id: UUID | str, *, dry_run: bool = False, idempotency_key: str | UnsetType | None = UNSET
) -> Call[Bulk]:
    """End a bulk action before its next step. What it has changed stays changed. Idempotent."""
    return Call(
        "POST",
        address("/v1/bulk/{}/cancel", id),
        answer=Bulk,
        idempotency_key=idempotency_key,
        query={"dry_run": dry_run or None},
    )


def cancel_execution(
    id: int,
    *,
    retry: bool | UnsetType = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Execution]:
    """Cut off an execution that is under way. It is on record as `cancelled`, and its run is over
    unless another attempt is asked for.
    """
    return Call(
        "POST",
        address("/v1/executions/{}/cancel", id),
        answer=Execution,
        idempotency_key=idempotency_key,
        body=given({"retry": retry}),
        query={"dry_run": dry_run or None},
    )


def create_job(
    *,
    kind: str,
    target: Mapping[str, Any],
    name: str | UnsetType | None = UNSET,
    description: str | UnsetType | None = UNSET,
    tags: list[str] | tuple[str, ...] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | UnsetType = UNSET,
    run_at: datetime | str | UnsetType | None = UNSET,
    run_in_seconds: float | UnsetType | None = UNSET,
    cron: str | UnsetType | None = UNSET,
    timezone: str | UnsetType = UNSET,
    every_seconds: float | UnsetType | None = UNSET,
    dst_gap: DstGap | UnsetType = UNSET,
    dst_overlap: DstOverlap | UnsetType = UNSET,
    starts_at: datetime | str | UnsetType | None = UNSET,
    ends_at: datetime | str | UnsetType | None = UNSET,
    max_runs: int | UnsetType | None = UNSET,
    max_attempts: int | UnsetType = UNSET,
    backoff_seconds: float | UnsetType = UNSET,
    backoff_max_seconds: float | UnsetType = UNSET,
    timeout_seconds: float | UnsetType = UNSET,
    misfire: Misfire | UnsetType = UNSET,
    misfire_grace_seconds: float | UnsetType | None = UNSET,
    max_catchup: int | UnsetType = UNSET,
    overlap: Overlap | UnsetType = UNSET,
    flow_key: str | UnsetType | None = UNSET,
    jitter_seconds: float | UnsetType | None = UNSET,
    jitter_percent: float | UnsetType | None = UNSET,
    priority: int | UnsetType = UNSET,
    calendars: list[str] | tuple[str, ...] | UnsetType | None = UNSET,
    on_closed: OnClosed | UnsetType = UNSET,
    min_gap_seconds: float | UnsetType | None = UNSET,
    paused: bool | UnsetType = UNSET,
    outlook: bool | None = None,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Job]:
    """Create a job. Give exactly one of `run_at`, `run_in_seconds`, `cron` (with `timezone`),
    `every_seconds`.
    """
    return Call(
        "POST",
        address("/v1/jobs"),
        answer=Job,
        idempotency_key=idempotency_key,
        body=given(
            {
                "name": name,
                "description": description,
                "tags": tags,
                "metadata": metadata,
                "kind": kind,
                "target": target,
                "run_at": run_at,
                "run_in_seconds": run_in_seconds,
                "cron": cron,
                "timezone": timezone,
                "every_seconds": every_seconds,
                "dst_gap": dst_gap,
                "dst_overlap": dst_overlap,
                "starts_at": starts_at,
                "ends_at": ends_at,
                "max_runs": max_runs,
                "max_attempts": max_attempts,
                "backoff_seconds": backoff_seconds,
                "backoff_max_seconds": backoff_max_seconds,
                "timeout_seconds": timeout_seconds,
                "misfire": misfire,
                "misfire_grace_seconds": misfire_grace_seconds,
                "max_catchup": max_catchup,
                "overlap": overlap,
                "flow_key": flow_key,
                "jitter_seconds": jitter_seconds,
                "jitter_percent": jitter_percent,
                "priority": priority,
                "calendars": calendars,
                "on_closed": on_closed,
                "min_gap_seconds": min_gap_seconds,
                "paused": paused,
            }
        ),
        query={"outlook": outlook, "dry_run": dry_run or None},
        has_etag=True,
    )


def create_jobs(
    jobs: Sequence[BatchJob],
    *,
    replace: bool | None = None,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[JobList]:
    """Create up to 10,000 jobs, or replace them by their names, all or none. All jobs are written
    in one transaction. Errors name the job by its index: `[3].target.url`.
    """
    return Call(
        "POST",
        address("/v1/jobs/batch"),
        answer=JobList,
        idempotency_key=idempotency_key,
        body=given({"jobs": jobs}),
        query={"replace": replace, "dry_run": dry_run or None},
    )


def create_key(
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_in_seconds: float | UnsetType | None = UNSET,
    max_jobs: int | UnsetType | None = UNSET,
    min_interval_seconds: float | UnsetType | None = UNSET,
    allowed_hosts: list[str] | tuple[str, ...] | UnsetType | None = UNSET,
    default_ends_in_seconds: float | UnsetType | None = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[NewKey]:
    """Make an API key. Once there is a key, every request needs one. A limit is the key's for
    good; null: none.
    """
    return Call(
        "POST",
        address("/v1/keys"),
        answer=NewKey,
        idempotency_key=idempotency_key,
        body=given(
            {
                "name": name,
                "scopes": scopes,
                "expires_in_seconds": expires_in_seconds,
                "max_jobs": max_jobs,
                "min_interval_seconds": min_interval_seconds,
                "allowed_hosts": allowed_hosts,
                "default_ends_in_seconds": default_ends_in_seconds,
            }
        ),
        query={"dry_run": dry_run or None},
        has_secret=True,
    )


def delete_alert_channel(channel: str, *, dry_run: bool = False) -> Call[None]:
    """Delete a channel. One that a rule names stays."""
    return Call(
        "DELETE",
        address("/v1/alerts/channels/{}", channel),
        answer=None,
        query={"dry_run": dry_run or None},
    )


def delete_alert_rule(rule: str, *, dry_run: bool = False) -> Call[None]:
    """Delete an alert rule. What it has told stays on record."""
    return Call(
        "DELETE",
        address("/v1/alerts/rules/{}", rule),
        answer=None,
        query={"dry_run": dry_run or None},
    )


def delete_calendar(name: str, *, dry_run: bool = False) -> Call[None]:
    """Delete a calendar. One that jobs, or windows of maintenance, use is refused, and the answer
    says which.
    """
    return Call(
        "DELETE", address("/v1/calendars/{}", name), answer=None, query={"dry_run": dry_run or None}
    )


def delete_flow(flow_key: str, *, dry_run: bool = False) -> Call[None]:
    """Delete the limits of a flow. Its jobs stay, and are limited by the patterns that match, if
    any.
    """
    return Call(
        "DELETE", address("/v1/flows/{}", flow_key), answer=None, query={"dry_run": dry_run or None}
    )


def delete_job(
    job: str | UUID, *, if_match: str | Job | None = None, dry_run: bool = False
) -> Call[None]:
    """Delete a job. The executions of the job stay on record; one under way goes on to its end."""
    return Call(
        "DELETE",
        address("/v1/jobs/{}", job),
        answer=None,
        headers={"If-Match": tag_of(if_match)},
        query={"dry_run": dry_run or None},
    )


def delete_secret(name: str, *, dry_run: bool = False) -> Call[None]:
    """Delete a named secret. Executions of targets that refer to it fail from then on, until it is
    set again.
    """
    return Call(
        "DELETE", address("/v1/secrets/{}", name), answer=None, query={"dry_run": dry_run or None}
    )


def delete_set(name: str, *, dry_run: bool = False) -> Call[None]:
    """Forget a set of jobs. Its jobs stay as they are, and belong to nobody."""
    return Call(
        "DELETE", address("/v1/sets/{}", name), answer=None, query={"dry_run": dry_run or None}
    )


def end_maintenance(maintenance: UUID | str, *, dry_run: bool = False) -> Call[None]:
    """End maintenance, or take it back. Runs that it put off start within seconds, unless
    something else closes their time.
    """
    return Call(
        "DELETE",
        address("/v1/maintenance/{}", maintenance),
        answer=None,
        query={"dry_run": dry_run or None},
    )


def end_pause(
    pause: UUID | str,
    *,
    missed: Missed | UnsetType | None = UNSET,
    dry_run: bool | UnsetType = UNSET,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[EndedPause]:
    """End a pause of a tag or of everything, or count what it holds up. `missed` says what becomes
    of the runs that were missed, else the `misfire` of each job.
    """
    return Call(
        "POST",
        address("/v1/pauses/{}/resume", pause),
        answer=EndedPause,
        idempotency_key=idempotency_key,
        body=given({"missed": missed, "dry_run": dry_run}),
    )


def explain_job(job: str | UUID, *, at: datetime | str | None = None) -> Call[Explanation]:
    """Explain why a job has not run, or when it will. In words and as fields; the first reason is
    what holds the job now.
    """
    return Call(
        "GET",
        address("/v1/jobs/{}/explain", job),
        answer=Explanation,
        query={"at": at},
        is_reading=True,
    )


def get_alert(id: UUID | str) -> Call[ToldAlert]:
    """Read an alert. How it was delivered: `GET /v1/jobs/{delivery_id}/executions`."""
    return Call("GET", address("/v1/alerts/{}", id), answer=ToldAlert, is_reading=True)


def get_alert_channel(channel: str) -> Call[Channel]:
    """Read a channel. A secret that was written in SQL reads `***`."""
    return Call("GET", address("/v1/alerts/channels/{}", channel), answer=Channel, is_reading=True)


def get_alert_rule(rule: str) -> Call[AlertRule]:
    """Read an alert rule. As it was last set."""
    return Call("GET", address("/v1/alerts/rules/{}", rule), answer=AlertRule, is_reading=True)


def get_bulk(id: UUID | str) -> Call[Bulk]:
    """Read how far a bulk action is. `matched` counts what it has come to: what was changed, was
    so already, or failed.
    """
    return Call("GET", address("/v1/bulk/{}", id), answer=Bulk, is_reading=True)


def get_calendar(name: str) -> Call[Calendar]:
    """Read a calendar. Also how many jobs use it."""
    return Call("GET", address("/v1/calendars/{}", name), answer=Calendar, is_reading=True)


def get_check(job: str | UUID) -> Call[Check]:
    """Read how a check stands. A check is a job of the kind `check`; its pings are its executions."""
    return Call("GET", address("/v1/checks/{}", job), answer=Check, is_reading=True)


def get_execution(id: int) -> Call[Execution]:
    """Read an execution. An execution that is under way is not on record yet."""
    return Call("GET", address("/v1/executions/{}", id), answer=Execution, is_reading=True)


def get_flow(flow_key: str) -> Call[Flow]:
    """Read how a flow stands. Its own limits, without those of patterns, and how much of them is
    used.
    """
    return Call("GET", address("/v1/flows/{}", flow_key), answer=Flow, is_reading=True)


def get_job(job: str | UUID) -> Call[Job]:
    """Read a job. Secrets in its target read `***`. `set` is there where the files of one have it."""
    return Call("GET", address("/v1/jobs/{}", job), answer=Job, is_reading=True, has_etag=True)


def get_key(key: str) -> Call[ApiKey]:
    """Read what is known of an API key. A key is found by its prefix even after it is revoked."""
    return Call("GET", address("/v1/keys/{}", key), answer=ApiKey, is_reading=True)


def get_liveness() -> Call[Health]:
    """Does the process answer? Whether or not the database does."""
    return Call("GET", address("/health/live"), answer=Health, is_reading=True)


def get_readiness() -> Call[Health]:
    """Can requests be served? The database answers and its schema is the one that this version
    needs.
    """
    return Call("GET", address("/health/ready"), answer=Health, is_reading=True)


def get_session() -> Call[SessionState]:
    """Who is signed in? The caller has a session's cookie or a key, or is this machine while there
    is no key.
    """
    return Call("GET", address("/session"), answer=SessionState, is_reading=True)


def get_set(name: str) -> Call[SetMembers]:
    """Read a set of jobs. What belongs to it, also what the file does not have any more."""
    return Call("GET", address("/v1/sets/{}", name), answer=SetMembers, is_reading=True)


def get_stats() -> Call[Stats]:
    """Count jobs and recent executions. Counting is as cheap with ten million jobs as with ten."""
    return Call("GET", address("/v1/stats"), answer=Stats, is_reading=True)


def list_alert_channels(*, page_size: int | None = None) -> Listing[ChannelPage, Channel]:
    """List channels. By name."""
    return Listing(
        "GET",
        address("/v1/alerts/channels"),
        answer=ChannelPage,
        query={"limit": page_size},
        is_reading=True,
    )


def list_alert_rules(*, page_size: int | None = None) -> Listing[AlertRulePage, AlertRule]:
    """List alert rules. By name, each with the number of jobs of which it has told something that
    is not over.
    """
    return Listing(
        "GET",
        address("/v1/alerts/rules"),
        answer=AlertRulePage,
        query={"limit": page_size},
        is_reading=True,
    )


def list_alerts(
    *, page_size: int | None = None, job: str | None = None, rule: str | None = None
) -> Listing[AlertPage, ToldAlert]:
    """List what was told. Newest first: of which job, why, by which channel, and whether it
    arrived.
    """
    return Listing(
        "GET",
        address("/v1/alerts"),
        answer=AlertPage,
        query={"limit": page_size, "job": job, "rule": rule},
        is_reading=True,
    )


def list_bulk(*, page_size: int | None = None) -> Listing[BulkPage, Bulk]:
    """List bulk actions, newest first. Those that have ended are listed as long as executions are
    kept.
    """
    return Listing(
        "GET", address("/v1/bulk"), answer=BulkPage, query={"limit": page_size}, is_reading=True
    )


def list_calendars(*, page_size: int | None = None) -> Listing[CalendarPage, Calendar]:
    """List calendars. By name, each with the time that it has next."""
    return Listing(
        "GET",
        address("/v1/calendars"),
        answer=CalendarPage,
        query={"limit": page_size},
        is_reading=True,
    )


def list_changes(
    *, page_size: int | None = None, entity_id: UUID | str | None = None
) -> Listing[AuditPage, AuditEntry]:
    """List who changed what, newest first. Changes of jobs, keys and secrets, made over the API
    and in SQL.
    """
    return Listing(
        "GET",
        address("/v1/audit"),
        answer=AuditPage,
        query={"limit": page_size, "entity_id": entity_id},
        is_reading=True,
    )


def list_executions(
    *,
    page_size: int | None = None,
    outcome: str | list[str] | tuple[str, ...] | None = None,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    job: str | None = None,
    tag: str | list[str] | tuple[str, ...] | None = None,
    kind: str | None = None,
    host: str | None = None,
    reason: str | list[str] | tuple[str, ...] | None = None,
    status: str | list[str] | tuple[str, ...] | None = None,
    late_by: float | None = None,
    slower_than: float | None = None,
    dead_letter: bool | None = None,
) -> Listing[ExecutionPage, Execution]:
    """List executions, newest first. Every attempt that was carried out has an execution, and so
    has every run that was missed.
    """
    return Listing(
        "GET",
        address("/v1/executions"),
        answer=ExecutionPage,
        query={
            "limit": page_size,
            "outcome": outcome,
            "from": since,
            "to": until,
            "job": job,
            "tag": tag,
            "kind": kind,
            "host": host,
            "reason": reason,
            "status": status,
            "late_by": late_by,
            "slower_than": slower_than,
            "dead_letter": dead_letter,
        },
        is_reading=True,
    )


def list_executions_of_job(
    job: str | UUID,
    *,
    page_size: int | None = None,
    outcome: str | list[str] | tuple[str, ...] | None = None,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    reason: str | list[str] | tuple[str, ...] | None = None,
    status: str | list[str] | tuple[str, ...] | None = None,
    late_by: float | None = None,
    slower_than: float | None = None,
    dead_letter: bool | None = None,
) -> Listing[ExecutionPage, Execution]:
    """List the executions of a job, newest first. Executions of a deleted job are listed too, by
    its id, for as long as they are kept.
    """
    return Listing(
        "GET",
        address("/v1/jobs/{}/executions", job),
        answer=ExecutionPage,
        query={
            "limit": page_size,
            "outcome": outcome,
            "from": since,
            "to": until,
            "reason": reason,
            "status": status,
            "late_by": late_by,
            "slower_than": slower_than,
            "dead_letter": dead_letter,
        },
        is_reading=True,
    )


def list_flows(*, page_size: int | None = None) -> Listing[FlowPage, Flow]:
    """List flows. Those that have limits, and those that a target asked to hold, by key."""
    return Listing(
        "GET", address("/v1/flows"), answer=FlowPage, query={"limit": page_size}, is_reading=True
    )


def list_instances() -> Listing[InstanceList, Instance]:
    """List the scheduler instances. Instances that are connected to the database, and others that
    still hold leases.
    """
    return Listing("GET", address("/v1/instances"), answer=InstanceList, is_reading=True)


def list_jobs(
    *,
    page_size: int | None = None,
    tag: str | list[str] | tuple[str, ...] | None = None,
    kind: str | None = None,
    state: JobState | None = None,
    name: str | None = None,
    q: str | None = None,
    last_outcome: str | list[str] | tuple[str, ...] | None = None,
    host: str | None = None,
    failing: bool | None = None,
    next_before: datetime | str | None = None,
    sort: JobSort | None = None,
) -> Listing[JobPage, Job]:
    """List jobs, newest first or by next run. Jobs created while you page through do not move the
    pages: they come before the first.
    """
    return Listing(
        "GET",
        address("/v1/jobs"),
        answer=JobPage,
        query={
            "limit": page_size,
            "tag": tag,
            "kind": kind,
            "state": state,
            "name": name,
            "q": q,
            "last_outcome": last_outcome,
            "host": host,
            "failing": failing,
            "next_before": next_before,
            "sort": sort,
        },
        is_reading=True,
    )


def list_keys(*, page_size: int | None = None) -> Listing[KeyPage, ApiKey]:
    """List API keys, newest first. Keys that expired or were revoked are listed as well."""
    return Listing(
        "GET", address("/v1/keys"), answer=KeyPage, query={"limit": page_size}, is_reading=True
    )


def list_maintenance() -> Listing[MaintenanceList, Maintenance]:
    """List windows of maintenance. Those under way or to come first, the soonest before; at most
    200.
    """
    return Listing("GET", address("/v1/maintenance"), answer=MaintenanceList, is_reading=True)


def list_pauses() -> Listing[PauseList, Pause]:
    """List what is paused of tags, and everything. A pause of everything comes first. Paused jobs:
    `GET /v1/jobs?state=paused`.
    """
    return Listing("GET", address("/v1/pauses"), answer=PauseList, is_reading=True)


def list_secrets(*, page_size: int | None = None) -> Listing[SecretPage, NamedSecret]:
    """List the names of secrets. Names only."""
    return Listing(
        "GET",
        address("/v1/secrets"),
        answer=SecretPage,
        query={"limit": page_size},
        is_reading=True,
    )


def list_sets(*, page_size: int | None = None) -> Listing[SetPage, SetState]:
    """List sets of jobs. By name, each with when and by whom it was last applied."""
    return Listing(
        "GET", address("/v1/sets"), answer=SetPage, query={"limit": page_size}, is_reading=True
    )


def list_upcoming(
    *,
    page_size: int | None = None,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    bucket_seconds: int | None = None,
) -> Listing[Upcoming, UpcomingRun]:
    """List the runs to come. Schedules are expanded as they are now: retries, delays and edits
    move what comes.
    """
    return Listing(
        "GET",
        address("/v1/upcoming"),
        answer=Upcoming,
        query={"limit": page_size, "from": since, "until": until, "bucket_seconds": bucket_seconds},
        is_reading=True,
    )


def make_check_token(
    job: str | UUID, *, dry_run: bool = False, idempotency_key: str | UnsetType | None = UNSET
) -> Call[CheckAddress]:
    """Make the address for the pings of a check. It is shown this once, as only a digest is kept.
    An earlier address leads nowhere then.
    """
    return Call(
        "POST",
        address("/v1/checks/{}/token", job),
        answer=CheckAddress,
        idempotency_key=idempotency_key,
        query={"dry_run": dry_run or None},
        has_secret=True,
    )


def patch_job(
    job: str | UUID,
    *,
    name: str | UnsetType | None = UNSET,
    description: str | UnsetType | None = UNSET,
    tags: list[str] | tuple[str, ...] | UnsetType | None = UNSET,
    metadata: Mapping[str, Any] | UnsetType | None = UNSET,
    kind: str | UnsetType | None = UNSET,
    target: Mapping[str, Any] | UnsetType | None = UNSET,
    run_at: datetime | str | UnsetType | None = UNSET,
    run_in_seconds: float | UnsetType | None = UNSET,
    cron: str | UnsetType | None = UNSET,
    timezone: str | UnsetType | None = UNSET,
    every_seconds: float | UnsetType | None = UNSET,
    dst_gap: DstGap | UnsetType | None = UNSET,
    dst_overlap: DstOverlap | UnsetType | None = UNSET,
    starts_at: datetime | str | UnsetType | None = UNSET,
    ends_at: datetime | str | UnsetType | None = UNSET,
    max_runs: int | UnsetType | None = UNSET,
    max_attempts: int | UnsetType | None = UNSET,
    backoff_seconds: float | UnsetType | None = UNSET,
    backoff_max_seconds: float | UnsetType | None = UNSET,
    timeout_seconds: float | UnsetType | None = UNSET,
    misfire: Misfire | UnsetType | None = UNSET,
    misfire_grace_seconds: float | UnsetType | None = UNSET,
    max_catchup: int | UnsetType | None = UNSET,
    overlap: Overlap | UnsetType | None = UNSET,
    flow_key: str | UnsetType | None = UNSET,
    jitter_seconds: float | UnsetType | None = UNSET,
    jitter_percent: float | UnsetType | None = UNSET,
    priority: int | UnsetType | None = UNSET,
    calendars: list[str] | tuple[str, ...] | UnsetType | None = UNSET,
    on_closed: OnClosed | UnsetType | None = UNSET,
    min_gap_seconds: float | UnsetType | None = UNSET,
    paused: bool | UnsetType | None = UNSET,
    if_match: str | Job | None = None,
    dry_run: bool = False,
) -> Call[Job]:
    """Edit a job. A merge patch (RFC 7396), inside `target` and `metadata` too: null takes a field
    away.
    """
    return Call(
        "PATCH",
        address("/v1/jobs/{}", job),
        answer=Job,
        headers={"If-Match": tag_of(if_match)},
        body=given(
            {
                "name": name,
                "description": description,
                "tags": tags,
                "metadata": metadata,
                "kind": kind,
                "target": target,
                "run_at": run_at,
                "run_in_seconds": run_in_seconds,
                "cron": cron,
                "timezone": timezone,
                "every_seconds": every_seconds,
                "dst_gap": dst_gap,
                "dst_overlap": dst_overlap,
                "starts_at": starts_at,
                "ends_at": ends_at,
                "max_runs": max_runs,
                "max_attempts": max_attempts,
                "backoff_seconds": backoff_seconds,
                "backoff_max_seconds": backoff_max_seconds,
                "timeout_seconds": timeout_seconds,
                "misfire": misfire,
                "misfire_grace_seconds": misfire_grace_seconds,
                "max_catchup": max_catchup,
                "overlap": overlap,
                "flow_key": flow_key,
                "jitter_seconds": jitter_seconds,
                "jitter_percent": jitter_percent,
                "priority": priority,
                "calendars": calendars,
                "on_closed": on_closed,
                "min_gap_seconds": min_gap_seconds,
                "paused": paused,
            }
        ),
        query={"dry_run": dry_run or None},
        has_etag=True,
        media_type="application/merge-patch+json",
    )


def pause(
    *,
    tag: str | UnsetType | None = UNSET,
    all: bool | UnsetType = UNSET,
    reason: str | UnsetType | None = UNSET,
    until: datetime | str | UnsetType | None = UNSET,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Pause]:
    """Pause a tag, or everything. From now on nothing of that is claimed, of jobs to come neither;
    what is claimed goes on.
    """
    return Call(
        "POST",
        address("/v1/pauses"),
        answer=Pause,
        idempotency_key=idempotency_key,
        body=given({"tag": tag, "all": all, "reason": reason, "until": until, "dry_run": False}),
    )


def pause_flow(
    flow_key: str,
    *,
    reason: str | UnsetType | None = UNSET,
    until: datetime | str | UnsetType | None = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Flow]:
    """Pause a flow. Its jobs keep their plan and wait; what executes goes on, and its limits stay."""
    return Call(
        "POST",
        address("/v1/flows/{}/pause", flow_key),
        answer=Flow,
        idempotency_key=idempotency_key,
        body=given({"reason": reason, "until": until}),
        query={"dry_run": dry_run or None},
    )


def pause_job(
    job: str | UUID,
    *,
    reason: str | UnsetType | None = UNSET,
    until: datetime | str | UnsetType | None = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Job]:
    """Pause a job. The job keeps its plan but is not executed; an execution under way goes on.
    Idempotent.
    """
    return Call(
        "POST",
        address("/v1/jobs/{}/pause", job),
        answer=Job,
        idempotency_key=idempotency_key,
        body=given({"reason": reason, "until": until}),
        query={"dry_run": dry_run or None},
        has_etag=True,
    )


def plan_jobs(
    *,
    set: str,
    defaults: Mapping[str, Any] | UnsetType = UNSET,
    jobs: Mapping[str, Mapping[str, Any]] | UnsetType = UNSET,
    calendars: Mapping[str, CalendarDocument] | UnsetType = UNSET,
    flows: Mapping[str, FlowLimits] | UnsetType = UNSET,
    channels: Mapping[str, ChannelDocument] | UnsetType = UNSET,
    rules: Mapping[str, RuleDocument] | UnsetType = UNSET,
    prune: Prune | UnsetType = UNSET,
    take_over: list[str] | tuple[str, ...] | UnsetType = UNSET,
    digest: str | UnsetType | None = UNSET,
) -> Call[SetPlan]:
    """Say what a set of jobs would change. Field by field, with the next runs of each changed
    schedule before and after.
    """
    return Call(
        "POST",
        address("/v1/jobs/plan"),
        answer=SetPlan,
        body=given(
            {
                "set": set,
                "defaults": defaults,
                "jobs": jobs,
                "calendars": calendars,
                "flows": flows,
                "channels": channels,
                "rules": rules,
                "prune": prune,
                "take_over": take_over,
                "digest": digest,
            }
        ),
        is_reading=True,
    )


def preview_ask_bulk(
    *,
    action: BulkAction,
    filter: BulkFilter,
    patch: JobPatch | UnsetType | None = UNSET,
    shift_seconds: float | UnsetType | None = UNSET,
    at: datetime | str | UnsetType | None = UNSET,
    retry: bool | UnsetType = UNSET,
    since: datetime | str | UnsetType | None = UNSET,
    until: datetime | str | UnsetType | None = UNSET,
    rate_per_second: float | UnsetType | None = UNSET,
    overlap: AskedOverlap | UnsetType | None = UNSET,
    runs: int | UnsetType | None = UNSET,
    up_to: datetime | str | UnsetType | None = UNSET,
    why: str | UnsetType | None = UNSET,
    missed: Missed | UnsetType | None = UNSET,
) -> Call[BulkPreview]:
    """Of the dry run: do something with all jobs, or executions, that a filter finds. With
    `dry_run` it is counted and shown what is found (200), and nothing is changed.
    """
    return Call(
        "POST",
        address("/v1/bulk"),
        answer=BulkPreview,
        body=given(
            {
                "action": action,
                "filter": filter,
                "patch": patch,
                "shift_seconds": shift_seconds,
                "at": at,
                "retry": retry,
                "from": since,
                "to": until,
                "rate_per_second": rate_per_second,
                "overlap": overlap,
                "runs": runs,
                "until": up_to,
                "reason": why,
                "missed": missed,
                "dry_run": True,
            }
        ),
        is_reading=True,
    )


def preview_pause(
    *,
    tag: str | UnsetType | None = UNSET,
    all: bool | UnsetType = UNSET,
    reason: str | UnsetType | None = UNSET,
    until: datetime | str | UnsetType | None = UNSET,
) -> Call[PausePreview]:
    """Of the dry run: pause a tag, or everything. From now on nothing of that is claimed, of jobs
    to come neither; what is claimed goes on.
    """
    return Call(
        "POST",
        address("/v1/pauses"),
        answer=PausePreview,
        body=given({"tag": tag, "all": all, "reason": reason, "until": until, "dry_run": True}),
        is_reading=True,
    )


def preview_schedule(
    *,
    run_at: datetime | str | UnsetType | None = UNSET,
    cron: str | UnsetType | None = UNSET,
    timezone: str | UnsetType = UNSET,
    every_seconds: float | UnsetType | None = UNSET,
    dst_gap: DstGap | UnsetType = UNSET,
    dst_overlap: DstOverlap | UnsetType = UNSET,
    starts_at: datetime | str | UnsetType | None = UNSET,
    ends_at: datetime | str | UnsetType | None = UNSET,
    jitter_seconds: float | UnsetType | None = UNSET,
    jitter_percent: float | UnsetType | None = UNSET,
    calendars: list[str] | tuple[str, ...] | UnsetType | None = UNSET,
    count: int | UnsetType = UNSET,
    since: datetime | str | UnsetType | None = UNSET,
    job_id: UUID | str | UnsetType | None = UNSET,
) -> Call[PreviewedSchedule]:
    """Show the next runs of a schedule. The schedule is also described in words. Nothing is
    stored.
    """
    return Call(
        "POST",
        address("/v1/schedule/preview"),
        answer=PreviewedSchedule,
        body=given(
            {
                "run_at": run_at,
                "cron": cron,
                "timezone": timezone,
                "every_seconds": every_seconds,
                "dst_gap": dst_gap,
                "dst_overlap": dst_overlap,
                "starts_at": starts_at,
                "ends_at": ends_at,
                "jitter_seconds": jitter_seconds,
                "jitter_percent": jitter_percent,
                "calendars": calendars,
                "count": count,
                "from": since,
                "job_id": job_id,
            }
        ),
        is_reading=True,
    )


def put_alert_channel(
    channel: str,
    *,
    target: Mapping[str, Any],
    preset: Preset | UnsetType = UNSET,
    fallback: str | UnsetType | None = UNSET,
    dry_run: bool = False,
) -> Call[Channel]:
    """Set a channel. Each message is delivered by an `http` job, with retries and history."""
    return Call(
        "PUT",
        address("/v1/alerts/channels/{}", channel),
        answer=Channel,
        body=given({"preset": preset, "target": target, "fallback": fallback}),
        query={"dry_run": dry_run or None},
    )


def put_alert_rule(
    rule: str,
    *,
    events: Sequence[Event],
    job: str | UnsetType | None = UNSET,
    tag: str | UnsetType | None = UNSET,
    after: int | UnsetType = UNSET,
    seconds: float | UnsetType | None = UNSET,
    factor: float | UnsetType | None = UNSET,
    more_than: int | UnsetType | None = UNSET,
    remind_seconds: float | UnsetType | None = UNSET,
    reasons: list[str] | tuple[str, ...] | UnsetType | None = UNSET,
    channels: list[str] | tuple[str, ...] | UnsetType = UNSET,
    dry_run: bool = False,
) -> Call[AlertRule]:
    """Set an alert rule. It tells of what ends from now on. A rule that watches for something else
    begins anew.
    """
    return Call(
        "PUT",
        address("/v1/alerts/rules/{}", rule),
        answer=AlertRule,
        body=given(
            {
                "events": events,
                "job": job,
                "tag": tag,
                "after": after,
                "seconds": seconds,
                "factor": factor,
                "more_than": more_than,
                "remind_seconds": remind_seconds,
                "reasons": reasons,
                "channels": channels,
            }
        ),
        query={"dry_run": dry_run or None},
    )


def put_calendar(
    name: str,
    *,
    description: str | UnsetType | None = UNSET,
    timezone: str | UnsetType = UNSET,
    dates: list[str] | tuple[str, ...] | UnsetType = UNSET,
    weekly: list[str] | tuple[str, ...] | UnsetType = UNSET,
    holidays: list[str] | tuple[str, ...] | UnsetType = UNSET,
    rrules: list[str] | tuple[str, ...] | UnsetType = UNSET,
    ical: str | UnsetType | None = UNSET,
    dry_run: bool = False,
) -> Call[Calendar]:
    """Set a calendar. It counts for every run that comes due from now on; what waits for its times
    is replanned.
    """
    return Call(
        "PUT",
        address("/v1/calendars/{}", name),
        answer=Calendar,
        body=given(
            {
                "description": description,
                "timezone": timezone,
                "dates": dates,
                "weekly": weekly,
                "holidays": holidays,
                "rrules": rrules,
                "ical": ical,
            }
        ),
        query={"dry_run": dry_run or None},
    )


def put_flow(
    flow_key: str,
    *,
    max_concurrency: int | UnsetType | None = UNSET,
    rate: int | UnsetType | None = UNSET,
    period_seconds: float | UnsetType = UNSET,
    burst: int | UnsetType | None = UNSET,
    paused: bool | UnsetType = UNSET,
    dry_run: bool = False,
) -> Call[Flow]:
    """Set the limits of a flow. They replace those that there were, and count from the next claim
    on, on all instances.
    """
    return Call(
        "PUT",
        address("/v1/flows/{}", flow_key),
        answer=Flow,
        body=given(
            {
                "max_concurrency": max_concurrency,
                "rate": rate,
                "period_seconds": period_seconds,
                "burst": burst,
                "paused": paused,
            }
        ),
        query={"dry_run": dry_run or None},
    )


def put_job(
    job: str | UUID,
    *,
    kind: str,
    target: Mapping[str, Any],
    name: str | UnsetType | None = UNSET,
    description: str | UnsetType | None = UNSET,
    tags: list[str] | tuple[str, ...] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | UnsetType = UNSET,
    run_at: datetime | str | UnsetType | None = UNSET,
    run_in_seconds: float | UnsetType | None = UNSET,
    cron: str | UnsetType | None = UNSET,
    timezone: str | UnsetType = UNSET,
    every_seconds: float | UnsetType | None = UNSET,
    dst_gap: DstGap | UnsetType = UNSET,
    dst_overlap: DstOverlap | UnsetType = UNSET,
    starts_at: datetime | str | UnsetType | None = UNSET,
    ends_at: datetime | str | UnsetType | None = UNSET,
    max_runs: int | UnsetType | None = UNSET,
    max_attempts: int | UnsetType = UNSET,
    backoff_seconds: float | UnsetType = UNSET,
    backoff_max_seconds: float | UnsetType = UNSET,
    timeout_seconds: float | UnsetType = UNSET,
    misfire: Misfire | UnsetType = UNSET,
    misfire_grace_seconds: float | UnsetType | None = UNSET,
    max_catchup: int | UnsetType = UNSET,
    overlap: Overlap | UnsetType = UNSET,
    flow_key: str | UnsetType | None = UNSET,
    jitter_seconds: float | UnsetType | None = UNSET,
    jitter_percent: float | UnsetType | None = UNSET,
    priority: int | UnsetType = UNSET,
    calendars: list[str] | tuple[str, ...] | UnsetType | None = UNSET,
    on_closed: OnClosed | UnsetType = UNSET,
    min_gap_seconds: float | UnsetType | None = UNSET,
    paused: bool | UnsetType = UNSET,
    outlook: bool | None = None,
    if_match: str | Job | None = None,
    dry_run: bool = False,
) -> Call[Job]:
    """Create or replace a job by name. A job that is sent again as it is keeps its plan and its
    ETag.
    """
    return Call(
        "PUT",
        address("/v1/jobs/{}", job),
        answer=Job,
        headers={"If-Match": tag_of(if_match)},
        body=given(
            {
                "name": name,
                "description": description,
                "tags": tags,
                "metadata": metadata,
                "kind": kind,
                "target": target,
                "run_at": run_at,
                "run_in_seconds": run_in_seconds,
                "cron": cron,
                "timezone": timezone,
                "every_seconds": every_seconds,
                "dst_gap": dst_gap,
                "dst_overlap": dst_overlap,
                "starts_at": starts_at,
                "ends_at": ends_at,
                "max_runs": max_runs,
                "max_attempts": max_attempts,
                "backoff_seconds": backoff_seconds,
                "backoff_max_seconds": backoff_max_seconds,
                "timeout_seconds": timeout_seconds,
                "misfire": misfire,
                "misfire_grace_seconds": misfire_grace_seconds,
                "max_catchup": max_catchup,
                "overlap": overlap,
                "flow_key": flow_key,
                "jitter_seconds": jitter_seconds,
                "jitter_percent": jitter_percent,
                "priority": priority,
                "calendars": calendars,
                "on_closed": on_closed,
                "min_gap_seconds": min_gap_seconds,
                "paused": paused,
            }
        ),
        query={"outlook": outlook, "dry_run": dry_run or None},
        has_etag=True,
    )


def put_secret(
    name: str,
    *,
    value: str,
    hosts: list[str] | tuple[str, ...] | UnsetType = UNSET,
    dry_run: bool = False,
) -> Call[NamedSecret]:
    """Set a named secret. Targets refer to it as `${secret:NAME}`; they use a new value within
    five seconds.
    """
    return Call(
        "PUT",
        address("/v1/secrets/{}", name),
        answer=NamedSecret,
        body=given({"value": value, "hosts": hosts}),
        query={"dry_run": dry_run or None},
    )


def release_flow(
    flow_key: str, *, dry_run: bool = False, idempotency_key: str | UnsetType | None = UNSET
) -> Call[Flow]:
    """End what a target asked for. Jobs of the flow start again before held_until, as far as its
    limits allow.
    """
    return Call(
        "POST",
        address("/v1/flows/{}/release", flow_key),
        answer=Flow,
        idempotency_key=idempotency_key,
        query={"dry_run": dry_run or None},
    )


def replay_execution(
    id: int,
    *,
    overlap: AskedOverlap | UnsetType = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Job]:
    """Run that occurrence again, now. The new run has the same `scheduled_for` and idempotency
    key; the schedule goes on.
    """
    return Call(
        "POST",
        address("/v1/executions/{}/replay", id),
        answer=Job,
        idempotency_key=idempotency_key,
        body=given({"overlap": overlap}),
        query={"dry_run": dry_run or None},
        has_etag=True,
    )


def resume_flow(
    flow_key: str, *, dry_run: bool = False, idempotency_key: str | UnsetType | None = UNSET
) -> Call[Flow]:
    """Resume a flow. Its jobs start again, as far as its limits allow. Idempotent."""
    return Call(
        "POST",
        address("/v1/flows/{}/resume", flow_key),
        answer=Flow,
        idempotency_key=idempotency_key,
        query={"dry_run": dry_run or None},
    )


def resume_job(
    job: str | UUID,
    *,
    missed: Missed | UnsetType | None = UNSET,
    dry_run: bool | UnsetType = UNSET,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Job]:
    """Resume a job, or count what it missed. `missed` says what becomes of the runs that the job
    missed, else its `misfire`. Idempotent.
    """
    return Call(
        "POST",
        address("/v1/jobs/{}/resume", job),
        answer=Job,
        idempotency_key=idempotency_key,
        body=given({"missed": missed, "dry_run": dry_run}),
        has_etag=True,
    )


def revoke_check_token(job: str | UUID, *, dry_run: bool = False) -> Call[None]:
    """Have the address of a check lead nowhere. The check goes on, so its next ping will be missed
    unless it gets another address.
    """
    return Call(
        "DELETE",
        address("/v1/checks/{}/token", job),
        answer=None,
        query={"dry_run": dry_run or None},
    )


def revoke_key(key: str, *, dry_run: bool = False) -> Call[None]:
    """Revoke an API key. No process accepts it any more within a few seconds. Idempotent, by its
    prefix.
    """
    return Call(
        "DELETE", address("/v1/keys/{}", key), answer=None, query={"dry_run": dry_run or None}
    )


def run_job(
    job: str | UUID,
    *,
    overlap: AskedOverlap | UnsetType = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Job]:
    """Run a job now. An extra run of the job is due at once; the schedule goes on as before."""
    return Call(
        "POST",
        address("/v1/jobs/{}/run", job),
        answer=Job,
        idempotency_key=idempotency_key,
        body=given({"overlap": overlap}),
        query={"dry_run": dry_run or None},
        has_etag=True,
    )


def skip_runs(
    job: str | UUID,
    *,
    runs: int | UnsetType | None = UNSET,
    until: datetime | str | UnsetType | None = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[Job]:
    """Skip runs of a job. The next `runs` runs, or all before `until`, in place of what was to be
    skipped before.
    """
    return Call(
        "POST",
        address("/v1/jobs/{}/skip", job),
        answer=Job,
        idempotency_key=idempotency_key,
        body=given({"runs": runs, "until": until}),
        query={"dry_run": dry_run or None},
        has_etag=True,
    )


def test_alert_channel(
    channel: str, *, dry_run: bool = False, idempotency_key: str | UnsetType | None = UNSET
) -> Call[ToldAlert]:
    """Have a channel told something, to see whether that arrives. Read the alert again to see its
    `delivery`.
    """
    return Call(
        "POST",
        address("/v1/alerts/channels/{}/test", channel),
        answer=ToldAlert,
        idempotency_key=idempotency_key,
        query={"dry_run": dry_run or None},
    )


def test_job(
    job: str | UUID,
    *,
    timeout_seconds: float | UnsetType | None = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[TestedTarget]:
    """Send the target of a job once, without an execution. The job's plan, state and history stay
    as they are. A job that is paused is sent as well.
    """
    return Call(
        "POST",
        address("/v1/jobs/{}/test", job),
        answer=TestedTarget,
        idempotency_key=idempotency_key,
        body=given({"timeout_seconds": timeout_seconds}),
        query={"dry_run": dry_run or None},
    )


def test_target(
    *,
    kind: str,
    target: Mapping[str, Any],
    timeout_seconds: float | UnsetType = UNSET,
    job: str | UnsetType | None = UNSET,
    name: str | UnsetType | None = UNSET,
    tags: list[str] | tuple[str, ...] | UnsetType = UNSET,
    metadata: Mapping[str, Any] | UnsetType = UNSET,
    dry_run: bool = False,
    idempotency_key: str | UnsetType | None = UNSET,
) -> Call[TestedTarget]:
    """Send a target once, before any job has it. There is no execution of it: only the audit log
    says who sent what.
    """
    return Call(
        "POST",
        address("/v1/tests"),
        answer=TestedTarget,
        idempotency_key=idempotency_key,
        body=given(
            {
                "kind": kind,
                "target": target,
                "timeout_seconds": timeout_seconds,
                "job": job,
                "name": name,
                "tags": tags,
                "metadata": metadata,
            }
        ),
        query={"dry_run": dry_run or None},
    )


def unskip_runs(
    job: str | UUID, *, dry_run: bool = False, idempotency_key: str | UnsetType | None = UNSET
) -> Call[Job]:
    """Skip no runs of a job any more. Skipped runs whose time has passed stay skipped. Idempotent."""
    return Call(
        "POST",
        address("/v1/jobs/{}/unskip", job),
        answer=Job,
        idempotency_key=idempotency_key,
        query={"dry_run": dry_run or None},
        has_etag=True,
    )
