"""As much of Postgres's wire protocol, version 3, as it takes to know which statement is running.

Only for connections without TLS, and for clients that use the extended protocol, as asyncpg does.
"""

import struct

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
STARTUP_VERSION = 3


class Messages:
    """Cuts a stream into messages: one byte of type, four of length, the rest."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def whole(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the messages that `data` completes, as (type, content)."""
        self.buffer += data
        found = []
        while len(self.buffer) >= 5:
            end = 1 + int(struct.unpack_from("!i", self.buffer, 1)[0])
            if len(self.buffer) < end:
                break
            found.append((bytes(self.buffer[:1]), bytes(self.buffer[5:end])))
            del self.buffer[:end]
        return found


class Questions:
    """The client's side: its name at first, then statements, prepared once and bound often."""

    def __init__(self) -> None:
        self.application_name = ""
        self.begun = False
        self.opaque = False
        """This is not Postgres's protocol."""
        self.messages = Messages()
        self.prepared: dict[bytes, bytes] = {}

    def asked(self, data: bytes) -> list[bytes]:
        """Return the texts of the statements that `data` asks to be executed."""
        if not self.begun:
            data = self.begin(data)
        return (
            []
            if self.opaque
            else [text for one in self.messages.whole(data) for text in self.text(one)]
        )

    def begin(self, data: bytes) -> bytes:
        """Read the startup message; return what follows it."""
        if data.startswith(SSL_REQUEST):
            return b""
        self.begun = True
        length, version = struct.unpack_from("!ih", data) if len(data) >= 8 else (0, 0)
        if version != STARTUP_VERSION:
            self.opaque = True
            return b""
        words = data[8:length].split(b"\0")
        parameters = dict(zip(words[::2], words[1::2], strict=False))
        self.application_name = parameters.get(b"application_name", b"").decode()
        return data[length:]

    def text(self, message: tuple[bytes, bytes]) -> list[bytes]:
        type_, content = message
        if type_ == b"P":  # Parse: the statement's name and text
            name, text, *_ = content.split(b"\0", 2)
            self.prepared[name] = text
        elif type_ == b"B":  # Bind: the portal's name, the statement's name
            _, name, *_ = content.split(b"\0", 2)
            return [self.prepared.get(name, b"")]
        elif type_ == b"Q":
            return [content]
        return []


class Answers:
    """Awaits the end of an answer: ReadyForQuery, which the server sends once it has committed."""

    def __init__(self) -> None:
        self.messages = Messages()

    def complete(self, data: bytes) -> bool:
        return any(type_ == b"Z" for type_, _ in self.messages.whole(data))
