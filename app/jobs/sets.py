"""Plans and applies sets of jobs: what a file declares becomes so, in one transaction."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from app.core.alerts.presets import Preset
from app.core.field_errors import MAX_ERRORS
from app.core.field_paths import joined
from app.core.schedule.calendars import work_out
from app.core.sets.differences import alike
from app.core.sets.plan import Action, Key, MemberKind, SetPlan, Step
from app.db import Database, alert_rules, calendars, flow_limits, jobs, pauses, sets
from app.db.clock import PolledClock
from app.db.database import Acting
from app.errors import Deadlocked, FieldError, InvalidInput, NameTaken, SetConflict
from app.jobs import alerts
from app.jobs.calendars import check_calendars, to_judge
from app.jobs.create import PART
from app.jobs.key_limits import check_room, queue_now
from app.jobs.set_checks import (
    WRITTEN,
    check_channels,
    check_references,
    check_set_bindings,
    placed_in,
)
from app.jobs.set_input import PLURALS, Desired
from app.jobs.set_plan import JobWrite, Planned, Planner, pause_reason
from app.jobs.set_present import Present, read_present, shown
from app.vault import SecretKeys
from app.wire.alerts import ChannelDocument, RuleDocument
from app.wire.calendars import CalendarDocument
from app.wire.flows import FlowLimits

ORDER = (MemberKind.CALENDAR, MemberKind.FLOW, MemberKind.CHANNEL)
"""What jobs use is written before them; what is about jobs, the rules, after them."""
TRIES = 5
"""How often a set is applied: each try loses only to a batch that locked jobs in another order."""
MOVED = "was changed by somebody else meanwhile: plan again"


async def plan_set(db: Database, clock: PolledClock, keys: SecretKeys, desired: Desired) -> SetPlan:
    """Say what the application of a set would do; nothing is written.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    present, planned = await plan_in(db, clock, keys, desired)
    await rehearse_calendars(db, clock, desired, present, planned)
    return planned.plan


async def apply_set(
    db: Database, clock: PolledClock, keys: SecretKeys, desired: Desired
) -> SetPlan:
    """Make everything as a set has it, or nothing; return what was done.

    Raises:
        NotYet: others that make jobs with the same key have to be waited for; nothing is done.
        InvalidInput: naming every field that is wrong.
        SetConflict: something belongs to others, the plan is another than the one that `digest` is
            of, or somebody else changed a job meanwhile.
    """
    for _ in range(TRIES - 1):
        with suppress(Deadlocked):
            return await apply_once(db, clock, keys, desired)
    return await apply_once(db, clock, keys, desired)


async def apply_once(
    db: Database, clock: PolledClock, keys: SecretKeys, desired: Desired
) -> SetPlan:
    """Apply a set as `apply_set` does.

    Raises:
        Deadlocked: another transaction waited for this one's jobs, and this one for its.
        NotYet, InvalidInput, SetConflict: as `apply_set`.
    """
    await clock.now()  # asked while no connection is held: those that wait here may hold all others
    try:
        async with db.transaction() as transaction:
            await queue_now(transaction)
            await sets.lock(transaction)
            present, planned = await plan_in(transaction, clock, keys, desired)
            refuse_conflicts(planned.plan)
            if desired.digest not in (None, planned.plan.digest):
                message = (
                    "the plan has changed since it was made, as somebody changed a job or the file "
                    f"is another: plan again; it would now be {planned.plan.digest}"
                )
                raise SetConflict(message)
            await Writing(transaction, clock, desired, present, planned).write()
    except NameTaken:
        message = "a job of the name of one of these was created meanwhile: plan again"
        raise SetConflict(message) from None
    return planned.plan


