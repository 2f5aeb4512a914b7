"""Bodies of requests as they come in, as far as they may go."""

from collections.abc import AsyncIterator

from tocsin.receiver.signatures import Receiver, too_large


async def read_bounded(parts: AsyncIterator[bytes], receiver: Receiver) -> bytes:
    """Return a body.

    Raises:
        Rejected: 413, it is too large.
    """
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > receiver.max_body_bytes:
            raise too_large(receiver)
    return bytes(body)
