"""Creates and edits jobs with forms: field by field or as JSON, with what comes of it beside."""

import asyncio
from collections.abc import Collection
from functools import partial
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect
from msgspec import Raw, Struct, json
from msgspec.structs import replace

from app.api.body import call_by_length
from app.api.parameters import Clock, Db, Keys
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.jobs.job import SCHEDULE_FIELDS, StoredJob
from app.db import jobs, sets
from app.db.clock import PolledClock
from app.db.database import Database
from app.errors import EditConflict, FieldError, InvalidInput, MalformedInput, NameTaken
from app.jobs.create import insert_drafts
from app.jobs.edit import edit_job
from app.jobs.etag import etag
from app.jobs.input import NewPlans, draft_new
from app.jobs.testing import Testing
from app.targets.registry import KINDS
from app.web.forms import Form, by_field, read_form, see
from app.web.job_actions import address
from app.web.job_fields import HOW, WHEN, Document, fields_of_job, fields_of_target
from app.web.job_forms import (
    PRESETS,
    UNITS,
    ZONES,
    as_json,
    document_in,
    document_of_form,
    form_of_job,
    stored_document,
    typed_job,
)
from app.web.job_preview import Preview, changed_between, preview_schedule
from app.web.merging import Merged, merged
from app.web.parameters import Reader
from app.web.rendering import page
from app.wire.target_tests import MAX_SECONDS, TargetTest, TestedTarget

SAMPLE = "sample-job"
OF_TESTS = ("kind", "target", "timeout_seconds", "name", "tags", "metadata")
"""The fields of a job that a test of it has to do with."""


class Typed(Struct, frozen=True, kw_only=True):
    """What was typed, as far as it can be read."""

    form: Form
    document: Document
    errors: tuple[FieldError, ...] = ()


@get("/new-job", opt={"scope": Scope.WRITE})
async def new_job_page(  # noqa: PLR0913 - one parameter for each of the query's
    *,
    request: ApiRequest,
    reader: Reader,
    clock: Clock,
    kind: FromQuery[str] = "http",
    like: FromQuery[str] = "",
    sample: FromQuery[bool] = False,
) -> Response[bytes]:
    """Begin a job: an empty one, one like another, or a sample."""
    if like:
        document = stored_document(await jobs.find(reader, like))
        document.pop("name", None)
    elif sample:
        document = sample_job(request)
    else:
        document = begun(kind if kind in KINDS else "http")
    typed = Typed(form=form_of_job(document), document=document)
    shown = None
    if sample or like:
        shown, _ = await preview_typed(reader, clock, typed, None)
    return editor(request, typed, stored=None, shown=shown)


def begun(kind: str) -> Document:
    """Return a job of which nothing is filled in."""
    return {"kind": Raw(json.encode(kind)), "target": Raw(b"{}")}


def sample_job(request: ApiRequest) -> Document:
    """Return a job that asks this server each half minute whether it lives."""
    base = f"{request.scope['scheme']}://{request.headers.get('Host', '127.0.0.1:8080')}"
    url = f"{base}{request.app.state.root_path}/health/live"
    given = {
        "name": SAMPLE,
        "description": "A job to look around with: it asks this server whether it lives. Delete "
        "it when you have seen enough.",
        "tags": ["sample"],
        "kind": "http",
        "target": {"url": url, "method": "GET"},
        "every_seconds": 30,
    }
    return {name: Raw(json.encode(value)) for name, value in given.items()}


@post("/new-job", status_code=200, opt={"scope": Scope.WRITE})
async def create_job(
    request: ApiRequest, db: Db, reader: Reader, clock: Clock, secret_keys: Keys
) -> Response[bytes] | Redirect:
    """Create a job of a form, or show the form otherwise."""
    typed = await call_by_length(request, read_typed, await read_form(request))
    if typed.form["do"] == "test":
        return await show_tested(request, db, reader, clock, typed, None)
    if typed.form["do"] != "save":
        return await show_again(request, reader, clock, typed, None)
    try:
        refuse(typed)
        document = await call_by_length(request, typed_job, typed.document)
        plans = NewPlans(await clock.now(), limits=db.limits)
        work = partial(draft_new, keys=secret_keys, plans=plans)
        draft = await call_by_length(request, work, document)
        [written] = await insert_drafts(db, [draft])
    except (InvalidInput, MalformedInput, NameTaken) as error:
        return await show_again(request, reader, clock, typed, None, error)
    return see(address(written.job, "created"))


