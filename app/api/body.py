"""Reads what clients send: bodies, strictly, and what of a query must not be overlooked."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, partial
from typing import Any, TypeVar

import msgspec
from litestar.exceptions import HTTPException
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition
from msgspec import Struct
from msgspec.structs import fields, replace

from app.api.problems import ApiRequest
from app.core.field_errors import field_errors, joined
from app.core.jobs.exact_json import number
from app.core.jobs.job import CHOICES, KEPT_FIELDS
from app.errors import FieldError, InvalidInput, MalformedInput

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
NUL = "\0"
MAX_NESTED = 100
TOO_DEEP = f"the body is nested too deeply: use at most {MAX_NESTED} levels"
MAX_AT_ONCE_BYTES = 16 * 1024
"""A longer body is read in a thread: other requests, and jobs, must not wait for that."""
ANY_JSON = msgspec.json.Decoder(float_hook=str)
"""Tells what is JSON, and its form. Numbers stay text: msgspec takes 100 µs to read `1e308`."""

S = TypeVar("S")
T = TypeVar("T")


async def decode_body(
    request: ApiRequest, type_: type[T], *, media_types: Iterable[str] = (JSON,)
) -> T:
    """Read the body as JSON of this type, strictly: nothing is converted or passed over.

    Raises:
        MalformedInput: it is not JSON.
        InvalidInput: it is, but not of this type; names the field.
        HTTPException: 415, it claims to be something else.
    """
    body = await received(request, media_types)
    return await by_length(request, partial(read, type_=type_), body)


async def by_length(request: ApiRequest, work: Callable[[S], T], on: S) -> T:
    """Do what takes long for a long body, and then in a thread."""
    if len(await request.body()) <= MAX_AT_ONCE_BYTES:
        return work(on)
    return await asyncio.to_thread(work, on)


async def received(request: ApiRequest, media_types: Iterable[str] = (JSON,)) -> bytes:
    """Take the body as it was sent.

    Raises:
        HTTPException: 415, it claims to be something else.
    """
    check_media_type(request, media_types)
    return await request.body()


def read(body: bytes, type_: type[T], *, levels: int = MAX_NESTED) -> T:
    """Read JSON of this type, of so many levels at most.

    Raises:
        MalformedInput: it is not JSON, or too deep.
        InvalidInput: it is, but not of this type; names the field.
    """
    try:
        if body.count(b"[") + body.count(b"{") > levels:
            check_depth(ANY_JSON.decode(body), levels)
        value: T = decoder(type_).decode(body)  # type: ignore[arg-type] # mypy takes types for unhashable
        if b"\\u0000" in body and (nuls := list(nul_errors(ANY_JSON.decode(body), ""))):
            raise InvalidInput(*nuls)
    except msgspec.ValidationError as error:
        check_json(body)  # msgspec stops at the first error, before what is no JSON
        raise InvalidInput(
            *with_hints(field_errors(error, prefix="", choices=CHOICES), type_)
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_json(error) from None
    except RecursionError:
        raise MalformedInput(TOO_DEEP) from None
    return value


@cache
def decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Make what reads this type once; numbers that no float holds stay as they were sent."""
    return msgspec.json.Decoder(type_, float_hook=number)


def check_json(body: bytes) -> None:
    """Make sure that a body is JSON, whatever it says.

    Raises:
        MalformedInput: it is not, or too deep.
    """
    try:
        ANY_JSON.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_json(error) from None
    except RecursionError:
        raise MalformedInput(TOO_DEEP) from None


def not_json(error: Exception) -> MalformedInput:
    return MalformedInput(f"the body is not JSON: {str(error)[:200]}")


def check_depth(value: object, levels: int) -> None:
    """Refuse what readers with a stack could not follow.

    Raises:
        MalformedInput: it has more levels than that.
    """
    level = [value]
    for _ in range(levels):
        level = [item for one in level for item in items(one)]
        if not level:
            return
    raise MalformedInput(TOO_DEEP)


def items(value: object) -> Iterable[object]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()


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


def with_hints(errors: list[FieldError], type_: Any) -> list[FieldError]:  # noqa: ANN401
    """Add the nearest name to the refusal of an unknown field of the body itself."""
    if not (isinstance(type_, type) and issubclass(type_, Struct)):
        return errors
    known = [one.encode_name for one in fields(type_)]
    return [
        replace(one, message=unknown_field(one.field, known))
        if one.message.startswith("unknown field")
        else one
        for one in errors
    ]


def unknown_field(name: str, known: Iterable[str]) -> str:
    """Say that there is no such field, and what may have been meant."""
    if name in KEPT_FIELDS:
        return "is kept by Tocsin and cannot be written: leave it out"
    if close := get_close_matches(name, list(known), n=1):
        return f"unknown field: did you mean {close[0]}?"
    return f"unknown field: there are {', '.join(known)}"


def nul_errors(value: object, path: str) -> Iterator[FieldError]:
    """Find the texts that Postgres cannot store."""
    match value:
        case str() if NUL in value:
            message = "has the character U+0000, which Postgres cannot store: remove it"
            yield FieldError(field=path, message=message)
        case dict():
            for name, item in value.items():
                yield from nul_errors(name, path)
                yield from nul_errors(item, joined(path, name))
        case list():
            for index, item in enumerate(value):
                yield from nul_errors(item, f"{path}[{index}]")
        case _:
            pass


def check_request(request: ApiRequest) -> None:
    """Refuse what the handlers would overlook, in the query and in what answer is accepted.

    Raises:
        InvalidInput: naming each parameter.
        HTTPException: 406.
    """
    if not accepts_json(request):
        message = f"answers are {JSON}, which the header Accept does not allow"
        raise HTTPException(detail=message, status_code=406)
    known = {
        parameter.kwarg_definition.name or parameter.name: parameter
        for parameter in request.route_handler.parsed_fn_signature.parameters.values()
        if isinstance(parameter.kwarg_definition, QueryParameter)
    }
    given = request.query_params
    errors = [
        FieldError(field=name, message=error)
        for name in given
        if (error := parameter_error(name, given.getall(name), known))
    ]
    if errors:
        raise InvalidInput(*errors)


def parameter_error(
    name: str, values: list[str], known: Mapping[str, FieldDefinition]
) -> str | None:
    """Say why a parameter of the query cannot be used as it was given; None: it may be."""
    if name not in known:
        return unknown_parameter(name, list(known))
    if any(NUL in value for value in values):
        return "has the character U+0000: remove it"
    types = {known[name].annotation, *(inner.annotation for inner in known[name].inner_types)}
    if len(values) > 1 and list[str] not in types:
        return "is given more than once"
    if not types & {str, list[str]} and any(value.lower() == "null" for value in values):
        return "cannot be null: leave it out"  # msgspec would take the word for it
    return None


def accepts_json(request: ApiRequest) -> bool:
    if not request.headers.get("accept"):
        return True
    try:
        return request.accept.best_match([JSON, "application/problem+json"]) is not None
    except ArithmeticError:  # a quality that is no number
        return True


def unknown_parameter(name: str, known: list[str]) -> str:
    if close := get_close_matches(name, known, n=1):
        return f"unknown parameter: did you mean {close[0]}?"
    return f"unknown parameter: there are {', '.join(known)}" if known else "unknown parameter"
