"""Actions on all that a search finds: count it, look at some, have it done, watch, cancel."""

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect
from msgspec import Struct

from app.api.parameters import Clock, Db, Keys
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.db import bulk
from app.db.database import Database
from app.errors import FieldError, InvalidInput, MalformedInput
from app.jobs import bulk_requests
from app.web.forms import Form, by_field, instant_in, read_form, see, typed
from app.web.live_tables import Table
from app.web.parameters import Reader
from app.web.rendering import page
from app.web.search import OF_EXECUTIONS, OF_JOBS, Search, searched
from app.wire.bulk import DEFAULT_RATE, STARTING, Bulk, BulkAction, BulkPreview, BulkRequest
from app.wire.bulk import OF_EXECUTIONS as ON_EXECUTIONS

SHOWN = 30


class Choice(Struct, frozen=True, kw_only=True):
    """An action that people choose."""

    label: str
    what: str
    """What it does, in a sentence."""
    is_final: bool = False
    """Whether nothing brings back what it does: then the count has to be typed."""


CHOICES = {
    BulkAction.PAUSE: Choice(label="Pause", what="They keep their plan and start nothing."),
    BulkAction.RESUME: Choice(
        label="Resume", what="What they have missed is done as the misfire of each says."
    ),
    BulkAction.RUN: Choice(label="Run now", what="Each gets an extra run, so many in a second."),
    BulkAction.SKIP: Choice(label="Skip the next run", what="The next run of each is skipped."),
    BulkAction.UNSKIP: Choice(label="Skip none", what="No run of theirs is skipped any more."),
    BulkAction.RESCHEDULE: Choice(
        label="Move the next run", what="The next run of each starts so many seconds later."
    ),
    BulkAction.EDIT: Choice(label="Edit", what="Each gets what a merge patch in JSON changes."),
    BulkAction.BACKFILL: Choice(
        label="Backfill", what="The runs of a time that has passed are carried out."
    ),
    BulkAction.CANCEL: Choice(label="Cut off", what="What they execute is cut off."),
    BulkAction.DELETE: Choice(
        label="Delete", what="Nothing brings them back; executions stay on record.", is_final=True
    ),
    BulkAction.REDRIVE: Choice(
        label="Redrive", what="Runs that were given up are carried out again, each once."
    ),
    BulkAction.REPLAY: Choice(
        label="Run again", what="The runs of these executions are carried out again, each once."
    ),
}
"""The actions, in the order in which they are offered."""


def offered(of: str) -> dict[BulkAction, Choice]:
    """Return the actions on jobs, or on executions."""
    on_executions = of == "executions"
    return {
        action: one for action, one in CHOICES.items() if (action in ON_EXECUTIONS) is on_executions
    }


@get("/bulk/new", opt={"scope": Scope.WRITE})
async def bulk_form(
    request: ApiRequest,
    of: FromQuery[str] = "jobs",
    q: FromQuery[str] = "",
    action: FromQuery[str] = "",
) -> Response[bytes]:
    """Ask what is to be done with what a search finds."""
    form = Form(of="executions" if of == "executions" else "jobs", q=q, action=action)
    return asked(request, form)


@post("/bulk/new", status_code=200, opt={"scope": Scope.WRITE})
async def ask_bulk(
    *, request: ApiRequest, db: Db, reader: Reader, clock: Clock, secret_keys: Keys
) -> Response[bytes] | Redirect:
    """Count what is found and show some of it; once that was seen, have it done."""
    form = await read_form(request)
    try:
        wanted = request_of(form)
        counted = await bulk_requests.preview(reader, wanted, secret_keys, clock)
        was, form["asked"] = form["asked"], mark_of(wanted)
        if form["do"] != "do":
            return asked(request, form, counted=counted)
        if was != form["asked"]:
            message = "this is not what was counted before: look at what it is now"
            return asked(request, form, counted=counted, error=MalformedInput(message))
        if form["seen"] != str(counted.count):
            message = f"{form['seen']} were found, and now {counted.count} are: look at these"
            return asked(request, form, counted=counted, error=MalformedInput(message))
        if CHOICES[wanted.action].is_final and form["typed"] != str(counted.count):
            return asked(request, form, counted=counted, was_wrong=True)
        begun = await bulk_requests.ask(db, wanted, secret_keys, clock)
    except (InvalidInput, MalformedInput) as error:
        return asked(request, form, error=error)
    return see(f"/bulk/{begun.id}")


