"""Where a look begins: most of the time behind what earlier looks found empty."""

from datetime import datetime, timedelta

from app.db.claims import Look

MARGIN = timedelta(seconds=2)
"""What becomes claimable at an instant so shortly before the floor is looked for all the same."""
PACE = 20.0
"""Looks from the left end take at most one part in so many of the time. On a busy machine one takes
20 ms; a job that somebody moved into the past is still found within half a second."""
MAX_REST_SECONDS = 10.0
"""There is a look from the left end at least so often: one that was slow for another reason than
dead entries must not hide a job."""


class ScanStart:
    """The earliest instant at which a job that we have not seen may have become claimable.

    A claim and a settlement each leave a dead entry in `jobs_claimable`. While somebody's old
    snapshot keeps them from being cleared away, a walk from the left end takes longer and longer:
    a third of a microsecond for each. What lies below the floor is rare: a job that somebody put
    far into the past, or that was committed long after its instant. So a look goes to the left end
    only when the last one that did so was long ago, measured by what it took; that is nearly
    always while those are quick.
    """

    def __init__(self, *, longest_sleep_seconds: float) -> None:
        self.longest_sleep_seconds = longest_sleep_seconds
        self.most_rest_seconds = min(MAX_REST_SECONDS, longest_sleep_seconds)
        self.empty_until: datetime | None = None
        self.whole_at = 0.0
        """When the last look at everything was asked for, seconds of the loop's clock,"""
        self.rest_seconds = 0.0
        """and for how long there need not be another."""
        self.below = False
        """Since then a look has left out what lies below the floor."""

    def forget(self) -> None:
        """Begin at the left end."""
        self.empty_until = None

    def since(self, now: float) -> datetime | None:
        """Return where a look that is made now begins; None: at the left end."""
        if self.empty_until is None or now >= self.whole_at + self.rest_seconds:
            return None
        return self.empty_until - MARGIN

    def looked(self, look: Look, *, at: float, whole: bool, full: bool) -> None:
        """Learn from a look that was asked for at `at`."""
        if whole:
            took = (look.ended_at - look.begun_at).total_seconds()
            self.whole_at = at
            self.rest_seconds = min(took * PACE, self.most_rest_seconds)
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
