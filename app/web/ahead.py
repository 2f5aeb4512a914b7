"""The picture of what comes: runs by spans of an hour, a day or a week, drawn once for all."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from app.core.schedule.heat import Crowd
from app.core.schedule.occurrences import TICK
from app.core.schedule.upcoming import Group, Rule, bucket_of, counts_of, moments, rules
from app.single_flight import SingleFlight
from app.web.heat import Week
from app.web.pictures import Span

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MAX_STEPS = 5_000
"""Instants that are worked out for the picture of what comes."""
MAX_NAMED = 500
"""Instants, the next ones, at which jobs are named in that picture."""
FEW = 3
"""Spans with so many runs, or fewer, say whose."""
NEWER = timedelta(minutes=5)
"""A picture newer than the week by more is from before the database's clock was set back."""


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


class Picture(Struct, frozen=True, kw_only=True):
    """The runs to come, by spans of time."""

    at: datetime
    """When the week was counted that this is drawn from."""
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


def names_of(crowds: Sequence[Crowd]) -> list[tuple[Group, Sequence[str]]]:
    """Return the jobs by schedule of which all names are known, with these."""
    return [
        (group, crowd.names)
        for crowd in crowds
        if len(crowd.names) == crowd.jobs and len(crowd.ids) <= 1
        for group in groups_of([crowd])
    ]


def named_in(
    names: Sequence[tuple[Group, Sequence[str]]],
    *,
    now: datetime,
    until: datetime,
    bucket: timedelta,
) -> dict[datetime, list[str]]:
    """Name the jobs that run by spans of time, as far as few instants tell."""
    called = {id(group): of_group for group, of_group in names}
    found: dict[datetime, list[str]] = {}
    walk = moments([group for group, _ in names], now=now, since=None, until=until)
    for moment in islice(walk, MAX_NAMED):
        of_span = found.setdefault(bucket_of(max(moment.at, now), bucket), [])
        of_span += [name for group, _, _ in moment.groups for name in called[id(group)]]
    return found


class Pictures:
    """The pictures of what comes, each drawn once for all who look at one count of the week."""

    def __init__(self) -> None:
        self.kept: dict[str, Picture] = {}
        """The last picture of each choice of `COMING`."""
        self.flight = SingleFlight()

    def __repr__(self) -> str:
        return f"<Pictures: {[*self.kept]}>"

    async def see(self, week: Week, span: str) -> Picture:
        """Return the runs to come by spans; drawn by one caller for all that want them."""

        def is_drawn() -> bool:
            picture = self.kept.get(span)
            return picture is not None and week.at <= picture.at <= week.at + NEWER

        await self.flight.run(span, is_drawn, partial(self.draw, week, span))
        return self.kept[span]

    async def draw(self, week: Week, span: str) -> None:
        """Count the runs to come by spans."""
        shown = COMING[span]
        self.kept[span] = await asyncio.to_thread(
            drawn,
            groups_of(week.crowds),
            names=names_of(week.crowds),
            now=week.at,
            until=week.at + shown.ahead,
            bucket=shown.bucket,
            is_whole=week.is_whole,
        )


def drawn(  # noqa: PLR0913 - what is drawn, of when
    groups: Sequence[Group],
    *,
    now: datetime,
    until: datetime,
    bucket: timedelta,
    is_whole: bool,
    names: Sequence[tuple[Group, Sequence[str]]] = (),
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
    all_named = rules([group for group, _ in names], now=now, until=until)
    often |= {id(group) for one in all_named if is_steady(one, buckets) for _, group in one.groups}
    drawn_names = [(group, called) for group, called in names if id(group) not in often]
    named = named_in(drawn_names, now=now, until=until, bucket=bucket)
    return Picture(
        at=now,
        spans=[
            Span(
                at=at,
                runs=counts.get(at, 0),
                names=tuple(named.get(at, ())) if counts.get(at, 0) <= FEW else (),
            )
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
