"""The hosts that a stored target is for: by these, slots are shared and names looked up ahead."""

import re
from contextlib import suppress
from functools import lru_cache

from yarl import URL

from app.targets.registry import addresses_of

MAX_CACHED_NAMES = 4096
"""Of how many hosts, or lists of hosts, the names are remembered."""
MAX_HOST_LENGTH = 300
"""More characters than any host with its port has, as a name has up to 255."""
HOST = re.compile(r"[^/?#]*//(?:[^/?#]*@)?((?:\[[^\[\]/?#]*\])?[^\[\]/?#]*)(?![\[\]])")
"""Matches a URL; the group is `host:port` (RFC 3986, appendix B)."""


def hosts_of(kind: str, target: str) -> tuple[str, ...]:
    """Return `host:port` of each server that a stored target is for, the principal one first.

    The text is empty for a server that cannot be read. A target that names none has no entries.
    """
    return tuple([host_in("/".join(one.split("/", 3)[:3])) for one in addresses_of(kind, target)])


@lru_cache(maxsize=MAX_CACHED_NAMES)
def host_in(origin: str) -> str:
    """Return `host:port` of a URL, of which all from its path on may be left out."""
    found = HOST.match(origin)
    return found[1] if found and len(found[1]) <= MAX_HOST_LENGTH else ""


@lru_cache(maxsize=MAX_CACHED_NAMES)
def names_of(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, or addresses, of these hosts, each once."""
    return tuple(dict.fromkeys(filter(None, map(name_of, hosts))))


@lru_cache(maxsize=MAX_CACHED_NAMES)
def name_of(host: str) -> str:
    """Return a host's name without the port, as the resolver takes names; empty if invalid."""
    with suppress(ValueError):
        return URL(f"//{host}").raw_host or ""
    return ""
