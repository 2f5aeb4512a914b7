"""The limits of flows in Postgres, and how much of them is used."""

from datetime import datetime

from app.db.database import Database, Page, Row, Runner
from app.errors import FlowNotFound
from app.wire.flows import Flow, FlowLimits


async def put(db: Runner, key: str, limits: FlowLimits) -> bool:
    """Set the limits of a flow; return whether it had none."""
    [row] = await db.fetch(
        "flow_limits.put",
        flow_key=key,
        max_concurrency=limits.max_concurrency,
        rate=limits.rate,
        period_seconds=limits.period_seconds,
        burst=limits.burst,
        paused=limits.paused,
    )
    return bool(row["is_new"])


async def list_page(db: Database, after: str | None, limit: int) -> Page[Flow]:
    """List flows in the order of their keys, from the first key after `after`."""
    found = await db.fetch_page("flow_limits.page", after=after, limit=limit)
    return Page(items=[flow(row) for row in found.rows], more=found.more)


async def find(db: Runner, key: str) -> Flow:
    """Find a flow that has limits, is held, or has jobs.

    Raises:
        FlowNotFound: there is no such flow.
    """
    if "\0" not in key:
        for row in await db.fetch("flow_limits.find", flow_key=key):
            return flow(row)
    raise FlowNotFound(no_flow(key))


async def delete(db: Runner, key: str) -> None:
    """Delete the limits of a flow.

    Raises:
        FlowNotFound: the flow has none.
    """
    if "\0" in key or not await db.fetch("flow_limits.delete", flow_key=key):
        raise FlowNotFound(no_flow(key))


async def pause(db: Runner, key: str, *, reason: str | None, until: datetime | None) -> None:
    """Have the jobs of a flow wait, saying why and until when.

    Raises:
        InvalidInput: the end has passed.
    """
    await db.fetch("flow_limits.pause", flow_key=key, reason=reason, until=until)


async def resume(db: Runner, key: str) -> None:
    """Let the jobs of a flow start again, as far as its limits allow."""
    await db.fetch("flow_limits.resume", flow_key=key)


async def release(db: Runner, key: str) -> None:
    """End what a target asked for."""
    if "\0" not in key:
        await db.fetch("flow_limits.release", flow_key=key)


def no_flow(key: str) -> str:
    return f"no flow has the key {key!r}"


def flow(row: Row) -> Flow:
    """Read a flow out of a row."""
    return Flow(**row)
