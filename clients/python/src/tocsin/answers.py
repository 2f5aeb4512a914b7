"""What the API answers: made by `make client`, not by hand."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from msgspec import Struct, field

from tocsin.unshown import Unshown

__all__ = [
    "AlertPage",
    "AlertRule",
    "AlertRulePage",
    "ApiKey",
    "AuditEntry",
    "AuditPage",
    "Bucket",
    "Bulk",
    "BulkPage",
    "BulkPreview",
    "BulkProblem",
    "BulkSample",
    "Calendar",
    "CalendarPage",
    "CalendarTime",
    "Channel",
    "ChannelPage",
    "Check",
    "CheckAddress",
    "EndedPause",
    "Execution",
    "ExecutionPage",
    "Explanation",
    "Facts",
    "FieldChange",
    "FieldError",
    "Flow",
    "FlowPage",
    "Health",
    "Holder",
    "Instance",
    "InstanceList",
    "Job",
    "JobList",
    "JobPage",
    "JobPaused",
    "KeyPage",
    "Maintenance",
    "MaintenanceList",
    "MissedRuns",
    "NamedSecret",
    "NewKey",
    "Outlook",
    "Pause",
    "PauseList",
    "PausePreview",
    "PreviewedRun",
    "PreviewedSchedule",
    "Reason",
    "RunsChange",
    "SecretPage",
    "SessionLimits",
    "SessionState",
    "SetMember",
    "SetMembers",
    "SetPage",
    "SetPlan",
    "SetState",
    "Stats",
    "Step",
    "TestedTarget",
    "ToldAlert",
    "Upcoming",
    "UpcomingRun",
]


class FieldChange(Struct, frozen=True, kw_only=True):
    """A field that differs. Secrets read `***`; what is left out is not there."""

    field: str
    before: Any = None
    after: Any = None
    drift: bool = False


class RunsChange(Struct, frozen=True, kw_only=True):
    """What a plan does to the next runs of a job: to their nominal instants."""

    before: list[datetime]
    after: list[datetime]
    dropped: list[datetime]
    notes: list[str] = field(default_factory=list)
    """Changes of the clocks about the runs after."""


class Step(Struct, frozen=True, kw_only=True):
    """What an application does to one member, and why."""

    kind: str
    name: str
    action: str
    changes: list[FieldChange] = field(default_factory=list)
    drift: bool = False
    """It was changed elsewhere since the last time."""
    runs: RunsChange | None = None
    """Where the schedule changes: its next runs."""
    paused: bool = False
    """The job is paused, and stays so."""
    owner: str | None = None
    """Of a conflict or a take-over: the set it belongs to."""
    detail: str | None = None
    """What one should know about this."""


class FieldError(Struct, frozen=True, kw_only=True):
    """An error in one field of the input, with what to write instead."""

    field: str
    message: str


class SetPlan(Struct, frozen=True, kw_only=True):
    """What an application would do, or has done."""

    set: str
    digest: str
    """Of all that is changed: apply with it to do this and nothing else."""
    differs: bool
    """Something would be changed, or is in conflict."""
    counts: dict[str, int]
    """How many steps have each action."""
    steps: list[Step]
    warnings: list[FieldError] = field(default_factory=list)
    """What makes runs fail as things are."""


class BulkProblem(Struct, frozen=True, kw_only=True):
    """One of the jobs or executions for which an action failed."""

    job_id: UUID
    execution_id: int | None = None
    problem: str


class Bulk(Struct, frozen=True, kw_only=True):
    """A bulk action and how far it is."""

    id: UUID
    action: str
    filter: dict[str, Any]
    options: dict[str, Any]
    """Of what is written into targets, nothing is shown."""
    state: str
    expected: int | None
    """How many were found when it was asked for; null: unknown."""
    matched: int
    """How many it has come to."""
    changed: int
    unchanged: int
    """Those that were so already."""
    failed: int
    problems: list[BulkProblem]
    """Of the first that failed."""
    error: str | None
    asked_at: datetime
    asked_by: str
    started_at: datetime | None
    ended_at: datetime | None
    cancelled_at: datetime | None
    instance: str | None
    """Which one works on it."""


class CalendarTime(Struct, frozen=True, kw_only=True):
    """A span of time that a calendar has: from `start` to before `end`."""

    start: datetime
    end: datetime


class Maintenance(Struct, frozen=True, kw_only=True):
    """A window of maintenance."""

    id: UUID
    tag: str | None
    """Null: all jobs."""
    calendar: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    on_closed: str
    reason: str | None
    is_under_way: bool
    next: CalendarTime | None
    """The time that it has now or next; null: none."""
    created_at: datetime
    created_by: str


class Execution(Struct, frozen=True, kw_only=True):
    """One attempt as carried out, or the runs that were missed; kept when its job is deleted."""

    id: int
    job_id: UUID
    job_name: str | None
    """As the job is called now, if there is one."""
    tags: list[str]
    """Those that the job has now."""
    fence: int | None
    """The claim that it was carried out under."""
    kind: str
    scheduled_for: datetime
    """The run; of missed ones the first."""
    attempt: int | None
    """From 1; null where a run was missed."""
    outcome: str
    reason: str | None
    """A stable word, such as status or dns."""
    started_at: datetime | None
    """When the request went out, or the attempt began."""
    finished_at: datetime
    instance: str | None
    status_code: int | None
    response: str | None
    """The first part of what was answered."""
    error: str | None
    missed_runs: int | None
    """How many runs a missed row stands for."""
    missed_until: datetime | None
    """The last of them."""
    lag_seconds: float | None
    """From scheduled_for to started_at."""
    duration_seconds: float | None
    """From started_at to finished_at."""


class JobPaused(Struct, frozen=True, kw_only=True):
    """Who paused a job, why and until when."""

    paused_at: datetime
    paused_by: str | None = None
    reason: str | None = None
    until: datetime | None = None
    """When it is resumed by itself."""
    tag: str | None = None
    """Whose pause it is, if not the job's own."""


