"""Checks in Postgres: their addresses, of which only digests are kept, and their pings."""

from uuid import UUID

from app.core.checks.ping import Ping
from app.core.runs.expectation import CHECK, Pings
from app.db import jobs
from app.db.database import Database, Runner
from app.errors import CheckNotFound
from app.wire.checks import Check


async def make_token(db: Database, reference: str) -> str:
    """Make the token of a check's address; an earlier one is no longer valid.

    Raises:
        JobNotFound: no job has the id or name, or it was deleted meanwhile.
        CheckNotFound: the job is of another kind.
    """
    job = await find_job(db, reference)
    rows = await db.fetch("checks.make_token", job_id=job)
    token: str | None = rows[0]["token"]
    if token is None:
        raise jobs.not_found(reference)
    return token


async def revoke_token(db: Database, reference: str) -> None:
    """Have the address of a check lead nowhere.

    Raises:
        JobNotFound: no job has the id or name.
        CheckNotFound: the job is of another kind, or has no address.
    """
    job = await find_job(db, reference)
    rows = await db.fetch("checks.revoke_token", job_id=job)
    if not rows[0]["revoked"]:
        raise CheckNotFound(f"the check {reference!r} has no address")


async def find(db: Database, reference: str) -> Check:
    """Read how a check stands.

    Raises:
        JobNotFound: no job has the id or name, or it was deleted meanwhile.
        CheckNotFound: the job is of another kind.
    """
    job = await find_job(db, reference)
    for row in await db.fetch("checks.read", job_id=job):
        return Check(**row)
    raise jobs.not_found(reference)


async def find_job(db: Database, reference: str) -> UUID:
    job = await jobs.find(db, reference)
    if job.kind != CHECK:
        raise CheckNotFound(f"the job {reference!r} is no check: its kind is {job.kind!r}")
    return job.id


async def read_pings(db: Runner, job_id: UUID) -> Pings:
    """Read the latest pings of a check."""
    rows = await db.fetch("checks.pings", job_id=job_id)
    return Pings(**rows[0]) if rows else Pings()


async def is_token(db: Runner, digest: bytes) -> bool:
    """Return whether a check has, or had until it was deleted, the token of this digest."""
    return bool((await db.fetch("checks.is_token", digest=digest))[0]["known"])


async def ping(db: Runner, digest: bytes, what: Ping, body: str) -> str:
    """Take a ping; return `ok`, `unknown` if no check has the token, or `limited`."""
    rows = await db.fetch(
        "checks.ping", digest=digest, action=what.action, exit_code=what.exit_code, body=body
    )
    answer: str = rows[0]["answer"]
    return answer
