"""Judges checks: an instance claims one when its ping is due, and when its grace is over."""

from datetime import datetime, timedelta

from app.core.runs.claim import Claim, Settlement
from app.core.runs.expectation import judged
from app.core.runs.transition import deferred, invalid
from app.db import Database, checks
from app.errors import DatabaseUnavailable, InvalidInput
from app.targets.check.executor import CheckTarget
from app.targets.registry import decode_target

AGAIN = timedelta(seconds=5)
"""After how long a check is judged again whose pings could not be read."""


async def judge(db: Database, claim: Claim, *, now: datetime) -> Settlement:
    """Return how to settle the claim of a check, by the pings that have come.

    A target that is invalid makes the job invalid. While the pings cannot be read, the claim is
    deferred.
    """
    try:
        target = decode_target(claim.kind, claim.target.encode())
        assert isinstance(target, CheckTarget)  # noqa: S101 - that of the kind
        pings = await checks.read_pings(db, claim.job_id)
    except InvalidInput as error:
        return invalid(claim, str(error))
    except DatabaseUnavailable:
        return deferred(claim, until=now + AGAIN)
    return judged(claim, pings, grace_seconds=target.grace_seconds, now=now)
