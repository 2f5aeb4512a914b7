"""What every executor has in common: targets, the context of an attempt, options."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct, field

from app.core.runs.outcome import Outcome, Report
from app.core.secrets.masking import Masked, Unshown
from app.errors import FieldError
from app.targets.net.guard import Guard
from app.targets.net.tls import Tls
from app.targets.net.tls_contexts import Contexts
from app.timers import Monotonic

MAX_ERROR_LENGTH = 500
"""The most characters of a report's error."""


class Target(Masked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind's instructions, as stored in `jobs.target`."""

    def errors(self) -> Iterable[FieldError]:
        """What msgspec's types cannot say is wrong; fields are relative to the target."""
        return ()

    def certificates(self) -> Iterable[Tls]:
        """What has to be loaded for its connections."""
        return ()


class Where(Struct, frozen=True):
    """The fields of a kind's targets that say where they go.

    Decoded from the JSON of a target whose secrets are still encrypted; all other fields are
    skipped. The JSON may be wrong in any way: a field of type Any takes whatever is there.
    """

    def addresses(self) -> Iterable[object]:
        """Return a URL with host and port for every server that an attempt connects to.

        The execution counts against the share of slots of the first server's host. The names of
        all hosts are looked up ahead. A named secret bound to hosts must be bound to all of these.
        """
        return ()


class AtUrl(Where, frozen=True):
    """The destination of targets that have a field `url`."""

    url: Any = UNSET

    def addresses(self) -> Iterable[object]:
        return () if self.url is UNSET else (self.url,)


class Shown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the audit log keeps of the value of a field; nothing by default."""

    whole: bool = False
    """A text of at most 200 characters, a number or a boolean, as it is."""
    values: tuple[str, ...] = ()
    """A text that is one of these."""
    origin: tuple[str, ...] = ()
    """Scheme, host and port of an address that has one of these schemes, and no user."""


def unnoted(seconds: float) -> None:
    """Forget what was waited."""


class Context(Unshown, frozen=True, kw_only=True):
    """One attempt, as the executor needs to know it."""

    job_id: UUID
    job_name: str | None
    execution_id: int
    run: str
    """The instant it is scheduled for, as `named` writes it."""
    attempt: int
    """The number of the attempt within the run, from 1."""
    timeout_seconds: float
    """How long the whole attempt may take, from resolving a name to the last byte kept of the
    answer."""
    traceparent: str
    """W3C Trace Context, for the target to continue."""
    waited: Callable[[float], None] = unnoted
    """To be called with the seconds that passed before the request could be sent, if any did: for
    a name, a connection, a token. History counts the attempt from there."""
    secrets: frozenset[str] = frozenset()
    """The named secrets that were filled into the target, wherever they stand."""

    @property
    def idempotency_key(self) -> str:
        """Names the run: the same for all its attempts, so that a receiver can de-duplicate."""
        return f"{self.job_id}:{self.run}"

    def headers(self) -> dict[str, str]:
        """What every target is told about the attempt."""
        name = {"Tocsin-Job-Name": self.job_name} if self.job_name else {}
        return {
            "Tocsin-Job-Id": str(self.job_id),
            **name,
            "Tocsin-Execution-Id": str(self.execution_id),
            "Tocsin-Scheduled-For": self.run,
            "Tocsin-Attempt": str(self.attempt),
            "traceparent": self.traceparent,
        }


def named(scheduled_for: datetime) -> str:
    """The name of a run: its instant in RFC 3339, UTC."""
    if scheduled_for.tzinfo is not UTC:
        scheduled_for = scheduled_for.astimezone(UTC)
    return f"{scheduled_for.isoformat()[: -len('+00:00')]}Z"


class Options(Struct, frozen=True, kw_only=True):
    """What all executors are given: what an operator decides, and what they share."""

    connections_per_host: int = 0
    """The most HTTP connections to one scheme, host and port; 0: no limit but the slots."""
    guard: Guard
    clock: Monotonic
    contexts: Contexts = field(default_factory=Contexts)


TargetT_contra = TypeVar("TargetT_contra", bound=Target, contravariant=True)


class Executor(Protocol[TargetT_contra]):
    """The code that carries out one kind; opened once, used by many attempts at a time."""

    kind: ClassVar[str]
    target_type: ClassVar[type[Target]]
    """Says what a target must have, and what of it is secret."""
    where_type: ClassVar[type[Where]]
    shown: ClassVar[Mapping[str, Shown]]
    """The fields of a target that the audit log keeps something of, none of them secret."""

    def __init__(self, options: Options) -> None: ...

    async def execute(self, target: TargetT_contra, context: Context) -> Report:
        """Carry out one attempt within its timeout.

        Whatever the target does is in the report. Only a bug, a cancellation or a shortage of this
        process raises.

        Raises:
            OutOfDescriptors, ContextsCrowded: nothing was sent to the target; the job is claimed
                again later, at no cost of an attempt.
        """
        ...

    async def prepare(self, target: TargetT_contra, context: Context) -> None:
        """Do a moment ahead what nobody takes for the attempt, such as to open a connection.

        An error or a cancellation here has no effect: the attempt does the same again.
        """
        ...

    async def close(self) -> None:
        """Close what was opened; no attempt is under way."""
        ...


def timed_out(
    context: Context, error: str, *, status_code: int | None = None, retryable: bool = True
) -> Report:
    """Report that the time was over; the target may have acted all the same."""
    return Report(
        outcome=Outcome.TIMED_OUT,
        reason="timeout",
        error=f"{error} within {context.timeout_seconds:g} s",
        status_code=status_code,
        retryable=retryable,
    )


def as_text(text: str, *, longest: int) -> str:
    """`text` as Postgres can store it (no NUL), bounded to `longest` characters."""
    return text[:longest].replace("\0", "\N{REPLACEMENT CHARACTER}")
