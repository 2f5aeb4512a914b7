"""Reads schedules out of rows."""

from enum import StrEnum
from typing import TypeVar

from app.core.schedule.schedule import DstGap, DstOverlap, Schedule
from app.db.database import Row

WordT = TypeVar("WordT", bound=StrEnum)


class Words(dict[str | None, WordT]):
    """The members of an enumeration by their words; unknown words count as the default.

    These are possible in a row that no constraint has checked, and one such row must not break a
    statement about many jobs.
    """

    def __init__(self, words: type[WordT], default: WordT) -> None:
        super().__init__({one.value: one for one in words})
        self.default = default

    def __missing__(self, word: str | None) -> WordT:
        return self.default


DST_GAPS = Words(DstGap, DstGap.RUN_AFTER)
DST_OVERLAPS = Words(DstOverlap, DstOverlap.FIRST)

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
    # fmt: off
    (
        run_at, cron, timezone, every_seconds, dst_gap, dst_overlap, starts_at, ends_at,
        jitter_seconds, jitter_percent,
    ) = (row[name] for name in COLUMNS)
    return Schedule(
        run_at, cron, timezone, every_seconds, DST_GAPS[dst_gap], DST_OVERLAPS[dst_overlap],
        starts_at, ends_at, jitter_seconds, jitter_percent,
    )
    # fmt: on
