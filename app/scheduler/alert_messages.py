"""Puts alerts together as messages, and makes the jobs that deliver these."""

from uuid import UUID

from app.core.alerts.messages import Message
from app.core.alerts.presets import INCIDENTS, Preset, job_of, parts_of
from app.db import alert_deliveries
from app.db.alert_deliveries import Waiting
from app.db.alert_rules import read_target
from app.db.database import Runner

NOTHING_OPENED = (
    "nothing was opened by this channel that could be resolved: put recovered into the rule that "
    "tells of what is to recover"
)
"""Why a recovery is not sent to a service that has incidents."""

Together = tuple[str, str, str, bool, str, str]


def key_of(one: Waiting) -> Together:
    """Return what goes out as one message: channel, event, rule; each test by itself."""
    together = one.rule_id if one.rule_id is not None else one.alert.id
    return (
        *(one.channel, one.alert.event, str(together), one.is_reminder),
        *(one.instead_of or "", str(one.incident or "")),
    )


def order(one: Waiting) -> tuple[Together, UUID]:
    """Return the order in which alerts are put together."""
    return key_of(one), one.alert.id


async def send_together(transaction: Runner, found: list[Waiting]) -> None:
    """Send some alerts as one message, or write down why that cannot be."""
    ids = [one.alert.id for one in found]
    channel = found[0]
    if channel.preset is None or channel.target is None:
        await alert_deliveries.fail(
            transaction, ids, error=f"there is no channel {channel.channel!r}"
        )
        return
    preset = Preset(channel.preset)
    incident = channel.incident
    if preset in INCIDENTS and channel.alert.event == "recovered":
        if incident is None:
            await alert_deliveries.fail(transaction, ids, error=NOTHING_OPENED)
            return
        if channel.is_open:
            await alert_deliveries.settle(transaction, ids)
            return
    elif preset in INCIDENTS and incident is None:
        incident = ids[0]
        await alert_deliveries.open_incident(transaction, ids, incident=incident)
    message = Message(
        channel=channel.channel,
        alerts=[one.alert for one in found],
        is_reminder=channel.is_reminder,
        instead_of=channel.instead_of,
        incident=incident,
    )
    try:
        target = read_target(channel.target)
    except (ValueError, RecursionError) as error:
        await alert_deliveries.fail(
            transaction, ids, error=f"the channel's target cannot be read: {error}"
        )
        return
    for part in parts_of(preset, message):
        sent = [one.id for one in part.alerts]
        await alert_deliveries.deliver(transaction, sent, job_of(preset, target, part))
