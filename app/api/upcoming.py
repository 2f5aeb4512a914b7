"""The runs to come of all jobs, one by one or counted."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import QueryParameter

from app.api.parameters import Clock, Cursor, Db, Limit
from app.core.access.api_key import Scope
from app.core.jobs.identity import NIL
from app.core.schedule.upcoming import Group, counts_of, moments, page_of, skipped_of
from app.db import calendars, upcoming
from app.db.database import Database
from app.db.upcoming import Soon
from app.errors import FieldError, InvalidInput
from app.wire.filters import sound
from app.wire.pages import UPCOMING
from app.wire.upcoming import Bucket, Upcoming, UpcomingRun

DAY_SECONDS = 86_400
MAX_AHEAD = timedelta(days=366)
"""How far ahead runs are shown."""
MAX_BUCKETS = 10_000
MAX_STEPS = 20_000
"""Instants and counts that are worked out for one answer: up to a second's work."""


@get(
    "/upcoming",
    operation_id="listUpcoming",
    summary="List the runs to come",
    opt={
        "scope": Scope.READ,
        "problems": (422,),
        "meant": {
            **dict.fromkeys(("since", "start", "after"), "did you mean from?"),
            **dict.fromkeys(("to", "before", "end"), "did you mean until?"),
            **dict.fromkeys(("bucket", "step", "interval"), "did you mean bucket_seconds?"),
        },
    },
)
async def list_upcoming(  # noqa: PLR0913 - one parameter for each of the query's
    *,
    db: Db,
    clock: Clock,
    limit: Limit = 50,
    cursor: Cursor = None,
    from_: Annotated[
        datetime | None,
        QueryParameter(
            name="from", description="Runs from then on; now unless given, with what is late."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        QueryParameter(description="Earlier runs; within 366 days; a day ahead unless given."),
    ] = None,
    bucket_seconds: Annotated[
        int | None,
        QueryParameter(
            ge=1, le=31 * DAY_SECONDS, description="Count the runs of each span of this length."
        ),
    ] = None,
) -> Upcoming:
    """Schedules are expanded as they are now: retries, delays and edits move what comes.

    Skipped runs are marked, and those that calendars close, which buckets count as well. Paused and
    invalid jobs are left out, and those whose plan waits for a run now. Where there are too many
    jobs or schedules, only the runs before an earlier `until` are listed.
    """
    now = await clock.now()
    end = checked_end(sound(until, "until"), now=now)
    begin = checked_begin(sound(from_, "from"), now=now, end=end)
    after = UPCOMING.read(cursor)
    check_buckets(begin or now, end, bucket_seconds=bucket_seconds)
    if bucket_seconds is not None and after is not None:
        message = "belongs to a list without bucket_seconds: leave one of them out"
        raise InvalidInput(FieldError(field="cursor", message=message))
    soon = await upcoming.list_groups(db, now=now, until=end, with_ids=bucket_seconds is None)
    end = min(end, soon.reached or end)
    if bucket_seconds is not None:
        buckets, end = await asyncio.to_thread(
            count_by_buckets,
            soon.groups,
            now=now,
            since=begin,
            until=end,
            bucket_seconds=bucket_seconds,
        )
        return Upcoming(items=[], next_cursor=None, until=end, buckets=buckets)
    return await list_runs(db, soon, now=now, begin=begin, end=end, after=after, limit=limit)


async def list_runs(  # noqa: PLR0913 - what is listed, when, and how far
    db: Database,
    soon: Soon,
    *,
    now: datetime,
    begin: datetime | None,
    end: datetime,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Upcoming:
    """List the runs of some jobs between two instants, from behind `after` on."""
    since = max(after[0], begin or after[0]) if after else begin
    walk = moments(soon.groups, now=now, since=since, until=end)
    runs, reached = await asyncio.to_thread(
        page_of, walk, after=after, limit=limit + 1, most=MAX_STEPS
    )
    closed = await calendars.find_closed_among(
        db, [(run.job_id, run.scheduled_for) for run in runs]
    )
    names = await upcoming.read_names(db, [run.job_id for run in runs[:limit]])
    items = [
        UpcomingRun(
            at=run.at,
            scheduled_for=run.scheduled_for,
            job_id=run.job_id,
            job_name=names.get(run.job_id),
            skipped=run.skipped,
            closed_until=closed.get((run.job_id, run.scheduled_for)),
        )
        for run in runs[:limit]
    ]
    more = len(runs) > limit or reached is not None
    next_cursor = UPCOMING.after(items, more=more, reached=(reached, NIL) if reached else None)
    return Upcoming(items=items, next_cursor=next_cursor, until=end, buckets=None)


def count_by_buckets(
    groups: Sequence[Group],
    *,
    now: datetime,
    since: datetime | None,
    until: datetime,
    bucket_seconds: int,
) -> tuple[list[Bucket], datetime]:
    """Count runs, and those of them to be skipped; return also up to which instant."""
    skipped, reached = skipped_of(
        groups, now=now, since=since, until=until, bucket_seconds=bucket_seconds, most=MAX_STEPS
    )
    counts, counted = counts_of(
        groups,
        now=now,
        since=since,
        until=reached or until,
        bucket_seconds=bucket_seconds,
        most=MAX_STEPS,
    )
    reached = counted or reached
    buckets = [
        Bucket(at=at, runs=runs, skipped=skipped.get(at, 0)) for at, runs in sorted(counts.items())
    ]
    return buckets, reached or until


def checked_end(until: datetime | None, *, now: datetime) -> datetime:
    """Return the instant that runs are listed up to.

    Raises:
        InvalidInput: the instant is not later than `now`, or too late.
    """
    end = now + timedelta(days=1) if until is None else until.astimezone(UTC)
    error = None
    if end <= now:
        error = "has passed: write a later instant"
    elif end > now + MAX_AHEAD:
        error = f"is too far ahead: write an instant within {MAX_AHEAD.days} days"
    if error:
        raise InvalidInput(FieldError(field="until", message=error))
    return end


def checked_begin(from_: datetime | None, *, now: datetime, end: datetime) -> datetime | None:
    """Return the instant that runs are listed from; None: all, with those that are late.

    Raises:
        InvalidInput: the instant is not earlier than `end`.
    """
    if from_ is None or from_ <= now:
        return None
    if from_ >= end:
        message = "is not earlier than until, a day from now unless given: write a later until"
        raise InvalidInput(FieldError(field="from", message=message))
    return from_.astimezone(UTC)


def check_buckets(begin: datetime, end: datetime, *, bucket_seconds: int | None) -> None:
    """Make sure that there are no more than `MAX_BUCKETS` spans.

    Raises:
        InvalidInput: there are.
    """
    if bucket_seconds is not None and (end - begin).total_seconds() > bucket_seconds * MAX_BUCKETS:
        message = f"makes more than {MAX_BUCKETS} buckets: write more seconds, or an earlier until"
        raise InvalidInput(FieldError(field="bucket_seconds", message=message))
