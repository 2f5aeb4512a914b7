"""Claims of jobs that share the limits of a flow, and what instances tell of flows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Unpack
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.claim import Claim
from app.db.claims import LOST, UNASKED, Asked, Look, check_claimed, claim
from app.db.database import Runner

JSON = msgspec.json.Encoder()


class FlowStand(Struct, frozen=True, kw_only=True):
    """What a look has found of one flow."""

    key: str
    next_seconds: float | None
    """Seconds until more of the flow may be claimed; None: not before something changes."""


class Starts(Struct, frozen=True, kw_only=True):
    """What became of the jobs of a flow that one look claimed."""

    flow_key: str
    granted_at: datetime
    """The `claimed_at` of these claims."""
    many: int
    """How many of them were started."""
    latest: datetime
    """When the last of them started."""


STANDS = msgspec.json.Decoder(list[FlowStand])


async def look(
    session: Runner, keys: Sequence[str], **asked: Unpack[Asked]
) -> tuple[Look, Mapping[str, float | None]]:
    """Claim jobs of these flows, as far as there are permits.

    Also return the seconds until more of each flow may be claimed; None: not before something
    changes.
    """
    arguments = {**UNASKED, **asked}
    rows = await session.fetch("claims.look_at_flows", keys=keys, **arguments)
    found = rows[0]
    claimed = [
        replace(
            claim(row, found["begun_at"]),
            flow_key=row["flow_key"],
            is_timed=row["is_timed"],
            waiting_since=row["waiting_since"],
        )
        for row in rows
        if row["id"] is not None
    ]
    others = {*(found["left_ids"] or ()), *(one.id for one in claimed)}
    stands = {one.key: one.next_seconds for one in STANDS.decode(found["flows"] or "[]")}
    for key in {row["flow_key"] for row in rows} & stands.keys() if found["left_ids"] else ():
        stands[key] = 0.0
    claimed, _ = await check_claimed(
        session, claimed, scope=found["pause_scope"], believed=asked.get("believed")
    )
    look = Look(
        claims=claimed,
        wakeup_seconds=None,
        blocked=False,
        unplanned=False,
        polling_seconds=None,
        suppressed=[id for id in found["found_ids"] or () if id not in others],
        lost=[LOST.decode(row["lost"]) for row in rows if row["lost"] is not None],
        record_error=found["record_error"],
        looked_until=found["looked_until"],
        begun_at=found["begun_at"],
        ended_at=found["ended_at"],
    )
    return look, stands


async def scan(db: Runner) -> dict[str, float | None]:
    """Return every flow with the seconds until its first job can be claimed, negative if due."""
    return {row["flow_key"]: row["next_seconds"] for row in await db.fetch("flows.scan")}


async def tell_starts(db: Runner, starts: Sequence[Starts], *, instance: str) -> None:
    """Tell when the jobs of flows with a rate were started."""
    await db.fetch("flows.tell_starts", starts=JSON.encode(starts).decode(), instance=instance)


async def hold(db: Runner, key: str, *, held_until: datetime, why: str) -> None:
    """Keep a flow from starts until then, as its target asked for; a longer hold stays."""
    await db.fetch("flows.hold", key=key, held_until=held_until, why=why)


async def wake(db: Runner, keys: Sequence[str]) -> None:
    """Have all instances look at these flows."""
    await db.fetch("flows.wake", keys=keys)


def keys_of(claims: Sequence[Claim]) -> set[str]:
    """Return the flows of these claims."""
    return {one.flow_key for one in claims if one.flow_key is not None}


async def list_due(db: Runner, key: str, *, aside: Sequence[UUID], limit: int) -> list[UUID]:
    """Return the first jobs of a flow that are due, whether or not they could be claimed."""
    rows = await db.fetch("flows.due", key=key, aside=aside, limit=limit)
    return [row["id"] for row in rows]
