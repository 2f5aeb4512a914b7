"""Splits a URL, even an invalid one, so that the password in it is found and can be masked."""

import re
from collections.abc import Callable
from typing import cast

from msgspec import Struct

URL = re.compile(
    r"(?P<scheme>(?:[^@/?#:]*:)?/+|[a-z][a-z0-9+.-]*:|)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
"""Any text before `//` counts as a scheme: after an invalid scheme, too, may come a password."""
PLAIN_AUTHORITY = re.compile(r"([^:@/?#]*|\[[^@/?#]*\])(:\d*)?([/?#].*)?", re.DOTALL)
USER = re.compile(r"(?:\$\{secret:[^${}]*\}|[^:])*+:")
"""A user and its colon; a reference to a named secret, which has a colon itself, counts as one."""


class UrlParts(Struct, frozen=True):
    """The pieces of a URL, which make up the URL again when joined."""

    scheme: str
    user: str
    """The user with its colon; empty if there is no colon."""
    password: str
    """The password, or a text without colon before the `@`: as likely a token as a user."""
    host: str
    """The `@`, if there is one, the host and the port."""
    path: str
    """The path, query and fragment."""

    def __str__(self) -> str:
        return f"{self.scheme}{self.user}{self.password}{self.host}{self.path}"

    def __repr__(self) -> str:
        return "UrlParts(***)"


def url_parts(url: str) -> UrlParts:
    """Split a URL into its pieces.

    An `@` in the path of a web address belongs to the path. In the address of a broker, the last
    `@` ends the password, which may have a `/` that should have been percent-encoded.
    """
    found = cast("re.Match[str]", URL.fullmatch(url))
    scheme, rest = found["scheme"], found["rest"]
    plain = "amqp" not in scheme.lower() and PLAIN_AUTHORITY.fullmatch(rest)
    end = -1 if plain else rest.rfind("@")
    userinfo, rest = rest[: max(end, 0)], rest[max(end, 0) :]
    user = match[0] if (match := USER.match(userinfo)) else ""
    path = re.search(r"[/?#]", rest)
    cut = path.start() if path else len(rest)
    return UrlParts(scheme, user, userinfo[len(user) :], rest[:cut], rest[cut:])


def with_password(url: str, change: Callable[[str], str]) -> str:
    """Return the URL with its password changed by `change`, if it has a password."""
    if "@" not in url:
        return url
    parts = url_parts(url)
    if not parts.host.startswith("@"):
        return url
    return str(UrlParts(parts.scheme, parts.user, change(parts.password), parts.host, parts.path))
