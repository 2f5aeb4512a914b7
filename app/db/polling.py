"""Announcements that an instance polls; while one is in force, writers send no notifications."""

from app.db.database import Runner


async def announce(db: Runner, *, seconds: float) -> None:
    """Announce polling for `seconds`; if nothing was announced before, wake all instances."""
    await db.fetch("polling.announce", seconds=seconds)


async def withdraw(db: Runner) -> None:
    """Withdraw the announcement in force and wake all instances."""
    await db.fetch("polling.withdraw")
