"""Judges what a broker sends, frame by frame, before the client reads it.

The client trusts its broker: it reads frames of any length into memory, decodes every table and
takes any number of frames. Tocsin calls brokers of strangers, too. A publisher needs little of what
a broker can say (AMQP 0-9-1, sections 4.2 and 1.4), and all else ends the connection.
"""

import asyncio
import struct
from enum import IntEnum
from typing import Any, Final

from aiormq.exceptions import AMQPConnectionError

from app.timers import Monotonic

HEAD: Final = struct.Struct(">BHI")
"""The head of a frame: its type, channel and length; the payload follows, and `END`."""
END: Final = 0xCE
METHOD_HEAD: Final = struct.Struct(">HH")
TUNING: Final = struct.Struct(">HHHIH")
CONTENT: Final = struct.Struct(">HHQH")

MAX_HANDSHAKE_BYTES = 8192
"""The longest frame before sizes are agreed upon; the protocol has 4096, some brokers a little
more."""
SMALLEST_FRAME_MAX = 4096
LARGEST_FRAME_MAX = 131_072
"""We agree to no larger frames, as is usual, nor to an unlimited size."""
MAX_CHANNELS = 2047

TUNE = (10, 30)
RETURN = (60, 50)
EXPECTED: Final = frozenset(
    {
        *((10, 10), TUNE, (10, 41), (10, 50), (10, 51), (10, 60), (10, 61)),  # of connections
        *((20, 11), (20, 20), (20, 21), (20, 40), (20, 41)),  # of channels
        *(RETURN, (60, 80), (60, 120), (85, 11)),  # of messages and their confirmation
    }
)
"""Class and method of all that a broker has to tell a publisher."""

FIRST_CREDIT = 256.0
"""The credit of a new connection. A frame costs 1, and 1 more for each `BYTES_PER_CREDIT`."""
CREDIT_PER_SECOND = 20.0
"""The credit that each second earns, for frames that come unasked: heartbeats and alarms, of which
there are a few per minute."""
CREDIT_PER_WRITE = 8.0
"""For the answer to each write: a confirmation, and before it perhaps the returned message. So each
byte written earns twice what a byte received costs."""
BYTES_PER_CREDIT = 1024

MESSAGE_ID = 0x0080
SHORT, TABLE, OCTET = "short", "table", "octet"
BEFORE_MESSAGE_ID: Final = (
    (0x8000, SHORT),  # content-type
    (0x4000, SHORT),  # content-encoding
    (0x2000, TABLE),  # headers
    (0x1000, OCTET),  # delivery-mode
    (0x0800, OCTET),  # priority
    (0x0400, SHORT),  # correlation-id
    (0x0200, SHORT),  # reply-to
    (0x0100, SHORT),  # expiration
)


class Kind(IntEnum):
    """The type of a frame."""

    METHOD = 1
    HEADER = 2
    BODY = 3
    HEARTBEAT = 8


class BrokerMisbehaved(AMQPConnectionError):
    """A broker sent what no broker sends to a publisher; the message says what."""


class Credit:
    """How much a broker may still send: a frame costs one, and one more for each KiB of it.

    Raises BrokerMisbehaved when there is none left, so that a flood ends its connection instead
    of keeping this process busy.
    """

    def __init__(self, clock: Monotonic) -> None:
        self.left = FIRST_CREDIT
        self.clock = clock
        self.counted_at = clock()

    def earn(self, sent: int) -> None:
        """We wrote so many bytes."""
        self.left += CREDIT_PER_WRITE + 2 * sent / BYTES_PER_CREDIT

    def pay(self, size: int) -> None:
        """A frame of so many bytes came."""
        self.left -= 1 + size / BYTES_PER_CREDIT
        if self.left < 0:
            now = self.clock()
            self.left += (now - self.counted_at) * CREDIT_PER_SECOND
            self.counted_at = now
        if self.left < 0:
            raise BrokerMisbehaved("the broker sent much more than it was asked for")


