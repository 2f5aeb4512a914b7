"""The fields of a job: as clients write them, as the database stores them, as the API answers."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct, field
from msgspec.structs import fields, replace

from app.core.jobs.beside import Effect, JobPaused, MissedRuns, Outlook
from app.core.jobs.host_flow import asked
from app.core.jobs.json_size import exceeds
from app.core.jobs.names import (
    Calendars,
    FlowKey,
    Name,
    Tag,
    calendar_errors,
    flow_key_error,
    job_name_error,
)
from app.core.runs.claim import Misfire, OnClosed, Overlap
from app.core.runs.outcome import Outcome
from app.core.runs.priority import HIGHEST_PRIORITY
from app.core.schedule.schedule import (
    MAX_JITTER_SECONDS,
    MAX_SECONDS,
    MIN_SECONDS,
    DstGap,
    DstOverlap,
    Schedule,
    forms_in,
)
from app.core.secrets.masking import SECRET, Masked
from app.errors import FieldError, InvalidInput

SCHEDULE_FIELDS = Schedule.__struct_fields__
MAX_DESCRIPTION_LENGTH = 10_000
MAX_METADATA_BYTES = 64 * 1024
"""The most bytes of the metadata as Postgres writes them out, as for `MAX_TARGET_BYTES`."""
MAX_TARGET_BYTES = 256 * 1024
MAX_TAGS = 100
INT4_MAX = 2_147_483_647
"""The largest value of a column of type int4."""
HUNDRED_YEARS = 3_155_760_000
"""In seconds, as `ONE_YEAR` and `ONE_DAY` are."""
ONE_YEAR = 31_557_600
ONE_DAY = 86_400
MIN_WAIT_SECONDS = 0.000001
"""One microsecond, the least difference of two instants; Postgres refuses far smaller doubles."""

POSITIVE_FIELDS = (
    *("backoff_seconds", "backoff_max_seconds", "misfire_grace_seconds"),
    *("jitter_seconds", "jitter_percent"),
)
"""The fields that may be 0, but not next to it."""


class JobState(StrEnum):
    """How a job stands, in one word; derived, see `tocsin.state` in `db/triggers.sql`."""

    SCHEDULED = "scheduled"
    EXECUTING = "executing"
    RETRYING = "retrying"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    """Finished, and its last run did not succeed."""
    INVALID = "invalid"
    """`plan_error` says why it cannot be planned or executed."""


Instant = Annotated[datetime, Meta(tz=True)]


def seconds(low: float, high: float, what: str) -> Meta:
    """Bound a duration in seconds and describe it."""
    return Meta(ge=low, le=high, description=f"Seconds. {what}")


class JobDocument(Masked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a job that clients write; the defaults are those of the table.

    `run_in_seconds` is no field of the job: `timed` makes a `run_at` of it.
    """

    name: Name | None = None
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION_LENGTH)] | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)] = ()
    metadata: Annotated[
        dict[str, Any], Meta(description="Yours; Tocsin reads only metrics and traceparent.")
    ] = field(default_factory=dict)
    kind: Annotated[str, Meta(description="Which executor carries it out.", examples=["http"])]
    target: Annotated[
        dict[str, Any],
        Meta(
            description="The kind's instructions. A secret reads as ***; *** keeps the stored one.",
            examples=[{"url": "https://example.com/report"}],
        ),
        SECRET,
    ]

    run_at: Annotated[Instant | None, Meta(description="Once, at this instant.")] = None
    run_in_seconds: (
        Annotated[float, seconds(0, HUNDRED_YEARS, "Once, so long from now: becomes run_at.")]
        | None
    ) = None
    cron: Annotated[
        str | None,
        Meta(
            description="5 fields; 6 with seconds first; 7 with the year last; or @daily and such.",
            examples=["0 3 * * *"],
        ),
    ] = None
    timezone: Annotated[
        str,
        Meta(description="IANA name; whose clocks the cron means.", examples=["Europe/Paris"]),
    ] = "UTC"
    every_seconds: (
        Annotated[float, seconds(MIN_SECONDS, MAX_SECONDS, "From run to run.")] | None
    ) = None
    dst_gap: DstGap = DstGap.RUN_AFTER
    dst_overlap: DstOverlap = DstOverlap.FIRST
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    max_runs: (
        Annotated[int, Meta(ge=1, le=INT4_MAX, description="Runs until a recurring job is done.")]
        | None
    ) = None

    max_attempts: Annotated[
        int, Meta(ge=1, le=1000, description="Of one run, the first included.")
    ] = 5
    backoff_seconds: Annotated[
        float, seconds(0, ONE_YEAR, "Before the first retry; doubles with each.")
    ] = 5.0
    backoff_max_seconds: Annotated[float, seconds(0, ONE_YEAR, "The longest wait for a retry.")] = (
        3600.0
    )
    timeout_seconds: Annotated[float, seconds(0.1, ONE_DAY, "The limit of one execution.")] = 30.0
    misfire: Annotated[
        Misfire, Meta(description="What happens to runs that could not start within the grace.")
    ] = Misfire.RUN_ONCE
    misfire_grace_seconds: (
        Annotated[float, seconds(0, HUNDRED_YEARS, "Null: 60 if it recurs, else no limit.")] | None
    ) = None
    max_catchup: Annotated[
        int, Meta(ge=0, le=10_000, description="The most missed runs that run_all makes up for.")
    ] = 100
    overlap: Annotated[
        Overlap,
        Meta(description="What happens to runs that come due while the one before is under way."),
    ] = Overlap.BUFFER_ALL
    flow_key: FlowKey | None = None
    jitter_seconds: (
        Annotated[float, seconds(0, MAX_JITTER_SECONDS, "Start runs so much later at most.")] | None
    ) = None
    jitter_percent: (
        Annotated[float, Meta(ge=0, le=100, description="The same, of the time to the next.")]
        | None
    ) = None
    priority: Annotated[
        int,
        Meta(
            ge=0,
            le=HIGHEST_PRIORITY,
            description="Goes first where more is due than can start; a level is worth a minute.",
        ),
    ] = 0
    calendars: Calendars | None = None
    on_closed: Annotated[
        OnClosed, Meta(description="What happens to runs that the calendars close.")
    ] = OnClosed.SKIP
    min_gap_seconds: (
        Annotated[
            float, seconds(MIN_WAIT_SECONDS, ONE_YEAR, "From the end of a run to the next start.")
        ]
        | None
    ) = None
    paused: Annotated[bool | UnsetType, Meta(description="Keeps its plan but is not executed.")] = (
        UNSET
    )
    """UNSET stands for false in a new job, and for no change in a job that is replaced."""

    def errors(self) -> Iterator[FieldError]:
        """Check the fields other than the target and the schedule."""
        if self.name is not None and (error := job_name_error(self.name)):
            yield FieldError(field="name", message=error)
        key = self.flow_key
        if key is not None and (error := flow_key_error(key, may_be_pattern=False)):
            yield FieldError(field="flow_key", message=error)
        yield from calendar_errors(self.calendars or ())
        for index, tag in enumerate(self.tags):
            if "," in tag:
                message = "has a comma, which separates tags in filters: remove it"
                yield FieldError(field=f"tags[{index}]", message=message)
        for name in POSITIVE_FIELDS:
            if 0 < (getattr(self, name) or 0) < MIN_WAIT_SECONDS:
                message = f"is too small: write 0 or at least {MIN_WAIT_SECONDS:f}"
                yield FieldError(field=name, message=message)
        for name, most in (("metadata", MAX_METADATA_BYTES), ("target", MAX_TARGET_BYTES)):
            if exceeds(getattr(self, name), most):
                message = (
                    f"has more than {most} bytes as Postgres writes it out, 1e308 with 309 digits: "
                    "make it smaller"
                )
                yield FieldError(field=name, message=message)

    def schedule(self) -> Schedule:
        """Return the job's schedule."""
        return Schedule(**{name: getattr(self, name) for name in SCHEDULE_FIELDS})