class MissedRuns(Struct, frozen=True, kw_only=True):
    """How many runs a job has missed, and how many of these are carried out once it is resumed."""

    missed_runs: int
    """Up to 1,000,000."""
    carried_out: int


class Outlook(Struct, frozen=True, kw_only=True):
    """What becomes of a job as things are."""

    description: str
    """Its schedule in words."""
    next_runs: list[datetime]
    """When its next runs start, up to five; without the closed."""
    has_instance: bool
    """An instance is connected that carries out its kind."""


class Job(Struct, frozen=True, kw_only=True):
    """A job as the API answers it: every secret in its target reads `***`."""

    id: UUID
    name: str | None
    description: str | None
    tags: list[str]
    metadata: dict[str, Any]
    kind: str
    target: dict[str, Any]
    run_at: datetime | None
    cron: str | None
    timezone: str
    every_seconds: float | None
    dst_gap: str
    dst_overlap: str
    starts_at: datetime | None
    ends_at: datetime | None
    max_runs: int | None
    max_attempts: int
    backoff_seconds: float
    backoff_max_seconds: float
    timeout_seconds: float
    misfire: str
    misfire_grace_seconds: float | None
    max_catchup: int
    overlap: str
    flow_key: str | None
    jitter_seconds: float | None
    jitter_percent: float | None
    priority: int
    calendars: list[str] | None
    on_closed: str
    min_gap_seconds: float | None
    paused: bool
    state: str
    next_run: datetime | None
    """When its next run starts, or the next attempt of one."""
    scheduled_for: datetime | None
    """The instant that this run is of: earlier than next_run if it is spread."""
    plan_error: str | None
    last_outcome: str | None
    last_finished_at: datetime | None
    consecutive_failures: int
    runs: int
    pause: JobPaused | None
    skip_runs: int | None
    skip_until: datetime | None
    created_at: datetime
    failing: bool
    """It goes on, although its last runs failed: see consecutive_failures."""
    execution_id: int | None
    """The execution under way: what can be cancelled."""
    updated_at: datetime
    set: str | None = None
    """Of a read: whose files have it."""
    missed: MissedRuns | None = None
    """Of a resumption: what the pause made of its runs."""
    outlook: Outlook | None = None
    """Of a write with outlook=true."""
    effect: str | None = None
    """Of a batch with replace=true: what became of the job."""
    warnings: list[FieldError] | None = None
    """After a write: what makes its runs fail now. Often left out."""
    etag: str | None = None
    """Its version, for `if_match`; None where several jobs were answered."""


class JobList(Struct, frozen=True, kw_only=True):
    """Jobs in the order they were sent in."""

    items: list[Job]


