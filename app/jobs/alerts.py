"""Alert rules and channels as clients write them: checked, and with jobs by id or name."""

from typing import Any

from app.core.alerts.presets import Preset, kind_of, target_errors
from app.core.field_errors import MAX_ERRORS
from app.core.jobs.exact_json import same
from app.core.jobs.names import name_error
from app.core.secrets.masking import mask
from app.db import alert_rules, jobs
from app.db.alert_rules import StoredChannel, read_target
from app.db.database import Acting, Runner
from app.errors import AlertNotFound, FieldError, InvalidInput, JobNotFound, StateConflict
from app.jobs.inline_secrets import inline_secrets
from app.jobs.key_limits import refuse_hosts
from app.targets.registry import target_type
from app.vault import Referring, check_bindings, check_target
from app.wire.alerts import AlertRule, Channel, ChannelDocument, RuleDocument

STAND_INS: dict[str, dict[str, Any]] = {
    "http": {"json": {}},
    "amqp": {"json": {}},
    "smtp": {"subject": "x", "text": "x"},
}
"""What stands for a message while the target of a channel is checked, by kind."""


def check_name(name: str) -> None:
    """Refuse a name that a rule or channel cannot have.

    Raises:
        InvalidInput: naming the field.
    """
    if error := name_error(name):
        raise InvalidInput(FieldError(field="name", message=error))


async def put_rule(db: Runner, name: str, document: RuleDocument) -> tuple[AlertRule, bool]:
    """Set a rule; return also whether it is new.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    check_name(name)
    if errors := list(document.errors()):
        raise InvalidInput(*errors)
    job_id = None
    if document.job is not None:
        try:
            job_id = (await jobs.find(db, document.job)).id
        except JobNotFound as error:
            raise InvalidInput(FieldError(field="job", message=str(error))) from None
    is_new = await alert_rules.put(db, name, document, job_id=job_id)
    return await alert_rules.find(db, name), is_new


async def put_channel(db: Acting, name: str, document: ChannelDocument) -> tuple[Channel, bool]:
    """Set a channel; return also whether it is new.

    What another client wrote may break the limits of the caller's key: it may be written again as
    it is, which changes nothing.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    check_name(name)
    referring = check_channel(name, document)
    try:
        refuse_hosts(document, db.limits)
    except InvalidInput:
        kept = await find_same(db, name, document)
        if kept is None:
            raise
        return shown(kept), False
    await check_bindings(db, [referring])
    is_new = await alert_rules.put_channel(
        db,
        name,
        preset=Preset(document.preset),
        target=document.target,
        fallback=document.fallback,
    )
    return shown(await alert_rules.find_channel(db, name)), is_new


async def find_same(db: Runner, name: str, document: ChannelDocument) -> StoredChannel | None:
    """Find a channel that is what the document says; None: there is none."""
    try:
        kept = await alert_rules.find_channel(db, name)
        target = read_target(kept.target)
    except (AlertNotFound, ValueError, RecursionError):
        return None
    is_same = (kept.preset, kept.fallback) == (document.preset, document.fallback)
    return kept if is_same and same(target, document.target) else None


def check_channel(name: str, document: ChannelDocument) -> Referring:
    """Check what a channel is to be; return the named secrets that its target refers to.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    target, preset = document.target, Preset(document.preset)
    if errors := list(target_errors(preset, target)):
        raise InvalidInput(*errors)
    if document.fallback == name:
        message = "is the channel itself: name another one, or leave it out"
        raise InvalidInput(FieldError(field="fallback", message=message))
    kind = kind_of(preset)
    filled = {} if preset is Preset.TEMPLATE else STAND_INS[kind]
    referring = check_target(kind, target | filled)
    if errors := inline_secrets(kind, target):
        raise InvalidInput(*errors[:MAX_ERRORS])
    return referring


async def delete_channel(db: Runner, name: str) -> None:
    """Delete a channel that no rule and no other channel names.

    Raises:
        AlertNotFound: there is none of that name.
        StateConflict: one names it.
    """
    try:
        await alert_rules.delete_channel(db, name)
    except InvalidInput as refusal:
        raise StateConflict(str(refusal)) from None


def shown(channel: StoredChannel) -> Channel:
    """Return a channel as clients see it."""
    try:
        kind = kind_of(Preset(channel.preset))
        target = mask(target_type(kind), read_target(channel.target))
    except (ValueError, RecursionError):
        target = {}
    return Channel(
        name=channel.name,
        preset=channel.preset,
        target=target,
        fallback=channel.fallback,
        failed=channel.failed,
        last_failed_at=channel.last_failed_at,
        last_error=channel.last_error,
        created_at=channel.created_at,
        updated_at=channel.updated_at,
    )
