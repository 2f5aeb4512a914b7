"""Checks and plans jobs as people write them, and makes their targets ready to be stored."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from app.core.access.key_limits import KeyLimits, ended, interval_errors
from app.core.jobs.exact_json import same
from app.core.jobs.identity import RANDOM_BITS, uuid7
from app.core.jobs.job import (
    DOCUMENT_FIELDS,
    SCHEDULE_FIELDS,
    JobDocument,
    PlannedJob,
    StoredJob,
    document_of,
    timed,
)
from app.core.schedule.cron_parser import uses_hash
from app.core.schedule.schedule import Schedule, check, check_runs, first_run, normalized
from app.core.schedule.spread import spread
from app.core.secrets.references import fields_in
from app.errors import FieldError, InvalidInput
from app.jobs.key_limits import target_errors
from app.targets.registry import KINDS, target_type
from app.vault import Referring, SecretKeys, decrypt_target, prepare

PLAN_FIELDS = tuple(name for name in SCHEDULE_FIELDS if not name.startswith("jitter_"))
"""The fields that decide which runs a job has; the others spread them."""
OTHER_FIELDS = tuple(name for name in DOCUMENT_FIELDS if name != "target")
"""The fields of a job that clients write, without the target."""


NewPlan = tuple[Schedule, datetime | None]
"""The schedule of a new job in one form, and its first run; None if it has none."""

Change = Callable[[StoredJob], JobDocument]
"""An edit: returns the document that a job, given with its secrets in clear, is to become."""


class Draft(Struct, frozen=True, kw_only=True):
    """A job that passed every check but that of its named secrets, see `check_bindings`."""

    job: PlannedJob
    referring: Referring


class Edit(Struct, frozen=True, kw_only=True):
    """The result of an edit, checked and planned."""

    job: PlannedJob | None
    """The job to store; None if nothing changes."""
    referring: Referring
    """The named secrets that the target refers to; empty if the kind is not known here."""
    has_new_target: bool


class NewPlans:
    """The plans of the new jobs of one request: worked out once for all that share a schedule."""

    def __init__(self, now: datetime, *, limits: KeyLimits) -> None:
        self.now = now
        self.limits = limits
        """The limits of the API key that the jobs are written with."""
        self.shared: dict[Schedule, NewPlan | InvalidInput] = {}

    def plan(self, written: Schedule, *, job_id: UUID) -> NewPlan:
        """Check the schedule of a new job; return the schedule in one form, and the first run.

        Raises:
            InvalidInput: naming every field that is wrong.
        """
        if written.cron is not None and uses_hash(written.cron):  # the times differ from job to job
            return self.plan_new(written, job_id=job_id)
        if written not in self.shared:
            try:
                self.shared[written] = self.plan_new(written, job_id=job_id)
            except InvalidInput as refusal:
                self.shared[written] = refusal
        plan = self.shared[written]
        if isinstance(plan, InvalidInput):
            raise InvalidInput(*plan.errors)
        return plan

    def plan_new(self, written: Schedule, *, job_id: UUID) -> NewPlan:
        """Plan one job as `plan` does."""
        schedule = normalized(written)
        first = check(schedule, job_id=job_id, now=self.now)
        check_runs(schedule, first, now=self.now)
        if errors := [*interval_errors(schedule, self.limits, job_id=job_id, now=self.now)]:
            raise InvalidInput(*errors)
        return schedule, first


def draft_new(document: JobDocument, keys: SecretKeys, *, plans: NewPlans) -> Draft:
    """Check a job that is to be created, plan it, and encrypt its secrets.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    id = uuid7(plans.now, random=secrets.randbits(RANDOM_BITS))
    errors: list[FieldError] = list(document.errors())
    prepared = schedule = first = None
    if not any(one.field == "target" for one in errors):  # what is too large is not looked into
        try:
            prepared = prepare(document.kind, document.target, keys, job_id=id)
            errors += target_errors(document.kind, document.target, plans.limits)
        except InvalidInput as refusal:
            errors += refusal.errors
    try:
        document = ended(timed(document, now=plans.now), plans.limits, now=plans.now)
        schedule, first = plans.plan(document.schedule(), job_id=id)
    except InvalidInput as refusal:
        errors += refusal.errors
    if errors or prepared is None or schedule is None:
        raise InvalidInput(*errors)
    written = asdict(document) | asdict(schedule)
    written |= {"target": prepared.stored, "paused": document.paused is True}
    job = PlannedJob(**written, id=id, planned=schedule.run_at is None)
    return Draft(job=with_plan(job, schedule, first), referring=prepared.referring)