class NewKey(Unshown, frozen=True, kw_only=True):
    """A new key with its secret part, which is shown only here."""

    unshown: ClassVar[tuple[str, ...]] = ("key",)

    id: UUID
    name: str
    prefix: str
    """The part of the key that may be shown."""
    scopes: list[str]
    """Each includes those before it."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None
    max_jobs: int | None = None
    """How many of the jobs that exist it may have made."""
    min_interval_seconds: float | None = None
    """Seconds. The shortest from run to run of what it schedules."""
    allowed_hosts: list[str] | None = None
    """Where its jobs may send to: api.example.com, *.example.com, an address, or an origin such as
    https://api.example.com:8443.
    """
    default_ends_in_seconds: float | None = None
    """Seconds. When its recurring jobs without ends_at end."""
    key: str
    """Send it as Authorization: Bearer. Not shown again."""


class EndedPause(Struct, frozen=True, kw_only=True):
    """A pause that has ended, or would end."""

    due_jobs: int
    """Jobs that it held up and that are due; at most 100,000."""
    dry_run: bool


class Holder(Struct, frozen=True, kw_only=True):
    """An execution that has a permit of a flow."""

    job_id: UUID
    name: str | None = None
    execution_id: int | None = None
    instance: str | None = None
    until: datetime | None = None


class Facts(Struct, frozen=True, kw_only=True):
    """What a reason is about; only the fields that its word has."""

    run: datetime | None = None
    """The run, by its scheduled_for."""
    attempt: int | None = None
    max_attempts: int | None = None
    execution_id: int | None = None
    instance: str | None = None
    outcome: str | None = None
    why: str | None = None
    """The reason of the execution."""
    error: str | None = None
    status_code: int | None = None
    consecutive_failures: int | None = None
    """How many runs in a row did not succeed."""
    missed_runs: int | None = None
    missed_until: datetime | None = None
    kind: str | None = None
    request: str | None = None
    """run_now or replay."""
    run_id: UUID | None = None
    pending_runs: int | None = None
    plan: datetime | None = None
    """The planned run that waits."""
    max_runs: int | None = None
    runs: int | None = None
    paused_by: str | None = None
    pause_reason: str | None = None
    tag: str | None = None
    """The tag that is paused."""
    skip_runs: int | None = None
    skip_until: datetime | None = None
    calendars: list[str] = field(default_factory=list)
    """Those of the job."""
    maintenance: UUID | None = None
    """The window that the run is in."""
    maintenance_reason: str | None = None
    calendar: str | None = None
    """The calendar of that window."""
    set_by: str | None = None
    """Who set it."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    pid: int | None = None
    """Of the session that has a lock."""
    application_name: str | None = None
    before: int | None = None
    """The execution before that instant."""
    after: int | None = None
    """The execution after that instant."""
    flow_key: str | None = None
    permits: int | None = None
    """How many its flow has."""
    taken: int | None = None
    """How many of these are in use."""
    holders: list[Holder] = field(default_factory=list)
    """Who has them; the first ten."""


class Reason(Struct, frozen=True, kw_only=True):
    """One thing that holds a job, or that became of a run."""

    reason: str
    """A stable word."""
    detail: str
    """A sentence for people."""
    since: datetime | None
    until: datetime | None
    """When it ends by itself, or ended; null: not known."""
    facts: Facts


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a job has not run or when it will; with `at`, what became of the run of that instant."""

    state: str
    summary: str
    """The first reason's sentence."""
    next_run: datetime | None
    reasons: list[Reason]
    """What holds it now comes first."""


class ToldAlert(Struct, frozen=True, kw_only=True):
    """What was told of one job by one channel, and whether it arrived."""

    id: UUID
    at: datetime
    rule: str | None
    """Null: a test of the channel."""
    event: str
    of_event: str | None
    """What is over, of recovered; else the event."""
    is_reminder: bool
    job_id: UUID | None
    """Null: it is about no single job."""
    job: str | None
    """As the job was called then."""
    many: int | None
    """How many in a row."""
    since: datetime | None
    """The end of the first of these."""
    execution_id: int | None
    """The latest of these."""
    why: str | None
    channel: str | None
    instead_of: UUID | None
    """The alert that another channel could not deliver."""
    delivery: str
    delivery_id: UUID | None
    """The job that delivers it; several may share one."""
    delivered_at: datetime | None
    failed_at: datetime | None
    error: str | None
    """Why it was not delivered."""


class Channel(Struct, frozen=True, kw_only=True):
    """A channel as stored; a secret that was written in SQL reads `***`."""

    name: str
    preset: str
    target: dict[str, Any]
    fallback: str | None
    failed: int
    """How many alerts of a week it did not deliver."""
    last_failed_at: datetime | None
    last_error: str | None
    """Why it did not deliver the latest."""
    created_at: datetime
    updated_at: datetime


