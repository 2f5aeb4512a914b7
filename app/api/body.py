"""Reads the bodies of requests, and refuses parameters of a query that no handler reads."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import TypeVar

from litestar.exceptions import HTTPException
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from app.api.problems import ApiRequest
from app.core.field_errors import SIMILAR
from app.errors import FieldError, InvalidInput
from app.wire.reading import NUL, read

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
LINES = "application/x-ndjson"
DRY_RUN = "dry_run"
"""The parameter that every write has, which the middleware `safe_writes` reads."""
MAX_AT_ONCE_BYTES = 16 * 1024
"""The longest body, in bytes, that is decoded in the event loop. A longer one is decoded in a
thread, as other requests, and the executions of `tocsin dev`, would have to wait meanwhile."""

WORDS = {"true": True, "false": False}
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

S = TypeVar("S")
T = TypeVar("T")


async def decode_body(
    request: ApiRequest, type_: type[T], *, media_types: Iterable[str] = (JSON,)
) -> T:
    """Read the body as JSON of this type, strictly: nothing is converted or passed over.

    Raises:
        MalformedInput: the body is not JSON.
        InvalidInput: the JSON is not of this type; names the field.
        HTTPException: 415, the body claims to be something else.
    """
    body = await receive(request, media_types)
    return await call_by_length(request, partial(read, type_=type_), body)


async def decode_action(request: ApiRequest, type_: type[T]) -> T:
    """Read the body of an action, which may be left out where every field has a default.

    Raises:
        MalformedInput, InvalidInput, HTTPException: as `decode_body`.
    """
    if not await request.body():
        return type_()
    return await decode_body(request, type_)


async def call_by_length(request: ApiRequest, work: Callable[[S], T], on: S) -> T:
    """Call `work`, in a thread if the body of the request is longer than `MAX_AT_ONCE_BYTES`."""
    if len(await request.body()) <= MAX_AT_ONCE_BYTES:
        return work(on)
    return await asyncio.to_thread(work, on)


async def receive(request: ApiRequest, media_types: Iterable[str] = (JSON,)) -> bytes:
    """Take the body as it was sent.

    Raises:
        HTTPException: 415, the body claims to be something else.
    """
    check_media_type(request, media_types)
    return await request.body()


def check_media_type(request: ApiRequest, media_types: Iterable[str]) -> None:
    """Accept a body without a type as JSON; refuse one that is called something else.

    Raises:
        HTTPException: 415.
    """
    given, _ = request.content_type
    if given and given.lower() not in media_types:
        wanted = " or ".join(media_types)
        message = f"the body is sent as {given}: send it with the header Content-Type: {wanted}"
        raise HTTPException(detail=message, status_code=415)


def check_request(request: ApiRequest) -> None:
    """Refuse parameters that no handler reads, and an Accept that does not allow the answer.

    Raises:
        InvalidInput: naming each parameter.
        HTTPException: 406.
    """
    answer = request.route_handler.opt.get("answer", JSON)
    if not accepts(request, answer):
        message = f"answers are {answer}, which the header Accept does not allow"
        raise HTTPException(detail=message, status_code=406)
    known = {
        parameter.kwarg_definition.name or parameter.name: parameter
        for parameter in request.route_handler.parsed_fn_signature.parameters.values()
        if isinstance(parameter.kwarg_definition, QueryParameter)
    }
    given = [name for name in request.query_params if not is_of_writes(request, name)]
    meant = request.route_handler.opt.get("meant", {})
    errors = [
        FieldError(field=name, message=error)
        for name in given
        if (error := parameter_error(name, request.query_params.getall(name), known, meant))
    ]
    if errors:
        raise InvalidInput(*errors)


def parameter_error(
    name: str, values: list[str], known: Mapping[str, FieldDefinition], meant: Mapping[str, str]
) -> str | None:
    """Say why a parameter of the query cannot be used as it was given; None where it can."""
    if name not in known:
        return unknown_parameter(name, list(known), meant)
    if any(NUL in value for value in values):
        return "has the character U+0000: remove it"
    types = {known[name].annotation, *(inner.annotation for inner in known[name].inner_types)}
    if len(values) > 1 and list[str] not in types:
        return "is given more than once"
    if not types & {str, list[str]} and any(value.lower() == "null" for value in values):
        return "cannot be null: leave it out"  # msgspec would take the word for null
    return None


def is_dry_run(request: ApiRequest) -> bool:
    """Whether nothing of a request is to be kept.

    Raises:
        InvalidInput: the parameter is neither true nor false.
    """
    given = request.query_params.getall(DRY_RUN, [])
    if not given:
        return False
    if len(given) > 1 or given[0] not in WORDS:
        raise InvalidInput(FieldError(field=DRY_RUN, message="is true or false, given once"))
    return WORDS[given[0]]


def is_of_writes(request: ApiRequest, name: str) -> bool:
    """Whether a parameter is that of all writes."""
    return name == DRY_RUN and request.method in WRITES and request.url.path.startswith("/v1/")


def accepts(request: ApiRequest, answer: str) -> bool:
    if not request.headers.get("accept"):
        return True
    lines = [LINES] if lists(request) else []
    try:
        return request.accept.best_match([answer, "application/problem+json", *lines]) is not None
    except ArithmeticError:  # a quality in Accept that is no number
        return True


def lists(request: ApiRequest) -> bool:
    """Whether the answer is a list, which may be sent as lines of JSON."""
    answered = request.route_handler.parsed_fn_signature.return_type
    types = (answered, *answered.inner_types)  # such as Response[JobList]
    return any("items" in getattr(one.annotation, "__struct_fields__", ()) for one in types)


def wants_lines(request: ApiRequest) -> bool:
    """Whether a client would rather have lines of JSON than one document."""
    if LINES not in request.headers.get("accept", ""):
        return False
    try:
        return request.accept.best_match([JSON, LINES]) == LINES
    except ArithmeticError:  # a quality in Accept that is no number
        return False


def unknown_parameter(name: str, known: list[str], meant: Mapping[str, str]) -> str:
    """Say that there is no such parameter, and what may be meant: `meant` is the route's own."""
    if name in meant:
        return f"unknown parameter: {meant[name]}"
    if close := get_close_matches(name, known, n=1, cutoff=SIMILAR):
        return f"unknown parameter: did you mean {close[0]}?"
    return f"unknown parameter: there are {', '.join(known)}" if known else "unknown parameter"
