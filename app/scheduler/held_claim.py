"""A claim that this instance holds: its target's host, the end of its execution, its settlement."""

import asyncio
from collections.abc import Callable, Iterable

from msgspec import Struct

from app.core.runs.claim import Claim, Settlement
from app.core.runs.outcome import Outcome, Report
from app.deadline import Deadline
from app.errors import InvalidInput
from app.scheduler.endings import Ending
from app.targets.hosts import hosts_of, names_of
from app.targets.tls_target import brings_certificates
from app.targets.turns import LARGE
from app.templates.fields import brings_templates
from app.vault import ReadyTarget

MARGIN_SECONDS = 0.5
"""Seconds between the cut-off of an execution and the end of its lease. Closing a connection takes
a moment, and another instance may start the job in the instant in which the lease ends."""
OVERTIME_SECONDS = 1.0
"""The least seconds between the timeout, which the executor keeps, and the cut-off of an execution
whose executor has not kept it. `Leases` looks every sixth of a lease, so the cut-off comes up to
that much later."""


class HeldClaim:
    """A claim from the look that took it until its settlement.

    How its execution ends is decided here. The executor keeps the timeout, as only the executor
    can report which wait was too long. An execution is cut off, by moving its deadline, if its
    timeout was not kept, its lease was taken away or is about to end, the grace of a drain is over,
    or the next run of its job cancels it, see `Ending`. Any other cancellation of an execution
    means that the process ends.
    """

    def __init__(self, claim: Claim, *, lease_ends: float, start_by: float = float("inf")) -> None:
        self.claim = claim
        hosts = hosts_of(claim.kind, claim.target)
        self.host = hosts[0] if hosts else ""
        """`host:port` of the principal server, by which slots are shared; empty without one."""
        self.names = names_of(hosts)
        """The names of all hosts that the target connects to, without ports."""
        self.names_waited_for = 0
        """How many of `names`, in their order, need not be waited for any more."""
        self.addresses: tuple[str, ...] = ()
        """The addresses of `names`, as far as they are known when the claim gets a slot."""
        self.needs_certificates = brings_certificates(claim.target)
        """Whether certificates of the target have yet to be loaded."""
        self.needs_rendering = brings_templates(claim.target)
        """Whether templates of the target have yet to be rendered."""
        self.rendered: str | Exception | None = None
        """The target with its templates rendered, or why there is none; None without templates."""
        self.needs_decoding = len(claim.target) >= LARGE
        """Whether the target, which is large, has yet to be decoded."""
        self.ready: ReadyTarget | InvalidInput | None = None
        """A large target, decoded ahead, or what is wrong with it."""
        self.lease_ends = lease_ends
        """Monotonic seconds; from then on another instance may start the job."""
        self.cut_at = lease_ends - MARGIN_SECONDS
        """Monotonic seconds; from then on nothing more may be sent for this claim."""
        self.start_by = start_by
        """Monotonic seconds; a claim that has not started by then is released. The start of a job
        of a flow with a rate counts for the windows that the database took it to be in."""
        self.started = False
        """Whether the claim has left the queues: its execution or its release has begun."""
        self.edited: asyncio.Event | None = None
        """Set when the job is edited, where `Superseding` waits for that."""
        self.doubted = False
        """Whether the lease is to be extended as soon as possible: the job was edited, which may
        have taken the lease away, or the last extension failed or met a locked row."""
        self.times_prepared = 0
        """How often the execution was prepared ahead, see `Preparation`."""
        self.waited_seconds = 0.0
        """The time between the start of the execution and its request."""
        self.overtime_ends = float("inf")
        """Monotonic seconds: the timeout and `OVERTIME_SECONDS` after the execution began."""
        self.ending = Ending.TIMEOUT
        """Why the execution is cut off when its deadline passes."""
        self.succeeded: Report | None = None
        """The report of a success, of whose answer something has yet to be masked."""
        self.deadline: Deadline | None = None
        """The deadline of the execution while it lasts."""

    def __repr__(self) -> str:
        state = "executing" if self.deadline else "started" if self.started else "waiting"
        return (
            f"<HeldClaim: job {self.claim.job_id}, execution {self.claim.execution_id} for "
            f"{self.host or 'no host'!r}, due {self.claim.next_run:%H:%M:%S.%f}, {state}, "
            f"lease ends at {self.lease_ends:.3f}>"
        )

    @property
    def needs_loads(self) -> bool:
        """Whether its target has yet to be rendered or decoded, or certificates to be loaded."""
        return self.needs_rendering or self.needs_certificates or self.needs_decoding

    @property
    def target(self) -> str:
        """The JSON of the target as stored, with its templates rendered.

        Raises:
            Exception: the templates could not be rendered; the error is the one in `rendered`.
        """
        if isinstance(self.rendered, Exception):
            raise self.rendered
        return self.rendered or self.claim.target

    def begin(self, deadline: Deadline, *, now: float) -> None:
        """Note that the execution begins at `now` (monotonic seconds), inside `deadline`."""
        self.deadline = deadline
        self.overtime_ends = now + self.claim.timeout_seconds + OVERTIME_SECONDS
        if self.cut_at < self.overtime_ends:
            self.set_deadline()

    def end(self) -> None:
        """Note that the executor has reported."""
        self.deadline = None

    def note_wait(self, seconds: float) -> None:
        """Add the seconds that passed before the request could be sent, as for a connection."""
        self.waited_seconds += seconds

    def note_answer(self, report: Report) -> None:
        """Note that the target has answered: what is left to do is cut off by no timeout.

        `report`: what is known so far. If the rest is cut off, a success is still a success.
        """
        if report.outcome is Outcome.SUCCEEDED:
            self.succeeded = report
        self.overtime_ends = float("inf")
        self.set_deadline()

    def extend(self, *, lease_ends: float) -> None:
        """Note that the lease now ends at `lease_ends` (monotonic seconds)."""
        self.lease_ends, self.cut_at = lease_ends, lease_ends - MARGIN_SECONDS
        self.set_deadline()

    def set_deadline(self) -> None:
        """Set the deadline to `cut_at` if the lease ends before the overtime, else to never.

        The overtime has no deadline: a timer for each execution would cost more than
        `cut_overtime`.
        """
        if self.deadline is None or self.deadline.passed or self.ending is Ending.DRAIN:
            return
        if self.cut_at < self.overtime_ends:
            self.ending = Ending.LEASE
            self.deadline.move(self.cut_at)
        elif self.deadline.at is not None:
            self.deadline.move(None)

    def cut_overtime(self, now: float) -> None:
        """Cut off an execution whose overtime is over at `now` (monotonic seconds).

        `Leases` calls this every sixth of a lease.
        """
        if now >= self.overtime_ends:
            self.cut(Ending.TIMEOUT)

    def cut(self, ending: Ending) -> None:
        """End the execution now, if there is one."""
        if self.deadline is not None and not self.deadline.passed:
            self.ending = ending
            self.deadline.pass_now()


def execution_ids(claims: Iterable[HeldClaim]) -> list[int]:
    """Return the ids of the executions of these claims."""
    return [held.claim.execution_id for held in claims]


class Unsettled(Struct, frozen=True, eq=False):
    """A claim whose settlement Postgres has not taken yet.

    `done` is called once: when Postgres has taken the settlement, the claim turns out to be lost or
    its job was put aside, or at once where too many claims are settled apart, see `ApartSettler`.
    """

    claim: Claim
    settlement: Settlement
    done: Callable[[], None]


Batch = list[Unsettled]