class PlannedJob(JobDocument, frozen=True, kw_only=True):
    """A checked job with its id and its plan, ready to be written."""

    id: UUID
    planned: bool
    """Whether `next_run` is the plan, even if None; False leaves the plan to the triggers."""
    next_run: datetime | None = None
    scheduled_for: datetime | None = None


class StoredJob(Masked, frozen=True, kw_only=True):
    """A job as the database has it, with its secrets.

    Types are laxer than in `JobDocument`, as a person may have written the row in SQL.
    """

    id: UUID
    name: str | None
    description: str | None
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    kind: str
    target: Annotated[dict[str, Any], SECRET]

    run_at: datetime | None
    cron: str | None
    timezone: str
    every_seconds: float | None
    dst_gap: DstGap
    dst_overlap: DstOverlap
    starts_at: datetime | None
    ends_at: datetime | None
    max_runs: int | None

    max_attempts: int
    backoff_seconds: float
    backoff_max_seconds: float
    timeout_seconds: float
    misfire: Misfire
    misfire_grace_seconds: float | None
    max_catchup: int
    overlap: Overlap
    flow_key: str | None
    jitter_seconds: float | None
    jitter_percent: float | None
    priority: int
    calendars: tuple[str, ...] | None
    on_closed: OnClosed
    min_gap_seconds: float | None
    paused: bool

    state: JobState
    next_run: datetime | None
    scheduled_for: datetime | None
    plan_error: str | None
    last_outcome: Outcome | None
    last_finished_at: datetime | None
    consecutive_failures: int
    runs: int
    pause: JobPaused | None
    """Who paused it, why and until when."""
    skip_runs: int | None
    """So many runs of the plan are to be skipped."""
    skip_until: datetime | None
    """All runs of the plan before this instant are to be skipped, if it lies ahead."""
    created_at: datetime
    failing: bool
    """Whether the job goes on although its last runs failed, see `tocsin.failing`."""
    execution_id: int | None = field(name="under_way")
    """The execution that is under way, of the job's plan or of a run beside it."""
    updated_at: datetime = field(name="edited_at")
    """When the job was last edited; a user's trigger may write anything into `updated_at`."""


