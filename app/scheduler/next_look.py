"""Decides when the next look is made, and from which instant it searches for due jobs.

A *whole* look searches the index `jobs_claimable` from its beginning, or during a sweep from
`behind`. Nearly every look is whole. Only while whole looks are slow, the looks between two of them
search from the *scan start*, before which earlier looks left no due job.
"""

from datetime import datetime, timedelta

from app.db.claims import Look

MARGIN = timedelta(seconds=2)
"""The scan start lies this long before the instant up to which looks left no due job: a job may
become claimable slightly in the past."""
PACE = 20.0
"""The pause after a whole look, in multiples of the look's duration. On a busy machine a whole look
takes 20 ms, so a job that was moved into the past is found within half a second."""
MAX_REST_SECONDS = 10.0
"""The longest pause after a whole look. The look may have been slow for another reason than dead
entries, and jobs due before the scan start must not wait long for that."""


class ScanStart:
    """The scan start of the next looks, and when a whole look is needed again.

    A claim and a settlement each leave a dead entry in `jobs_claimable`. While an old snapshot of
    some transaction keeps vacuum from removing these, a whole look takes longer and longer: a third
    of a microsecond for each entry. Jobs due before the scan start are rare: those moved far into
    the past, and those committed long after they were due. So the pause after a whole look is
    `PACE` times as long as the look; while whole looks are quick, nearly every look is one.
    """

    def __init__(self, *, longest_sleep_seconds: float) -> None:
        self.longest_sleep_seconds = longest_sleep_seconds
        self.most_rest_seconds = min(MAX_REST_SECONDS, longest_sleep_seconds)
        self.empty_until: datetime | None = None
        """The instant before which looks left no due job; None if that is not known."""
        self.behind: datetime | None = None
        """The instant at which a whole look begins; None stands for the earliest due job. See
        `app.scheduler.sweep`."""
        self.whole_at = 0.0
        """When the last whole look was sent to the database, monotonic seconds."""
        self.rest_seconds = 0.0
        """How long after `whole_at` the next whole look is needed."""
        self.below = False
        """Whether there was a look since the last whole one, which left out older jobs."""

    def __repr__(self) -> str:
        return (
            f"<ScanStart: nothing due before {self.empty_until}, whole look at "
            f"{self.whole_at + self.rest_seconds:.3f}>"
        )

    def forget(self) -> None:
        """Have the next look be a whole one."""
        self.empty_until = None

    def since(self, now: float) -> datetime | None:
        """Return the instant from which a look at `now` (monotonic seconds) searches.

        For a whole look that is `behind`; None stands for the beginning of the index.
        """
        if self.empty_until is None or now >= self.whole_at + self.rest_seconds:
            return self.behind
        start = self.empty_until - MARGIN
        return start if self.behind is None else max(start, self.behind)

    def looked(self, look: Look, *, at: float, whole: bool, full: bool) -> None:
        """Learn from a look.

        - `at`: when the look was sent, in monotonic seconds.
        - `whole`: the look began at `behind`, or at the beginning of the index.
        - `full`: the look reached its limit, so that more may be due.
        """
        if whole:
            self.whole_at = at
            self.rest_seconds = min(look.took_seconds * PACE, self.most_rest_seconds)
            self.empty_until = None
        self.below = not whole
        if look.blocked:
            return  # a due job, anywhere in the index, was passed over
        # Jobs are claimed by rank, which is never later than their time: none is left that was due
        # before the last rank of a batch.
        until = max(one.rank for one in look.claims) if full else look.looked_until or look.begun_at
        if look.left_from is not None:
            until = min(until, look.left_from)
        self.empty_until = max(until, self.empty_until or until)

    def patience(self, now: float) -> float:
        """Return for how many seconds jobs before the scan start may wait for a whole look."""
        if not self.below:
            return self.longest_sleep_seconds
        return max(0.0, self.whole_at + self.rest_seconds - now)


def sleep_seconds(
    wakeup_seconds: float | None, *, blocked_looks: int, shortest: float, longest: float
) -> float:
    """Return the sleep, at most `longest` seconds, after a look that left room for claims.

    `wakeup_seconds` is the time until the next job is due; None stands for no planned job.
    `blocked_looks` counts consecutive looks that claimed nothing and left a due job: its row was
    locked, the job has no plan yet, or its target was too large for the look. Each doubles the
    sleep from `shortest` up to one second: no busy loop, and little lateness once the lock is gone.
    Jobs that come due earlier are still claimed on time.
    """
    sleep = longest if wakeup_seconds is None else min(max(wakeup_seconds, 0.0), longest)
    if blocked_looks:
        return min(shortest * 2.0 ** min(blocked_looks - 1, 30), 1.0, sleep)
    return sleep