def request_of(form: Form) -> BulkRequest:
    """Read what is asked for, by the rules of the API.

    Raises:
        InvalidInput: naming each field that is wrong.
    """
    if form["action"] not in offered(form["of"]):
        raise InvalidInput(FieldError(field="action", message="is not chosen: choose one"))
    action = BulkAction(form["action"])
    found = found_by(form)
    if found.error:
        raise InvalidInput(FieldError(field="q", message=found.error))
    given: dict[str, Any] = {
        "action": action,
        "filter": found.wanted if found.text else {"all": True},
    }
    match action:
        case BulkAction.RESCHEDULE:
            given["shift_seconds"] = number(form["shift"], "shift_seconds")
        case BulkAction.EDIT:
            given["patch"] = patch(form["patch"])
        case BulkAction.BACKFILL:
            for name in ("from", "to"):
                given[name] = instant_in(form[name], form["zone"] or "UTC", field=name)
        case BulkAction.SKIP:
            given["runs"] = 1
        case _:
            pass
    if action in STARTING and form["rate"]:
        given["rate_per_second"] = number(form["rate"], "rate_per_second")
    return typed(given, BulkRequest)


def mark_of(wanted: BulkRequest) -> str:
    """Return what tells one request from another, so that what is done is what was counted."""
    return sha256(msgspec.json.encode(wanted)).hexdigest()[:16]


def found_by(form: Form) -> Search:
    """Read the search."""
    if form["of"] == "executions":
        return searched(form["q"], OF_EXECUTIONS, words="job")
    return searched(form["q"], OF_JOBS, words="q")


def number(text: str, field: str) -> float:
    """Read a number.

    Raises:
        InvalidInput: it is none, or not finite, which JSON has no number for.
    """
    try:
        read = float(text)
    except ValueError:
        read = math.nan
    if not math.isfinite(read):
        message = f"{text[:40]!r} is no number: write one such as 3600"
        raise InvalidInput(FieldError(field=field, message=message))
    return read


def patch(text: str) -> msgspec.Raw:
    """Take a merge patch as it was typed.

    Raises:
        InvalidInput: it is no JSON.
    """
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"is no JSON object: {str(error)[:200]}"
        raise InvalidInput(FieldError(field="patch", message=message)) from None
    return msgspec.Raw(text.encode())


def asked(
    request: ApiRequest,
    form: Form,
    *,
    counted: BulkPreview | None = None,
    was_wrong: bool = False,
    error: InvalidInput | MalformedInput | None = None,
) -> Response[bytes]:
    """Show the form, with what would be done if that was counted."""
    wrong = by_field(error) if isinstance(error, InvalidInput) else Form()
    choices = offered(form["of"])
    return page(
        request,
        "bulk_form.html",
        status=422 if error or was_wrong else 200,
        form=form,
        choices=choices,
        starting=[one.label for action, one in choices.items() if action in STARTING],
        default_rate=DEFAULT_RATE,
        chosen=choices.get(form["action"]) if counted else None,  # type: ignore[call-overload]
        counted=counted,
        was_wrong=was_wrong,
        errors=list(wrong.values()) or ([str(error)] if error else []),
    )


async def read_last(reader: Database) -> Sequence[Bulk]:
    """List the last actions on many, the newest first."""
    found = await bulk.list_page(reader, before=None, limit=SHOWN)
    return [bulk_requests.masked(one) for one in found.items]


TABLE = Table(
    address="/bulk",
    read=read_last,
    key=lambda one: str(one.id),
    template="bulk_cells.html",
    columns=("what", "state", "changed", "failed", "asked"),
    told_in="state",
    seconds=1,
    most=SHOWN,
)


@get("/bulk", opt={"scope": Scope.READ})
async def bulk_list(
    request: ApiRequest, state: State, reader: Reader, clock: Clock
) -> Response[bytes]:
    """List the last actions on many."""
    listed = await read_last(reader)
    rows, stream = state.tables.shown("bulk", listed, await clock.now())
    return page(request, "bulk_list.html", rows=rows.values(), stream=stream)


@get("/bulk/{id:uuid}", opt={"scope": Scope.READ})
async def bulk_page(
    request: ApiRequest, reader: Reader, clock: Clock, id: FromPath[UUID]
) -> Response[bytes]:
    """Show how far an action is; as a part of the page where htmx asks."""
    one = bulk_requests.masked(await bulk.find(reader, id))
    template = "bulk_now.html" if request.headers.get("HX-Request") else "bulk.html"
    return page(
        request,
        template,
        one=one,
        filter=msgspec.json.encode(one.filter).decode(),
        is_over=one.ended_at is not None,
        at=await clock.now(),
    )


@post("/bulk/{id:uuid}/cancel", status_code=303, opt={"scope": Scope.WRITE})
async def cancel_bulk(db: Db, id: FromPath[UUID]) -> Redirect:
    """End an action before its next step; one that is over stays as it is."""
    await bulk.cancel(db, id)
    return see(f"/bulk/{id}")
