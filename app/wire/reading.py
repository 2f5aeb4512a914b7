"""Reads JSON strictly: nothing is converted or passed over, and errors name the field.

Bodies with too many nested levels are refused, as recursive readers could not follow them.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import Struct, inspect
from msgspec.structs import replace

from app.core.access.api_key import Scope
from app.core.field_errors import Location, type_errors
from app.core.field_paths import joined
from app.core.jobs.exact_json import number
from app.core.jobs.job import CHOICES, KEPT_FIELDS
from app.errors import WHOLE, FieldError, InvalidInput, MalformedInput
from app.wire.examples import shortest_body

NUL = "\0"
MAX_NESTED = 100
"""The most nested levels of arrays and objects in a body."""
TRUNCATED = "Input data was truncated"
"""msgspec's error for a text that ends too early, such as an empty one."""
TOO_DEEP = f"the body is nested too deeply: use at most {MAX_NESTED} levels"
WORDS_OF = CHOICES | {"scopes": tuple(Scope)}
"""The words that fields take, by the name of the field."""
DOCUMENT = Location(choices=WORDS_OF, kept=KEPT_FIELDS)
ANY_JSON = msgspec.json.Decoder(float_hook=str)
"""Decodes any JSON, to tell its form. Numbers stay text: msgspec takes 100 µs to read `1e308`."""

T = TypeVar("T")


def read(
    body: bytes, type_: type[T], *, levels: int = MAX_NESTED, shown: type[Struct] | None = None
) -> T:
    """Read JSON of this type, of so many levels at most.

    `shown`: the Struct of which errors show an example, where that is not `type_`.

    Raises:
        MalformedInput: the text is not JSON, or too deep.
        InvalidInput: the JSON is not of this type; names each field that is not of its own.
    """
    try:
        if body.count(b"[") + body.count(b"{") > levels:
            check_depth(ANY_JSON.decode(body), levels)
        value: T = decoder(type_).decode(body)  # type: ignore[arg-type] # mypy takes types for unhashable
        if b"\\u0000" in body and (nuls := list(nul_errors(ANY_JSON.decode(body), ""))):
            raise InvalidInput(*nuls)
    except msgspec.ValidationError as error:
        check_json(body)  # msgspec stops at the first error, before what is no JSON
        location = replace(DOCUMENT, choices=words_within(type_) | WORDS_OF)  # type: ignore[arg-type] # as in `decoder`
        errors = type_errors(error, type_, body, location)
        example = shortest_body(shown or type_)
        raise InvalidInput(*(with_example(one, example) for one in errors)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_json(error, example=shortest_body(shown or type_)) from None
    except RecursionError:
        raise MalformedInput(TOO_DEEP) from None
    return value


@cache
def decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Make the decoder of a type, once; numbers that no float holds are kept as text."""
    return msgspec.json.Decoder(type_, float_hook=number)


@cache
def words_within(type_: type[Struct]) -> dict[str, tuple[str, ...]]:
    """Return the words that fields of a type take, by their names, those of inner types too."""
    words: dict[str, tuple[str, ...]] = {}
    seen: set[type] = set()
    left: list[tuple[str, inspect.Type]] = [("", inspect.type_info(type_))]
    while left:
        name, one = left.pop(0)
        match one:
            case inspect.EnumType(cls=choices):
                words.setdefault(name, tuple(str(each.value) for each in choices))
            case inspect.Metadata(type=inner):
                left.append((name, inner))
            case inspect.UnionType(types=inner):
                left += [(name, each) for each in inner]
            case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
                left.append((name, inner))
            case inspect.StructType(cls=cls, fields=fields) if cls not in seen:
                seen.add(cls)
                left += [(each.encode_name, each.type) for each in fields]
            case _:
                pass
    return words


def check_json(body: bytes) -> None:
    """Make sure that a body is JSON, of whatever type.

    Raises:
        MalformedInput: the body is not JSON, or too deep.
    """
    try:
        ANY_JSON.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_json(error) from None
    except RecursionError:
        raise MalformedInput(TOO_DEEP) from None


def not_json(error: Exception, *, example: str | None = None) -> MalformedInput:
    """Word the refusal of a body that is not JSON; for one that ends too early, with an example."""
    said = str(error)[:200]
    if said == TRUNCATED:
        hint = f": send an object such as {example}" if example else ""
        said = f"it is empty, or ends too early{hint}"
    return MalformedInput(f"the body is not JSON: {said}")


def check_depth(value: object, levels: int) -> None:
    """Refuse a value with more nested levels than `levels`.

    Raises:
        MalformedInput: the value has too many levels.
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


def with_example(error: FieldError, example: str | None) -> FieldError:
    """Add an example to the error of a body that is no object."""
    if error.field != WHOLE or not error.message.startswith("must be an object") or not example:
        return error
    return replace(error, message=f"the body {error.message}: send one such as {example}")


def nul_errors(value: object, path: str) -> Iterator[FieldError]:
    """Find the texts that Postgres cannot store."""
    match value:
        case str() if NUL in value:
            message = "has the character U+0000, which Postgres cannot store: remove it"
            yield FieldError(field=path or WHOLE, message=message)
        case dict():
            for name, item in value.items():
                yield from nul_errors(name, path)
                yield from nul_errors(item, joined(path, name))
        case list():
            for index, item in enumerate(value):
                yield from nul_errors(item, joined(path, index))
        case _:
            pass
