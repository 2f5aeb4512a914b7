"""Has the kernel probe idle connections, so that a half-open one is found."""

import socket

import asyncpg

from app.dsn import Address

KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 15_000}
"""Seconds idle before the first probe, seconds between probes, probes before the connection counts
as lost (10 + 3 x 3 s), and milliseconds that sent data may stay unacknowledged."""

PARAMETERS = {
    "TCP_KEEPIDLE": "keepalives_idle",
    "TCP_KEEPINTVL": "keepalives_interval",
    "TCP_KEEPCNT": "keepalives_count",
    "TCP_USER_TIMEOUT": "tcp_user_timeout",
}
"""The parameters of an address that replace these values; 0 stands for the system's default."""

LARGEST = {"TCP_KEEPIDLE": 32_767, "TCP_KEEPINTVL": 32_767, "TCP_KEEPCNT": 127}
"""The largest values that Linux accepts."""


def keep_alive(connection: asyncpg.Connection, address: Address) -> None:
    """Switch keepalive probes on, as far as the system has the options."""
    # asyncpg offers no other way to its socket; a test watches that this attribute stays.
    transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001 - private
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if address.number("keepalives") == 0:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, usual in KEEPALIVE.items():
        given = address.number(PARAMETERS[option])
        value = min(usual if given is None else given, LARGEST.get(option, 2**31 - 1))
        if value > 0 and hasattr(socket, option):  # macOS lacks some
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
