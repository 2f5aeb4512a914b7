"""Answers HEAD as GET, without the body, also where that would go on for ever."""

import asyncio

from litestar.types import HTTPDisconnectEvent, Message, Receive, ReceiveMessage, Send


def as_head(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return how what answers a GET receives and sends for a HEAD.

    Its answer ends with its head. What goes on sending, as a stream of events does, is told then
    that its client has gone.
    """
    answered = asyncio.Event()
    asked: list[ReceiveMessage] = []

    async def receive_head() -> ReceiveMessage:
        if not asked:
            asked.append(await receive())
            return asked[0]
        await answered.wait()
        return HTTPDisconnectEvent(type="http.disconnect")

    async def send_head(message: Message) -> None:
        if answered.is_set():
            return
        if message["type"] == "http.response.body":
            answered.set()
            message = message | {"body": b"", "more_body": False}
        await send(message)

    return receive_head, send_head
