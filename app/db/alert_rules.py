"""Alert rules, channels and alerts in Postgres, as people write and read them."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from app.core.jobs.exact_json import DECODER
from app.core.secrets.masking import Masked, Secret
from app.db.database import Database, Page, Row, Runner
from app.errors import AlertNotFound
from app.wire.alerts import AlertRule, Delivery, RuleDocument, ToldAlert

JSON = msgspec.json.Encoder()


class StoredChannel(Masked, frozen=True, kw_only=True):
    """A channel as the database has it, with its target as JSON text."""

    name: str
    preset: str
    target: Secret
    fallback: str | None
    failed: int
    last_failed_at: Any
    last_error: str | None
    created_at: Any
    updated_at: Any


class AlertFilter(Struct, frozen=True, kw_only=True):
    """Which alerts to list; None in a field stands for any."""

    job_id: UUID | None = None
    rule: str | None = None


async def put(db: Runner, name: str, rule: RuleDocument, *, job_id: UUID | None) -> bool:
    """Set a rule; return whether it is new.

    Raises:
        InvalidInput: a channel does not exist.
    """
    [row] = await db.fetch(
        "alert_rules.put",
        name=name,
        events=sorted(set(rule.events)),
        job_id=job_id,
        tag=rule.tag,
        after=rule.after,
        seconds=rule.seconds,
        factor=rule.factor,
        more_than=rule.more_than,
        remind_seconds=rule.remind_seconds,
        reasons=rule.reasons,
        channels=rule.channels,
    )
    return bool(row["is_new"])


async def find(db: Runner, name: str) -> AlertRule:
    """Find a rule.

    Raises:
        AlertNotFound: there is none of that name.
    """
    if "\0" not in name:
        for row in await db.fetch("alert_rules.find", name=name):
            return read_rule(row)
    message = f"no alert rule has the name {name!r}"
    raise AlertNotFound(message)


async def list_page(db: Database, *, after: str | None, limit: int) -> Page[AlertRule]:
    """List rules by name, from the first name after `after`."""
    found = await db.fetch_page("alert_rules.page", after=after, limit=limit)
    return Page(items=[read_rule(row) for row in found.rows], more=found.more)


async def delete(db: Runner, name: str) -> None:
    """Delete a rule, and how it stood.

    Raises:
        AlertNotFound: there is none of that name.
    """
    if "\0" in name or not await db.fetch("alert_rules.delete", name=name):
        message = f"no alert rule has the name {name!r}"
        raise AlertNotFound(message)


def read_rule(row: Row) -> AlertRule:
    """Read a rule out of a row."""
    columns = dict(row.items())
    del columns["id"]
    job_id, name = columns.pop("job_id"), columns.pop("job_name")
    return AlertRule(**columns, job=name or (job_id and str(job_id)))


async def put_channel(
    db: Runner, name: str, *, preset: str, target: dict[str, Any], fallback: str | None
) -> bool:
    """Set a channel; return whether it is new.

    Raises:
        InvalidInput: the channel to fall back to does not exist, or is itself.
    """
    [row] = await db.fetch(
        "alert_rules.put_channel",
        name=name,
        preset=preset,
        target=JSON.encode(target).decode(),
        fallback=fallback,
    )
    return bool(row["is_new"])


async def find_channel(db: Runner, name: str) -> StoredChannel:
    """Find a channel.

    Raises:
        AlertNotFound: there is none of that name.
    """
    if "\0" not in name:
        for row in await db.fetch("alert_rules.find_channel", name=name):
            return StoredChannel(**row)
    raise AlertNotFound(no_channel(name))


async def list_channels(db: Database, *, after: str | None, limit: int) -> Page[StoredChannel]:
    """List channels by name, from the first name after `after`."""
    found = await db.fetch_page("alert_rules.page_channels", after=after, limit=limit)
    return Page(items=[StoredChannel(**row) for row in found.rows], more=found.more)


async def delete_channel(db: Runner, name: str) -> None:
    """Delete a channel.

    Raises:
        AlertNotFound: there is none of that name.
        InvalidInput: a rule or another channel names it.
    """
    if "\0" in name or not await db.fetch("alert_rules.delete_channel", name=name):
        raise AlertNotFound(no_channel(name))


async def test_channel(db: Runner, name: str) -> ToldAlert:
    """Have a channel told something.

    Raises:
        AlertNotFound: there is none of that name.
    """
    if "\0" not in name:
        for row in await db.fetch("alert_rules.test_channel", name=name):
            return await find_alert(db, row["id"])
    raise AlertNotFound(no_channel(name))


def no_channel(name: str) -> str:
    return f"no channel has the name {name!r}"


async def find_alert(db: Runner, id: UUID) -> ToldAlert:
    """Find an alert.

    Raises:
        AlertNotFound: there is no such alert, or it was pruned.
    """
    for row in await db.fetch("alert_rules.find_alert", id=id):
        return read_alert(row)
    message = f"no alert has the id {str(id)!r}; old ones are not kept"
    raise AlertNotFound(message)


async def list_alerts(
    db: Database, wanted: AlertFilter, *, before: UUID | None, limit: int
) -> Page[ToldAlert]:
    """List alerts, newest first, from the first one older than `before`."""
    found = await db.fetch_page(
        "alert_rules.page_alerts",
        before=before,
        limit=limit,
        job_id=wanted.job_id,
        rule=wanted.rule,
    )
    return Page(items=[read_alert(row) for row in found.rows], more=found.more)


def read_alert(row: Row) -> ToldAlert:
    """Read an alert out of a row."""
    return ToldAlert(**row, delivery=delivery_of(row))


def delivery_of(row: Row) -> Delivery:
    """Say how the delivery of an alert stands."""
    if row["channel"] is None:
        return Delivery.NONE
    if row["delivered_at"] is not None:
        return Delivery.DELIVERED
    if row["failed_at"] is not None:
        return Delivery.FAILED
    return Delivery.WAITING if row["delivery_id"] is None else Delivery.SENT


def read_target(text: str) -> dict[str, Any]:
    """Read the target of a channel.

    Raises:
        ValueError, RecursionError: Python cannot hold it.
    """
    target: dict[str, Any] = DECODER.decode(text)
    return target
