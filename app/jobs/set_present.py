"""What there is of a set in Postgres, before it is planned."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, to_builtins
from msgspec.structs import fields

from app.core.alerts.presets import Preset, kind_of
from app.core.jobs.exact_json import as_text
from app.core.jobs.job import StoredJob
from app.core.secrets.masking import mask
from app.core.sets.plan import Key, Member, MemberKind
from app.db import alert_rules, calendars, flow_limits, jobs, sets
from app.db.alert_rules import read_target
from app.db.database import Runner
from app.errors import AlertNotFound, CalendarNotFound, FlowNotFound
from app.jobs.set_input import Desired, Documents
from app.targets.registry import target_type
from app.wire.alerts import ChannelDocument, RuleDocument
from app.wire.calendars import CalendarDocument
from app.wire.flows import FlowLimits


class Present(Struct, frozen=True, kw_only=True):
    """The members of a set, and other jobs, calendars and so on with names that its file has."""

    members: Mapping[Key, Member]
    """The members of this set."""
    foreign: Mapping[Key, Member]
    """The members of other sets with names that the file has."""
    jobs: Sequence[StoredJob]
    owners: Mapping[UUID, Member]
    """Which members these jobs are, of whatever set."""
    others: Mapping[Key, dict[str, Any]]
    """The calendars, flows, channels and rules that there are, in the form of `shown`."""
    versions: Mapping[Key, datetime]
    """When these were last written."""

    def hops(self, channel: str, desired: Desired) -> int:
        """Count a channel and those that it falls back to: written before, and deleted after it."""
        passed: set[str] = set()
        fallback: str | None = channel
        while fallback is not None and fallback not in passed:
            passed.add(fallback)
            key = (MemberKind.CHANNEL, fallback)
            document = desired.others.get(key)
            if isinstance(document, ChannelDocument):
                fallback = document.fallback
            else:
                fallback = self.others.get(key, {}).get("fallback")
        return len(passed)


async def read_present(db: Runner, desired: Desired) -> Present:
    """Read what there is of a set, and of what it wants to have."""
    wanted = [*((MemberKind.JOB, name) for name in desired.jobs), *desired.others]
    found = await sets.list_members(db, desired.set_name, wanted)
    own = {(one.kind, one.name): one for one in found if one.set_name == desired.set_name}
    ids = [one.job_id for one in own.values() if one.job_id is not None]
    stored = await jobs.find_many(db, ids=ids, names=list(desired.jobs))
    keys = {*desired.others, *(key for key in own if key[0] is not MemberKind.JOB)}
    read = {key: await read_other(db, key) for key in sorted(keys)}
    others = {key: one for key, one in read.items() if one is not None}
    return Present(
        members=own,
        foreign={(one.kind, one.name): one for one in found if one.set_name != desired.set_name},
        jobs=stored,
        owners=await sets.list_owners(db, [job.id for job in stored]),
        others={key: one for key, (one, _) in others.items()},
        versions={key: version for key, (_, version) in others.items()},
    )


async def read_other(db: Runner, key: Key) -> tuple[dict[str, Any], datetime] | None:
    """Read a member that is no job, and when it was written; None if there is none."""
    kind, name = key
    try:
        match kind:
            case MemberKind.CALENDAR:
                calendar = await calendars.find(db, name)
                return picked(CalendarDocument, calendar), calendar.updated_at
            case MemberKind.FLOW:
                flow = await flow_limits.find(db, name)
                if flow.updated_at is None:
                    return None
                return picked(FlowLimits, flow), flow.updated_at
            case MemberKind.CHANNEL:
                stored = await alert_rules.find_channel(db, name)
                target = read_target(stored.target)
                return channel_shown(stored.preset, target, stored.fallback), stored.updated_at
            case _:
                rule = await alert_rules.find(db, name)
                return picked(RuleDocument, rule), rule.updated_at
    except (CalendarNotFound, FlowNotFound, AlertNotFound):
        return None


def picked(type_: type[Struct], state: Struct) -> dict[str, Any]:
    """Return what people write of something that is shown with more."""
    return {one.name: to_builtins(getattr(state, one.name)) for one in fields(type_)}


def shown(document: Documents) -> dict[str, Any]:
    """Return a member that is no job in the form in which it is compared."""
    if isinstance(document, ChannelDocument):
        return channel_shown(document.preset, document.target, document.fallback)
    form = picked(type(document), document)
    if isinstance(document, RuleDocument):
        form["events"] = sorted(set(form["events"]))
    return form


def channel_shown(preset: str, target: dict[str, Any], fallback: str | None) -> dict[str, Any]:
    masked = mask(target_type(kind_of(Preset(preset))), target)
    return {
        "preset": str(preset),
        "target": to_builtins(masked, enc_hook=as_text),
        "fallback": fallback,
    }
