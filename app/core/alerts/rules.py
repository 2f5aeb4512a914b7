"""What alert rules make of executions: pure functions of how a rule stands and what happened."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from app.core.runs.outcome import Outcome


class Event(StrEnum):
    """What a rule may tell of."""

    FAILED = "failed"
    """A run ended without success: it was given up."""
    EXHAUSTED = "exhausted"
    """A run was given up after the last of its attempts."""
    MISSED = "missed"
    """A run was not carried out."""
    INVALID = "invalid"
    """The job cannot be planned or executed: it has a `plan_error`."""
    LATE = "late"
    """The job is due, and has not been started for some time."""
    NOT_SUCCEEDED = "not_succeeded"
    """A recurring job has had no success for some time."""
    SLOW = "slow"
    """A run takes long, or took long and succeeded."""
    BACKLOG = "backlog"
    """Many jobs are due, or some for long, and not started."""
    NO_INSTANCE = "no_instance"
    """Jobs are due of a kind that no instance runs."""
    RECOVERED = "recovered"
    """Something of the above that was told is over."""


OF_JOBS = frozenset({Event.INVALID, Event.LATE, Event.NOT_SUCCEEDED})
"""The events that are read from how a job stands, and not from executions: none comes in a row."""
OF_RULES = frozenset({Event.BACKLOG, Event.NO_INSTANCE})
"""The events that are about no single job; none of these comes in a row either."""
STANDING = OF_JOBS | OF_RULES
"""The events that are searched for apart from executions."""
NO_JOB = UUID(int=0)
"""Stands in a state for the job of what is about none."""
MIN_SLOW_SECONDS = 1.0
"""A run of less than this is never slow."""
MAX_COUNTED = 100
"""As many runs of a job go on side by side."""
EXPECTED = frozenset({"paused", "skipped", "calendar", "maintenance"})
"""Why runs are missed on purpose: rules without reasons do not tell of these."""


class Rule(Struct, frozen=True, kw_only=True):
    """An alert rule."""

    id: UUID
    name: str
    events: frozenset[Event]
    job_id: UUID | None = None
    tag: str | None = None
    after: int = 1
    """How many in a row are told."""
    reasons: frozenset[str] | None = None
    """Of missed runs; None: all but `EXPECTED`."""
    channels: Sequence[str] = ()
    begun_at: datetime
    """What ended earlier is not told of."""
    seconds: float | None = None
    factor: float | None = None
    """Of slow runs: how many times as long as usual."""
    reminds: bool = False
    """Whether what is not over is told again after some time."""

    @property
    def is_looking(self) -> bool:
        """Whether something of it is looked for apart from executions that have ended."""
        return self.reminds or bool(self.events & (STANDING | {Event.SLOW}))

    def is_slow(self, seconds: float, usual: float | None) -> bool:
        """Whether a run took long; `usual`: None, it is not known how long it usually takes."""
        if self.factor is not None and (usual is None or seconds <= self.factor * usual):
            return False
        return seconds > max(MIN_SLOW_SECONDS, self.seconds or 0)

    def covers(self, job_id: UUID, tags: Sequence[str]) -> bool:
        """Whether the rule is about a job with these tags."""
        if self.job_id is not None:
            return self.job_id == job_id
        return self.tag is None or self.tag in tags

    def watched(self) -> frozenset[Event]:
        """Return what has to be noticed for this rule: recoveries alone are those of failures."""
        return self.events - {Event.RECOVERED} or frozenset({Event.FAILED})


class Happened(Struct, frozen=True, kw_only=True):
    """An execution that did not succeed, or took long, as rules see it."""

    id: int
    job_id: UUID
    job: str | None
    """The job's name."""
    tags: Sequence[str]
    outcome: Outcome
    reason: str | None
    at: datetime
    """When it ended."""
    why: str
    is_given_up: bool
    """Whether its run ended with it."""
    is_last_attempt: bool
    before: Outcome | None
    """The outcome of the job's execution before this one; None: there is none on record."""
    seconds: float = 0.0
    """How long it took; of one that succeeded."""
    usual: float | None = None
    """How long those before it took; of one that succeeded, and None if there are too few."""
    well_id: int | None = None
    """The latest before it that succeeded; of one that succeeded."""


