"""Plans sets: what becomes of each job by the rules of PUT, and of all else by its document."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, to_builtins
from msgspec.structs import replace

from app.core.access.key_limits import KeyLimits
from app.core.field_errors import MAX_ERRORS
from app.core.jobs.exact_json import as_text
from app.core.jobs.host_flow import asked
from app.core.jobs.identity import NIL
from app.core.jobs.job import DOCUMENT_FIELDS, SCHEDULE_FIELDS, JobDocument, PlannedJob, StoredJob
from app.core.schedule.cron_parser import uses_hash
from app.core.secrets.masking import MASK, mask
from app.core.sets.differences import FieldChange, changes
from app.core.sets.plan import (
    Action,
    Key,
    Member,
    MemberKind,
    SetPlan,
    Step,
    owner_conflict,
    plan_of,
    planned_change,
    removal,
)
from app.core.sets.runs import Course, RunsChange, course_of, runs_change
from app.errors import FieldError, InvalidInput
from app.jobs.input import NewPlans, draft_edit, draft_new
from app.jobs.set_input import Desired
from app.jobs.set_present import Present, shown
from app.targets.registry import KINDS, target_type
from app.vault import Referring, SecretKeys

RUN_FIELDS = frozenset({*SCHEDULE_FIELDS, "max_runs"})
"""The fields whose change a plan shows the runs for."""


class JobWrite(Struct, frozen=True, kw_only=True):
    """A job to write, or only to note as a member."""

    name: str
    id: UUID
    applied: dict[str, Any]
    """The job as the file has it, its secrets masked."""
    job: PlannedJob | None
    """What to write; None: nothing, the job is as the file has it."""
    stored: StoredJob | None
    """The job as it is; None: there is none yet."""
    checked: bool
    referring: Referring


class Planned(Struct, frozen=True, kw_only=True):
    """A plan, and what its application writes."""

    plan: SetPlan
    writes: tuple[JobWrite, ...]
    removed: Mapping[str, StoredJob]
    """The jobs that are to be paused or deleted, by the names that the set has for them."""


class Planner:
    """Plans the members of one set. All of it is work for a thread: there may be 10,000 jobs."""

    def __init__(
        self,
        desired: Desired,
        present: Present,
        keys: SecretKeys,
        *,
        now: datetime,
        limits: KeyLimits,
    ) -> None:
        self.desired = desired
        self.present = present
        self.keys = keys
        self.now = now
        self.limits = limits
        self.plans = NewPlans(now, limits=limits)
        self.by_name = {job.name: job for job in present.jobs}
        self.by_id = {job.id: job for job in present.jobs}
        self.errors: list[FieldError] = []
        self.writes: list[JobWrite] = []
        self.removed: dict[str, StoredJob] = {}
        self.versions: dict[Key, object] = dict(present.versions)
        self.compared: dict[tuple[Course | None, Course | None], RunsChange] = {}

    def __repr__(self) -> str:
        return f"<Planner of {self.desired.set_name!r}, {len(self.writes)} jobs>"

    def planned(self) -> Planned:
        """Plan the whole set.

        Raises:
            InvalidInput: naming every field that is wrong.
        """
        steps = [*self.of_others(), *self.of_jobs(), *self.of_removed()]
        if self.errors:
            raise InvalidInput(*self.errors[:MAX_ERRORS])
        return Planned(
            plan=plan_of(self.desired.set_name, steps, self.versions),
            writes=tuple(self.writes),
            removed=self.removed,
        )

    def of_others(self) -> Iterator[Step]:
        """Plan the calendars, flows, channels and rules that are wanted."""
        for key, document in self.desired.others.items():
            kind, name = key
            wanted = shown(document)
            before = self.present.others.get(key)
            member = self.present.members.get(key)
            foreign = self.present.foreign.get(key)
            if foreign is not None or (member is None and before is not None):
                owner = foreign.set_name if foreign else None
                taken = self.desired.take_over
                if conflict := owner_conflict(kind, name, owner=owner, taken=taken):
                    yield conflict
                    continue
            if before is None:
                was_there = member is not None and member.removed_at is None
                yield Step(kind=kind, name=name, action=Action.CREATE, drift=was_there)
                continue
            differences = changes(before, wanted, member.applied if member else None)
            yield planned_change(
                kind,
                name,
                differences=differences,
                owned=member is not None and member.removed_at is None,
            )

    def of_jobs(self) -> Iterator[Step]:
        """Plan the jobs that are wanted."""
        for name, document in self.desired.jobs.items():
            try:
                yield self.of_job(name, document)
            except InvalidInput as refusal:
                self.errors += [self.desired.place(name, one) for one in refusal.errors]
            if len(self.errors) >= MAX_ERRORS:
                return

    def of_job(self, name: str, document: JobDocument) -> Step:
        """Plan one job.

        Raises:
            InvalidInput: naming every field that is wrong.
        """
        member = self.present.members.get((MemberKind.JOB, name))
        stored = self.by_name.get(name) or self.renamed(member)
        owner = self.present.owners.get(stored.id) if stored else None
        owned = owner is not None and owner.set_name == self.desired.set_name
        # Whose file has this name, although a person deleted the job, or gave it another name.
        foreign = self.present.foreign.get((MemberKind.JOB, name)) or (None if owned else owner)
        if foreign is not None or not (owned or stored is None):
            owned_by = foreign.set_name if foreign else None
            taken = self.desired.take_over
            if conflict := owner_conflict(MemberKind.JOB, name, owner=owned_by, taken=taken):
                return conflict
        if stored is None:
            was_there = member is not None and member.removed_at is None
            return self.created(name, document, was_there=was_there)
        return self.changed(name, document, stored, owner if owned else None)

    def renamed(self, member: Member | None) -> StoredJob | None:
        """Return the job that a member is, if somebody gave it a name that the file has not."""
        stored = self.by_id.get(member.job_id) if member and member.job_id else None
        return None if stored is None or stored.name in self.desired.jobs else stored

    def created(self, name: str, document: JobDocument, *, was_there: bool) -> Step:
        draft = draft_new(document, self.keys, plans=self.plans)
        applied = job_shown(draft.job, document.target, paused=document.paused is not UNSET)
        self.writes.append(
            JobWrite(
                name=name,
                id=draft.job.id,
                applied=applied,
                job=draft.job,
                stored=None,
                checked=True,
                referring=draft.referring,
            )
        )
        return Step(
            kind=MemberKind.JOB,
            name=name,
            action=Action.CREATE,
            drift=was_there,
            detail="was deleted elsewhere" if was_there else None,
            runs=self.runs_change(None, course_written(draft.job, runs=0)),
            paused=document.paused is True,
        )

    def changed(
        self, name: str, document: JobDocument, stored: StoredJob, member: Member | None
    ) -> Step:
        was_removed = member is not None and member.removed_at is not None
        if was_removed and document.paused is UNSET and self.has_paused(stored):
            document = replace(document, paused=False)
        edit = draft_edit(stored, lambda _: document, self.keys, now=self.now, limits=self.limits)
        has_pause = document.paused is not UNSET
        before = job_shown(stored, stored.target, paused=has_pause)
        after = before
        if edit.job is not None:
            kept = document.paused if has_pause else stored.paused
            target = document.target if edit.has_new_target else stored.target
            after = job_shown(replace(edit.job, paused=kept), target, paused=has_pause)
        differences = changes(before, after, member.applied if member else None)
        if edit.job is not None and not differences:  # a secret, which reads *** either way
            differences = [FieldChange(field="target", before=MASK, after=MASK)]
        self.writes.append(
            JobWrite(
                name=name,
                id=stored.id,
                applied=after,
                job=edit.job,
                stored=stored,
                checked=edit.has_new_target,
                referring=edit.referring,
            )
        )
        if differences:
            self.versions[MemberKind.JOB, name] = stored.updated_at
        step = planned_change(
            MemberKind.JOB,
            name,
            differences=differences,
            owned=member is not None and not was_removed,
            was_removed=was_removed,
        )
        runs = None
        if edit.job is not None and any(one.field in RUN_FIELDS for one in differences):
            now = course_of(stored, now=self.now)
            runs = self.runs_change(now, course_written(edit.job, runs=stored.runs, keeps=now))
        return replace(step, runs=runs, paused=(after | {"paused": stored.paused})["paused"])

    def has_paused(self, job: StoredJob) -> bool:
        """Whether a job is on pause only because this set did not have it any more."""
        reason = pause_reason(self.desired.set_name)
        return job.paused and job.pause is not None and job.pause.reason == reason

    def runs_change(self, before: Course | None, after: Course | None) -> RunsChange:
        """Return how the next runs change, worked out once for all jobs with the same schedules.

        A `Course` is a job's runs from the next one on, `before` and `after`.
        """
        key = (shared(before), shared(after))
        if key not in self.compared:
            self.compared[key] = runs_change(before, after)
        return self.compared[key]

    def of_removed(self) -> Iterator[Step]:
        """Plan what the set has and the file has not."""
        handled = {one.id for one in self.writes}
        for (kind, name), member in self.present.members.items():
            if kind is not MemberKind.JOB:
                if (kind, name) not in self.desired.others:
                    exists = (kind, name) in self.present.others
                    yield removal(member, prune=self.desired.prune, paused=False, exists=exists)
                continue
            if name in self.desired.jobs or member.job_id in handled:
                continue
            stored = self.by_id.get(member.job_id) if member.job_id else None
            paused = stored is not None and stored.paused
            step = removal(
                member, prune=self.desired.prune, paused=paused, exists=stored is not None
            )
            if stored is not None and step.action is not Action.KEEP:
                self.removed[name] = stored
                self.versions[MemberKind.JOB, name] = stored.updated_at
                runs = self.runs_change(course_of(stored, now=self.now), None)
                step = replace(step, runs=runs, paused=paused)
            yield step


def pause_reason(set_name: str) -> str:
    """Say why the jobs are on pause that a set does not have any more."""
    return f"the set {set_name} does not have it any more"


def shared(course: Course | None) -> Course | None:
    """Return a course without the id of its job, so that jobs of one schedule compare equal.

    A cron with an `H` keeps the id, which decides its times.
    """
    if course is None or (course.schedule.cron is not None and uses_hash(course.schedule.cron)):
        return course
    return replace(course, job_id=NIL)


def course_written(job: PlannedJob, *, runs: int, keeps: Course | None = None) -> Course:
    """Return the runs to come of a job that is to be written."""
    first = job.scheduled_for or job.next_run
    if not job.planned:
        first = job.run_at if job.run_at is not None else (keeps.first if keeps else None)
    left = None if job.max_runs is None else max(job.max_runs - runs, 0)
    return Course(job_id=job.id, schedule=job.schedule(), first=first, left=left)


def job_shown(job: Struct, target: dict[str, Any], *, paused: bool) -> dict[str, Any]:
    """Return a job in the form in which it is compared, its secrets masked.

    `paused`: with whether it is paused, as the file says so.
    """
    fields = asked({name: getattr(job, name) for name in DOCUMENT_FIELDS})
    form = {name: plain(one) for name, one in fields.items()}
    kind = form["kind"]
    masked = mask(target_type(kind) if kind in KINDS else None, target)
    form |= {
        "target": to_builtins(masked, enc_hook=as_text),
        "calendars": form["calendars"] or None,
    }
    if not paused:
        del form["paused"]
    return form


def plain(value: Any) -> Any:  # noqa: ANN401 - of any field
    """Return the value of a field as JSON has it, instants in UTC."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
    return None if value is UNSET else to_builtins(value, enc_hook=as_text)


def referring_of(writes: Iterable[JobWrite]) -> list[Referring]:
    """Return what the targets to be written refer to, and one more that refers to nothing.

    So there are always several, and errors have an index.
    """
    return [*(one.referring for one in writes), Referring()]