class Frames:
    """Stands in for the stream that the client reads, and gives it whole, judged frames."""

    def __init__(self, reader: asyncio.StreamReader, credit: Credit) -> None:
        self.reader = reader
        self.credit = credit
        self.longest = MAX_HANDSHAKE_BYTES
        self.ready = b""
        self.fault: BrokerMisbehaved | None = None
        self.returning: dict[int, bool] = {}
        """Channels on which the header of a returned message comes next."""

    def at_eof(self) -> bool:
        return not self.ready and self.reader.at_eof()

    async def read(self, n: int = -1) -> bytes:
        """Return nothing: the client calls this to throw away what follows a broken frame."""
        del n
        return b""

    async def readexactly(self, n: int) -> bytes:
        """Return the next `n` bytes, which never reach into a second frame.

        Raises:
            BrokerMisbehaved: a frame is none of those that a publisher expects.
            IncompleteReadError: the connection ended.
        """
        if not self.ready:
            try:
                self.ready = await self.frame()
            except BrokerMisbehaved as fault:
                self.fault = fault
                raise
        piece, self.ready = self.ready[:n], self.ready[n:]
        return piece

    async def frame(self) -> bytes:
        """Return the next frame that is of use to the client."""
        while True:
            head = await self.reader.readexactly(HEAD.size)
            if head.startswith(b"AMQP"):
                return head  # another version of the protocol, as the client knows to say
            kind, channel, size = HEAD.unpack(head)
            if size > self.longest:
                raise BrokerMisbehaved(
                    f"the broker sent a frame of {size} bytes, and {self.longest} were agreed upon"
                )
            self.credit.pay(size)
            rest = await self.reader.readexactly(size + 1)
            if rest[-1] != END:
                raise BrokerMisbehaved("the broker sent a frame without its end")
            if (payload := self.judged(kind, channel, rest[:-1])) is not None:
                return HEAD.pack(kind, channel, len(payload)) + payload + bytes((END,))

    def judged(self, kind: int, channel: int, payload: bytes) -> bytes | None:
        """Return a frame's payload as the client is to see it; None hides the frame.

        Raises:
            BrokerMisbehaved: it may not come, or not now.
        """
        match kind:
            case Kind.METHOD if len(payload) >= METHOD_HEAD.size:
                return self.judged_method(channel, payload)
            case Kind.HEADER if self.returning.pop(channel, False):
                return without_headers(payload)
            case Kind.BODY:
                return None  # of a returned message, which is told by its header
            case Kind.HEARTBEAT if not payload:
                return payload
            case _:
                raise BrokerMisbehaved(f"the broker sent a frame of type {kind} that is none")

    def judged_method(self, channel: int, payload: bytes) -> bytes:
        method = METHOD_HEAD.unpack_from(payload)
        if method not in EXPECTED:
            raise BrokerMisbehaved(f"the broker sent method {method}, not meant for publishers")
        if method == RETURN:
            self.returning[channel] = True
        if method == TUNE:
            return self.tuned(payload)
        return payload

    def tuned(self, payload: bytes) -> bytes:
        """Agree to what the broker proposes, within bounds; the client agrees to anything."""
        try:
            *method, channels, frame_max, heartbeat = TUNING.unpack(payload)
        except struct.error:
            raise BrokerMisbehaved("the broker proposed no limits that can be read") from None
        if 0 < frame_max < SMALLEST_FRAME_MAX:
            raise BrokerMisbehaved(
                f"the broker wants frames of {frame_max} bytes, and AMQP has {SMALLEST_FRAME_MAX}"
            )
        frame_max = min(frame_max or LARGEST_FRAME_MAX, LARGEST_FRAME_MAX)
        self.longest = frame_max - HEAD.size - 1
        return TUNING.pack(
            *method, min(channels or MAX_CHANNELS, MAX_CHANNELS), frame_max, heartbeat
        )


def without_headers(payload: bytes) -> bytes:
    """Keep of the header of a returned message what tells it from others: no table, no size.

    Raises:
        BrokerMisbehaved: it cannot be read.
    """
    try:
        class_id, weight, _, flags = CONTENT.unpack_from(payload)
        position = CONTENT.size
        for flag, kind in BEFORE_MESSAGE_ID:
            if flags & flag:
                position += length_of(kind, payload, position)
        if not flags & MESSAGE_ID:
            return CONTENT.pack(class_id, weight, 0, 0)
        message_id = payload[position : position + 1 + payload[position]]
    except (struct.error, IndexError):
        raise BrokerMisbehaved("the broker returned a message that cannot be read") from None
    return CONTENT.pack(class_id, weight, 0, MESSAGE_ID) + message_id


def length_of(kind: str, payload: bytes, position: int) -> int:
    """Return how many bytes a property takes."""
    match kind:
        case "table":
            return 4 + int(struct.unpack_from(">I", payload, position)[0])
        case "short":
            return 1 + payload[position]
        case _:
            return 1


class Writer:
    """Stands in for the stream that the client writes, and counts what its broker may answer."""

    def __init__(self, writer: asyncio.StreamWriter, credit: Credit) -> None:
        self.writer = writer
        self.credit = credit

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        return getattr(self.writer, name)

    def write(self, data: bytes) -> None:
        """Write, for which the broker may answer."""
        self.credit.earn(len(data))
        self.writer.write(data)
