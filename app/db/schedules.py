"""Reads schedules out of rows."""

from collections.abc import Sequence
from typing import Any

from app.core.schedule.schedule import DstGap, DstOverlap, Schedule
from app.db.database import Row

# Unknown words, possible in a row that no constraint has checked, count as the default: one such
# row must not break a statement about many jobs.
DST_GAPS = {one.value: one for one in DstGap}
DST_OVERLAPS = {one.value: one for one in DstOverlap}


COLUMNS = (
    "run_at",
    "cron",
    "timezone",
    "every_seconds",
    "dst_gap",
    "dst_overlap",
    "starts_at",
    "ends_at",
    "jitter_seconds",
    "jitter_percent",
)


def schedule(row: Row) -> Schedule:
    """Read the schedule out of a row that has its columns."""
    return read([row[name] for name in COLUMNS])


def read(values: Sequence[Any]) -> Schedule:
    """Read a schedule out of the values of its columns."""
    # fmt: off
    (
        run_at, cron, timezone, every_seconds, dst_gap, dst_overlap, starts_at, ends_at,
        jitter_seconds, jitter_percent,
    ) = values
    return Schedule(
        run_at, cron, timezone, every_seconds, DST_GAPS.get(dst_gap, DstGap.RUN_AFTER),
        DST_OVERLAPS.get(dst_overlap, DstOverlap.FIRST), starts_at, ends_at,
        jitter_seconds, jitter_percent,
    )
    # fmt: on
