"""Makes a process believe in a wrong wall clock: put this directory on its PYTHONPATH.

`WRONG_BY_SECONDS` says how wrong. The monotonic clock, which no one can set, stays as it is.
"""

import datetime as dt
import os
import time
from typing import Any

WRONG_BY = float(os.environ["WRONG_BY_SECONDS"])
right_time = time.time
right_datetime = dt.datetime


class AnyDatetime(type):
    """Lets right datetimes pass for ours: nothing else exists."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, right_datetime)


class WrongDatetime(right_datetime, metaclass=AnyDatetime):
    """Knows everything but what time it is."""

    def __new__(cls, *parts: Any, **named: Any) -> Any:  # noqa: ANN401
        return right_datetime(*parts, **named)

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:  # noqa: ANN401
        return right_datetime.now(tz) + dt.timedelta(seconds=WRONG_BY)


time.time = lambda: right_time() + WRONG_BY
dt.datetime = WrongDatetime  # type: ignore[misc]
