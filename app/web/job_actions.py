"""What people do with a job on its page: run, skip, pause, resume, cancel, delete.

Each is what the API does, by the same functions. What needs a word beforehand has a page with a
form of its own; what can be undone is done at once.
"""

from datetime import datetime

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from msgspec import Struct

from app.api.parameters import Clock, Db
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.jobs.beside import MissedRuns
from app.core.jobs.job import StoredJob
from app.core.runs.claim import Missed
from app.db import jobs
from app.errors import InvalidInput
from app.jobs import actions, pauses
from app.jobs.etag import etag
from app.jobs.pauses import POLICIES
from app.jobs.testing import Testing
from app.web.forms import SPANS, Form, by_field, read_form, see, typed, until_of
from app.web.parameters import Reader
from app.web.rendering import page
from app.wire.actions import Skip
from app.wire.pauses import JobPause, Resumption

CHOICES = {
    Missed.SKIP: "Drop them",
    Missed.ONCE: "Carry out the latest one",
    Missed.ALL: "Carry out all of them, the oldest first",
}


class MissedChoice(Struct, frozen=True, kw_only=True):
    """What may become of the runs that a paused job has missed."""

    word: Missed
    label: str
    runs: int
    """How many are carried out then."""
    is_usual: bool
    """Whether it is what the job's own policy says."""


def address(job: StoredJob, done: str) -> str:
    """Return the address of a job's page that says what was done."""
    return f"/jobs/{job.id}?done={done}"


@post("/jobs/{job:str}/run", status_code=303, opt={"scope": Scope.WRITE})
async def run_job(db: Db, job: FromPath[str]) -> Redirect:
    """Make an extra run due now."""
    return see(address(await actions.run_now(db, job), "run"))


@post("/jobs/{job:str}/test", status_code=200, opt={"scope": Scope.WRITE, "acts": False})
async def test_job(
    request: ApiRequest, db: Db, reader: Reader, clock: Clock, job: FromPath[str]
) -> Response[bytes]:
    """Send the target of a job once, and show what came of it, which is kept nowhere."""
    stored = await jobs.find(reader, job)
    tester: Testing = request.app.state.testing
    owner = request.scope["user"].limited_as
    tested = await tester.test_job(
        db, clock, str(stored.id), timeout_seconds=None, owner=owner, is_dry=False
    )
    return page(request, "test.html", job=stored, tested=tested)


@post("/jobs/{job:str}/skip", status_code=303, opt={"scope": Scope.WRITE})
async def skip_run(db: Db, clock: Clock, job: FromPath[str]) -> Redirect:
    """Skip the next run."""
    stored = await actions.skip(db, job, Skip(runs=1), now=await clock.now())
    return see(address(stored, "skipped"))


@post("/jobs/{job:str}/unskip", status_code=303, opt={"scope": Scope.WRITE})
async def unskip_runs(db: Db, job: FromPath[str]) -> Redirect:
    """Skip no run any more."""
    return see(address(await actions.unskip(db, job), "unskipped"))


@get("/jobs/{job:str}/pause", opt={"scope": Scope.WRITE})
async def pause_page(request: ApiRequest, reader: Reader, job: FromPath[str]) -> Response[bytes]:
    """Ask why a job is to be paused, and for how long."""
    return asked_pause(request, await jobs.find(reader, job), Form(), None)


@post("/jobs/{job:str}/pause", status_code=303, opt={"scope": Scope.WRITE})
async def pause_job(
    request: ApiRequest, db: Db, reader: Reader, clock: Clock, job: FromPath[str]
) -> Response[bytes] | Redirect:
    """Pause a job."""
    form = await read_form(request)
    try:
        until = until_of(form, now=await clock.now())
        wanted = typed({"reason": form["reason"] or None, "until": until}, JobPause)
        stored = await pauses.pause_job(db, clock, job, wanted)
    except InvalidInput as error:
        return asked_pause(request, await jobs.find(reader, job), form, error)
    return see(address(stored, "paused"))


def asked_pause(
    request: ApiRequest, job: StoredJob, form: Form, error: InvalidInput | None
) -> Response[bytes]:
    """Show the form of a pause."""
    return page(
        request,
        "pause.html",
        status=422 if error else 200,
        job=job,
        form=form,
        errors=by_field(error),
        spans=SPANS,
        zones=dict.fromkeys(("UTC", job.timezone)),
    )


@get("/jobs/{job:str}/resume", opt={"scope": Scope.WRITE})
async def resume_page(
    request: ApiRequest, reader: Reader, clock: Clock, job: FromPath[str]
) -> Response[bytes] | Redirect:
    """Count what a paused job has missed, and ask what is to become of it."""
    stored, now = await jobs.find(reader, job), await clock.now()
    if not stored.paused:
        return see(f"/jobs/{stored.id}")
    counts: dict[Missed, MissedRuns] = {}
    for word in CHOICES:
        wanted = Resumption(missed=word, dry_run=True)
        _, missed = await pauses.resume_job(reader, clock, str(stored.id), wanted)
        counts[word] = missed or MissedRuns(missed_runs=0, carried_out=0)
    return page(
        request,
        "resume.html",
        job=stored,
        missed_runs=max(one.missed_runs for one in counts.values()),
        choices=choices_of(stored, counts),
        at=now,
    )


def choices_of(job: StoredJob, counts: dict[Missed, MissedRuns]) -> list[MissedChoice]:
    """List what may become of missed runs, and how many of them are carried out."""
    return [
        MissedChoice(
            word=word,
            label=label,
            runs=counts[word].carried_out,
            is_usual=POLICIES[job.misfire] is word,
        )
        for word, label in CHOICES.items()
    ]


@post("/jobs/{job:str}/resume", status_code=303, opt={"scope": Scope.WRITE})
async def resume_job(request: ApiRequest, db: Db, clock: Clock, job: FromPath[str]) -> Redirect:
    """Resume a job."""
    form = await read_form(request)
    wanted = typed({"missed": form["missed"] or None}, Resumption)
    stored, _ = await pauses.resume_job(db, clock, job, wanted)
    return see(address(stored, "resumed"))


@get("/jobs/{job:str}/delete", opt={"scope": Scope.WRITE})
async def delete_page(
    request: ApiRequest, reader: Reader, clock: Clock, job: FromPath[str]
) -> Response[bytes]:
    """Ask for the job's name before it is deleted, as nothing brings it back."""
    return asked_deletion(request, await jobs.find(reader, job), at=await clock.now())


@post("/jobs/{job:str}/delete", status_code=303, opt={"scope": Scope.WRITE})
async def delete_job(
    request: ApiRequest, db: Db, reader: Reader, clock: Clock, job: FromPath[str]
) -> Response[bytes] | Redirect:
    """Delete a job of which the name was typed, and the version seen."""
    form = await read_form(request)
    stored = await jobs.find(reader, job)
    if form["typed"] != word_of(stored):
        return asked_deletion(request, stored, at=await clock.now(), was_wrong=True)
    await actions.delete_job(db, str(stored.id), if_match=form["seen"])
    return see("/jobs?done=deleted")


def word_of(job: StoredJob) -> str:
    """Return what has to be typed to delete a job: its name, or how its id ends."""
    return (job.name or "").strip() or str(job.id)[-8:]


def asked_deletion(
    request: ApiRequest, job: StoredJob, *, at: datetime, was_wrong: bool = False
) -> Response[bytes]:
    """Show the form of a deletion."""
    return page(
        request,
        "delete.html",
        status=422 if was_wrong else 200,
        job=job,
        word=word_of(job),
        was_wrong=was_wrong,
        seen=etag(job.updated_at),
        at=at,
    )
