"""Alerts that are to be delivered, their jobs, and how those ended, in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.alerts.messages import Alert
from app.core.alerts.presets import Job
from app.core.secrets.masking import Masked, Secret
from app.db.database import Runner

JSON = msgspec.json.Encoder()


class Waiting(Masked, frozen=True, kw_only=True):
    """An alert that has yet to be sent, and the channel that it goes to."""

    alert: Alert
    channel: str
    rule_id: UUID | None
    preset: str | None
    """None: there is no such channel any more."""
    target: Secret | None
    """JSON text."""
    is_reminder: bool
    instead_of: str | None
    """The channel that could not deliver it."""
    incident: UUID | None
    """What it reminds of, or ends, at a service that has incidents; None: nothing was opened."""
    is_open: bool
    """Whether the incident goes on for other jobs."""


class Ended(Struct, frozen=True, kw_only=True):
    """An alert whose delivery has ended."""

    id: UUID
    channel: str
    delivered_at: datetime | None
    error: str | None


async def list_waiting(transaction: Runner, *, seconds: float, limit: int) -> list[Waiting]:
    """List, and lock, alerts to be sent, unless the same was sent within these seconds."""
    rows = await transaction.fetch("alerts.waiting", seconds=seconds, limit=limit)
    return [
        Waiting(
            alert=Alert(**{name: row[name] for name in Alert.__struct_fields__}),
            channel=row["channel"],
            rule_id=row["rule_id"],
            preset=row["preset"],
            target=row["target"],
            is_reminder=row["is_reminder"],
            instead_of=row["instead_of"],
            incident=row["incident"],
            is_open=row["is_open"],
        )
        for row in rows
    ]


async def deliver(transaction: Runner, ids: Sequence[UUID], job: Job) -> None:
    """Make the job that delivers some alerts as one message."""
    await transaction.fetch(
        "alerts.deliver",
        ids=ids,
        kind=job.kind,
        target=JSON.encode(job.target).decode().replace("\\u0000", ""),
        metadata=JSON.encode(job.metadata).decode().replace("\\u0000", ""),
    )


async def open_incident(transaction: Runner, ids: Sequence[UUID], *, incident: UUID) -> None:
    """Write down what the incident is known by that some alerts open."""
    await transaction.fetch("alerts.open_incident", ids=ids, incident=incident)


async def settle(transaction: Runner, ids: Sequence[UUID]) -> None:
    """Write down that of some alerts nothing is to be sent."""
    await transaction.fetch("alerts.settle", ids=ids)


async def fail(transaction: Runner, ids: Sequence[UUID], *, error: str) -> None:
    """Write down that alerts cannot be delivered."""
    await transaction.fetch("alerts.fail", ids=ids, error=error.replace("\0", ""))


async def follow(db: Runner) -> list[Ended]:
    """Write down how deliveries ended, and return those that have ended since."""
    return [Ended(**row) for row in await db.fetch("alerts.follow")]