@get("/jobs/{job:str}/edit", opt={"scope": Scope.WRITE})
async def edit_page(
    request: ApiRequest, reader: Reader, clock: Clock, job: FromPath[str]
) -> Response[bytes]:
    """Show a job in a form."""
    stored = await jobs.find(reader, job)
    document = stored_document(stored)
    form = form_of_job(document)
    form |= {"original": json.encode(document).decode(), "seen": etag(stored.updated_at)}
    typed = Typed(form=form, document=document)
    shown, _ = await preview_typed(reader, clock, typed, stored)
    return editor(request, typed, stored=stored, shown=shown)


@post("/jobs/{job:str}/edit", status_code=200, opt={"scope": Scope.WRITE})
async def save_job(  # noqa: PLR0913 - what an edit needs
    *,
    request: ApiRequest,
    db: Db,
    reader: Reader,
    clock: Clock,
    secret_keys: Keys,
    job: FromPath[str],
) -> Response[bytes] | Redirect:
    """Save a job if it is still the one that was shown; else show what others changed."""
    stored = await jobs.find(reader, job)
    typed = await call_by_length(request, read_typed, await read_form(request))
    if typed.form["do"] == "test":
        return await show_tested(request, db, reader, clock, typed, stored)
    if typed.form["do"] != "save":
        return await show_again(request, reader, clock, typed, stored)
    try:
        refuse(typed)
        document = await call_by_length(request, typed_job, typed.document)
        written = await edit_job(
            db,
            clock,
            secret_keys,
            str(stored.id),
            lambda _: document,
            if_match=typed.form["seen"],
        )
    except EditConflict:
        return await show_conflict(request, reader, clock, typed, job)
    except (InvalidInput, MalformedInput, NameTaken) as error:
        return await show_again(request, reader, clock, typed, stored, error)
    is_same = written.job.updated_at == stored.updated_at
    return see(address(written.job, "same" if is_same else "saved"))


async def show_conflict(
    request: ApiRequest, reader: Database, clock: PolledClock, typed: Typed, job: str
) -> Response[bytes]:
    """Show the three: what it was, what others made of it, and what was typed, put together."""
    stored = await jobs.find(reader, job)
    theirs = stored_document(stored)
    both = merged(original_of(typed.form), theirs, typed.document)
    form = form_of_job(both.document)
    form |= {
        "original": json.encode(theirs).decode(),
        "seen": etag(stored.updated_at),
        "as": typed.form["as"],
        "json": as_json(both.document),
    }
    again = Typed(form=form, document=both.document)
    shown, errors = await preview_typed(reader, clock, again, stored)
    return editor(
        request, again, stored=stored, shown=shown, errors=errors, merged=both, status=412
    )


@post("/new-job/preview", status_code=200, opt={"scope": Scope.WRITE, "acts": False})
async def preview_job(request: ApiRequest, reader: Reader, clock: Clock) -> Response[bytes]:
    """Show what comes of a job as it is typed, as a part of the page."""
    typed = await call_by_length(request, read_typed, await read_form(request))
    stored = await jobs.find(reader, typed.form["id"]) if typed.form["id"] else None
    shown, errors = await preview_typed(reader, clock, typed, stored)
    return page(request, "job_preview.html", shown=shown, errors=errors, is_new=stored is None)


def read_typed(form: Form) -> Typed:
    """Read a form: its fields, or its JSON, whichever was shown."""
    try:
        if form["as"] == "json":
            document = document_in(form["json"])
            return Typed(form=form, document=document)
        form["kind"] = form["kind"] if form["kind"] in KINDS else "http"
        document, errors = document_of_form(form, original_of(form))
    except InvalidInput as error:
        return Typed(form=form, document={}, errors=error.errors)
    return Typed(form=form, document=document, errors=tuple(errors))


def original_of(form: Form) -> Document:
    """Return the job as it was when the form was first shown; nothing for a new one."""
    return document_in(form["original"]) if form["original"] else {}


def refuse(typed: Typed, *, but: Collection[str] = ()) -> None:
    """Refuse what cannot be read, `but` for these fields.

    Raises:
        InvalidInput: naming each field.
    """
    if errors := [one for one in typed.errors if one.field not in but]:
        raise InvalidInput(*errors)


async def preview_typed(
    reader: Database, clock: PolledClock, typed: Typed, stored: StoredJob | None
) -> tuple[Preview, list[FieldError]]:
    """Work out what comes of what was typed, and what is wrong with its schedule."""
    # In threads, as a target may have ten thousands of values.
    before = original_of(typed.form)
    changed = await asyncio.to_thread(changed_between, before, typed.document) if stored else []
    set_name = await sets.find_set_of(reader, stored.id) if stored else None
    try:
        refuse(typed)
        filled = typed.document | {"kind": typed.document.get("kind", Raw(b'"http"'))}
        document = await asyncio.to_thread(typed_job, {"target": Raw(b"{}")} | filled)
        shown = await preview_schedule(reader, document, stored=stored, now=await clock.now())
    except InvalidInput as error:
        return Preview(changed=changed, set_name=set_name), list(error.errors)
    except MalformedInput as error:
        return Preview(changed=changed, set_name=set_name), [
            FieldError(field="json", message=str(error))
        ]
    return replace(shown, changed=changed, set_name=set_name), []