class AlertRule(Struct, frozen=True, kw_only=True):
    """An alert rule as stored."""

    name: str
    events: list[str]
    job: str | None
    """The job's name, or its id if it has none."""
    tag: str | None
    after: int
    seconds: float | None
    factor: float | None
    more_than: int | None
    remind_seconds: float | None
    reasons: list[str] | None
    channels: list[str]
    told_jobs: int
    """For how many jobs it has told of something that is not over."""
    created_at: datetime
    updated_at: datetime


class Calendar(Struct, frozen=True, kw_only=True):
    """A calendar as it stands."""

    description: str | None = None
    timezone: str = "UTC"
    """IANA name; whose clocks days and hours mean."""
    dates: list[str] = field(default_factory=list)
    """2026-12-24, or 2026-12-24/2027-01-02 for all between."""
    weekly: list[str] = field(default_factory=list)
    """MON-FRI 09:00-17:00; SAT,SUN; * 22:00-06:00."""
    holidays: list[str] = field(default_factory=list)
    """Public holidays of a country or region: DE, US-CA."""
    rrules: list[str] = field(default_factory=list)
    """Rules of iCalendar for days: FREQ=MONTHLY;BYDAY=-1FR."""
    ical: str | None = None
    """The text of an .ics file: its events."""
    name: str
    error: str | None
    """Why it cannot be used; the jobs that use it are invalid."""
    is_worked_out: bool
    """False: it was written in SQL, and an instance has yet to see it."""
    times: list[CalendarTime]
    """The next ten spans of time it has."""
    jobs: int
    """How many jobs use it, 10,000 at most."""
    created_at: datetime
    updated_at: datetime


class Check(Struct, frozen=True, kw_only=True):
    """How a check stands, which is a job that expects pings."""

    job_id: UUID
    name: str | None
    status: str
    """new, started, up, late (the ping is due and the grace goes on), down (it was missed, or said
    that it failed), paused, or invalid: pings are recorded, and nobody notices one that does
    not come.
    """
    expected_at: datetime | None
    """The run whose ping comes next, without the grace."""
    has_token: bool
    """Whether there is an address for its pings."""
    token_made_at: datetime | None
    started_at: datetime | None
    """The latest start."""
    ended_at: datetime | None
    """The latest end, well or not."""


class Flow(Struct, frozen=True, kw_only=True):
    """A flow as it stands; a `flow_key` with an asterisk is a pattern."""

    flow_key: str
    max_concurrency: int | None
    rate: int | None
    period_seconds: float
    burst: int | None
    paused: bool
    paused_at: datetime | None
    pause_reason: str | None
    paused_until: datetime | None
    """When it is resumed by itself; null: by somebody."""
    paused_by: str | None
    held_until: datetime | None
    """No job starts before: the target asked for that, with 429 or 503."""
    held_for: str | None
    """What the target said."""
    executing: int
    """Leases in force, 10,000 at most."""
    waiting: int
    """Jobs that are due, 10,000 at most."""
    created_at: datetime | None
    updated_at: datetime | None


