"""Judges what a broker sends, frame by frame, before the client reads it.

The client trusts its broker: frames of any length are read into memory, every table is decoded, and
the number of frames has no bound. Tocsin calls brokers of strangers, too. A publisher needs few of
the frames that a broker can send (AMQP 0-9-1, sections 4.2 and 1.4); any other ends the connection.
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
"""The longest frame before both sides agree on a size, in bytes; the protocol says 4096, and some
brokers send a little more."""
SMALLEST_FRAME_MAX = 4096
"""The smallest size of frames that the protocol allows to agree on, in bytes."""
LARGEST_FRAME_MAX = 131_072
"""The largest size of frames that Tocsin agrees to, in bytes, as is usual for clients."""
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
"""The methods, by class and number, that a broker may send to a publisher."""

FIRST_CREDIT = 256.0
"""The credit of a new connection. A frame costs 1, and 1 more for each `BYTES_PER_CREDIT`."""
CREDIT_PER_SECOND = 20.0
"""The credit that each second earns, for frames that are no answers: heartbeats and alarms, of
which there are a few per minute."""
CREDIT_PER_WRITE = 8.0
"""The credit that each write earns, for its answer: a confirmation, and maybe the returned message.
In addition, each byte written earns twice what a byte received costs."""
BYTES_PER_CREDIT = 1024
"""The bytes of a frame that cost one credit, in addition to the one for the frame itself."""

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
    """How much a broker may still send: each frame costs one, and one more for each KiB.

    Without credit left the connection ends, so that a broker cannot keep the process busy.
    """

    def __init__(self, clock: Monotonic) -> None:
        self.left = FIRST_CREDIT
        self.clock = clock
        self.counted_at = clock()

    def earn(self, sent: int) -> None:
        """Add credit for `sent` bytes that were written."""
        self.left += CREDIT_PER_WRITE + 2 * sent / BYTES_PER_CREDIT

    def pay(self, size: int) -> None:
        """Take credit for a frame of `size` bytes that came.

        Raises:
            BrokerMisbehaved: there is not enough credit.
        """
        self.left -= 1 + size / BYTES_PER_CREDIT
        if self.left < 0:
            now = self.clock()
            self.left += (now - self.counted_at) * CREDIT_PER_SECOND
            self.counted_at = now
        if self.left < 0:
            raise BrokerMisbehaved("the broker sent much more than it was asked for")


class Frames:
    """The stream that the client reads: whole frames, each of which was judged."""

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
        """Return nothing: the client calls this to skip what follows a broken frame."""
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
                self.ready = await self.read_frame()
            except BrokerMisbehaved as fault:
                self.fault = fault
                raise
        piece, self.ready = self.ready[:n], self.ready[n:]
        return piece

    async def read_frame(self) -> bytes:
        """Read frames up to the next one that the client needs, and return that one."""
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
            BrokerMisbehaved: no broker sends such a frame to a publisher, or not at this time.
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
        """Return the broker's proposal of sizes and heartbeats, limited to what Tocsin agrees to.

        The client would agree to any proposal.
        """
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
    """Return the header of a returned message with its message id alone, and no table.

    Raises:
        BrokerMisbehaved: the header cannot be read.
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
    """The stream that the client writes, which earns credit for each write."""

    def __init__(self, writer: asyncio.StreamWriter, credit: Credit) -> None:
        self.writer = writer
        self.credit = credit

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        return getattr(self.writer, name)

    def write(self, data: bytes) -> None:
        """Write, and earn credit for the broker's answer."""
        self.credit.earn(len(data))
        self.writer.write(data)
