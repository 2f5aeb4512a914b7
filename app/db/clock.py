"""The database's clock, for whoever plans without asking the database each time."""

from datetime import UTC, datetime, timedelta
from time import monotonic

from app.db.database import Runner

TRUSTED_SECONDS = 60.0
"""How long an answer is carried forward before the database is asked again."""


class DatabaseClock:
    """Tells the database's time; hosts' wall clocks need not agree with it or with each other."""

    def __init__(self, db: Runner) -> None:
        self.db = db
        self.told = datetime.now(UTC)
        self.told_at = float("-inf")

    async def now(self) -> datetime:
        """Return the database's time, behind it by a fraction of a round trip at most.

        Raises:
            DatabaseUnavailable: it had to be asked and does not answer.
        """
        if monotonic() - self.told_at > TRUSTED_SECONDS:
            [row] = await self.db.fetch("instances.clock")
            self.told, self.told_at = row["now"], monotonic()
        return self.told + timedelta(seconds=monotonic() - self.told_at)
