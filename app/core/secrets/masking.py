"""Masks the secrets inside targets as `***`, and restores masked ones from what is stored."""

import re
from collections.abc import Iterable
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
    Part,
    Secret,
    Spot,
    change_spots,
    replace_secrets,
    sounds_secret,
    spots_in,
    struct_fields,
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
    "unmask_spots",
]

MIN_PIECE_LENGTH = 8
"""The fewest characters of such a part."""
WORD = re.compile(r"[^\s;,=\"']{8,}")
"""A part of a header such as `Bearer abc…` or `sid=abc…; path=/` that servers may repeat alone."""
SEGMENT = re.compile(r"[^/]{8,}")
"""A part of a secret path such as `T0/B0/abc…` that servers may repeat alone."""


class Masked(Struct, frozen=True, kw_only=True):
    """A Struct that can be printed safely: its secrets read `***`."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return list(mask(type(self), to_builtins(self, enc_hook=as_text)).items())


class Unshown(Struct, frozen=True):
    """A Struct with secrets that its types do not mark, so that its repr shows no field at all."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({MASK})"


def mask(target_type: type[Struct] | None, target: dict[str, Any]) -> dict[str, Any]:
    """Return the target with `***` for every secret; without a type, for every value."""
    return replace_secrets(target_type, target, lambda part, value, _, __: masked(part, value))


def unmask(
    target_type: type[Struct] | None, incoming: dict[str, Any], stored: dict[str, Any]
) -> dict[str, Any]:
    """Return `incoming` with the stored secret in place of each `***`.

    Raises:
        InvalidInput: no secret is stored for a `***`, or the URL around a `***` was changed.
    """
    return unmask_spots(incoming, spots_in(target_type, incoming, stored=stored))


def unmask_spots(incoming: dict[str, Any], spots: Iterable[Spot]) -> dict[str, Any]:
    """Return `incoming` with stored secrets put back in its spots, as `unmask` does.

    Returns `incoming` itself where nothing is masked.

    Raises:
        InvalidInput: as `unmask` does.
    """
    masks = [spot for spot in spots if is_masked(spot.part, spot.value)]
    message = f"write the secret out: none is stored for this {MASK}"
    errors = [
        FieldError(field=spot.field, message=message)
        for spot in masks
        if spot.stored is NOTHING or spot.value not in (MASK, masked(spot.part, spot.stored))
    ]
    if errors:
        raise InvalidInput(*errors)
    return change_spots(incoming, masks, lambda spot: spot.stored)


def secrets_of(target: Struct) -> set[str]:
    """Return every secret text inside a target, to be redacted in answers and errors."""
    fields = {}
    for name, form in struct_fields(type(target)).items():
        if form is None or not (value := getattr(target, name)):
            continue
        if form.is_url and isinstance(value, str) and "@" not in value:
            continue  # there is no password, as in nearly all
        fields[name] = value
    return secrets_in(type(target), to_builtins(fields, enc_hook=as_text)) if fields else set()


def secrets_in(target_type: type[Struct] | None, target: dict[str, Any]) -> set[str]:
    """Return every secret text inside the JSON of a target, which need not be valid."""
    found: set[str] = set()
    for spot in spots_in(target_type, target):
        match spot.part, spot.value:
            case Part.IN_URL, str(value):
                if "@" in value:  # else there is no password, as in nearly all
                    password = url_parts(value).password
                    found.update((password, unquote(password)))
            case Part.NONE, _:
                pass
            case _, value:
                for text in texts(value):
                    found.update(pieces(text))
    return found - {""}


def pieces(secret: str) -> set[str]:
    """Return a secret, and those parts of it that servers may repeat alone."""
    if len(secret) < MIN_PIECE_LENGTH:
        return {secret}
    words = WORD.findall(secret)
    return {secret, *words, *(part for word in words for part in SEGMENT.findall(word))}


def masked(part: Part, value: object) -> object:
    """Return `***` in place of a secret value; of a URL, only the password is replaced.

    A reference such as `${secret:NAME}` is kept: the name is no secret.
    """
    match part, value:
        case Part.NONE, _:
            return value
        case Part.IN_URL, str():
            return with_password(value, lambda text: text if is_reference(text) else MASK)
        case _:
            return value if is_reference(value) else MASK


def is_masked(part: Part, value: object) -> bool:
    """Return whether `value` can be what `masked` makes of a secret."""
    match part, value:
        case Part.NONE, _:
            return False
        case Part.IN_URL, str():
            return MASK in value and (value == MASK or url_parts(value).password == MASK)
        case _:
            return value == MASK


def texts(value: object) -> set[str]:
    """Return every text in a JSON value, at any depth; never recurses."""
    found: set[str] = set()
    left = [value]
    while left:
        match left.pop():
            case str(text):
                found.add(text)
            case dict(inner):
                left += inner.values()
            case list(inner):
                left += inner
            case _:
                pass
    return found
