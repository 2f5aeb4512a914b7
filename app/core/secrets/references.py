"""References to named secrets inside targets: `${secret:NAME}`.

References are read in every place that can be secret, in the values of headers, and in a URL, but
not in its host: errors and name servers are told the host.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from app.core.net.url_parts import UrlParts, url_parts
from app.core.secrets.places import Part, replace_secrets

BEGINNING = "${secret:"
REFERENCE = re.compile(r"\$\{secret:([^${}]*)\}")
REFERENCE_ALONE = re.compile(
    r"(?:(?:Basic|Bearer|GenieKey|Token) )?\$\{secret:[^${}]*\}", re.IGNORECASE
)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
MAX_VALUE_LENGTH = 65_536
"""The most characters of a secret's value."""

MAX_REFERENCES = 200
"""The most references of one target that the API takes. Each may become `MAX_VALUE_LENGTH`
characters."""
MAX_STORED_REFERENCES = 10 * MAX_REFERENCES
"""The most references of one target that is carried out, whoever stored it: 0.1.0 took any number,
and what was stored then goes on. So many take the event loop up to 20 ms, in turn."""
MAX_FILLED = 4 * MAX_VALUE_LENGTH
"""The most characters that the references of one target become."""

PATH_SAFE = "/"
"""Not percent-encoded in a path: a secret may be several segments, as in chat webhooks."""


class FilledTooLong(ValueError):
    """The references of a target become more characters than `MAX_FILLED`."""


def is_reference(value: object) -> bool:
    """Return whether a text is only a reference, with no other part that could be a secret."""
    return isinstance(value, str) and REFERENCE_ALONE.fullmatch(value) is not None


def name_error(name: str) -> str | None:
    """Say why a secret cannot have this name; return None for one that is allowed."""
    if NAME.fullmatch(name):
        return None
    return "may have up to 100 letters, digits and _ . -, and begins with no . or -"


def names_in(target_type: type[Struct], target: dict[str, Any]) -> set[str]:
    """Return the names of the secrets that a target refers to."""
    return set(fields_in(target_type, target))


def fields_in(target_type: type[Struct], target: dict[str, Any]) -> dict[str, str]:
    """Return the secrets that a target refers to by name, each with the first field that does."""
    fields: dict[str, str] = {}

    def note(part: Part, value: object, _stored: object, field: str) -> object:
        def remember(name: str) -> str:
            fields.setdefault(name, field)
            return ""

        return filled(part, value, remember)

    replace_secrets(target_type, target, note)
    return fields


def with_values(
    target_type: type[Struct], target: dict[str, Any], values: Mapping[str, str]
) -> dict[str, Any]:
    """Return the target with the secrets in place of the references; `values` has them all.

    Raises:
        FilledTooLong: as many references to as long a secret become hundreds of megabytes.
    """
    left = MAX_FILLED

    def value_of(name: str) -> str:
        nonlocal left
        value = values[name]
        left -= len(value)
        if left < 0:
            message = f"its secrets have more than {MAX_FILLED} characters together"
            raise FilledTooLong(message)
        return value

    return replace_secrets(
        target_type, target, lambda part, value, _, __: filled(part, value, value_of)
    )


def filled(part: Part, value: object, value_of: Callable[[str], str]) -> object:
    """Return a value with its references filled in."""
    match value:
        case str() if BEGINNING not in value:
            return value
        case str() if part is Part.IN_URL:
            return filled_url(value, value_of)
        case str():
            return REFERENCE.sub(lambda match: value_of(match[1]), value)
        case dict():
            return {name: filled(part, item, value_of) for name, item in value.items()}
        case list():
            return [filled(part, item, value_of) for item in value]
        case _:
            return value


def filled_url(url: str, value_of: Callable[[str], str]) -> str:
    """Return a URL with its references filled in, percent-encoded."""

    def fill(text: str, safe: str) -> str:
        return REFERENCE.sub(lambda match: quote(value_of(match[1]), safe=safe), text)

    parts = url_parts(url)
    return str(
        UrlParts(
            parts.scheme,
            fill(parts.user, ""),
            fill(parts.password, ""),
            parts.host,
            fill(parts.path, PATH_SAFE),
        )
    )
