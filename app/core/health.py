"""Judges what `tocsin doctor` measured in a database, and names a remedy for each trouble."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from ipaddress import ip_address

from msgspec import Struct

from app.dsn import Address

CLOCK_SECONDS = 2.0
"""Difference of two clocks that calls for a remedy; NTP keeps hosts far closer."""
LATE_SECONDS = 60.0
"""Age of a due, expired or unplanned job that calls for a remedy."""
UNTRUSTED_SECONDS = 2 * 86_400.0
"""Step of the database's clock, in seconds, that calls for a remedy: two days.

A shorter one can be the time for which no instance ran.
"""
QUEUE_USAGE = 0.1
"""Share of Postgres's notification queue in use that calls for a remedy."""
WAKING_TRIGGERS = 2
"""How many triggers of `tocsin.jobs` send notifications."""
MAX_NAMED = 3
"""How many jobs a finding names."""
MAX_TOLD = 120
"""Characters of a job's error that a finding quotes."""
UNPROVEN = ("allow", "prefer", "require")
"""Values of `sslmode` with which the server need not prove its identity."""


class Vitals(Struct, frozen=True, kw_only=True):
    """Measurements made in Postgres; seconds are 0 where there is nothing to measure."""

    database_now: datetime
    server_version: str
    standby: bool
    synchronous_commit: str
    notification_queue_usage: float
    """The used share of the notification queue, 0 to 1; above 0.5 the triggers stop notifying."""
    instances: int
    paused: str | None = None
    """Since when everything is paused, by whom and why; None: not everything is."""
    overdue_seconds: float
    overdue_why: str | None = None
    """What holds the job that is longest due, by its name or id; None: none is due for long."""
    stuck_lease_seconds: float
    unplanned_seconds: float
    missing_partitions: int
    """Partitions of executions that are missing for today and the next two days."""
    default_rows: int
    """About how many executions are in the default partition instead of that of their day."""
    expired_days: int
    """Partitions that upkeep should have dropped two days ago or earlier."""
    prepared_transactions: list[str]
    """Prepared transactions that have been open for five minutes or longer."""
    untrusted_seconds: float
    """How far the clock is ahead of the time that upkeep trusts; hours if no upkeep ran lately."""
    newest_ahead_seconds: float
    """How far the newest execution lies in the future."""
    waking_triggers: int
    """Enabled triggers that send notifications."""


class UnsupportedKind(Struct, frozen=True, kw_only=True):
    """Jobs of one kind that no instance has an executor for."""

    kind: str
    jobs: int
    """How many jobs have the kind; counting stops at a thousand."""
    newest: list[str]
    """The names, or else ids, of the newest few."""


class InvalidJob(Struct, frozen=True, kw_only=True):
    """A job that has a plan_error and is not paused."""

    called: str
    """The name, or else the id."""
    plan_error: str


class UnsoundRuns(Struct, frozen=True, kw_only=True):
    """A job whose runs beside the plan are not as the job has them."""

    called: str
    """The name, or else the id."""
    problem: str


class Finding(Struct, frozen=True, kw_only=True):
    """The judgement on one subject; `remedy` is empty where all is well."""

    subject: str
    found: str
    remedy: str = ""
    grave: bool = True
    """Whether the remedy is needed; False means that the remedy is advice."""