class ApiKey(Struct, frozen=True, kw_only=True):
    """An API key as clients see it: without the secret part."""

    id: UUID
    name: str
    prefix: str
    """The part of the key that may be shown."""
    scopes: list[str]
    """Each includes those before it."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None
    max_jobs: int | None = None
    """How many of the jobs that exist it may have made."""
    min_interval_seconds: float | None = None
    """Seconds. The shortest from run to run of what it schedules."""
    allowed_hosts: list[str] | None = None
    """Where its jobs may send to: api.example.com, *.example.com, an address, or an origin such as
    https://api.example.com:8443.
    """
    default_ends_in_seconds: float | None = None
    """Seconds. When its recurring jobs without ends_at end."""


class Health(Struct, frozen=True, kw_only=True):
    """The process is well."""

    status: str = "ok"


class SessionLimits(Struct, frozen=True, kw_only=True):
    """The limits to which the jobs keep that the caller writes."""

    max_jobs: int | None = None
    """How many of the jobs that exist it may have made."""
    min_interval_seconds: float | None = None
    """Seconds. The shortest from run to run of what it schedules."""
    allowed_hosts: list[str] | None = None
    """Where its jobs may send to: api.example.com, *.example.com, an address, or an origin such as
    https://api.example.com:8443.
    """
    default_ends_in_seconds: float | None = None
    """Seconds. When its recurring jobs without ends_at end."""


class SessionState(Struct, frozen=True, kw_only=True):
    """The caller that is signed in."""

    actor: str
    """As the audit log names it."""
    scopes: list[str]
    """What may be done."""
    expires_at: datetime | None
    """Null: no session, but a key, or no need of one."""
    limits: SessionLimits | None = None
    """Of the API key, if it has any."""


class SetMember(Struct, frozen=True, kw_only=True):
    """What belongs to a set."""

    kind: str
    name: str
    removed_at: datetime | None


class SetMembers(Struct, frozen=True, kw_only=True):
    """A set with all that belongs to it."""

    name: str
    applied_at: datetime
    applied_by: str
    created_at: datetime
    jobs: int
    others: int
    """Calendars, flows, channels and rules."""
    removed: int
    """What the file did not have any more, and stays."""
    members: list[SetMember]


class Stats(Struct, frozen=True, kw_only=True):
    """Counts of jobs by state and of the latest executions by outcome; each stops at 10,000."""

    at: datetime
    jobs: int
    """Above 10,000 an estimate."""
    due: int
    oldest_due_seconds: float | None
    """How long the longest waiting job has been due."""
    next_due_at: datetime | None
    executing: int
    retrying: int
    paused: int
    failed: int
    invalid: int
    outcomes: dict[str, int]
    """Of the latest executions, at most 10,000."""
    outcomes_since: datetime | None
    """When the first of these executions finished."""


class ChannelPage(Struct, frozen=True, kw_only=True):
    """Channels, by name."""

    items: list[Channel]
    next_cursor: str | None


class AlertRulePage(Struct, frozen=True, kw_only=True):
    """Alert rules, by name."""

    items: list[AlertRule]
    next_cursor: str | None


class AlertPage(Struct, frozen=True, kw_only=True):
    """Alerts, newest first."""

    items: list[ToldAlert]
    next_cursor: str | None


class BulkPage(Struct, frozen=True, kw_only=True):
    """Bulk actions, newest first."""

    items: list[Bulk]
    next_cursor: str | None


class CalendarPage(Struct, frozen=True, kw_only=True):
    """Calendars by name."""

    items: list[Calendar]
    next_cursor: str | None


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One change of a job, a key, a named secret or the limits of a flow, a bulk action, a test."""

    id: int
    at: datetime
    actor: str
    """The API key, or the database user."""
    db_user: str
    """Whom the database knows it by."""
    program: str | None
    """Such as psql, or which API process."""
    action: str
    entity: str
    entity_id: UUID
    entity_name: str | None
    changed: list[str] | None
    """Of an update: columns, and parts of the target."""
    before: dict[str, Any] | None
    """What was changed or deleted; of a target a part."""
    after: dict[str, Any] | None
    """What it became; of a created job all but `next_run`."""


