"""What names, addresses and name servers look like."""

import re
from contextlib import suppress
from ipaddress import ip_address

from app.config import PREFIX
from app.errors import InvalidSettings

SERVER = re.compile(r"(\[(?P<bracketed>[^\]]*)\]|(?P<plain>[^:\[]*))(:(?P<port>[0-9]{1,5}))?")
HIGHEST_PORT = 65_535


def is_address(host: str) -> bool:
    """Whether the text is an IP address rather than a name."""
    if not host[:1].isdigit() and ":" not in host:
        return False  # as most are: to raise and catch an error takes longer
    with suppress(ValueError):
        ip_address(host)
        return True
    return False


def checked(server: str) -> str:
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
    """The last two labels: whoever has a domain has as many names below it as they like."""
    return ".".join(name.rstrip(".").rsplit(".", 2)[-2:])
