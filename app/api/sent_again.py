"""Answers that are kept for requests which may be sent twice, and sent again."""

import asyncio
import zlib
from typing import Any

from cryptography.fernet import InvalidToken
from litestar.types import Message, Send
from msgspec import Struct

from app.api.body import MAX_AT_ONCE_BYTES
from app.core.access.idempotency import HEADER
from app.db import Database, idempotency
from app.db.idempotency import Kept
from app.errors import AnswerTooLarge, IdempotencyKeyReused

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""The largest answer that is kept, in bytes as it is compressed."""
KEPT_HEADERS = (b"content-type", b"etag", b"location", b"cache-control")


class Answer(Struct, kw_only=True):
    """An answer that has yet to be sent."""

    status: int = 500
    """The status; 500 where a handler sent none."""
    headers: dict[str, str] = {}
    """The headers that are kept."""
    parts: list[bytes] = []
    messages: list[Message] = []

    async def take(self, message: Message) -> None:
        """Take a message of the answer."""
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode(): value.decode()
                for name, value in message["headers"]
                if name.lower() in KEPT_HEADERS
            }
        elif message["type"] == "http.response.body":
            self.parts.append(message["body"])

    @property
    def body(self) -> bytes:
        """The body as a whole."""
        return b"".join(self.parts)

    async def send(self, send: Send) -> None:
        """Send the answer on."""
        for message in self.messages:
            await send(message)


async def keep(db: Database, id: bytes, answer: Answer, cipher: Any) -> None:  # noqa: ANN401 - Fernet, or None
    """Keep an answer.

    Raises:
        AnswerTooLarge: it cannot be kept.
    """
    packed = await call_by_size(len(answer.body), zlib.compress, answer.body, 1)
    if cipher:
        packed = cipher.encrypt(packed)
    if len(packed) > MAX_ANSWER_BYTES:
        message = "the answer is too large to be kept: send fewer jobs at a time"
        raise AnswerTooLarge(message)
    await idempotency.keep(db, id, status=answer.status, headers=answer.headers, answer=packed)


async def send_either(
    send: Send,
    answer: Answer,
    kept: Kept | None,
    *,
    asked: bytes,
    cipher: Any,  # noqa: ANN401 - Fernet, or None
) -> None:
    """Send the answer, or the one that is kept of the first request with the key.

    Raises:
        IdempotencyKeyReused: the first one was another request.
    """
    if kept is None:
        await answer.send(send)
        return
    if kept.request != asked:
        message = (
            f"the {HEADER} was sent with another address or body within 24 hours: send a new key "
            "for a new request"
        )
        raise IdempotencyKeyReused(message)
    await send_kept(send, kept, opened(kept, cipher))


def opened(kept: Kept, cipher: Any) -> bytes:  # noqa: ANN401 - Fernet, or None
    """Return the body of a kept answer.

    Raises:
        IdempotencyKeyReused: it cannot be opened, as it is not what was kept.
    """
    try:
        return zlib.decompress(cipher.decrypt(kept.answer) if cipher else kept.answer)
    except (InvalidToken, zlib.error):
        message = "the answer that was kept cannot be read any more: send a new key"
        raise IdempotencyKeyReused(message) from None


async def send_kept(send: Send, kept: Kept, body: bytes) -> None:
    """Send an answer again, which a header says."""
    headers = [(name.encode(), value.encode()) for name, value in kept.headers.items()]
    headers += [(b"idempotency-replayed", b"true")]
    if kept.status != 204:  # noqa: PLR2004 - No Content
        headers += [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": kept.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def call_by_size(size: int, work: Any, *arguments: Any) -> bytes:  # noqa: ANN401 - any function
    """Call a function on so many bytes, beside the event loop if they are many."""
    if size <= MAX_AT_ONCE_BYTES:
        return bytes(work(*arguments))
    return bytes(await asyncio.to_thread(work, *arguments))
