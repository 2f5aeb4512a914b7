"""Lets the kernel find a connection that is half-open while nothing is asked of it."""

import socket

import asyncpg

from app.dsn import Address

KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 15_000}
"""A peer that vanished without a word is found after about 10 + 3 x 3 s of silence."""

PARAMETERS = {
    "TCP_KEEPIDLE": "keepalives_idle",
    "TCP_KEEPINTVL": "keepalives_interval",
    "TCP_KEEPCNT": "keepalives_count",
    "TCP_USER_TIMEOUT": "tcp_user_timeout",
}
"""By which an address may say otherwise; 0 leaves it to the system."""

LARGEST = {"TCP_KEEPIDLE": 32_767, "TCP_KEEPINTVL": 32_767, "TCP_KEEPCNT": 127}
"""What Linux takes."""


def keep_alive(connection: asyncpg.Connection, address: Address) -> None:
    """Set the socket up, where the system can."""
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
