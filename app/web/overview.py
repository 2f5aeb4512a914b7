"""The first page: what runs now, what fails or is late, what comes next."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from litestar import Response, get
from litestar.datastructures import State
from litestar.params import FromQuery
from msgspec import Struct
from msgspec.structs import replace

from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.health import Finding
from app.core.jobs.job import JobState, StoredJob
from app.core.schedule.heat import Crowd
from app.core.schedule.occurrences import TICK
from app.core.schedule.upcoming import Group, Rule, bucket_of, counts_of, rules
from app.core.schedule.zones import zone_named
from app.db import instances, jobs, maintenance, pages
from app.db.database import Database
from app.db.jobs import JobFilter
from app.errors import InvalidInput
from app.web.heat import Week, busiest, days
from app.web.kept import Kept
from app.web.parameters import Reader
from app.web.pictures import Span
from app.web.rendering import page, render
from app.web.words import plural
from app.wire.instances import Instance, Stats
from app.wire.maintenance import Maintenance

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SHOWN = 8
"""Jobs and executions of each list of the page."""
MAX_STEPS = 5_000
"""Instants that are worked out for the picture of what comes."""
LATE_SECONDS = 10.0
"""A job that has been due for longer is late."""


class Coming(Struct, frozen=True, kw_only=True):
    """A choice of how far ahead the picture shows."""

    ahead: timedelta
    bucket: timedelta
    form: str
    """Of the labels below: see `app.web.words.short`."""
    word: str


COMING = {
    "hour": Coming(ahead=HOUR, bucket=timedelta(minutes=1), form="hour", word="hour"),
    "day": Coming(ahead=DAY, bucket=timedelta(minutes=15), form="hour", word="24 hours"),
    "week": Coming(ahead=7 * DAY, bucket=timedelta(hours=2), form="day", word="7 days"),
}


class Now(Struct, frozen=True, kw_only=True):
    """How everything stands at one instant."""

    at: datetime
    stats: Stats
    failing: Sequence[StoredJob]
    more_fail: bool
    failed: Sequence[StoredJob]
    invalid: Sequence[StoredJob]
    late: Sequence[StoredJob]
    under_way: Sequence[pages.UnderWay]
    troubled: Sequence[pages.Troubled]
    minutes: Sequence[pages.Minute]
    lateness: pages.Lateness
    instances: Sequence[Instance]
    firing: Sequence[pages.Firing]
    warnings: Sequence[Finding]
    maintenance: Sequence[Maintenance]

    @property
    def troubles(self) -> list[str]:
        """Say in short phrases what needs somebody, the worst first."""
        stats = self.stats
        failing = f"{len(self.failing)}{'+' if self.more_fail else ''}"
        told = [
            (not any(one.connected for one in self.instances), "no instance is connected"),
            (is_late(stats), f"{plural(stats.due, 'job')} due and not started"),
            (bool(self.failing), f"{failing} {'job fails' if failing == '1' else 'jobs fail'}"),
            (bool(stats.failed), f"{plural(stats.failed, 'job')} ended in failure"),
            (bool(stats.invalid), f"{plural(stats.invalid, 'job')} cannot run as written"),
        ]
        return [phrase for holds, phrase in told if holds]

    @property
    def of_hour(self) -> dict[str, int]:
        """How many executions of the last hour ended how."""
        return {
            name: sum(getattr(one, name) for one in self.minutes)
            for name in ("succeeded", "failed", "missed")
        }


async def read_now(db: Database, warnings: Sequence[Finding]) -> Now:
    """Read how everything stands."""
    stats = await instances.read_stats(db)
    failing = await jobs.list_page(db, JobFilter(failing=True), before=None, limit=SHOWN)
    troubled_since = stats.at - DAY
    return Now(
        at=stats.at,
        stats=stats,
        failing=failing.items,
        more_fail=failing.more,
        failed=await some(db, JobState.FAILED) if stats.failed else (),
        invalid=await some(db, JobState.INVALID) if stats.invalid else (),
        late=await late_jobs(db, at=stats.at) if is_late(stats) else (),
        under_way=await pages.list_under_way(db, limit=SHOWN),
        troubled=await pages.list_troubled(db, since=troubled_since, limit=SHOWN),
        minutes=await pages.read_activity(db, since=stats.at - HOUR),
        lateness=await pages.read_lateness(db, since=stats.at - HOUR),
        instances=await instances.list_instances(db),
        firing=await pages.list_firing(db, limit=SHOWN + 1),
        warnings=warnings,
        maintenance=await maintenance.list_under_way(db),
    )


def is_late(stats: Stats) -> bool:
    """Return whether some job is late."""
    return stats.oldest_due_seconds is not None and stats.oldest_due_seconds > LATE_SECONDS


async def some(db: Database, state: JobState) -> Sequence[StoredJob]:
    """List the newest few jobs that stand so."""
    return (await jobs.list_page(db, JobFilter(state=state), before=None, limit=SHOWN)).items


async def late_jobs(db: Database, *, at: datetime) -> Sequence[StoredJob]:
    """List the jobs that have been late for longest; one that executes is late no more."""
    found = await jobs.list_by_next_run(db, JobFilter(), after=None, limit=3)
    since = at - timedelta(seconds=LATE_SECONDS)
    return [
        job
        for job in found.items
        if job.next_run and job.next_run < since and job.state is not JobState.EXECUTING
    ]


async def live_overview(db: Database, warnings: Kept[list[Finding]], *, root: str) -> str:
    """Make the live part of the page; `root` stands before addresses."""
    return render("overview_now.html", root=root, now=await read_now(db, await warnings.fresh()))


class Picture(Struct, frozen=True, kw_only=True):
    """The runs to come, by spans of time."""

    at: datetime
    spans: Sequence[Span]
    steady_jobs: int
    """Jobs that run more often than once in a span, which are left out: they hide the others."""
    steady_runs: int
    is_whole: bool
    """Whether all spans are counted to their ends."""


def groups_of(crowds: Sequence[Crowd]) -> list[Group]:
    """Return the jobs by schedule as groups; of an `H` some jobs stand for the others."""
    return [
        Group(
            schedule=replace(crowd.schedule, run_at=crowd.at),
            job_id=id,
            next_run=crowd.next_run,
            scheduled_for=min(crowd.anchor, crowd.next_run),
            jobs=max(round(crowd.jobs / len(crowd.ids or (None,))), 1),
        )
        for crowd in crowds
        for id in crowd.ids or (None,)
    ]


async def read_coming(state: State, shown: Coming) -> Picture:
    """Count the runs to come by spans, from what the picture of the week is made of."""
    week: Week = await state.week.fresh()
    until = week.at + shown.ahead
    return await asyncio.to_thread(
        drawn,
        groups_of(week.crowds),
        now=week.at,
        until=until,
        bucket=shown.bucket,
        is_whole=week.is_whole,
    )


def drawn(
    groups: Sequence[Group],
    *,
    now: datetime,
    until: datetime,
    bucket: timedelta,
    is_whole: bool,
) -> Picture:
    """Count the runs of schedules, not of jobs, however many these are."""
    buckets = int((until - now) / bucket)
    steady = [rule for rule in rules(groups, now=now, until=until) if is_steady(rule, buckets)]
    often = {id(group) for rule in steady for _, group in rule.groups}
    counts, counted = counts_of(
        [group for group in groups if id(group) not in often],
        now=now,
        until=until,
        bucket_seconds=int(bucket.total_seconds()),
        most=MAX_STEPS,
    )
    start = bucket_of(now, bucket)
    return Picture(
        at=now,
        spans=[
            Span(at=at, runs=counts.get(at, 0))
            for at in (start + number * bucket for number in range(buckets + 1))
        ],
        steady_jobs=sum(group.jobs for rule in steady for _, group in rule.groups),
        steady_runs=sum(rule.runs_between(now, min(until, rule.stop)) for rule in steady),
        is_whole=is_whole and counted is None,
    )


def is_steady(rule: Rule, buckets: int) -> bool:
    """Return whether a rule has more runs than there are spans."""
    start = min(after for after, _ in rule.groups) + TICK
    return rule.count(start, rule.stop, limit=buckets + 1) > buckets


def zone_of(name: str) -> tuple[str, tzinfo]:
    """Return a time zone and its name; UTC for one that is not known."""
    try:
        return name, zone_named(name)
    except InvalidInput:
        return "UTC", UTC


@get("/", opt={"scope": Scope.READ})
async def overview(
    *,
    request: ApiRequest,
    state: State,
    reader: Reader,
    span: FromQuery[str] = "day",
    zone: FromQuery[str] = "UTC",
) -> Response[bytes]:
    """Show how everything stands; the week by the clocks of `zone`."""
    week: Week = await state.week.fresh()
    zone_name, clocks = zone_of(zone)
    shown = COMING.get(span, COMING["day"])
    coming: Picture = await state.coming[span if span in COMING else "day"].fresh()
    following = await jobs.list_by_next_run(reader, JobFilter(), after=None, limit=SHOWN)
    is_empty = not following.items
    if is_empty:  # jobs that are over have no next run
        is_empty = not (await jobs.list_page(reader, JobFilter(), before=None, limit=1)).items
    return page(
        request,
        "overview.html",
        is_empty=is_empty,
        now_part=await state.parts["overview"].fresh(),
        coming=coming,
        shown=shown,
        choices=COMING,
        following=following.items,
        week=week,
        week_days=days(week, clocks),
        busy=busiest(week, clocks),
        zone_name=zone_name,
    )
