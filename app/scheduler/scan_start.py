"""Decides from which instant on a look searches for due jobs.

Usually it searches from the *floor*, before which earlier looks left no due job. Now and then it
is a *whole* look, which searches the index `jobs_claimable` from its beginning.
"""

from datetime import datetime, timedelta

from app.db.claims import Look

MARGIN = timedelta(seconds=2)
"""What becomes claimable at an instant so shortly before the floor is looked for all the same."""
PACE = 20.0
"""The pause after a whole look, in multiples of the time that it took. On a busy machine one takes
20 ms, so a job that was moved into the past is found within half a second."""
MAX_REST_SECONDS = 10.0
"""The longest pause after a whole look: it may have been slow for another reason than dead entries,
and jobs due before the floor must not wait long for that."""


class ScanStart:
    """The floor of the next looks, and when a whole look is needed again.

    A claim and a settlement each leave a dead entry in `jobs_claimable`. While an old snapshot of
    some transaction keeps vacuum from removing these, a whole look takes longer and longer: a third
    of a microsecond for each entry. Jobs due before the floor are rare: those moved far into the
    past, and those committed long after they were due. So the pause after a whole look is `PACE`
    times as long as it took; while whole looks are quick, nearly every look is one.
    """

    def __init__(self, *, longest_sleep_seconds: float) -> None:
        self.longest_sleep_seconds = longest_sleep_seconds
        self.most_rest_seconds = min(MAX_REST_SECONDS, longest_sleep_seconds)
        self.empty_until: datetime | None = None
        self.behind: datetime | None = None
        """Where a whole look begins, None: at the left end. See `app.scheduler.sweep`."""
        self.whole_at = 0.0
        """When the last whole look was sent to the database, loop time."""
        self.rest_seconds = 0.0
        """How long after `whole_at` the next whole look is needed."""
        self.below = False
        """Whether there was a look since the last whole one, which left out older jobs."""

    def forget(self) -> None:
        """Have the next look be a whole one."""
        self.empty_until = None

    def since(self, now: float) -> datetime | None:
        """Return the instant from which a look at `now` (loop time) searches.

        `behind` for a whole look, None for one from the left end.
        """
        if self.empty_until is None or now >= self.whole_at + self.rest_seconds:
            return self.behind
        floor = self.empty_until - MARGIN
        return floor if self.behind is None else max(floor, self.behind)

    def looked(self, look: Look, *, at: float, whole: bool, full: bool) -> None:
        """Learn from a look that was asked for at `at`."""
        if whole:
            self.whole_at = at
            self.rest_seconds = min(look.took_seconds * PACE, self.most_rest_seconds)
            self.empty_until = None
        self.below = not whole
        if look.blocked:
            return  # one that lies anywhere was passed over
        # They are claimed in the order of the index, so none is left before the last of a batch.
        until = (
            max(one.next_run for one in look.claims) if full else look.looked_until or look.begun_at
        )
        if look.left_from is not None:
            until = min(until, look.left_from)
        self.empty_until = max(until, self.empty_until or until)

    def patience(self, now: float) -> float:
        """Return for how many seconds what lies below the floor may wait."""
        if not self.below:
            return self.longest_sleep_seconds
        return max(0.0, self.whole_at + self.rest_seconds - now)
