"""Named secrets bound to hosts: which they may be sent to, and which a target sends them to."""

from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import Any

from app.core.egress import LONGEST_HOST, NAME, Listed, normalized
from app.core.urls import parsed_url

MOST_HOSTS = 100


def host_fault(host: str) -> str | None:
    """Say why a secret cannot be bound to this; None: it can."""
    if len(host) <= LONGEST_HOST and (NAME.fullmatch(normalized(host)) or is_address(host)):
        return None
    return (
        f"{host[:LONGEST_HOST]!r} is no host: write api.example.com, *.example.com or an address, "
        "without a port"
    )


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def strangers(bound_to: Collection[str], hosts: Collection[str]) -> list[str]:
    """Name those of the hosts that a secret bound to `bound_to` may not be sent to.

    Bound to none, it may be sent anywhere. `*.example.com` stands for all below `example.com`.
    """
    if not bound_to:
        return []
    names = Listed(hosts=frozenset(normalized(one) for one in bound_to if not is_address(one)))
    addresses = {str(ip_address(one)) for one in bound_to if is_address(one)}
    return sorted(
        host
        for host in hosts
        if (
            str(ip_address(host)) not in addresses if is_address(host) else not names.has_host(host)
        )
    )


def hosts_of(target: dict[str, Any]) -> set[str]:
    """Name every host that a target would be sent to, or asks for a proof.

    `url` says so, and what ends in `_url`, in the target and in its `auth`. Of an address that
    cannot be read the host is empty, and no secret is bound to that.
    """
    auth = target.get("auth")
    return {host_in(url) for part in (target, auth) for url in addresses_in(part)}


def addresses_in(part: object) -> Iterator[object]:
    if isinstance(part, dict):
        yield from (
            value
            for name, value in part.items()
            if name == "url" or (name.endswith("_url") and value is not None)
        )


def host_in(url: object) -> str:
    try:
        return normalized(parsed_url(str(url)).raw_host or "")
    except ValueError:
        return ""
