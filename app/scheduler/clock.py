"""The database's clock, read on this host: the only one that says what time it is."""

from datetime import UTC, datetime, timedelta
from time import monotonic


class DatabaseClock:
    """Carries the database's last told time forward by the monotonic clock.

    Hosts' wall clocks need not agree with it or with each other. Each look sets it anew, so a step
    of the database's clock is followed within one look.
    """

    def __init__(self) -> None:
        self.told = datetime.now(UTC)  # until the first look; nothing is executed before
        self.told_at = monotonic()

    def set(self, database_now: datetime, *, sent_at: float) -> None:
        """Note that the database read `database_now` on a question sent at monotonic `sent_at`."""
        self.told = database_now
        self.told_at = sent_at

    def now(self) -> datetime:
        """Return the database's present time; a fraction of a round trip ahead of it at most."""
        return self.told + timedelta(seconds=monotonic() - self.told_at)
