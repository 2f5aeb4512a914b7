"""Hides the secrets inside targets from whoever reads them, and puts hidden ones back."""

import re
from typing import Any, cast
from urllib.parse import unquote

from msgspec import Struct, to_builtins

from app.core.secret_places import (
    MASK,
    NAMED_SECRETS,
    NOTHING,
    URL_SECRET,
    Place,
    Secret,
    replaced,
    secret_fields,
    sounds_secret,
)
from app.errors import FieldError, InvalidInput

__all__ = [
    "MASK",
    "NAMED_SECRETS",
    "URL_SECRET",
    "Masked",
    "Secret",
    "mask",
    "secrets_of",
    "sounds_secret",
    "unmask",
    "without",
]

SHORTEST_HIDDEN = 4
"""Characters; taking anything shorter out of a text would shred it and hide nothing."""

URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*:/*)?(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
PLAIN_AUTHORITY = re.compile(r"([^:@/?#]*|\[[^@/?#]*\])(:\d*)?([/?#].*)?", re.DOTALL)


class Masked(Struct, frozen=True, kw_only=True):
    """A Struct that may be printed: its secrets read as `***`."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return list(mask(type(self), to_builtins(self)).items())


def mask(target_type: type[Struct] | None, target: dict[str, Any]) -> dict[str, Any]:
    """Show the target with `***` for every secret; of an unknown type (None), for every value."""
    return replaced(target_type, target, lambda place, value, _, __: hidden(place, value))


def unmask(
    target_type: type[Struct] | None, incoming: dict[str, Any], stored: dict[str, Any]
) -> dict[str, Any]:
    """Put the stored secret back wherever `incoming` has `***` for it.

    Raises:
        InvalidInput: nothing is stored for a `***`, or the URL around one was changed.
    """
    problems: list[FieldError] = []

    def put_back(place: Place, value: object, kept: object, field: str) -> object:
        if not is_hidden(place, value):
            return value
        if kept is not NOTHING and value in (MASK, hidden(place, kept)):
            return kept
        message = f"write the secret out: none is stored for this {MASK}"
        problems.append(FieldError(field=field, message=message))
        return value

    whole = replaced(target_type, incoming, put_back, stored=stored)
    if problems:
        raise InvalidInput(*problems)
    return whole


def secrets_of(target: Struct) -> set[str]:
    """Every secret text inside the target, to be taken out of what others say about it."""
    found: set[str] = set()

    def note(place: Place, value: object, _kept: object, _field: str) -> object:
        found.update(passwords(value) if place is Place.IN_URL else texts(value))
        return value

    names = secret_fields(type(target))
    fields = {name: value for name in names if (value := getattr(target, name))}
    replaced(type(target), to_builtins(fields), note)
    return found


def without(secrets: set[str], text: str) -> str:
    """`text` with `***` for each of the secrets that is not too short to be one."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_HIDDEN:
            text = text.replace(secret, MASK)
    return text


def hidden(place: Place, value: object) -> object:
    """What is shown instead of `value`: `***`, or a URL with `user:***` for who and with what."""
    if place is Place.WHOLE or not isinstance(value, str):
        return MASK
    if (span := userinfo(value)) is None:
        return value
    user, colon, _ = value[slice(*span)].partition(":")
    return f"{value[: span[0]]}{user + colon if colon else ''}{MASK}{value[span[1] :]}"


def is_hidden(place: Place, value: object) -> bool:
    """Whether `value` is what `hidden` makes of a secret."""
    in_url = place is Place.IN_URL and isinstance(value, str) and f"{MASK}@" in value
    return value == MASK or (in_url and hidden(place, value) == value)


def userinfo(url: str) -> tuple[int, int] | None:
    """Where the user and password are in `url`, which need not be a valid one.

    An `@` in the path of a web address belongs to the path; in the address of a broker it is taken
    for the end of a password, which may not have been percent-encoded as it should.
    """
    parts = cast("re.Match[str]", URL.fullmatch(url))
    scheme, rest = parts["scheme"] or "", parts["rest"]
    if "@" not in rest:
        return None
    if not scheme.lower().startswith("amqp") and PLAIN_AUTHORITY.fullmatch(rest):
        return None
    return len(scheme), len(scheme) + rest.rindex("@")


def passwords(url: object) -> set[str]:
    """The password inside `url`, as written and as meant."""
    if not isinstance(url, str) or (span := userinfo(url)) is None:
        return set()
    password = url[slice(*span)].partition(":")[2]
    return {password, unquote(password)}


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
