"""Where things are in an address, which need not be a valid one."""

import re
from collections.abc import Callable
from typing import cast

from msgspec import Struct

URL = re.compile(
    r"(?P<scheme>(?:[^@/?#:]*:)?/+|[a-z][a-z0-9+.-]*:|)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
"""Whatever stands before `//` is taken for a scheme: what follows may be a password even so."""
PLAIN_AUTHORITY = re.compile(r"([^:@/?#]*|\[[^@/?#]*\])(:\d*)?([/?#].*)?", re.DOTALL)
USER = re.compile(r"(?:\$\{secret:[^${}]*\}|[^:])*+:")
"""A reference to a named secret has a colon of its own."""


class UrlParts(Struct, frozen=True):
    """An address in pieces; joined they are the address again."""

    scheme: str
    user: str
    """With its colon; empty where there is none."""
    password: str
    """Or what stands alone before the `@`: as likely a token as a name."""
    host: str
    """From the `@` on, if there is one, with the port."""
    path: str
    """And query and fragment."""

    def __str__(self) -> str:
        return f"{self.scheme}{self.user}{self.password}{self.host}{self.path}"

    def __repr__(self) -> str:
        return "UrlParts(***)"


def url_parts(url: str) -> UrlParts:
    """Take an address apart.

    An `@` in the path of a web address belongs to the path; in the address of a broker it is taken
    for the end of a password, which may not have been percent-encoded as it should.
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
    """The address with another password, if it has one."""
    if "@" not in url:
        return url
    parts = url_parts(url)
    if not parts.host.startswith("@"):
        return url
    return str(UrlParts(parts.scheme, parts.user, change(parts.password), parts.host, parts.path))
