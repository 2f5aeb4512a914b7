"""Hides the secrets inside targets from whoever reads them, and puts hidden ones back."""

import re
from typing import Any
from urllib.parse import unquote

from msgspec import Struct, to_builtins

from app.core.jobs.exact_json import as_text
from app.core.net.url_parts import url_parts, with_password
from app.core.secrets.places import (
    MASK,
    NAMED_SECRETS,
    NOTHING,
    SECRET,
    URL_SECRET,
    Place,
    Secret,
    replaced,
    secret_fields,
    sounds_secret,
)
from app.core.secrets.redaction import holds, redact
from app.core.secrets.references import is_reference
from app.errors import FieldError, InvalidInput

__all__ = [
    "MASK",
    "NAMED_SECRETS",
    "SECRET",
    "URL_SECRET",
    "Masked",
    "Secret",
    "Unshown",
    "holds",
    "mask",
    "pieces",
    "redact",
    "secrets_in",
    "secrets_of",
    "sounds_secret",
    "unmask",
]

WORD = re.compile(r"[^\s;,=\"']{8,}")
"""What may be repeated alone of a header such as `Bearer abc…` or `sid=abc…; path=/`."""
SEGMENT = re.compile(r"[^/]{8,}")
"""And of what stands in a path, such as `T0/B0/abc…`."""


class Masked(Struct, frozen=True, kw_only=True):
    """A Struct that may be printed: its secrets read as `***`."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return list(mask(type(self), to_builtins(self, enc_hook=as_text)).items())


class Unshown(Struct, frozen=True):
    """A Struct that holds secrets where no type can tell; printed, it shows nothing."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({MASK})"


def mask(target_type: type[Struct] | None, target: dict[str, Any]) -> dict[str, Any]:
    """Show the target with `***` for every secret; of an unknown type (None), for every value."""
    return replaced(target_type, target, lambda place, value, _, __: masked(place, value))


def unmask(
    target_type: type[Struct] | None, incoming: dict[str, Any], stored: dict[str, Any]
) -> dict[str, Any]:
    """Put the stored secret back wherever `incoming` has `***` for it.

    Raises:
        InvalidInput: nothing is stored for a `***`, or the URL around one was changed.
    """
    errors: list[FieldError] = []

    def put_back(place: Place, value: object, kept: object, field: str) -> object:
        if not is_masked(place, value):
            return value
        if kept is not NOTHING and value in (MASK, masked(place, kept)):
            return kept
        message = f"write the secret out: none is stored for this {MASK}"
        errors.append(FieldError(field=field, message=message))
        return value

    whole = replaced(target_type, incoming, put_back, stored=stored)
    if errors:
        raise InvalidInput(*errors)
    return whole


def secrets_of(target: Struct) -> set[str]:
    """Every secret text inside the target, to be taken out of what others say about it."""
    names = secret_fields(type(target))
    fields = {name: value for name in names if (value := getattr(target, name))}
    return secrets_in(type(target), to_builtins(fields, enc_hook=as_text))


def secrets_in(target_type: type[Struct] | None, target: dict[str, Any]) -> set[str]:
    """Every secret text inside the JSON of a target, which may be wrong in any way."""
    found: set[str] = set()

    def note(place: Place, value: object, _kept: object, _field: str) -> object:
        match place, value:
            case Place.IN_URL, str():
                password = url_parts(value).password
                found.update((password, unquote(password)))
            case Place.NONE, _:
                pass
            case _:
                for text in texts(value):
                    found.update(pieces(text))
        return value

    replaced(target_type, target, note)
    return found - {""}


def pieces(secret: str) -> set[str]:
    """A secret, and what may be repeated alone of it."""
    words = WORD.findall(secret)
    return {secret, *words, *(part for word in words for part in SEGMENT.findall(word))}


def masked(place: Place, value: object) -> object:
    """What is shown instead of `value`: `***`, or a URL with `user:***` for who and with what.

    A reference is no secret: it shows by which name the secret is known.
    """
    match place, value:
        case Place.NONE, _:
            return value
        case Place.IN_URL, str():
            return with_password(value, lambda text: text if is_reference(text) else MASK)
        case _:
            return value if is_reference(value) else MASK


def is_masked(place: Place, value: object) -> bool:
    """Whether `value` is what `masked` makes of a secret."""
    match place, value:
        case Place.NONE, _:
            return False
        case Place.IN_URL, str():
            return MASK in value and (value == MASK or url_parts(value).password == MASK)
        case _:
            return value == MASK


def texts(value: object) -> set[str]:
    """Every text in a JSON value, at any depth."""
    match value:
        case str():
            return {value}
        case dict():
            return set[str]().union(*map(texts, value.values()))
        case list():
            return set[str]().union(*map(texts, value))
        case _:
            return set()