async def show_tested(  # noqa: PLR0913, PLR0917 - what a form is shown with
    request: ApiRequest,
    db: Database,
    reader: Database,
    clock: PolledClock,
    typed: Typed,
    stored: StoredJob | None,
) -> Response[bytes]:
    """Send the target that was typed once, and show the form with what came of that."""
    try:
        refuse(typed, but=SCHEDULE_FIELDS)
        asked = await call_by_length(request, test_in, typed.document)
        asked = replace(asked, job=str(stored.id) if stored else None)
        tester: Testing = request.app.state.testing
        owner = request.scope["user"].limited_as
        tested = await tester.test_target(db, clock, asked, owner=owner, is_dry=False)
    except (InvalidInput, MalformedInput) as error:
        return await show_again(request, reader, clock, typed, stored, error)
    shown, _ = await preview_typed(reader, clock, typed, stored)
    return editor(request, typed, stored=stored, shown=shown, tested=tested)


def test_in(document: Document) -> TargetTest:
    """Read what is to be tested of a job that was typed; its schedule may be missing or wrong.

    Raises:
        InvalidInput: naming each field that is wrong.
    """
    given = {name: document[name] for name in OF_TESTS if name in document}
    job = typed_job({"kind": Raw(b'"http"'), "target": Raw(b"{}")} | given)
    return TargetTest(
        kind=job.kind,
        target=job.target,
        timeout_seconds=min(job.timeout_seconds, MAX_SECONDS),
        name=job.name,
        tags=job.tags,
        metadata=job.metadata,
    )


async def show_again(  # noqa: PLR0913, PLR0917 - what a form is shown with
    request: ApiRequest,
    reader: Database,
    clock: PolledClock,
    typed: Typed,
    stored: StoredJob | None,
    error: Exception | None = None,
) -> Response[bytes]:
    """Show a form with what was typed: checked, of another kind, or as JSON."""
    refused = wrong_fields(error) if error else []
    do, form = typed.form["do"], typed.form
    if not error and not typed.errors and do in {"json", "form"}:
        kept = {name: form[name] for name in ("original", "seen", "id")}
        try:
            form = form_of_job(typed.document)
        except InvalidInput as unfit:  # a kind of which there is no form
            refused = list(unfit.errors)
        else:
            form |= kept
            form["as"], form["json"] = do, as_json(typed.document)
    elif do.startswith("kind:"):
        form["kind"] = do.removeprefix("kind:")
    again = Typed(form=form, document=typed.document, errors=typed.errors)
    shown, errors = await preview_typed(reader, clock, again, stored)
    wrong = refused or ([] if do.startswith("kind:") else errors)
    status = 422 if refused else 200
    return editor(request, again, stored=stored, shown=shown, errors=wrong, status=status)


def wrong_fields(error: Exception) -> list[FieldError]:
    """Return what is wrong, field by field."""
    match error:
        case InvalidInput():
            return list(error.errors)
        case NameTaken():
            return [FieldError(field="name", message="is the name of another job: choose another")]
        case _:
            return [FieldError(field="json", message=str(error))]


def editor(  # noqa: PLR0913 - what the page shows
    request: ApiRequest,
    typed: Typed,
    *,
    stored: StoredJob | None,
    shown: Preview | None,
    errors: list[FieldError] | None = None,
    merged: Merged | None = None,
    tested: TestedTarget | None = None,
    status: int = 200,
) -> Response[bytes]:
    """Show the page on which a job is created or edited."""
    kind = typed.form["kind"] if typed.form["kind"] in KINDS else "http"
    typed.form["kind"] = kind
    seen, behind = fields_of_target(kind)
    context: dict[str, Any] = {
        "when": fields_of_job(WHEN),
        "how": fields_of_job(HOW),
        "target_seen": seen,
        "target_behind": behind,
    }
    wrong = errors or []
    return page(
        request,
        "job_form.html",
        status=status,
        job=stored,
        form=typed.form,
        errors=wrong,
        wrong=by_field(InvalidInput(*wrong)),
        shown=shown,
        is_new=stored is None,
        merged=merged,
        tested=tested,
        kinds=KINDS,
        units=UNITS,
        presets=PRESETS,
        zones=ZONES,
        **context,
    )
