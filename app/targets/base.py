"""The interface of executors: targets, the context of an attempt, options."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, Self, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct, field, to_builtins

from app.core.net.requesting import NoteRequest
from app.core.runs.claim import Claim
from app.core.runs.outcome import Outcome, Report
from app.core.secrets.masking import Masked, Unshown
from app.core.secrets.places import Path
from app.errors import FieldError
from app.targets.net.guard import Guard
from app.targets.net.tls import Tls
from app.targets.net.tls_contexts import Contexts
from app.targets.turns import Turns
from app.timers import Monotonic

TEST = "test"
"""What `Context.trigger` is for a test, which is on record as no execution."""
MAX_ERROR_LENGTH = 500
"""The most characters of a report's error."""


class Target(Masked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind's instructions, as stored in `jobs.target`."""

    templatable: ClassVar[tuple[str, ...]] = ()
    """The fields that a target may declare as templates, in a field `templates` of its own."""

    leading_on: ClassVar[tuple[str, ...]] = ()
    """The fields that, where they are true, let a server send the attempt on to other hosts."""

    def errors(self) -> Iterable[FieldError]:
        """Check the rules that msgspec's types cannot express; field paths begin in the target."""
        return ()

    def certificates(self) -> Iterable[Tls]:
        """Return the TLS settings of connections, whose certificates are to be loaded ahead."""
        return ()

    def packed(self) -> Self:
        """Return the target, which was checked, in less memory."""
        return self


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

    def addresses_for(self, secret: Path) -> Iterable[Iterable[object]]:  # noqa: ARG002 - for others
        """Return those of the URLs that the secret at this place of a target is meant for, by use.

        The first are of servers that the secret is sent to. Others may be of servers that get what
        it is exchanged for. An edit that keeps the secret may add no server to either.
        """
        return (self.addresses(),)


class AtUrl(Where, frozen=True):
    """The destination of targets that have a field `url`."""

    url: Any = UNSET

    def addresses(self) -> Iterable[object]:
        return () if self.url is UNSET else (self.url,)


class Shown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a field's value that the audit log keeps; by default none."""

    whole: bool = False
    """Whether to keep the whole value: a text of at most 200 characters, a number, a boolean."""
    values: tuple[str, ...] = ()
    """The texts that are kept; any other text is not."""
    origin: tuple[str, ...] = ()
    """The schemes of a URL of which scheme, host and port are kept, unless it names a user."""


def unnoted(seconds: float) -> None:
    """Ignore the seconds that were waited."""


def untold(_report: Report) -> None:
    """Ignore that the target has answered."""


class Context(Unshown, frozen=True):
    """All that an executor is told about one attempt."""

    job_id: UUID
    job_name: str | None
    execution_id: int
    run: str
    """The instant that the run is scheduled for, as `named` writes it."""
    attempt: int
    """The number of the attempt within the run, from 1."""
    timeout_seconds: float
    """How long the whole attempt may take, from resolving a name to the last byte kept of the
    answer."""
    traceparent: str
    """The header of W3C Trace Context, whose trace the target may continue."""
    waited: Callable[[float], None] = unnoted
    """To be called with the seconds that passed before the request could be sent, if any did, as
    for a name, a connection or a token. The attempt is recorded as started after these."""
    sending: Callable[[], None] | None = None
    """To be called just before the first byte of the request goes out, where a limit counts that;
    what it raises keeps the request from being sent, and is to be passed on."""
    answered: Callable[[Report], None] = untold
    """To be called where work on a complete answer is left that may take a while, with the report
    as far as it is known: from then on the timeout is over, and cuts nothing off. A success is one
    whatever else cuts that work off."""
    secrets: frozenset[str] = frozenset()
    """The values of named secrets in the target, in whatever fields."""
    trigger: str | None = None
    """What asked for the run: run_now, replay, backfill or test; None: the job's schedule."""

    @classmethod
    def of(  # noqa: PLR0913 - all that an instance knows of an attempt
        cls,
        claim: Claim,
        *,
        traceparent: str,
        secrets: frozenset[str] = frozenset(),
        waited: Callable[[float], None] = unnoted,
        sending: Callable[[], None] | None = None,
        answered: Callable[[Report], None] = untold,
    ) -> Self:
        """Return the context of the attempt that a claim is for."""
        # By position, as in app.core.runs.transition.
        # fmt: off
        return cls(
            claim.job_id, claim.name, claim.execution_id, named(claim.scheduled_for), claim.attempt,
            claim.timeout_seconds, traceparent, waited, sending, answered, secrets, claim.request,
        )
        # fmt: on

    @property
    def idempotency_key(self) -> str:
        """The name of the run, the same for all its attempts: receivers recognise repetitions.

        The key of a test ends in `:test`, so that it is the name of no run.
        """
        is_test = self.trigger == TEST
        return f"{self.job_id}:{self.run}{':test' if is_test else ''}"

    def headers(self) -> dict[str, str]:
        """Return the headers with which every target is told about the attempt."""
        name = {"Tocsin-Job-Name": self.job_name} if self.job_name else {}
        trigger = {"Tocsin-Trigger": self.trigger} if self.trigger else {}
        return {
            "Tocsin-Job-Id": str(self.job_id),
            **name,
            "Tocsin-Execution-Id": str(self.execution_id),
            "Tocsin-Scheduled-For": self.run,
            "Tocsin-Attempt": str(self.attempt),
            **trigger,
            "traceparent": self.traceparent,
        }


def named(scheduled_for: datetime) -> str:
    """Return the name of a run: its instant as in RFC 3339, in UTC."""
    if scheduled_for.tzinfo is not UTC:
        scheduled_for = scheduled_for.astimezone(UTC)
    name: str = to_builtins(scheduled_for)  # as `isoformat`, in a sixth of the time
    return name


class Options(Struct, frozen=True, kw_only=True):
    """The settings and parts that all executors of a process share."""

    connections_per_host: int = 0
    """The most HTTP connections to one scheme, host and port; 0: no limit but the slots."""
    guard: Guard
    clock: Monotonic
    note_request: NoteRequest | None = None
    """Is told of each HTTP request to a target, if anybody counts them."""
    contexts: Contexts = field(default_factory=Contexts)
    turns: Turns = field(default_factory=Turns)


TargetT_contra = TypeVar("TargetT_contra", bound=Target, contravariant=True)


class Executor(Protocol[TargetT_contra]):
    """The code that carries out one kind; opened once, used by many attempts at a time."""

    kind: ClassVar[str]
    target_type: ClassVar[type[Target]]
    """The Struct of targets: their fields, and which of these are secret."""
    where_type: ClassVar[type[Where]]
    shown: ClassVar[Mapping[str, Shown]]
    """The fields of a target that the audit log keeps something of, none of them secret."""

    def __init__(self, options: Options) -> None: ...

    def execute(self, target: TargetT_contra, context: Context) -> Awaitable[Report]:
        """Carry out one attempt within its timeout; a coroutine function, as a rule.

        Every behaviour of the target ends in a report. Only a bug, a cancellation or a shortage of
        this process raises.

        Raises:
            OutOfDescriptors, ContextsCrowded: nothing was sent to the target; the job is claimed
                again later, at no cost of an attempt.
        """
        ...

    async def prepare(self, target: TargetT_contra, context: Context) -> None:
        """Prepare an attempt that is due in a moment, as by opening a connection.

        The target must not take this for the attempt. An error or a cancellation here has no
        effect, as the attempt does the same again.
        """
        ...

    async def close(self) -> None:
        """Close all connections; called when no attempt is under way."""
        ...


def timed_out(
    context: Context, error: str, *, status_code: int | None = None, retryable: bool = True
) -> Report:
    """Return the report of a time-out; the target may have acted all the same."""
    return Report(
        outcome=Outcome.TIMED_OUT,
        reason="timeout",
        error=f"{error} within {context.timeout_seconds:g} s",
        status_code=status_code,
        retryable=retryable,
    )


def as_text(text: str, *, longest: int) -> str:
    """Return a text as Postgres can store it: without NUL, and of `longest` characters at most."""
    return text[:longest].replace("\0", "\N{REPLACEMENT CHARACTER}")
