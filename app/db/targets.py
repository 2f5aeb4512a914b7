"""Targets written in SQL, which an instance checks before their run."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.core.secrets.masking import Masked, Secret
from app.db.database import Runner
from app.db.waiting import Finding, Position, Written, columns_of, written_of

JSON = msgspec.json.Encoder()


class Unchecked(Masked, frozen=True, kw_only=True):
    """A target to check, as JSON text, with the `edited_at` of its job."""

    job_id: UUID
    kind: str
    target: Secret
    edited_at: datetime


class Verdict(Finding, frozen=True, kw_only=True):
    """The result of the check of a target."""


async def list_unchecked(
    db: Runner,
    *,
    kinds: Sequence[str],
    after: Position | None = None,
    aside: Sequence[UUID],
    only: Sequence[UUID] | None = None,
) -> list[Unchecked]:
    """Return up to 200 targets of these kinds that have yet to be checked, by their last edit."""
    rows = await db.fetch(
        "targets.unchecked", kinds=kinds, **columns_of(after), aside=aside, only=only
    )
    return [Unchecked(**row) for row in rows]


async def list_unchecked_lately(
    db: Runner, *, kinds: Sequence[str], newer: str | None, aside: Sequence[UUID]
) -> list[UUID]:
    """Return up to five jobs whose target has yet to be checked, written since a `read_horizon`."""
    rows = await db.fetch("targets.unchecked_lately", kinds=kinds, newer=newer, aside=aside)
    return [row["id"] for row in rows]


async def write_verdicts(db: Runner, verdicts: Sequence[Verdict]) -> Written:
    """Write the verdicts, but on no job that was edited since, is locked or executing."""
    rows = await db.fetch("targets.checked", verdicts=JSON.encode(verdicts).decode())
    return written_of(rows)
