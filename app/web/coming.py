"""What runs in an hour, or a day, to come: by schedule, and one by one."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from litestar import Response, get
from litestar.datastructures import State
from litestar.params import FromQuery, QueryParameter
from msgspec import Struct

from app.api.parameters import Clock
from app.api.problems import ApiRequest
from app.api.upcoming import MAX_AHEAD, list_runs
from app.core.access.api_key import Scope
from app.core.schedule.heat import HOUR, HOURS, Crowd
from app.core.schedule.upcoming import rules
from app.db import upcoming
from app.db.database import MAX_SEARCHED
from app.errors import InvalidInput
from app.web.ahead import groups_of
from app.web.facts import Fact
from app.web.heat import KEPT_SECONDS, Week, called
from app.web.parameters import ON_A_PAGE, Reader
from app.web.rendering import page
from app.wire.filters import sound
from app.wire.pages import UPCOMING

DAY_HOURS = 24
SOONEST = 1000
"""The jobs that are read for the first page, which suffice where each has a run to list."""
MAKERS = 20
"""Schedules that are named, those with the most runs."""


class Made(Struct, frozen=True, kw_only=True):
    """The runs of jobs with the same schedule."""

    runs: int
    schedule: str
    names: Sequence[str]
    more: int
    """How many further jobs have it."""


class HourOfDay(Struct, frozen=True, kw_only=True):
    """An hour of a day, and about how many runs it has."""

    at: datetime
    runs: int


@get("/upcoming", opt={"scope": Scope.READ})
async def coming_page(  # noqa: PLR0913 - one parameter for each of the query's
    *,
    request: ApiRequest,
    reader: Reader,
    clock: Clock,
    state: State,
    from_: Annotated[str, QueryParameter(name="from")] = "",
    hours: FromQuery[int] = 1,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Show whose runs there are in an hour, or in 24 of them, and list them."""
    counted: Fact[Week] = state.week
    now = await clock.now()
    length = timedelta(hours=DAY_HOURS if hours > 1 else 1)
    begin, error = begin_of(from_, now=now, length=length)
    end = begin + length
    after = UPCOMING.read(cursor)
    found = await counted.see(stale=KEPT_SECONDS)
    week = found.value
    listed, until, following = [], end, None
    # The first page shows runs of few jobs; to read all that come takes a tenth of a second.
    tries = (SOONEST, MAX_SEARCHED) if after is None and begin <= now else (MAX_SEARCHED,)
    for jobs in () if error else tries:
        soon = await upcoming.list_groups(reader, now=now, until=end, with_ids=True, jobs=jobs)
        until = min(end, soon.reached or end)
        runs = await list_runs(
            reader,
            soon,
            now=now,
            begin=begin if begin > now else None,
            end=until,
            after=after,
            limit=ON_A_PAGE,
        )
        listed, following = runs.items, runs.next_cursor
        if following or until == end:
            break
    return page(
        request,
        "coming.html",
        status=422 if error else 200,
        error=error,
        begin=begin,
        end=end,
        until=until,
        length=length,
        hours=DAY_HOURS if hours > 1 else 1,
        hour=HOUR,
        is_first=begin - length < now - HOUR,
        found=found,
        by_hour=hours_of(week, begin) if week and hours > 1 else (),
        made=await asyncio.to_thread(made, week, begin, end) if week and not error else (),
        is_counted=week is not None and end <= week.at + HOURS * HOUR,
        is_estimated=week is not None and week.is_sample,
        listed=listed,
        following=following,
        cursor=cursor,
        at=now,
    )


def begin_of(text: str, *, now: datetime, length: timedelta) -> tuple[datetime, str]:
    """Read the instant that a page begins with, now unless given; return also what is wrong.

    A day whose first hours have passed, as since its link was shown, begins with the hour of now.
    """
    try:
        given = datetime.fromisoformat(text) if text else now
        begin = (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
        sound(begin, "from")
    except (ValueError, OverflowError):
        return now, "This is no instant: write one such as 2026-11-29T03:00Z."
    except InvalidInput as error:
        return now, f"This instant {error.errors[0].message}."
    if begin + length <= now:
        return now, "That has passed: executions show what became of it."
    if begin < now - HOUR:
        return now.replace(minute=0, second=0, microsecond=0), ""
    if begin > now + MAX_AHEAD:
        return now, f"That is too far ahead: choose an instant within {MAX_AHEAD.days} days."
    return begin, ""


def hours_of(week: Week, begin: datetime) -> list[HourOfDay]:
    """Return the hours of a day as the week has them; none of what it does not reach."""
    first = int((begin - week.heat.start) / HOUR)
    return [
        HourOfDay(at=week.heat.start + hour * HOUR, runs=round(week.heat.hours[hour]))
        for hour in range(max(first, 0), min(first + DAY_HOURS, HOURS))
    ]


def made(week: Week, begin: datetime, end: datetime) -> list[Made]:
    """Name the schedules that have runs between two instants, those with the most first."""
    counts = [(runs_of(crowd, week.at, begin, end), crowd) for crowd in week.crowds]
    most = sorted((one for one in counts if one[0]), key=lambda one: -one[0])[:MAKERS]
    return [
        Made(
            runs=runs,
            schedule=called(crowd),
            names=crowd.names,
            more=max(round(crowd.jobs) - len(crowd.names), 0),
        )
        for runs, crowd in most
    ]


def runs_of(crowd: Crowd, now: datetime, begin: datetime, end: datetime) -> int:
    """Count the runs that jobs with the same schedule have between two instants."""
    runs = 0
    for group in groups_of([crowd]):
        if group.next_run is not None and begin <= group.next_run < end:
            runs += group.jobs
        for rule in rules([group], now=now, until=end):
            runs += rule.runs_between(begin, min(end, rule.stop))
    return runs
