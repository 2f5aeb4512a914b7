"""Statements that take too long."""

from app.db.database import Runner


async def interrupt(
    db: Runner, *, application_name: str, seconds: float, locks: bool = False
) -> None:
    """Cancel what sessions with this name have been running for so many seconds.

    Only if users have something on the jobs or the executions that may take long for one row; with
    `locks`, statements that wait for a lock are cancelled in any case.
    """
    await db.fetch(
        "watching.interrupt", application_name=application_name, seconds=seconds, locks=locks
    )