def findings(vitals: Vitals, *, host_now: datetime) -> Iterator[Finding]:
    """Judge each measurement; `host_now`, this host's clock, is compared with the database's."""
    apart = (host_now - vitals.database_now).total_seconds()
    yield finding(
        "connection",
        f"PostgreSQL {vitals.server_version}{', a standby' if vitals.standby else ''}",
        "Point TOCSIN_DATABASE_URL at the primary." if vitals.standby else "",
    )
    yield finding(
        "durability",
        f"synchronous_commit is {vitals.synchronous_commit}",
        "Set it to on: with off, a crash of Postgres may forget what was acknowledged."
        if vitals.synchronous_commit == "off"
        else "",
    )
    yield finding(
        "clock",
        f"this host is {apart:+.3f} s from the database",
        "Jobs follow the database's clock; synchronise both (NTP) so that logs agree."
        if abs(apart) > CLOCK_SECONDS
        else "",
    )
    yield finding(
        "clock steps",
        steps_found(vitals),
        "Set the clock of the database's host right (NTP); history is pruned again by and by. "
        "Look for jobs whose next_run is in the wrong time, and move them."
        if stepped(vitals)
        else "",
    )
    yield finding(
        "instances",
        f"{vitals.instances} connected",
        "Start one: tocsin scheduler" if vitals.instances == 0 else "",
    )
    if vitals.paused is not None:
        yield finding(
            "pause",
            f"everything is paused since {vitals.paused}",
            "No job starts. Once that may end: select tocsin.resume_all()",
        )
    yield finding(
        "due jobs",
        f"the longest due is {vitals.overdue_seconds:.0f} s late"
        + (f", {vitals.overdue_why}" if vitals.overdue_why else ""),
        "Start more instances or give them more slots (TOCSIN_CONCURRENCY); see also the locks."
        if vitals.overdue_seconds > LATE_SECONDS
        else "",
    )
    yield finding(
        "leases",
        f"the oldest expired one ended {vitals.stuck_lease_seconds:.0f} s ago",
        "Its instance died and nobody takes over: start an instance that knows its kind, "
        "and look for a transaction that has the row locked."
        if vitals.stuck_lease_seconds > LATE_SECONDS
        else "",
    )
    yield finding(
        "planning",
        f"the oldest unplanned job waits for {vitals.unplanned_seconds:.0f} s",
        "Start an instance: crons typed in psql are planned by one. Where one is connected, see "
        "row locks and triggers of others: both keep plans from being written."
        if vitals.unplanned_seconds > LATE_SECONDS
        else "",
    )
    yield finding(
        "partitions",
        f"{vitals.missing_partitions} of the next three days are missing",
        "select tocsin.add_partitions(); an instance does so hourly."
        if vitals.missing_partitions
        else "",
    )
    yield finding(
        "history",
        f"{vitals.expired_days} days are past the retention, {vitals.default_rows} executions "
        "are in no day's partition",
        "See upkeep; a session that reads tocsin.executions for long puts the drop off "
        "(pg_stat_activity), and select tocsin.add_partitions() sorts the others in."
        if vitals.expired_days or vitals.default_rows
        else "",
    )
    yield finding(
        "prepared",
        f"{len(vitals.prepared_transactions)} transactions are prepared and not ended"
        + "".join(f"; {one}" for one in vitals.prepared_transactions),
        "They hold their locks for ever: end each with commit prepared or rollback prepared."
        if vitals.prepared_transactions
        else "",
    )
    yield finding(
        "triggers",
        f"{vitals.waking_triggers} of {WAKING_TRIGGERS} wake instances",
        "Apply db/triggers.sql again (tocsin migrate): without them jobs start late."
        if vitals.waking_triggers < WAKING_TRIGGERS
        else "",
    )
    yield finding(
        "notification queue",
        f"{vitals.notification_queue_usage:.0%} full",
        "A session that listens sits in an open transaction: find it in pg_stat_activity, end it."
        if vitals.notification_queue_usage > QUEUE_USAGE
        else "",
    )


def transport_findings(address: Address) -> Iterator[Finding]:
    """Warn of a connection on which another server could pose as the database.

    Hosts of this machine are trusted, and so is any network if `sslmode` is `disable`.
    """
    sslmode = address.parameters.get("sslmode", "prefer")
    away = [str(host) for host in address.hosts if not is_here(host.name)]
    if away and sslmode in UNPROVEN:
        yield Finding(
            subject="transport",
            found=f"sslmode is {sslmode}: whoever answers as {away[0]} is sent the password",
            remedy="Write sslmode=verify-full, and sslrootcert with the authority that signed the "
            "certificate of Postgres or with system, in TOCSIN_DATABASE_URL.",
            grave=False,
        )


def is_here(host: str) -> bool:
    """Return whether a host's name shows that the host is this machine."""
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def stepped(vitals: Vitals) -> bool:
    """Return whether the database's clock was set forward or back by more than is tolerated."""
    return (
        vitals.untrusted_seconds > UNTRUSTED_SECONDS or vitals.newest_ahead_seconds > CLOCK_SECONDS
    )


def steps_found(vitals: Vitals) -> str:
    """Word the step of the database's clock."""
    if vitals.untrusted_seconds > UNTRUSTED_SECONDS:
        return (
            f"the database's clock is {vitals.untrusted_seconds / 86_400:.1f} days ahead of what "
            "was seen before"
        )
    if vitals.newest_ahead_seconds > CLOCK_SECONDS:
        return f"the newest execution is {vitals.newest_ahead_seconds:.0f} s in the future"
    return "none"


def others_finding(names: Sequence[str]) -> Finding:
    """Judge the triggers, rules and policies of users that take part in what instances write."""
    return Finding(
        subject="triggers of others",
        found=", ".join(names) if names else "none is run for runs",
        remedy="Each claim, extension and settlement of a run is subject to it: where it raises or "
        "returns null, jobs do not run, or leave no execution behind. A trigger that is meant for "
        "edits alone is left out of that when it lists their columns: before update of name, "
        "target, run_at, cron …"
        if names
        else "",
        grave=False,
    )


