"""Compares the sentence about a cron with the cron itself, by their times over three years."""

from datetime import date, timedelta

from app.core.schedule.cron import Cron
from tests.support.sentences import read

YEARS = [date(2027, 1, 1) + timedelta(days) for days in range(3 * 365)]
WallTimes = tuple[set[int], list[date]]
"""Seconds of a day, and the days that count."""


def promised(sentence: str) -> WallTimes:
    times, counts = read(sentence)
    return times, [day for day in YEARS if counts(day)]


def meant(cron: Cron) -> WallTimes:
    times = map(cron.time_at, range(cron.times_a_day))
    seconds = {time.hour * 3600 + time.minute * 60 + time.second for time in times}
    return seconds, list(cron.dates(YEARS[0], YEARS[-1]))
