"""The runs to come of many jobs in the order of time, each rule searched once for all its jobs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush, merge
from itertools import islice
from uuid import UUID

from msgspec import Struct

from app.core.jobs.identity import EPOCH, NIL
from app.core.schedule.occurrences import TICK, Interval, ZonedCron
from app.core.schedule.schedule import (
    LATEST,
    Schedule,
    begin_after,
    end_by,
    form_errors,
    recurrence_of,
    run_after,
)
from app.core.schedule.spread import Spread
from app.core.schedule.zones import zone_named
from app.errors import InvalidInput

MANY = 10**9
"""More runs than are ever counted: no limit."""


class Group(Struct, frozen=True, kw_only=True):
    """Jobs with the same schedule and the same plan."""

    schedule: Schedule
    job_id: UUID | None = None
    """The job whose `H` or jitter is meant; None where the schedule has none."""
    next_run: datetime | None
    """When the next run may be claimed; None: that run is under way."""
    scheduled_for: datetime
    """What that run is scheduled for: before `next_run` if the run is a retry, or spread."""
    runs_left: int | None = None
    """How many runs are left, with that one; None: no limit."""
    skip_runs: int = 0
    """How many runs are to be skipped, from the next one that has not begun."""
    skip_until: datetime | None = None
    """The runs before this instant are to be skipped."""
    begun: bool = False
    """Whether that run has begun: it is under way, or is a retry."""
    jobs: int
    ids: Sequence[UUID] = ()
    """The ids of the jobs; none where only their number is asked for."""

    @property
    def skips_next(self) -> bool:
        """Whether the next run is to be skipped."""
        if self.begun:
            return False
        return self.skip_runs > 0 or self.skips_before(self.scheduled_for)

    def skips_before(self, run: datetime) -> bool:
        """Whether a run is to be skipped for being early."""
        return self.skip_until is not None and run < self.skip_until


class Rule:
    """The runs after the next one, of all groups with the same recurrence and end."""

    def __init__(self, recurrence: Interval | ZonedCron | Spread, stop: datetime) -> None:
        self.recurrence = recurrence
        self.stop = stop
        self.groups: list[tuple[datetime, Group]] = []
        """Each group with the instant that its runs follow."""

    def nominal(self, run: datetime) -> datetime:
        """Return what a run is scheduled for that starts at `run`."""
        return self.recurrence.nominal(run) if isinstance(self.recurrence, Spread) else run

    def after_next(self, group: Group) -> datetime:
        """Return the first instant behind the next run of a group, as it was planned."""
        if isinstance(self.recurrence, Spread):
            return self.recurrence.effective(group.scheduled_for) + TICK
        return group.scheduled_for + TICK

    def first(self, start: datetime) -> datetime | None:
        """Find the earliest run from `start` on."""
        return self.recurrence.first(start, self.stop) if start < self.stop else None

    def groups_at(self, run: datetime) -> list[Group]:
        """Return the groups that have this run."""
        return [
            group
            for after, group in self.groups
            if after < run and (group.runs_left is None or self.reaches(group, run))
        ]

    def count(self, start: datetime, stop: datetime, *, limit: int = MANY) -> int:
        """Count the runs in [start, stop), up to `limit`."""
        return self.recurrence.count(start, stop, limit=limit) if start < stop else 0

    def runs_between(self, start: datetime, stop: datetime) -> int:
        """Count the runs in [start, stop) of all jobs."""
        runs = 0
        whole = self.count(start, stop)
        for after, group in self.groups:
            begin = max(start, after + TICK)
            each = whole if begin == start else self.count(begin, stop)
            if group.runs_left is not None:
                left = group.runs_left - 1
                each = min(each, left - self.count(self.after_next(group), begin, limit=left))
            runs += each * group.jobs
        return runs

    def skips(self, group: Group, run: datetime) -> bool:
        """Whether a group is to skip this run."""
        left = group.skip_runs - (not group.begun)
        if left <= 0:
            return group.skips_before(self.nominal(run))
        passed = self.recurrence.count(self.after_next(group), run, limit=left)
        return passed < left or group.skips_before(self.nominal(run))

    def reaches(self, group: Group, run: datetime) -> bool:
        """Whether the runs that a group has left, but for its next one, reach this run."""
        left = (group.runs_left or 1) - 1
        passed = self.recurrence.count(self.after_next(group), run, limit=left + 1)
        return passed < left


class Moment(Struct, frozen=True, kw_only=True):
    """An instant at which jobs run."""

    at: datetime
    groups: list[tuple[Group, datetime, bool]]
    """Each with what its run is scheduled for, and whether the run is to be skipped; none, where no
    group has runs left."""


class Run(Struct, frozen=True, kw_only=True):
    """A run to come."""

    at: datetime
    scheduled_for: datetime
    job_id: UUID
    skipped: bool = False


def moments(
    groups: Sequence[Group], *, now: datetime, since: datetime | None, until: datetime
) -> Iterator[Moment]:
    """Walk over the instants from `since` (None: the first) to before `until` at which jobs run.

    A run that is late stands at its instant before `now`. Of what follows there are only the
    instants later than `now`: whether those in between are made up for depends on the misfire
    policy. Each step takes one search, however many jobs have the rule.
    """
    queue: list[tuple[datetime, int, Group | Rule]] = [
        (group.next_run, number, group)
        for number, group in enumerate(groups)
        if group.next_run is not None and group.next_run < until
    ]
    if since is not None:
        queue = [one for one in queue if one[0] >= since]
    for number, rule in enumerate(rules(groups, now=now, until=until), start=len(groups)):
        start = min(after for after, _ in rule.groups) + TICK
        if run := rule.first(max(start, since or start)):
            queue.append((run, number, rule))
    heapify(queue)
    while queue:
        at = queue[0][0]
        found: list[tuple[Group, datetime, bool]] = []
        while queue and queue[0][0] == at:
            _, number, one = heappop(queue)
            if isinstance(one, Group):
                found.append((one, one.scheduled_for, one.skips_next))
                continue
            due = one.nominal(at)
            found += [(group, due, one.skips(group, at)) for group in one.groups_at(at)]
            if run := one.first(at + TICK):
                heappush(queue, (run, number, one))
        yield Moment(at=at, groups=found)


def rules(groups: Sequence[Group], *, now: datetime, until: datetime) -> list[Rule]:
    """Gather the groups by recurrence and end.

    Left out: one-offs, groups on their last run, and schedules that are wrong.
    """
    found: dict[tuple[object, ...], Rule] = {}
    for group in groups:
        schedule = group.schedule
        if schedule.run_at is not None or (group.runs_left is not None and group.runs_left <= 1):
            continue
        if any(form_errors(schedule)):  # its next run will say so
            continue
        after = max(group.scheduled_for, now)
        try:
            zone_named(schedule.timezone)
            recurrence = recurrence_of(schedule, group.job_id or NIL, anchor=group.scheduled_for)
        except InvalidInput:
            continue
        stop = min(end_by(schedule, LATEST), until)
        start = begin_after(schedule, after)
        if isinstance(recurrence, Interval) and schedule.starts_at is None:
            phase = (recurrence.anchor - EPOCH) % recurrence.every
            recurrence = Interval(anchor=EPOCH + phase, every=recurrence.every)
        runs: Interval | ZonedCron | Spread = recurrence
        if schedule.has_jitter:
            runs = Spread(
                recurrence=recurrence,
                schedule=schedule,
                job_id=group.job_id or NIL,
                end=end_by(schedule, LATEST),
            )
            stop = until
            start = max(start, runs.effective(group.scheduled_for) + TICK)
        rule = found.setdefault((runs, stop), Rule(runs, stop))
        rule.groups.append((start - TICK, group))
    return list(found.values())


def page_of(
    walk: Iterator[Moment], *, after: tuple[datetime, UUID] | None, limit: int, most: int
) -> tuple[list[Run], datetime | None]:
    """List up to `limit` runs behind `after`, in the order of time and of the jobs' ids.

    After `most` instants the list ends; return the instant that it got to as well, None if that is
    the end of the walk.
    """
    runs: list[Run] = []
    for steps, moment in enumerate(walk):
        if steps == most:
            return runs, moment.at
        ids = merge(
            *(
                sorted((one, due, skipped) for one in group.ids)
                for group, due, skipped in moment.groups
            )
        )
        if after is not None and after[0] == moment.at:
            ids = (one for one in ids if one[0] > after[1])
        runs += [
            Run(at=moment.at, scheduled_for=due, job_id=one, skipped=skipped)
            for one, due, skipped in islice(ids, limit - len(runs))
        ]
        if len(runs) == limit:
            break
    return runs, None


def counts_of(  # noqa: PLR0913 - what is counted, when, and how far
    groups: Sequence[Group],
    *,
    now: datetime,
    until: datetime,
    bucket_seconds: int,
    most: int,
    since: datetime | None = None,
) -> tuple[dict[datetime, int], datetime | None]:
    """Count the runs before `until` by buckets, which begin at multiples of their length in UTC.

    What is late counts in the bucket of `now`. With `since` only what is later counts. A rule with
    more runs than there are buckets is counted bucket by bucket, any other run by run. After `most`
    of these steps the counting ends; return the end of the last bucket that is whole as well, None
    if all are.
    """
    length = timedelta(seconds=bucket_seconds)
    counts: Counter[datetime] = Counter()
    begin = max(since or now, now)
    for group in groups:
        at = max(group.next_run, now) if group.next_run else until
        if begin <= at < until:
            counts[bucket_of(at, length)] += group.jobs
    buckets = -((bucket_of(begin, length) - until) // length)
    queue = first_steps(rules(groups, now=now, until=until), buckets, since=begin)
    for _ in range(most):
        if not queue:
            break
        at, number, dense, rule = heappop(queue)
        bucket = bucket_of(at, length)
        if dense:
            counts[bucket] += rule.runs_between(at, min(bucket + length, rule.stop))
            following = bucket + length if bucket + length < rule.stop else None
        else:
            counts[bucket] += sum(group.jobs for group in rule.groups_at(at))
            following = rule.first(at + TICK)
        if following:
            heappush(queue, (following, number, dense, rule))
    if not queue:
        return dict(counts), None
    reached = bucket_of(queue[0][0], length)
    return {at: runs for at, runs in counts.items() if at < reached}, reached


def bucket_of(at: datetime, length: timedelta) -> datetime:
    """Return when the bucket begins that holds an instant."""
    return at - (at - EPOCH) % length


def first_steps(
    found: Sequence[Rule], buckets: int, *, since: datetime
) -> list[tuple[datetime, int, bool, Rule]]:
    """Return a heap of the first step of each rule: instant, number, whether dense, and the rule.

    A dense rule has more runs than there are buckets: each of its steps counts a bucket, each step
    of another rule one run.
    """
    queue = []
    for number, rule in enumerate(found):
        start = max(min(after for after, _ in rule.groups) + TICK, since)
        dense = rule.count(start, rule.stop, limit=buckets + 1) > buckets
        if first := start if dense else rule.first(start):
            queue.append((first, number, dense, rule))
    heapify(queue)
    return queue


def skipped_of(  # noqa: PLR0913 - as `counts_of`
    groups: Sequence[Group],
    *,
    now: datetime,
    until: datetime,
    bucket_seconds: int,
    most: int,
    since: datetime | None = None,
) -> tuple[dict[datetime, int], datetime | None]:
    """Count the runs before `until` that are to be skipped, by buckets as `counts_of` has them.

    After `most` instants the counting ends; return the end of the last bucket that is whole as
    well, None if all are.
    """
    length = timedelta(seconds=bucket_seconds)
    counts: Counter[datetime] = Counter()
    skipping = [one for one in groups if one.skip_runs or one.skips_before(one.scheduled_for)]
    end = min(until, max((skip_end(one) for one in skipping), default=now))
    walk = moments(skipping, now=now, since=since, until=end)
    for steps, moment in enumerate(walk):
        bucket = bucket_of(max(moment.at, now), length)
        if steps == most:
            return {at: runs for at, runs in counts.items() if at < bucket}, bucket
        counts[bucket] += sum(group.jobs for group, _, skipped in moment.groups if skipped)
    return {at: runs for at, runs in counts.items() if runs}, None


def skip_end(group: Group) -> datetime:
    """Return an instant that is later than all runs which a group is to skip."""
    last = group.scheduled_for
    try:
        for _ in range(group.skip_runs):
            last = run_after(group.schedule, last, job_id=group.job_id or NIL) or last
        last = max(last, group.skip_until or last)
        if group.schedule.has_jitter:  # each starts before the instant of the run that follows
            last = run_after(group.schedule, last, job_id=group.job_id or NIL) or LATEST
    except InvalidInput:  # its next run will say so
        pass
    return max(last, group.skip_until or last) + TICK