class AuditPage(Struct, frozen=True, kw_only=True):
    """Changes, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None


class ExecutionPage(Struct, frozen=True, kw_only=True):
    """Executions, newest first."""

    items: list[Execution]
    next_cursor: str | None


class FlowPage(Struct, frozen=True, kw_only=True):
    """Flows that have limits, by key."""

    items: list[Flow]
    next_cursor: str | None


class Instance(Struct, frozen=True, kw_only=True):
    """One scheduler process, as the database sees it."""

    name: str
    connected: bool
    """False: it died or is cut off; another takes over when its leases end."""
    connected_since: datetime | None
    """Null also where the database does not let us see it."""
    executing: int
    """Jobs that it holds a lease on."""


class InstanceList(Struct, frozen=True, kw_only=True):
    """The scheduler instances by name."""

    items: list[Instance]


class JobPage(Struct, frozen=True, kw_only=True):
    """Jobs, newest first."""

    items: list[Job]
    next_cursor: str | None


class KeyPage(Struct, frozen=True, kw_only=True):
    """Keys, newest first."""

    items: list[ApiKey]
    next_cursor: str | None


class MaintenanceList(Struct, frozen=True, kw_only=True):
    """The windows under way and to come, and those that ended within 30 days."""

    items: list[Maintenance]


class Pause(Struct, frozen=True, kw_only=True):
    """A pause of all jobs that have a tag, or of everything."""

    id: UUID
    tag: str | None
    """Null: everything is paused."""
    reason: str | None
    until: datetime | None
    paused_at: datetime
    paused_by: str


class PauseList(Struct, frozen=True, kw_only=True):
    """The pauses of everything and of tags that are in force."""

    items: list[Pause]


class NamedSecret(Struct, frozen=True, kw_only=True):
    """A named secret as clients see it: without its value, which only targets get."""

    name: str
    hosts: list[str]
    """Where it may be sent; none: anywhere."""
    created_at: datetime
    updated_at: datetime


class SecretPage(Struct, frozen=True, kw_only=True):
    """Secrets, by name."""

    items: list[NamedSecret]
    next_cursor: str | None


class SetState(Struct, frozen=True, kw_only=True):
    """A set as it was last applied."""

    name: str
    applied_at: datetime
    applied_by: str
    created_at: datetime
    jobs: int
    others: int
    """Calendars, flows, channels and rules."""
    removed: int
    """What the file did not have any more, and stays."""


class SetPage(Struct, frozen=True, kw_only=True):
    """Sets by name."""

    items: list[SetState]
    next_cursor: str | None


class UpcomingRun(Struct, frozen=True, kw_only=True):
    """A run to come."""

    at: datetime
    """When it starts. In the past: it is late."""
    scheduled_for: datetime
    """Whose run it is: earlier if it is spread, or a retry."""
    job_id: UUID
    job_name: str | None
    skipped: bool
    """Somebody skips it: it is not carried out."""
    closed_until: datetime | None = None
    """Its calendars close it until then: it is missed, or starts then."""


class Bucket(Struct, frozen=True, kw_only=True):
    """A span of time, and how many runs it has."""

    at: datetime
    """When it begins; it has bucket_seconds."""
    runs: int
    skipped: int
    """How many of these are to be skipped."""


class Upcoming(Struct, frozen=True, kw_only=True):
    """Runs to come, the earliest first; or, with `bucket_seconds`, how many there are when."""

    items: list[UpcomingRun]
    next_cursor: str | None
    until: datetime
    """The runs before it are listed; earlier than asked for if too many."""
    buckets: list[Bucket] | None
    """With bucket_seconds: those that have any runs."""


class CheckAddress(Unshown, frozen=True, kw_only=True):
    """The address for the pings of a check, which is shown this once."""

    unshown: ClassVar[tuple[str, ...]] = ("token", "path")

    token: str
    path: str
    """Behind the host: itself for a success, with /start, /fail, …"""


class BulkSample(Struct, frozen=True, kw_only=True):
    """One of the jobs or executions that are found, and what would become of it."""

    job_id: UUID
    job_name: str | None
    execution_id: int | None = None
    next_run: datetime | None = None
    """As it is now."""
    next_run_after: datetime | None = None
    """Of edit and reschedule: what it becomes."""
    runs: int | None = None
    """Of backfill: how many runs there are."""
    problem: str | None = None
    """Why it would fail, or be left as it is."""


class BulkPreview(Struct, frozen=True, kw_only=True):
    """What an action would be for."""

    count: int
    """How many are found."""
    count_is_exact: bool
    """False: there may be more, as a bounded part was searched."""
    runs: int | None
    """Of backfill: how many runs these have in the range."""
    outcomes: dict[str, int] | None = None
    """Of replay and redrive: how many ended how, the most first."""
    sample: list[BulkSample]


class PausePreview(Struct, frozen=True, kw_only=True):
    """What a pause would be of."""

    jobs: int
    """Jobs that wait for a run and are not paused yet; at most 100,000."""
    dry_run: bool = True


class PreviewedRun(Struct, frozen=True, kw_only=True):
    """A run that the schedule has."""

    at: datetime
    skipped: bool
    """The job job_id is to skip it."""
    local: datetime
    """The same instant as the zone's clocks show it."""
    effective_at: datetime
    """When it starts: later, with a jitter, than this instant."""
    closed_until: datetime | None
    """The calendars close it until then; null: they do not."""


class PreviewedSchedule(Struct, frozen=True, kw_only=True):
    """What a schedule comes to."""

    description: str
    runs: list[PreviewedRun]


class TestedTarget(Struct, frozen=True, kw_only=True):
    """What came of a test; there is no record of it."""

    outcome: str | None
    """Null after a dry run, which sends none."""
    reason: str | None
    """A stable word, such as status or dns."""
    error: str | None
    status_code: int | None
    duration_seconds: float | None
    response: str | None
    """The first part of what was answered."""
    idempotency_key: str
    """That of the test, which no run has."""
