"""The forms of host names, addresses and name servers."""

import re
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address

from app.config import PREFIX
from app.errors import InvalidSettings

SERVER = re.compile(r"(\[(?P<bracketed>[^\]]*)\]|(?P<plain>[^:\[]*))(:(?P<port>[0-9]{1,5}))?")
HIGHEST_PORT = 65_535


@lru_cache(maxsize=4096)  # asked four times for each job
def is_address(host: str) -> bool:
    """Return whether the text is an IP address rather than a name."""
    if not host[:1].isdigit() and ":" not in host:
        return False  # the usual case, without the cost of an exception
    with suppress(ValueError):
        ip_address(host)
        return True
    return False


def checked(server: str) -> str:
    """Return the address of a name server, if valid.

    Raises:
        InvalidSettings: the text is no address of a name server.
    """
    found = SERVER.fullmatch(server)
    address = (found["bracketed"] or found["plain"]) if found else server
    port = int((found and found["port"]) or 53)
    if not is_address(address) or not 0 < port <= HIGHEST_PORT:
        raise InvalidSettings(
            f"{PREFIX}NAME_SERVERS: {server!r} is no address of a name server: write it as "
            "10.0.0.2, 10.0.0.2:53 or [2001:db8::2]:53"
        )
    return server


def zone_of(name: str) -> str:
    """Return the last two labels of a name: the owner of a domain can make any number of names."""
    return ".".join(name.rstrip(".").rsplit(".", 2)[-2:])
