"""Alert rules and channels as clients write them: checked, and with jobs by id or name."""

from typing import Any

from app.core.alerts.messages import Preset
from app.core.field_errors import MAX_ERRORS
from app.core.jobs.names import MAX_NAME_LENGTH, NAME
from app.core.secrets.masking import mask
from app.core.secrets.places import Part, spots_in
from app.core.secrets.references import is_reference
from app.db import Database, alert_rules, jobs
from app.db.alert_rules import StoredChannel, read_target
from app.errors import FieldError, InvalidInput, JobNotFound, StateConflict
from app.targets.registry import target_type
from app.vault import check_bindings, check_target
from app.wire.alerts import AlertRule, Channel, ChannelDocument, RuleDocument

BODIES = ("body", "json", "body_base64")
"""The fields of a target that its message fills."""
KIND = "http"
"""The kind of the jobs that deliver alerts."""


def check_name(name: str) -> None:
    """Refuse a name that a rule or channel cannot have.

    Raises:
        InvalidInput: naming the field.
    """
    if not NAME.fullmatch(name):
        message = f"must have 1 to {MAX_NAME_LENGTH} characters, no slash and no control character"
        raise InvalidInput(FieldError(field="name", message=message))


async def put_rule(db: Database, name: str, document: RuleDocument) -> tuple[AlertRule, bool]:
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


async def put_channel(db: Database, name: str, document: ChannelDocument) -> tuple[Channel, bool]:
    """Set a channel; return also whether it is new.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    check_name(name)
    target = document.target
    errors = [
        FieldError(field=f"target.{one}", message="is what alerts are written into: leave it out")
        for one in BODIES
        if one in target
    ]
    if errors:
        raise InvalidInput(*errors)
    referring = check_target(KIND, target)
    if errors := inline_secrets(target):
        raise InvalidInput(*errors[:MAX_ERRORS])
    await check_bindings(db, [referring])
    is_new = await alert_rules.put_channel(db, name, preset=Preset(document.preset), target=target)
    return shown(await alert_rules.find_channel(db, name)), is_new


def inline_secrets(target: dict[str, Any]) -> list[FieldError]:
    """Name the secrets that are written out: a channel has them by name only."""
    type_ = target_type(KIND)
    message = "is a secret: store it under a name, and write ${secret:NAME}"
    masked = mask(type_, target)
    return [
        FieldError(field=spot.field, message=message)
        for spot in spots_in(type_, target)
        if spot.value is not None
        and (
            (spot.part is Part.WHOLE and not is_reference(spot.value))
            or (spot.part is Part.IN_URL and masked.get("url") != target.get("url"))
        )
    ]


async def delete_channel(db: Database, name: str) -> None:
    """Delete a channel that no rule names.

    Raises:
        AlertNotFound: there is none of that name.
        StateConflict: a rule names it.
    """
    try:
        await alert_rules.delete_channel(db, name)
    except InvalidInput as refusal:
        raise StateConflict(str(refusal)) from None


def shown(channel: StoredChannel) -> Channel:
    """Return a channel as clients see it."""
    try:
        target = mask(target_type(KIND), read_target(channel.target))
    except (ValueError, RecursionError):
        target = {}
    return Channel(
        name=channel.name,
        preset=channel.preset,
        target=target,
        created_at=channel.created_at,
        updated_at=channel.updated_at,
    )
