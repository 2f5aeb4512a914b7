"""One HTTP connection: what becomes of it when an exchange is over."""

import asyncio
import socket
from time import monotonic

from app.targets.http.answer import HttpAnswer
from app.targets.http.protocol import HttpProtocol
from app.timers import SharedTimers

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_who_gives_up_an_answer_that_is_complete_closes_no_connection_of_others() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    protocol = HttpProtocol(loop, monotonic, SharedTimers(loop))
    free: list[HttpProtocol] = []
    protocol.when_free = free.append
    await loop.create_connection(lambda: protocol, sock=ours)
    cancelled, other = HttpAnswer(), HttpAnswer()

    protocol.ask(REQUEST, cancelled, to_head=False, ends_at=None)
    protocol.data_received(DONE)
    asked_next = protocol.ask(REQUEST, other, to_head=False, ends_at=None)
    cancelled.drop()  # as of a task that was cancelled before it ran on
    theirs.send(DONE)
    await asked_next

    assert (free, other.status) == ([protocol, protocol], 200)
    protocol.drop()
    theirs.close()
