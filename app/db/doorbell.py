"""The promise of an instance to look often, which keeps writers from notifying."""

from app.db.database import Runner


async def publish(db: Runner, *, seconds: float) -> None:
    """Promise to look often for so long; all are woken when no promise was in force."""
    await db.fetch("doorbell.publish", seconds=seconds)


async def withdraw(db: Runner) -> None:
    """End whatever promise is in force and wake all."""
    await db.fetch("doorbell.withdraw")