class State(Struct, frozen=True, kw_only=True):
    """How a rule stands for an event and a job: that came `many` times in a row."""

    rule_id: UUID
    event: Event
    job_id: UUID
    many: int
    execution_id: int | None
    """The latest of them."""
    since: datetime
    last_at: datetime
    told_at: datetime | None = None
    reminded_at: datetime | None = None
    counted: Sequence[int] | None = None
    """Of slow runs: those that are counted, the last `MAX_COUNTED`; of runs side by side an earlier
    one may become slow after a later one."""
    counted_from: int | None = None
    """Of slow runs: those up to this one are counted no more."""

    def has_counted(self, one: Happened) -> bool:
        """Whether a slow run is counted, or began before those that are."""
        if self.counted is None or self.counted_from is None:  # written by an older version
            return one.id <= (self.execution_id or 0)
        return one.id <= self.counted_from or one.id in self.counted


class Told(Struct, frozen=True, kw_only=True):
    """What a rule tells of a job."""

    rule_id: UUID
    rule: str
    event: Event
    of_event: Event
    """What is over, of a recovery; else the event."""
    job_id: UUID
    job: str | None
    many: int
    since: datetime
    execution_id: int | None
    why: str
    is_reminder: bool = False


Judged = tuple[State | None, Told | None]
"""How the rule stands afterwards (None: all is well), and what is told, if anything."""


def is_bad(rule: Rule, event: Event, one: Happened) -> bool:
    """Whether an execution is what the rule watches for under the name of an event."""
    match event:
        case Event.FAILED:
            return one.is_given_up
        case Event.EXHAUSTED:
            return one.is_given_up and one.is_last_attempt
        case Event.MISSED:
            is_told = one.reason not in EXPECTED
            if rule.reasons is not None:
                is_told = one.reason in rule.reasons
            return one.outcome is Outcome.MISSED and is_told
        case Event.SLOW:
            return rule.is_slow(one.seconds, one.usual)
        case Event.INVALID | Event.LATE | Event.NOT_SUCCEEDED | Event.RECOVERED:
            return False
        case Event.BACKLOG | Event.NO_INSTANCE:
            return False
        case _:
            assert_never(event)


def was_well_before(event: Event, one: Happened) -> bool:
    """Whether the execution before shows that what was watched for had ended."""
    if event is Event.MISSED:
        return one.before not in (None, Outcome.MISSED)
    return one.before is Outcome.SUCCEEDED


def judge(rule: Rule, event: Event, state: State | None, one: Happened) -> Iterator[Judged]:
    """Judge one execution: first what the one before it ended, then the execution itself."""
    latest = 0 if state is None else state.execution_id or 0
    if event is Event.SLOW and state is not None and state.has_counted(one):
        return  # while it was under way
    if event is Event.SLOW:  # what succeeded since and was not told of was not slow
        is_over = (one.well_id or 0) > latest
    else:
        is_over = was_well_before(event, one) or (
            event is Event.MISSED and one.outcome is not Outcome.MISSED
        )
    if state is not None and latest < one.id and is_over:
        yield recover(rule, state, job=one.job)
        state = None
    if is_bad(rule, event, one):
        many = 1 if state is None else state.many + 1
        now = State(
            rule_id=rule.id,
            event=event,
            job_id=one.job_id,
            many=many,
            execution_id=max(one.id, 0 if state is None else state.execution_id or 0),
            since=one.at if state is None else state.since,
            last_at=one.at if state is None else max(one.at, state.last_at),
            told_at=None if state is None else state.told_at,
            reminded_at=None if state is None else state.reminded_at,
        )
        if event is Event.SLOW:
            now = with_counted(now, state, one)
        yield begin(rule, now, job=one.job, why=one.why)


def with_counted(now: State, before: State | None, one: Happened) -> State:
    """Return a state that has counted a slow run, beside those that it had counted before."""
    counted, since = [one.id], one.well_id or 0
    if before is not None:
        known = before.counted_from is not None
        counted = sorted({*(before.counted or ()), one.id})
        since = (before.counted_from if known else before.execution_id) or 0
    kept = counted[-MAX_COUNTED:]
    if len(counted) > len(kept):
        since = max(since, counted[-MAX_COUNTED - 1])
    return replace(now, counted=kept, counted_from=since)


def new_state(rule: Rule, event: Event, job_id: UUID, *, now: datetime) -> State:
    """Return the state of what has just been found to stand so."""
    return State(
        rule_id=rule.id,
        event=event,
        job_id=job_id,
        many=1,
        execution_id=None,
        since=now,
        last_at=now,
    )


