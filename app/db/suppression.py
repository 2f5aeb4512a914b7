"""The promise of an instance to poll; while it is in force, writers send no notifications."""

from app.db.database import Runner


async def publish(db: Runner, *, seconds: float) -> None:
    """Promise to poll for `seconds`; if no promise was in force, all instances are woken."""
    await db.fetch("doorbell.publish", seconds=seconds)


async def withdraw(db: Runner) -> None:
    """End the promise in force and wake all instances."""
    await db.fetch("doorbell.withdraw")
