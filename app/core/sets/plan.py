"""Plans of sets: what the application of a set would do to each of its members."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from shlex import quote
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.core.sets.differences import FieldChange
from app.core.sets.runs import RunsChange
from app.errors import FieldError

JSON = msgspec.json.Encoder(order="deterministic")
PREFIX = "sha256:"


class MemberKind(StrEnum):
    """What can belong to a set."""

    JOB = "job"
    CALENDAR = "calendar"
    FLOW = "flow"
    CHANNEL = "channel"
    RULE = "rule"


class Prune(StrEnum):
    """What becomes of jobs of the set that the file does not have any more."""

    PAUSE = "pause"
    DELETE = "delete"


class Action(StrEnum):
    """What an application does to one member."""

    CREATE = "create"
    CHANGE = "change"
    TAKE_OVER = "take_over"
    """The member is as the file has it; from then on it belongs to this set."""
    UNCHANGED = "unchanged"
    PAUSE = "pause"
    DELETE = "delete"
    KEEP = "keep"
    """The file does not have it any more; it stays as it is."""
    CONFLICT = "conflict"


KINDS = frozenset(map(str, MemberKind))
NO_DIFFERENCE = frozenset({Action.UNCHANGED, Action.KEEP})


class Member(Struct, frozen=True, kw_only=True):
    """What belongs to a set, as it was last applied."""

    kind: MemberKind
    name: str
    set_name: str
    job_id: UUID | None
    applied: dict[str, Any]
    removed_at: datetime | None


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an application does to one member, and why."""

    kind: MemberKind
    name: str
    action: Action
    changes: Sequence[FieldChange] = ()
    drift: Annotated[bool, Meta(description="It was changed elsewhere since the last time.")] = (
        False
    )
    runs: Annotated[
        RunsChange | None, Meta(description="Where the schedule changes: its next runs.")
    ] = None
    paused: Annotated[bool, Meta(description="The job is paused, and stays so.")] = False
    owner: Annotated[
        str | None, Meta(description="Of a conflict or a take-over: the set it belongs to.")
    ] = None
    detail: Annotated[str | None, Meta(description="What one should know about this.")] = None


class SetPlan(Struct, frozen=True, kw_only=True):
    """What an application would do, or has done."""

    set: str
    digest: Annotated[
        str, Meta(description="Of all that is changed: apply with it to do this and nothing else.")
    ]
    differs: Annotated[bool, Meta(description="Something would be changed, or is in conflict.")]
    counts: Annotated[dict[str, int], Meta(description="How many steps have each action.")]
    steps: Sequence[Step]
    warnings: Annotated[
        Sequence[FieldError], Meta(description="What makes runs fail as things are.")
    ] = ()


Key = tuple[MemberKind, str]


def taken_over(written: str) -> Key:
    """Read what is to be taken over: the name of a job, or `flow:` and such before a name."""
    kind, separator, name = written.partition(":")
    if separator and kind in KINDS:
        return MemberKind(kind), name
    return MemberKind.JOB, written


def owner_conflict(
    kind: MemberKind, name: str, *, owner: str | None, taken: Collection[Key]
) -> Step | None:
    """Refuse what another set has, or nobody, unless it is to be taken over."""
    if (kind, name) in taken:
        return None
    written = name if taken_over(name) == (kind, name) else f"{kind}:{name}"
    how = f"take it over by `--take-over {quote(written)}` (take_over of the API)"
    if owner is None:
        detail = f"this {kind} is there already and belongs to no set: {how}, or rename it"
    else:
        detail = f"this {kind} belongs to the set {owner!r}: {how}, or rename it"
    return Step(kind=kind, name=name, action=Action.CONFLICT, owner=owner, detail=detail)


def planned_change(
    kind: MemberKind,
    name: str,
    *,
    differences: Sequence[FieldChange],
    owned: bool,
    was_removed: bool = False,
) -> Step:
    """Say what becomes of a member that is there already and may be written.

    `owned`: it belongs to this set by now. `was_removed`: the file did not have it the last time.
    """
    action = Action.CHANGE if differences else Action.UNCHANGED
    detail = None
    if action is Action.UNCHANGED and not owned:
        action = Action.TAKE_OVER
    if was_removed:
        detail = "is in the file again"
    drift = any(one.drift for one in differences)
    return Step(
        kind=kind, name=name, action=action, changes=differences, drift=drift, detail=detail
    )


def removal(member: Member, *, prune: Prune, paused: bool, exists: bool) -> Step:
    """Say what becomes of a member that the file does not have any more."""
    kind, name = member.kind, member.name
    if not exists:
        detail = "is gone already"
        return Step(kind=kind, name=name, action=Action.KEEP, detail=detail)
    if prune is Prune.DELETE:
        return Step(kind=kind, name=name, action=Action.DELETE)
    if kind is not MemberKind.JOB:
        detail = "stays, as only jobs are paused: prune with delete to delete it"
        return Step(kind=kind, name=name, action=Action.KEEP, detail=detail)
    if paused:
        detail = "is paused; prune with delete to delete it"
        return Step(kind=kind, name=name, action=Action.KEEP, detail=detail)
    return Step(kind=kind, name=name, action=Action.PAUSE)


def plan_of(
    set_name: str,
    steps: Iterable[Step],
    versions: Mapping[Key, object],
    warnings: Sequence[FieldError] = (),
) -> SetPlan:
    """Put a plan together, with a digest of what it changes.

    `versions`: of what it changes, so that an edit which changes none of its fields counts as well.
    Runs do not: they pass by themselves.
    """
    ordered = tuple(steps)
    changing = [one for one in ordered if one.action not in NO_DIFFERENCE]
    shape = [
        (
            one.kind,
            one.name,
            one.action,
            one.changes,
            one.owner,
            str(versions.get((one.kind, one.name))),
        )
        for one in changing
    ]
    digest = hashlib.sha256(JSON.encode((set_name, shape))).hexdigest()
    counts = dict.fromkeys(Action, 0)
    for one in ordered:
        counts[one.action] += 1
    return SetPlan(
        set=set_name,
        digest=PREFIX + digest,
        differs=bool(changing),
        counts={str(action): many for action, many in counts.items() if many},
        steps=ordered,
        warnings=warnings,
    )
