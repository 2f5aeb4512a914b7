"""Room for executions, and how many claims are worth having in hand."""

from time import monotonic

from app.scheduler.hosts import Hosts

RESERVE_SECONDS = 0.1
"""Claims for so long at the present pace are kept waiting, so that no slot idles during a look."""
MOST_RESERVE = 4
"""Times the slots: a reserve is lost time for others if the instance dies."""
MOST_SETTLING = 10
"""Times the slots: executions that wait for Postgres to take their results."""


class Slots:
    """Counts the slots that are taken. No host gets them all: see `Hosts`.

    While executions are short, a few more claims are worth having than there are slots for; while
    they are long, none is: another instance could start it at once.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0
        self.hosts = Hosts()
        self.reserve = 0
        self.given = 0
        self.given_at = self.counted_at = monotonic()

    @property
    def free(self) -> int:
        return self.size - self.taken

    def admits(self, host: str) -> bool:
        """Whether the host may have a slot now."""
        return self.free > 0 and not self.hosts.is_full(host, free=self.free)

    def is_stuck(self, host: str) -> bool:
        """Whether jobs for the host had better not wait here."""
        return self.hosts.is_stuck(host, free=self.free)

    def grant(self, host: str) -> None:
        if not self.taken and monotonic() - self.given_at > RESERVE_SECONDS:
            self.given, self.counted_at = 0, monotonic()  # a rest says nothing about the pace
        self.taken += 1
        self.hosts.begin(host)

    def give(self, host: str) -> None:
        """Take a slot back."""
        self.given += 1
        self.given_at = monotonic()
        self.taken -= 1
        self.hosts.end(host)

    @property
    def counted_seconds(self) -> float:
        """For how long the pace has been counted."""
        return monotonic() - self.counted_at

    def reckon(self) -> None:
        """Set the reserve by the pace since the last time."""
        now = monotonic()
        elapsed = now - self.counted_at
        if elapsed >= RESERVE_SECONDS / 10:
            at_this_pace = int(self.given * RESERVE_SECONDS / elapsed)
            self.reserve = min(at_this_pace, MOST_RESERVE * self.size)
            self.given, self.counted_at = 0, now

    def wanted(self, *, waiting: int, settling: int, early: bool) -> int:
        """How many more claims are worth having; none or less while too many are being settled.

        `early`: all that wait have yet to come due, so nobody could start them sooner, and what
        is claimed next comes due later still.
        """
        reserve = MOST_RESERVE * self.size if early else self.reserve
        wanted = self.free + reserve - waiting
        if wanted < self.reserve / 2:
            return 0  # a look for a few is not worth its cost while the pace is high
        return min(wanted, MOST_SETTLING * self.size - settling)

    def wanted_at_once(self, *, due: int, settling: int) -> int:
        """How many claims could start at once; none or less while too many are being settled."""
        return min(self.free - due, MOST_SETTLING * self.size - settling)