class Job(StoredJob, frozen=True, kw_only=True):
    """A job as the API answers it: every secret in its target reads `***`."""

    execution_id: Annotated[
        int | None, Meta(description="The execution under way: what can be cancelled.")
    ] = field(name="execution_id")
    updated_at: datetime = field(name="updated_at")
    next_run: Annotated[
        datetime | None, Meta(description="When its next run starts, or the next attempt of one.")
    ]
    scheduled_for: Annotated[
        datetime | None,
        Meta(description="The instant that this run is of: earlier than next_run if it is spread."),
    ]
    failing: Annotated[
        bool,
        Meta(description="It goes on, although its last runs failed: see consecutive_failures."),
    ]

    set: Annotated[str, Meta(description="Of a read: whose files have it.")] | UnsetType = UNSET
    missed: (
        Annotated[MissedRuns, Meta(description="Of a resumption: what the pause made of its runs.")]
        | UnsetType
    ) = UNSET
    outlook: Annotated[Outlook, Meta(description="Of a write with outlook=true.")] | UnsetType = (
        UNSET
    )
    effect: (
        Annotated[Effect, Meta(description="Of a batch with replace=true: what became of the job.")]
        | UnsetType
    ) = UNSET
    warnings: (
        Annotated[
            list[FieldError],
            Meta(description="After a write: what makes its runs fail now. Often left out."),
        ]
        | UnsetType
    ) = UNSET


DOCUMENT_FIELDS = tuple(name for name in JobDocument.__struct_fields__ if name != "run_in_seconds")
KEPT_FIELDS = frozenset(Job.__struct_fields__) - frozenset(DOCUMENT_FIELDS)
"""The fields of a job that clients cannot write."""

CHOICES = {
    "misfire": tuple(Misfire),
    "overlap": tuple(Overlap),
    "on_closed": tuple(OnClosed),
    "dst_gap": tuple(DstGap),
    "dst_overlap": tuple(DstOverlap),
}
"""The fields that take one of a few words, with these words."""

JobPatch = defstruct(
    "JobPatch",
    [(one.name, one.type | None | UnsetType, UNSET) for one in fields(JobDocument)],
    bases=(Masked,),
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    module=__name__,
    namespace={"__doc__": "A merge patch of a job: null takes a field back to its default."},
)
"""A merge patch of a `JobDocument`: null takes a field back to its default."""

JobReplacement = defstruct(
    "JobReplacement",
    [(name, Any, UNSET) for name in Job.__struct_fields__ if name in KEPT_FIELDS],
    bases=(JobDocument,),
    frozen=True,
    kw_only=True,
    module=__name__,
    namespace={
        "__doc__": "A job to write, or as it was answered: what cannot be written is ignored."
    },
)
"""A `JobDocument`, or a job as the API answered it; fields that cannot be written are ignored."""


def document_of(job: Struct) -> JobDocument:
    """Return the fields that clients write: of a `StoredJob` those that were `asked` for."""
    names = (*DOCUMENT_FIELDS, "run_in_seconds")
    given: dict[str, Any] = {name: getattr(job, name, None) for name in names}
    return JobDocument(**(asked(given) if isinstance(job, StoredJob) else given))


def timed(document: JobDocument, *, now: datetime) -> JobDocument:
    """Make a `run_at` of the `run_in_seconds` of a document that has them.

    Raises:
        InvalidInput: there is another schedule beside them.
    """
    if document.run_in_seconds is None:
        return document
    if given := forms_in(document):
        message = f"is given beside {' and '.join(given)}: leave one of them out, or null"
        raise InvalidInput(FieldError(field="run_in_seconds", message=message))
    run_at = now + timedelta(seconds=document.run_in_seconds)
    return replace(document, run_at=run_at, run_in_seconds=None)
