"""Bulk actions: what is asked for, what a preview answers, and how one stands."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct, field

from app.core.jobs.job import ONE_YEAR, Instant, JobPatch, JobState, seconds
from app.core.runs.claim import Missed
from app.core.runs.outcome import Outcome
from app.errors import FieldError
from app.wire.actions import MAX_SKIPPED_RUNS, AskedOverlap
from app.wire.filters import listed
from app.wire.pages import Page
from app.wire.pauses import Why

MAX_RATE = 1000.0
DEFAULT_RATE = 10.0
SAMPLE = 10
"""How many jobs or executions a preview shows."""


class BulkAction(StrEnum):
    """What a bulk action does with each job, or each execution, that it finds."""

    EDIT = "edit"
    DELETE = "delete"
    PAUSE = "pause"
    RESUME = "resume"
    RUN = "run"
    SKIP = "skip"
    UNSKIP = "unskip"
    RESCHEDULE = "reschedule"
    CANCEL = "cancel"
    REPLAY = "replay"
    REDRIVE = "redrive"
    BACKFILL = "backfill"


OF_EXECUTIONS = frozenset({BulkAction.REPLAY, BulkAction.REDRIVE})
"""The actions whose filter is one of executions."""
STARTING = frozenset({BulkAction.RUN, BulkAction.BACKFILL, *OF_EXECUTIONS})
"""The actions that start runs, at a rate."""
OF_BACKFILLS = frozenset({AskedOverlap.BUFFER_ALL, AskedOverlap.ALLOW_ALL})
"""What may be said of the overlap of a backfill, whose runs are asked for all at once."""

Texts = str | list[str]
if TYPE_CHECKING:
    Patch = Struct
else:
    Patch = JobPatch  # made by defstruct, which mypy cannot follow


class BulkFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an action is for: the parameters of `GET /v1/jobs`, or of `GET /v1/executions`."""

    all: Annotated[bool, Meta(description="Really all of them: without another filter.")] = False
    tag: Annotated[Texts | None, Meta(description="All of these tags.", examples=["billing"])] = (
        None
    )
    kind: str | None = None
    job: Annotated[
        str | None, Meta(description="One job by its id or name, or its executions.")
    ] = None

    state: Annotated[JobState | None, Meta(description="Of jobs, as all down to next_before.")] = (
        None
    )
    name: Annotated[str | None, Meta(description="How their names begin.")] = None
    q: Annotated[str | None, Meta(description="Part of name or description.")] = None
    last_outcome: Texts | None = None
    failing: bool | None = None
    next_before: Instant | None = None

    outcome: Annotated[Texts | None, Meta(description="Of executions, as all below.")] = None
    since: Annotated[Instant | None, Meta(description="Finished then or later.")] = field(
        name="from", default=None
    )
    until: Annotated[Instant | None, Meta(description="Finished earlier.")] = field(
        name="to", default=None
    )
    host: str | None = None
    reason: Texts | None = None
    status: Annotated[Texts | None, Meta(examples=["5xx"])] = None
    late_by: Annotated[float, seconds(0, ONE_YEAR, "Started so late, or later.")] | None = None
    slower_than: Annotated[float, seconds(0, ONE_YEAR, "Took more.")] | None = None
    dead_letter: Annotated[
        bool | None, Meta(description="The last of a run that was given up.")
    ] = None

    def given(self) -> set[str]:
        """Name the filters that are given, as clients write them."""
        return {
            one.encode_name
            for one in msgspec.structs.fields(self)
            if getattr(self, one.name) is not None and one.name != "all"
        }

    def empty(self) -> Iterator[str]:
        """Name the filters that say nothing, as clients write them."""
        for one in msgspec.structs.fields(self):
            value = getattr(self, one.name)
            values = [value] if isinstance(value, str) else value
            if isinstance(values, list) and not listed(values):
                yield one.encode_name


OF_BOTH = frozenset({"tag", "kind", "job"})
FILTERS_OF_JOBS = OF_BOTH | {"state", "name", "q", "last_outcome", "failing", "next_before"}


class BulkRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An action on all jobs, or all executions, that a filter finds."""

    action: BulkAction
    filter: BulkFilter
    dry_run: Annotated[bool, Meta(description="Only count and show some.")] = False
    patch: Annotated[
        Patch | None,
        Meta(description="Of edit: a merge patch, as for PATCH."),
    ] = None
    shift_seconds: (
        Annotated[float, seconds(-ONE_YEAR, ONE_YEAR, "Of reschedule: how much later they run.")]
        | None
    ) = None
    at: Annotated[
        Instant | None, Meta(description="Of reschedule: when they run, in place of a shift.")
    ] = None
    retry: Annotated[
        bool, Meta(description="Of cancel: have another attempt follow, if one is left.")
    ] = False
    since: Annotated[
        Instant | None, Meta(description="Of backfill: the first instant of the range.")
    ] = field(name="from", default=None)
    until: Annotated[
        Instant | None, Meta(description="Of backfill: the end of the range, not included.")
    ] = field(name="to", default=None)
    rate_per_second: (
        Annotated[
            float,
            Meta(
                ge=0.001,
                le=MAX_RATE,
                description=f"Of what starts runs: how many at most. {DEFAULT_RATE:g} if left out.",
            ),
        ]
        | None
    ) = None
    overlap: Annotated[
        AskedOverlap | None,
        Meta(
            description="Of what starts runs: what becomes of one while another run of its job is "
            "unfinished. It waits its turn, whatever the job says, if left out."
        ),
    ] = None
    runs: (
        Annotated[
            int, Meta(ge=1, le=MAX_SKIPPED_RUNS, description="Of skip: so many of the next runs.")
        ]
        | None
    ) = None
    up_to: Annotated[
        Instant | None,
        Meta(
            description="Of skip: all runs before that instant. Of pause: when the jobs are "
            "resumed by themselves."
        ),
    ] = field(name="until", default=None)
    why: Annotated[Why | None, Meta(description="Of pause: for those who wonder later.")] = field(
        name="reason", default=None
    )
    missed: Annotated[
        Missed | None,
        Meta(
            description="Of resume: what becomes of the runs that were missed: what the misfire "
            "of each job says, if left out."
        ),
    ] = None

    def errors(self) -> Iterator[FieldError]:
        """Check what the types cannot say."""
        given = self.filter.given()
        of_executions = self.action in OF_EXECUTIONS
        for name in sorted(given):
            if name not in OF_BOTH and (name in FILTERS_OF_JOBS) is of_executions:
                what = "jobs" if of_executions else "executions"
                message = f"is a filter of {what}, which {self.action} has none of: leave it out"
                yield FieldError(field=f"filter.{name}", message=message)
        for name in self.filter.empty():
            message = "is empty, and would find all: write what to look for, or leave it out"
            yield FieldError(field=f"filter.{name}", message=message)
        if not given and not self.filter.all:
            message = 'is empty: write a filter, or {"all": true} if you mean all'
            yield FieldError(field="filter", message=message)
        if given and self.filter.all:
            message = "contradicts the other filters: leave it out"
            yield FieldError(field="filter.all", message=message)
        if self.action is BulkAction.CANCEL and self.filter.state not in (
            None,
            JobState.EXECUTING,
        ):
            message = "cannot be another than executing, which cancel is about: leave it out"
            yield FieldError(field="filter.state", message=message)
        yield from self.option_errors()

    def option_errors(self) -> Iterator[FieldError]:
        """Check that the options are those of the action."""
        owners = {
            "patch": {BulkAction.EDIT},
            "shift_seconds": {BulkAction.RESCHEDULE},
            "at": {BulkAction.RESCHEDULE},
            "retry": {BulkAction.CANCEL},
            "since": {BulkAction.BACKFILL},
            "until": {BulkAction.BACKFILL},
            "rate_per_second": STARTING,
            "overlap": STARTING,
            "runs": {BulkAction.SKIP},
            "up_to": {BulkAction.SKIP, BulkAction.PAUSE},
            "why": {BulkAction.PAUSE},
            "missed": {BulkAction.RESUME},
        }
        for one in msgspec.structs.fields(self):
            is_given = getattr(self, one.name) not in (None, False)
            if one.name in owners and is_given and self.action not in owners[one.name]:
                message = f"is no option of {self.action}: leave it out"
                yield FieldError(field=one.encode_name, message=message)
        yield from self.value_errors()

    def value_errors(self) -> Iterator[FieldError]:
        """Check the options of the action, and that none is missing."""
        needed = {BulkAction.EDIT: ("patch",), BulkAction.BACKFILL: ("since", "until")}
        names = {one.name: one.encode_name for one in msgspec.structs.fields(self)}
        for name in needed.get(self.action, ()):
            if getattr(self, name) is None:
                message = f"is required: the action {self.action} needs it"
                yield FieldError(field=names[name], message=message)
        if self.action is BulkAction.EDIT and self.patch is not None:
            if getattr(self.patch, "name", msgspec.UNSET) is not msgspec.UNSET:
                message = "is for one job alone, as names are unique: rename with PATCH"
                yield FieldError(field="patch.name", message=message)
            if self.patch == JobPatch():
                message = 'is empty: write what to change, such as {"timeout_seconds": 60}'
                yield FieldError(field="patch", message=message)
        if self.action is BulkAction.RESCHEDULE and (self.shift_seconds is None) is (
            self.at is None
        ):
            message = "or at is needed, and not both: by how much later, or when"
            yield FieldError(field="shift_seconds", message=message)
        if self.action is BulkAction.SKIP and (self.runs is None) is (self.up_to is None):
            message = "or until is needed, and not both: how many runs to skip, or until when"
            yield FieldError(field="runs", message=message)
        if self.action is BulkAction.BACKFILL and self.asked_overlap not in OF_BACKFILLS:
            message = (
                f"cannot be {self.overlap}, as most runs would go: write buffer_all or allow_all"
            )
            yield FieldError(field="overlap", message=message)
        if self.since is not None and self.until is not None and self.since >= self.until:
            message = "is not later than from: write a later one"
            yield FieldError(field="to", message=message)

    @property
    def rate(self) -> float:
        """How many runs are started in a second, at most."""
        return DEFAULT_RATE if self.rate_per_second is None else self.rate_per_second

    @property
    def asked_overlap(self) -> AskedOverlap:
        """The overlap of the runs that are asked for."""
        return AskedOverlap.BUFFER_ALL if self.overlap is None else self.overlap


class BulkSample(Struct, frozen=True, kw_only=True):
    """One of the jobs or executions that are found, and what would become of it."""

    job_id: UUID
    job_name: str | None
    execution_id: int | None = None
    next_run: Annotated[datetime | None, Meta(description="As it is now.")] = None
    next_run_after: Annotated[
        datetime | None, Meta(description="Of edit and reschedule: what it becomes.")
    ] = None
    runs: Annotated[int | None, Meta(description="Of backfill: how many runs there are.")] = None
    problem: Annotated[str | None, Meta(description="Why it would fail, or be left as it is.")] = (
        None
    )


class BulkPreview(Struct, frozen=True, kw_only=True):
    """What an action would be for."""

    count: Annotated[int, Meta(description="How many are found.")]
    count_is_exact: Annotated[
        bool, Meta(description="False: there may be more, as a bounded part was searched.")
    ]
    runs: Annotated[
        int | None, Meta(description="Of backfill: how many runs these have in the range.")
    ]
    outcomes: Annotated[
        dict[Outcome, int] | None,
        Meta(description="Of replay and redrive: how many ended how, the most first."),
    ] = None
    sample: list[BulkSample]


class BulkProblem(Struct, frozen=True, kw_only=True):
    """One of the jobs or executions for which an action failed."""

    job_id: UUID
    execution_id: int | None = None
    problem: str


class BulkState(StrEnum):
    """How a bulk action stands, in one word; derived, see `tocsin.state` in `db/triggers.sql`."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """Ended before its end; `error` says why."""


class Bulk(Struct, frozen=True, kw_only=True):
    """A bulk action and how far it is."""

    id: UUID
    action: str
    filter: dict[str, Any]
    options: Annotated[
        dict[str, Any], Meta(description="Of what is written into targets, nothing is shown.")
    ]
    state: BulkState
    expected: Annotated[
        int | None, Meta(description="How many were found when it was asked for; null: unknown.")
    ]
    matched: Annotated[int, Meta(description="How many it has come to.")]
    changed: int
    unchanged: Annotated[int, Meta(description="Those that were so already.")]
    failed: int
    problems: Annotated[list[BulkProblem], Meta(description="Of the first that failed.")]
    error: str | None
    asked_at: datetime
    asked_by: str
    started_at: datetime | None
    ended_at: datetime | None
    cancelled_at: datetime | None
    instance: Annotated[str | None, Meta(description="Which one works on it.")]


class BulkPage(Page[Bulk], frozen=True, kw_only=True):
    """Bulk actions, newest first."""
