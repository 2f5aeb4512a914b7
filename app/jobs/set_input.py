"""Reads sets as files and clients write them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from app.core.field_errors import MAX_ERRORS
from app.core.jobs.job import JobDocument
from app.core.jobs.names import (
    calendar_name_error,
    flow_key_error,
    form_error,
    job_id,
    name_error,
)
from app.core.sets.plan import Key, MemberKind, Prune, taken_over
from app.core.sets.shorthand import at_length, check_kind, completed, defaults_for, kind_in, placed
from app.errors import FieldError, InvalidInput
from app.jobs.alerts import check_channel
from app.jobs.inline_secrets import inline_secrets
from app.targets.registry import KINDS
from app.vault import Referring
from app.wire.alerts import ChannelDocument, RuleDocument
from app.wire.calendars import CalendarDocument
from app.wire.flows import FlowLimits
from app.wire.jobs import MAX_JOBS
from app.wire.reading import MAX_NESTED, read
from app.wire.sets import MAX_OTHERS, SetOutline, SetRequest

T = TypeVar("T")
Documents = CalendarDocument | FlowLimits | ChannelDocument | RuleDocument
PLURALS = {kind: f"{kind}s" for kind in MemberKind}
"""The fields of a set by what they have."""
LEVELS = 2
"""How deep the members of a set stand in its body."""


class Desired(Struct, frozen=True, kw_only=True):
    """A set as it is to be."""

    set_name: str
    prune: Prune
    take_over: frozenset[Key]
    digest: str | None
    jobs: Mapping[str, JobDocument]
    kinds: Mapping[str, str | None]
    """The kinds of the jobs that are written in short, by the names of the jobs."""
    others: Mapping[tuple[MemberKind, str], Documents]
    channels: Mapping[str, Referring] = field(default_factory=dict)
    """What the targets of channels refer to."""

    def place(self, name: str, error: FieldError) -> FieldError:
        """Place an error of a job where the file has it."""
        return placed(error, "jobs", name, kind=self.kinds.get(name))


def read_set(body: bytes) -> Desired:
    """Read a set; each member by itself, so that no other thread has to wait for all of them.

    Raises:
        MalformedInput: the body is not JSON, or too deep.
        InvalidInput: naming every field that is wrong, up to `MAX_ERRORS`.
    """
    outline: Any = read(body, SetOutline, levels=len(body), shown=SetRequest)
    errors: list[FieldError] = []
    if error := name_error(outline.set):
        errors.append(FieldError(field="set", message=error))
    reading = Reading(errors)
    for kind, field_name in PLURALS.items():
        most = MAX_JOBS if kind is MemberKind.JOB else MAX_OTHERS
        if len(getattr(outline, field_name)) > most:
            message = f"has more than {most} members: make several sets"
            errors.append(FieldError(field=field_name, message=message))
    if not errors:
        reading.read_jobs(outline.jobs, outline.defaults)
        reading.read_others(MemberKind.CALENDAR, outline.calendars, CalendarDocument)
        reading.read_others(MemberKind.FLOW, outline.flows, FlowLimits)
        reading.read_others(MemberKind.CHANNEL, outline.channels, ChannelDocument)
        reading.read_others(MemberKind.RULE, outline.rules, RuleDocument)
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
    return Desired(
        set_name=outline.set,
        prune=outline.prune,
        take_over=frozenset(map(taken_over, outline.take_over)),
        digest=outline.digest,
        jobs=reading.jobs,
        kinds=reading.kinds,
        others=reading.others,
        channels=reading.channels,
    )


class Reading:
    """The members of one set that were read, and the errors of the others."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        self.jobs: dict[str, JobDocument] = {}
        self.kinds: dict[str, str | None] = {}
        self.others: dict[tuple[MemberKind, str], Documents] = {}
        self.channels: dict[str, Referring] = {}

    def __repr__(self) -> str:
        return f"<Reading: {len(self.jobs)} jobs, {len(self.errors)} errors>"

    def read_jobs(self, given: Mapping[str, Raw], defaults: dict[str, Any]) -> None:
        """Read the jobs, each completed by the defaults."""
        for name, text in given.items():
            if len(self.errors) >= MAX_ERRORS:
                return
            kind = None
            try:
                written = read(bytes(text), dict[str, Any], levels=MAX_NESTED - LEVELS)
                kind = kind_in(written, KINDS)
                whole = completed(defaults_for(defaults, written, KINDS), written)
                check_kind(whole, KINDS)
                self.jobs[name] = job_of(name, at_length(whole, kind))
            except InvalidInput as refusal:
                self.errors += [placed(one, "jobs", name, kind=kind) for one in refusal.errors]
            self.kinds[name] = kind

    def read_others(
        self, kind: MemberKind, given: Mapping[str, Raw], type_: type[Documents]
    ) -> None:
        """Read the members of another kind."""
        for name, text in given.items():
            if len(self.errors) >= MAX_ERRORS:
                return
            try:
                check_name(kind, name)
                document = read(bytes(text), type_, levels=MAX_NESTED - LEVELS)
                self.check(name, document)
            except InvalidInput as refusal:
                path = (PLURALS[kind], name)
                self.errors += [placed(one, *path, kind=None) for one in refusal.errors]
            else:
                self.others[kind, name] = document

    def check(self, name: str, document: Documents) -> None:
        """Check what types cannot say.

        Raises:
            InvalidInput: naming every field that is wrong.
        """
        if isinstance(document, ChannelDocument):
            self.channels[name] = check_channel(name, document)
            return
        errors = [*document.errors()]
        if isinstance(document, RuleDocument) and document.job and job_id(document.job):
            message = "is an id, which another database does not have: write the job's name"
            errors.append(FieldError(field="job", message=message))
        if errors:
            raise InvalidInput(*errors)


def job_of(name: str, written: dict[str, Any]) -> JobDocument:
    """Read a job that is written at length.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    if error := form_error(name):
        raise InvalidInput(FieldError(field="", message=error))
    document = read(msgspec.json.encode(written), JobDocument)
    if document.kind in KINDS and (
        written_out := inline_secrets(document.kind, document.target, may_be_masked=True)
    ):
        raise InvalidInput(*written_out)
    return msgspec.structs.replace(document, name=name)


NAME_ERRORS: Mapping[MemberKind, Callable[[str], str | None]] = {
    MemberKind.CALENDAR: calendar_name_error,
    MemberKind.FLOW: partial(flow_key_error, may_be_pattern=True),
    MemberKind.CHANNEL: name_error,
    MemberKind.RULE: name_error,
}


def check_name(kind: MemberKind, name: str) -> None:
    """Refuse a name that no member of this kind can have.

    Raises:
        InvalidInput: for the member as a whole.
    """
    if error := NAME_ERRORS[kind](name):
        raise InvalidInput(FieldError(field="", message=f"is no name of a {kind}: it {error}"))
