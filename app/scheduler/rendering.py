"""Renders the templates of a claim's target, before the claim needs a slot."""

from datetime import datetime, timedelta

from msgspec import MsgspecError

from app.core.runs.claim import Claim
from app.core.schedule.schedule import recurrence_of, run_after
from app.db import Database
from app.db.templates import JobOfRun, read_job
from app.errors import DatabaseUnavailable, InvalidInput
from app.scheduler.held_claim import HeldClaim
from app.targets.base import named
from app.targets.templated import render_target
from app.templates.messages import JobFacts, RunFacts, Text, Variables
from app.templates.renderer import Renderer, TemplateFailed

LOOK_BACK = timedelta(days=5 * 365 + 2)
"""How far back the run before one is looked for."""


class Rendering:
    """Renders the targets of one instance's claims."""

    def __init__(self, db: Database, renderer: Renderer) -> None:
        self.db = db
        self.renderer = renderer

    def __repr__(self) -> str:
        return f"<Rendering: {self.renderer}>"

    async def render(self, held: HeldClaim) -> None:
        """Render the target of a claim; the execution reports what goes wrong here.

        Never raises but when cancelled.
        """
        try:
            held.rendered = await self.render_target(held.claim)
        except Exception as error:  # noqa: BLE001 - for the execution to report
            held.rendered = error

    async def render_target(self, claim: Claim) -> str:
        """Return the target, as stored, with its templates rendered; what is secret stays as it is.

        Raises:
            InvalidInput: a template is wrong, whatever the run.
            TemplateFailed: one cannot be rendered for this run.
            DatabaseUnavailable: the job could not be read.
            RendererCrowded: too many templates wait to be rendered.
            OutOfDescriptors: no process could be started to render in.
        """

        async def read_variables(texts: list[Text]) -> Variables:
            return variables_of(claim, await self.read(claim), texts)

        return await render_target(self.renderer, claim.kind, claim.target, read_variables)

    async def read(self, claim: Claim) -> JobOfRun:
        """Read the job of a claim.

        Raises:
            TemplateFailed: its metadata cannot be read.
            DatabaseUnavailable: the database does not answer, or the job was deleted.
        """
        try:
            job = await read_job(self.db, claim.job_id)
        except (MsgspecError, ValueError, RecursionError):
            raise TemplateFailed("the job's metadata are JSON that cannot be read") from None
        if job is None:
            raise DatabaseUnavailable("the job was deleted")
        return job


def variables_of(claim: Claim, job: JobOfRun, texts: list[Text]) -> Variables:
    """Return what the templates of a run can refer to.

    The runs before and after are looked for where a template may want them.
    """
    at = claim.scheduled_for
    sources = [text.source for text in texts]
    return Variables(
        run=RunFacts(
            scheduled_for=at,
            previous=run_before(claim, job) if any("previous" in one for one in sources) else None,
            next=run_behind(claim, job) if any("next" in one for one in sources) else None,
            key=f"{claim.job_id}:{named(at)}",
            trigger=claim.request,
        ),
        attempt=claim.attempt,
        job=JobFacts(
            id=claim.job_id,
            name=claim.name,
            tags=job.tags,
            metadata=job.metadata,
            last_outcome=job.last_outcome,
            last_finished_at=job.last_finished_at,
            consecutive_failures=job.consecutive_failures,
            runs=job.runs,
        ),
    )


def run_behind(claim: Claim, job: JobOfRun) -> datetime | None:
    """Return the run that the schedule has after that of a claim; None without one."""
    try:
        return run_after(job.schedule, claim.scheduled_for, job_id=claim.job_id)
    except InvalidInput:
        return None


def run_before(claim: Claim, job: JobOfRun) -> datetime | None:
    """Return the run that the schedule has before that of a claim; None without one.

    An interval that counts from its last run had one an interval before.
    """
    schedule, at = job.schedule, claim.scheduled_for
    if schedule.run_at is not None:
        return None
    start = max(at - LOOK_BACK, schedule.starts_at or at - LOOK_BACK)
    try:
        if schedule.every_seconds is not None and schedule.starts_at is None:
            return at - timedelta(seconds=schedule.every_seconds)
        return recurrence_of(schedule, claim.job_id, anchor=at).last(start, at)
    except InvalidInput:
        return None