def key_finding(looked_at: int, unopened: int) -> Finding:
    """Judge how many of the newest secrets the keys of this process cannot decrypt."""
    return finding(
        "secret keys",
        f"open {looked_at - unopened} of {looked_at} encrypted secrets",
        "Give every process, and the doctor, the keys that they were encrypted with "
        "(TOCSIN_SECRET_KEYS), or write those secrets anew; until then their jobs fail."
        if unopened
        else "",
    )


def unset_finding(unset: Sequence[tuple[str, str]]) -> Finding:
    """Judge the secrets that jobs refer to and that are not set, each with such a job."""
    told = ", ".join(f"{name} ({job})" for name, job in dict(reversed(unset)).items())
    return finding(
        "named secrets",
        f"not set, though newer jobs refer to them: {told}" if unset else "newer jobs miss none",
        "Set each with tocsin secrets set NAME, or correct the job; its runs fail."
        if unset
        else "",
    )


def upkeep_finding(troubles: Sequence[str]) -> Finding:
    """Judge the upkeep by the steps that failed, each in one line."""
    return finding(
        "upkeep",
        "; ".join(troubles) or "does all its steps",
        "It is tried again hourly, or now: tocsin prune. Take out of its way what it names."
        if troubles
        else "",
    )


def kinds_finding(kinds: Sequence[UnsupportedKind]) -> Finding:
    """Judge the jobs whose kinds no instance has an executor for."""
    told = "; ".join(f"{one.jobs} of kind {one.kind} ({', '.join(one.newest)})" for one in kinds)
    return finding(
        "kinds",
        f"no instance runs {told}" if kinds else "an instance runs each",
        "Correct the kind of these jobs, or start an instance that has it." if kinds else "",
    )


def invalid_finding(jobs: Sequence[InvalidJob]) -> Finding:
    """Judge the jobs that have a plan_error, the newest first."""
    told = ", ".join(f"{one.called} ({one.plan_error[:MAX_TOLD]})" for one in jobs[:MAX_NAMED])
    return finding(
        "invalid jobs",
        f"{len(jobs)} of the newer do not run, such as {told}" if jobs else "no newer job is",
        "Correct what each plan_error names, or pause or delete the job: "
        "GET /v1/jobs?state=invalid lists them."
        if jobs
        else "",
    )


def runs_finding(jobs: Sequence[UnsoundRuns]) -> Finding:
    """Judge the jobs that disagree with their runs beside the plan, the newest first."""
    told = ", ".join(f"{one.called} ({one.problem})" for one in jobs[:MAX_NAMED])
    return finding(
        "runs",
        f"{len(jobs)} of the newer jobs disagree with their runs: {told}"
        if jobs
        else "the newer are as their jobs say",
        "Their runs and plans may wait for ever. The upkeep mends that hourly, or now: tocsin "
        "prune. What is left then is kept by row locks or by triggers of others. Change runs, and "
        "jobs that have some, through the triggers of tocsin.jobs alone."
        if jobs
        else "",
    )


def sequences_finding(behind: Sequence[tuple[str, int]]) -> Finding:
    """Judge the sequences behind their tables, each given with the highest number in use."""
    fixes = "; ".join(f"select setval('tocsin.{name}', {most})" for name, most in behind)
    return finding(
        "sequences",
        f"{', '.join(name for name, _ in behind)} behind its table" if behind else "ahead of all",
        f"Numbers would be given twice, as after a logical move: {fixes};" if behind else "",
    )


def rights_finding(*, instance: str, upkeep: str, api: str, sight: str) -> Finding:
    """Judge the rights of the doctor's role by what the role lacks for each purpose.

    Each argument names the missing rights; an empty text stands for none.
    """
    can = [
        what for what, lacks in (("run instances", instance), ("serve the API", api)) if not lacks
    ]
    blind = f"; not see other roles' sessions ({sight})" if sight else ""
    lacks = upkeep if not instance else "" if not api else instance
    return finding(
        "rights",
        f"this role can {' and '.join(can) or 'do neither'}{blind}",
        f"It lacks {lacks}: let the owner of the tables grant that (docs/security.md)."
        if lacks
        else "",
    )


def finding(subject: str, found: str, remedy: str) -> Finding:
    """Return a grave finding."""
    return Finding(subject=subject, found=found, remedy=remedy)
