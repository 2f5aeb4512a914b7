"""Reads schedules out of rows."""

from app.core.schedule.schedule import DstGap, DstOverlap, Schedule
from app.db.database import Row

# Unknown words, possible in a row that no constraint has checked, count as the default: one such
# row must not break a statement about many jobs.
DST_GAPS = {one.value: one for one in DstGap}
DST_OVERLAPS = {one.value: one for one in DstOverlap}


def schedule(row: Row) -> Schedule:
    """Read the schedule out of a row that has its columns."""
    return Schedule(
        run_at=row["run_at"],
        cron=row["cron"],
        timezone=row["timezone"],
        every_seconds=row["every_seconds"],
        dst_gap=DST_GAPS.get(row["dst_gap"], DstGap.RUN_AFTER),
        dst_overlap=DST_OVERLAPS.get(row["dst_overlap"], DstOverlap.FIRST),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        jitter_seconds=row["jitter_seconds"],
        jitter_percent=row["jitter_percent"],
    )