def begin(rule: Rule, state: State, *, job: str | None, why: str) -> Judged:
    """Tell of a state that has come to the count of its rule, once."""
    needed = 1 if state.event in STANDING else rule.after
    if state.told_at is not None or state.many < needed:
        return state, None
    told = told_of(rule, state, state.event, job=job, why=why)
    return replace(state, told_at=state.last_at), told if state.event in rule.events else None


def remind(rule: Rule, state: State, *, job: str | None, why: str, now: datetime) -> Judged:
    """Tell again of a state that was told and is not over."""
    told = told_of(rule, state, state.event, job=job, why=why)
    return replace(state, reminded_at=now), replace(told, is_reminder=True)


def recover(rule: Rule, state: State, *, job: str | None) -> Judged:
    """End a state, and tell so if the state was told."""
    if state.told_at is None or Event.RECOVERED not in rule.events:
        return None, None
    why = OVER[state.event]
    return None, told_of(rule, state, Event.RECOVERED, job=job, why=why)


OVER = {
    Event.FAILED: "a run succeeded",
    Event.EXHAUSTED: "a run succeeded",
    Event.MISSED: "a run was carried out",
    Event.INVALID: "it was corrected",
    Event.LATE: "it is late no more",
    Event.NOT_SUCCEEDED: "a run succeeded",
    Event.SLOW: "a run took no longer than usual",
    Event.BACKLOG: "no longer so many are due, nor any for so long",
    Event.NO_INSTANCE: "an instance runs what is due",
    Event.RECOVERED: "",
}
"""Why each event is over."""


def told_of(rule: Rule, state: State, event: Event, *, job: str | None, why: str) -> Told:
    """Tell of a state."""
    return Told(
        rule_id=rule.id,
        rule=rule.name,
        event=event,
        of_event=state.event,
        job_id=state.job_id,
        job=job,
        many=state.many,
        since=state.since,
        execution_id=state.execution_id,
        why=why,
    )


Key = tuple[UUID, Event, UUID]
"""The key of a state: rule, event, job."""


class Standing:
    """How rules stand for some jobs, and what is told as executions are judged one by one."""

    def __init__(self, rules: Sequence[Rule], states: Sequence[State]) -> None:
        self.rules = rules
        self.states: dict[Key, State] = {
            (one.rule_id, one.event, one.job_id): one for one in states
        }
        self.changed: set[Key] = set()
        self.told: list[Told] = []

    def __repr__(self) -> str:
        return f"<Standing: {len(self.states)} states, {len(self.told)} told>"

    def take(self, one: Happened) -> None:
        """Judge an execution by all rules."""
        for rule in self.rules:
            if one.at < rule.begun_at or not rule.covers(one.job_id, one.tags):
                continue
            for event in sorted(rule.watched() - STANDING):
                if (event is Event.SLOW) is not (one.outcome is Outcome.SUCCEEDED):
                    continue
                key = (rule.id, event, one.job_id)
                for state, told in judge(rule, event, self.states.get(key), one):
                    self.note(key, state, told)

    def note(self, key: Key, state: State | None, told: Told | None) -> None:
        """Keep what became of a state."""
        self.changed.add(key)
        if state is None:
            self.states.pop(key, None)
        else:
            self.states[key] = state
        if told is not None:
            self.told.append(told)

    def end(self, state: State, *, job: str | None, is_gone: bool) -> None:
        """End a state whose job is well again, or gone, of which nothing is told."""
        key = (state.rule_id, state.event, state.job_id)
        rule = next((one for one in self.rules if one.id == state.rule_id), None)
        if rule is None or is_gone:
            self.note(key, None, None)
        else:
            self.note(key, *recover(rule, state, job=job))

    def written(self) -> list[State]:
        """Return the states to be written."""
        return [self.states[key] for key in self.changed if key in self.states]

    def removed(self) -> list[Key]:
        """Return the keys of the states to be removed."""
        return [key for key in self.changed if key not in self.states]


def channels_of(told: Told, rules: Sequence[Rule]) -> list[str | None]:
    """Return the channels that are told; None for the record alone."""
    channels = next((rule.channels for rule in rules if rule.id == told.rule_id), ())
    return [*channels] or [None]