def draft_edit(
    stored: StoredJob, change: Change, keys: SecretKeys, *, now: datetime, limits: KeyLimits
) -> Edit:
    """Check what an edit changes, and plan the job anew if its schedule changed.

    Fields that the edit leaves as they are may be wrong, as a person may have typed them: the job
    can be paused all the same.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    clear = decrypt_job(stored, keys)
    document, before = change(clear), document_of(clear)
    document = ended(as_it_was(document, before, stored), limits, before=before, now=now)
    errors = [
        one
        for one in document.errors()
        if (name := one.field.partition("[")[0]) and differ(document, before, (name,))
    ]
    prepared = None
    too_large = any(one.field == "target" for one in errors)
    if not too_large and differ(document, before, ("kind", "target")):
        kept = clear.target if clear.kind == document.kind else None
        try:
            prepared = prepare(
                document.kind,
                document.target,
                keys,
                job_id=stored.id,
                kept=kept,
                written=lambda target: change(replace(clear, target=target)).target,
            )
            if prepared is not None:
                errors += target_errors(document.kind, document.target, limits)
        except InvalidInput as refusal:
            errors += refusal.errors
    is_moved = document.run_in_seconds is not None or differ(document, before, SCHEDULE_FIELDS)
    next_run = None
    if is_moved:
        try:
            document = timed(document, now=now)
            schedule = normalized(document.schedule())
            next_run = check(schedule, job_id=stored.id, now=now)
            document = replace(document, **asdict(schedule))
            errors += interval_errors(schedule, limits, job_id=stored.id, now=now)
        except InvalidInput as refusal:
            errors += refusal.errors
    if errors:
        raise InvalidInput(*errors)
    referring = prepared.referring if prepared else referring_in(clear)
    if prepared is None and not differ(document, before, OTHER_FIELDS):
        return Edit(job=None, referring=referring, has_new_target=False)
    planned = needs_plan(document, before, stored)
    if document.max_runs is not None and stored.runs >= document.max_runs:  # it had them all
        next_run = None
    elif planned and not is_moved:
        next_run = first_run(document.schedule(), job_id=stored.id, now=now)
    written = asdict(document) | left_to_triggers(document, before, stored)
    written["target"] = prepared.stored if prepared else stored.target
    job = PlannedJob(**written, id=stored.id, planned=planned)
    job = with_plan(job, document.schedule(), next_run)
    return Edit(job=job, referring=referring, has_new_target=prepared is not None)


def as_it_was(document: JobDocument, before: JobDocument, stored: StoredJob) -> JobDocument:
    """Return an edited job with what the edit leaves to the database, as that had it."""
    paused = stored.paused if document.paused is UNSET else document.paused
    is_of_host = before.flow_key is None and document.flow_key == stored.flow_key
    return replace(document, paused=paused, flow_key=None if is_of_host else document.flow_key)


def left_to_triggers(
    document: JobDocument, before: JobDocument, stored: StoredJob
) -> dict[str, Any]:
    """Return fields that an edit leaves alone, and triggers may change with it."""
    found: dict[str, Any] = {}
    if document.paused == stored.paused:  # a tag may be paused or resumed meanwhile
        found["paused"] = None
    if document.flow_key is before.flow_key is None:  # the flow of the host moves along with it
        found["flow_key"] = stored.flow_key
    return found


def with_plan(job: PlannedJob, schedule: Schedule, run: datetime | None) -> PlannedJob:
    """Give a job its next run, of a nominal instant, if the plan is not left to the triggers."""
    if run is None or not job.planned:
        return job
    planned = spread(schedule, run, job_id=job.id)
    return replace(job, next_run=planned.next_run, scheduled_for=planned.scheduled_for)


def referring_in(job: StoredJob) -> Referring:
    """Return what the target of a job, in clear, refers to; the target need not be valid."""
    if job.kind not in KINDS:
        return Referring()
    return Referring(fields=fields_in(target_type(job.kind), job.target))


def decrypt_job(job: StoredJob, keys: SecretKeys) -> StoredJob:
    """Decrypt the secrets of a job, for comparing them with what a client wrote."""
    if job.kind not in KINDS:
        return job
    target, _ = decrypt_target(target_type(job.kind), job.target, keys, job_id=job.id)
    return replace(job, target=target)


def needs_plan(document: JobDocument, before: JobDocument, stored: StoredJob) -> bool:
    """Return whether an edit changes the plan of a recurring job.

    A raised `max_runs` gives a finished job further runs. The database's triggers plan one-offs,
    and have an instance spread the run to come anew where only the jitter changes.
    """
    if document.run_at is not None:
        return False
    limit_changed = document.max_runs != stored.max_runs and stored.next_run is None
    return limit_changed or differ(document, before, PLAN_FIELDS)


def differ(one: Struct, other: Struct, names: tuple[str, ...]) -> bool:
    """Return whether Postgres would store any of these fields differently for the two."""
    return not all(same(getattr(one, name), getattr(other, name)) for name in names)
