"""Checks of a set by what there is in Postgres: what its members name, and where secrets go."""

from collections.abc import Sequence

from msgspec.structs import replace

from app.core.field_errors import MAX_ERRORS
from app.core.field_paths import joined
from app.core.sets.plan import Action, Key, MemberKind, SetPlan, Step
from app.db import sets
from app.db.database import Acting, Runner
from app.errors import FieldError, InvalidInput
from app.jobs.key_limits import refuse_hosts
from app.jobs.set_input import PLURALS, Desired
from app.jobs.set_plan import JobWrite, referring_of
from app.vault import check_bindings
from app.wire.alerts import RuleDocument

WRITTEN = frozenset({Action.CREATE, Action.CHANGE})


async def check_set_bindings(
    db: Runner, desired: Desired, writes: Sequence[JobWrite]
) -> list[FieldError]:
    """Refuse what would send a secret to other hosts; return what refers to secrets not set.

    Raises:
        InvalidInput: naming each job.
    """
    names = [one.name for one in writes]
    try:
        found = await check_bindings(db, referring_of(writes))
    except InvalidInput as refusal:
        errors = []
        for one in refusal.errors:
            index, _, rest = one.field.removeprefix("[").partition("].")
            errors.append(desired.place(names[int(index)], replace(one, field=rest)))
        raise InvalidInput(*errors) from None
    return [desired.place(names[index], one) for index, missing in found.items() for one in missing]


async def check_channels(db: Acting, desired: Desired, plan: SetPlan) -> None:
    """Refuse channels that would send a secret, or for a limited key, to other hosts.

    Raises:
        InvalidInput: naming each.
    """
    errors: list[FieldError] = []
    for step in plan.steps:
        if step.kind is MemberKind.CHANNEL and step.action in WRITTEN:
            try:
                refuse_hosts(desired.others[step.kind, step.name], db.limits)
                await check_bindings(db, [desired.channels[step.name]])
            except InvalidInput as refusal:
                errors += placed_in(step, refusal)
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])


def placed_in(step: Step, refusal: InvalidInput) -> list[FieldError]:
    """Place errors of a member where the file has it."""
    path = joined(PLURALS[step.kind], step.name)
    return [replace(one, field=f"{path}.{one.field}") for one in refusal.errors]


async def check_references(db: Runner, desired: Desired) -> None:
    """Refuse calendars, channels and jobs that are neither in the set nor in the database.

    Raises:
        InvalidInput: naming each field.
    """
    wanted: dict[Key, list[str]] = {}
    for name, job in desired.jobs.items():
        for index, one in enumerate(job.calendars or ()):
            key = (MemberKind.CALENDAR, one.removeprefix("!"))
            wanted.setdefault(key, []).append(joined("jobs", name, "calendars", index))
    for (_, name), document in desired.others.items():
        if not isinstance(document, RuleDocument):
            continue
        for index, channel in enumerate(document.channels):
            key = (MemberKind.CHANNEL, channel)
            wanted.setdefault(key, []).append(joined("rules", name, "channels", index))
        if document.job is not None:
            key = (MemberKind.JOB, document.job)
            wanted.setdefault(key, []).append(joined("rules", name, "job"))
    ours = {*desired.others, *((MemberKind.JOB, name) for name in desired.jobs)}
    elsewhere = [key for key in wanted if key not in ours]
    there = await sets.list_existing(db, elsewhere) if elsewhere else frozenset()
    errors = [
        FieldError(field=field, message=f"no {kind} has the name {name!r}: add it, or correct this")
        for kind, name in elsewhere
        if (kind, name) not in there
        for field in wanted[kind, name]
    ]
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