async def plan_in(
    db: Acting, clock: PolledClock, keys: SecretKeys, desired: Desired
) -> tuple[Present, Planned]:
    """Plan a set by what there is in the database.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    present = await read_present(db, desired)
    planner = Planner(desired, present, keys, now=await clock.now(), limits=db.limits)
    planned = await asyncio.to_thread(planner.planned)
    await check_references(db, desired)
    await check_channels(db, desired, planned.plan)
    await check_room(db, sum(one.stored is None for one in planned.writes))
    warnings = await check_set_bindings(db, desired, planned.writes)
    return present, replace(planned, plan=replace(planned.plan, warnings=warnings))


async def rehearse_calendars(
    db: Database, clock: PolledClock, desired: Desired, present: Present, planned: Planned
) -> None:
    """Refuse jobs whose calendars, as the set has them, close all their runs.

    What calendars make of runs is known once they are written: so they are written, in a
    transaction that is rolled back.

    Raises:
        InvalidInput: as an application would.
    """
    if not any(one.job and one.job.calendars for one in planned.writes):
        return
    await clock.now()  # as in apply_set
    with suppress(TakenBack):
        async with db.transaction() as transaction:
            await sets.lock(transaction)  # with another the calendars might be locked crosswise
            writing = Writing(transaction, clock, desired, present, planned)
            await writing.write_others(MemberKind.CALENDAR)
            await writing.check_calendars()
            raise TakenBack


class TakenBack(Exception):
    """Ends a transaction of which nothing is to stay."""


def refuse_conflicts(plan: SetPlan) -> None:
    """Refuse a plan in which something belongs to others.

    Raises:
        SetConflict: naming each.
    """
    errors = [
        FieldError(field=joined(PLURALS[one.kind], one.name), message=one.detail or "")
        for one in plan.steps
        if one.action is Action.CONFLICT
    ]
    if errors:
        message = f"{len(errors)} of these belong to nobody or to another set: nothing was changed"
        raise SetConflict(message, *errors[:MAX_ERRORS])


class Writing:
    """Writes what a plan changes, in its transaction."""

    def __init__(
        self, db: Acting, clock: PolledClock, desired: Desired, present: Present, planned: Planned
    ) -> None:
        self.db = db
        self.clock = clock
        self.desired = desired
        self.present = present
        self.planned = planned

    def __repr__(self) -> str:
        return f"<Writing of {self.desired.set_name!r}>"

    async def write(self) -> None:
        """Write all of it.

        Raises:
            InvalidInput: Postgres refuses what the plan could not know of.
            SetConflict: somebody else changed a job meanwhile.
        """
        for kind in ORDER:
            await self.write_others(kind)
        await self.write_jobs()
        await self.write_others(MemberKind.RULE)
        await self.remove()
        await self.note_members()

    def steps(self, kind: MemberKind, *actions: Action) -> Iterable[Step]:
        """Return the steps of one kind with these actions."""
        return (
            one for one in self.planned.plan.steps if one.kind is kind and one.action in actions
        )

    async def write_others(self, kind: MemberKind) -> None:
        """Write the members of a kind that is not that of jobs."""
        for step in sorted(
            self.steps(kind, *WRITTEN), key=lambda one: self.present.hops(one.name, self.desired)
        ):
            document = self.desired.others[kind, step.name]
            try:
                match document:
                    case CalendarDocument():
                        work = partial(work_out, document.rules(), now=await self.clock.now())
                        spans = await asyncio.to_thread(work)
                        await calendars.write(self.db, step.name, document, spans)
                    case FlowLimits():
                        await flow_limits.put(self.db, step.name, document)
                    case ChannelDocument():
                        await alert_rules.put_channel(
                            self.db,
                            step.name,
                            preset=Preset(document.preset),
                            target=document.target,
                            fallback=document.fallback,
                        )
                    case RuleDocument():
                        await alerts.put_rule(self.db, step.name, document)
            except InvalidInput as refusal:
                raise InvalidInput(*placed_in(step, refusal)) from None

    async def write_jobs(self) -> None:
        """Insert the new jobs, and write those that change and nobody else has changed."""
        new = [one.job for one in self.planned.writes if one.job and one.stored is None]
        changed = [one for one in self.planned.writes if one.job and one.stored]
        await self.check_calendars()
        for part in parts(new):
            await jobs.insert(self.db, part)
        for some in parts(changed):
            written = await jobs.update_many(
                self.db,
                [one.job for one in some if one.job],
                unchanged_since=[one.stored.updated_at for one in some if one.stored],
                checked=[one.checked for one in some],
            )
            for one in some:
                if one.id not in written:
                    await self.write_one(one)

    async def check_calendars(self) -> None:
        """Refuse jobs whose calendars, as they are written by now, close all their runs.

        Raises:
            InvalidInput: naming the first such job.
        """
        judged = [
            (one.name, job)
            for one in self.planned.writes
            if one.job and (job := to_judge(one.job, one.stored)) is not None
        ]
        try:
            await check_calendars(self.db, [job for _, job in judged])
        except InvalidInput:
            for name, job in judged:  # which of them it is
                try:
                    await check_calendars(self.db, [job])
                except InvalidInput as refusal:
                    errors = [self.desired.place(name, error) for error in refusal.errors]
                    raise InvalidInput(*errors) from None
            raise

    async def write_one(self, one: JobWrite) -> None:
        """Write a job whose row was locked, perhaps by an instance that settles its run.

        Raises:
            SetConflict: somebody else changed it meanwhile.
        """
        assert one.job is not None and one.stored is not None  # noqa: S101, PT018 - for mypy
        since = one.stored.updated_at
        if await jobs.update(self.db, one.job, unchanged_since=since, checked=one.checked) is None:
            raise moved(one.name)

    async def remove(self) -> None:
        """Pause or delete what the file does not have any more; rules before their channels."""
        for kind in (MemberKind.RULE, *reversed(ORDER)):
            if kind is MemberKind.CALENDAR:
                await self.remove_jobs()  # which use them
            steps = sorted(
                self.steps(kind, Action.DELETE),
                key=lambda one: -self.present.hops(one.name, self.desired),
            )
            for step in steps:
                match kind:
                    case MemberKind.RULE:
                        await alert_rules.delete(self.db, step.name)
                    case MemberKind.CHANNEL:
                        await alerts.delete_channel(self.db, step.name)
                    case MemberKind.FLOW:
                        await flow_limits.delete(self.db, step.name)
                    case _:
                        await calendars.delete(self.db, step.name)

    async def remove_jobs(self) -> None:
        """Pause or delete the jobs that the file does not have any more."""
        reason = pause_reason(self.desired.set_name)
        for step in self.steps(MemberKind.JOB, Action.PAUSE):
            job = self.planned.removed[step.name]
            since = job.updated_at
            if not await pauses.pause_unchanged(self.db, job.id, reason=reason, since=since):
                raise moved(step.name)
        for step in self.steps(MemberKind.JOB, Action.DELETE):
            job = self.planned.removed[step.name]
            if not await jobs.delete(self.db, str(job.id), unchanged_since=job.updated_at):
                raise moved(step.name)

    async def note_members(self) -> None:
        """Note what belongs to the set from now on, and when and by whom it was applied."""
        await sets.put(self.db, self.desired.set_name)
        steps = self.planned.plan.steps
        gone = [
            (one.kind, one.name)
            for one in steps
            if one.action is Action.DELETE or (one.action is Action.KEEP and not self.exists(one))
        ]
        written = [*self.members_written()]
        renamed = [
            UUID(one["job_id"])
            for one in written
            if one["job_id"] is not None
            and (owner := self.present.owners.get(UUID(one["job_id"])))
            and owner.name != one["name"]
        ]
        if gone or renamed:
            await sets.leave(self.db, gone, job_ids=renamed)
        for part in parts(written):
            await sets.put_members(self.db, self.desired.set_name, part)
        removed = {
            (one.kind, one.name) for one in steps if one.action in (Action.PAUSE, Action.KEEP)
        }
        if left := sorted(removed - {*gone}):
            await sets.mark_removed(self.db, left)

    def exists(self, step: Step) -> bool:
        """Whether a removed member is there still."""
        member = self.present.members[step.kind, step.name]
        if step.kind is MemberKind.JOB:
            return any(job.id == member.job_id for job in self.present.jobs)
        return (step.kind, step.name) in self.present.others

    def members_written(self) -> Iterable[dict[str, Any]]:
        """Return the members as they are to be noted, but for those that are noted so already."""
        applied: dict[Key, tuple[UUID | None, Mapping[str, Any]]] = {
            **{(MemberKind.JOB, one.name): (one.id, one.applied) for one in self.planned.writes},
            **{key: (None, shown(one)) for key, one in self.desired.others.items()},
        }
        for (kind, name), (job_id, document) in applied.items():
            known = self.present.members.get((kind, name))
            if (
                known is None
                or known.removed_at is not None
                or known.job_id != job_id
                or not alike(known.applied, document)
            ):
                yield {
                    "kind": str(kind),
                    "name": name,
                    "job_id": job_id and str(job_id),
                    "applied": document,
                }


def moved(name: str) -> SetConflict:
    """Say that somebody else changed a job."""
    return SetConflict("nothing was changed", FieldError(field=joined("jobs", name), message=MOVED))


def parts(items: Sequence[Any]) -> Iterable[list[Any]]:
    """Cut what is to be written into parts that one statement takes."""
    rest = iter(items)
    while part := list(islice(rest, PART)):
        yield part
