"""Sets as files and clients write them, and as they are answered."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from app.core.jobs.names import MAX_NAME_LENGTH
from app.core.sets.plan import MemberKind, Prune
from app.wire.alerts import ChannelDocument, RuleDocument
from app.wire.calendars import CalendarDocument
from app.wire.flows import FlowLimits
from app.wire.pages import Page

MAX_OTHERS = 1000
"""The most calendars, flows, channels or rules of a set."""

SetName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description="Who owns the jobs: such as the name of the repository.",
        extra_json_schema={"pattern": r"^[^/\x00-\x1f\x7f-\x9f]+$"},
        examples=["billing"],
    ),
]
JobFields = Annotated[
    dict[str, Any],
    Meta(description="A job without its name; http: {…} stands for kind: http, target: {…}."),
]


TakenOver = Annotated[
    tuple[str, ...],
    Meta(
        max_length=10_000,
        description="What nobody or another set has so far: jobs by name, flow:NAME and such.",
    ),
]
Digest = Annotated[
    str,
    Meta(max_length=200, description="Of a plan: apply that, or answer 409 if it has changed."),
]


class SetFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set: jobs, and what they use, by name."""

    set: SetName
    defaults: Annotated[
        dict[str, Any], Meta(description="Fields of all jobs that do not say otherwise.")
    ] = {}
    jobs: dict[str, JobFields] = {}
    calendars: dict[str, CalendarDocument] = {}
    flows: dict[str, FlowLimits] = {}
    channels: dict[str, ChannelDocument] = {}
    rules: dict[str, RuleDocument] = {}


class SetRequest(SetFile, frozen=True, kw_only=True):
    """A set, and what to do about the rest of the world."""

    prune: Annotated[
        Prune, Meta(description="What becomes of jobs of the set that are not in it any more.")
    ] = Prune.PAUSE
    take_over: TakenOver = ()
    digest: Digest | None = None


SetOutline = msgspec.defstruct(
    "SetOutline",
    [
        ("set", SetName),
        ("defaults", dict[str, Any], msgspec.field(default_factory=dict)),
        *(
            (name, dict[str, Raw], msgspec.field(default_factory=dict))
            for name in ("jobs", "calendars", "flows", "channels", "rules")
        ),
        ("prune", Prune, Prune.PAUSE),
        ("take_over", TakenOver, ()),
        ("digest", Digest | None, None),
    ],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    module=__name__,
)
"""A `SetRequest` whose members are not read, as each is read by itself, for its own errors."""


class SetState(Struct, frozen=True, kw_only=True):
    """A set as it was last applied."""

    name: str
    applied_at: datetime
    applied_by: str
    created_at: datetime
    jobs: int
    others: Annotated[int, Meta(description="Calendars, flows, channels and rules.")]
    removed: Annotated[int, Meta(description="What the file did not have any more, and stays.")]


class SetMember(Struct, frozen=True, kw_only=True):
    """What belongs to a set."""

    kind: MemberKind
    name: str
    removed_at: datetime | None


class SetMembers(SetState, frozen=True, kw_only=True):
    """A set with all that belongs to it."""

    members: list[SetMember]


class SetPage(Page[SetState], frozen=True, kw_only=True):
    """Sets by name."""
