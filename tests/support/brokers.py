"""Brokers that are none: each follows a script, in a thread, on real sockets."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from aiormq import spec as commands
from aiormq.abc import ChannelFrame

Method = (
    commands.Connection.Start
    | commands.Connection.Tune
    | commands.Connection.OpenOk
    | commands.Channel.OpenOk
    | commands.Confirm.SelectOk
)
START = commands.Connection.Start(
    server_properties={"capabilities": {"publisher_confirms": True, "basic.nack": True}}
)


class Client:
    """The client's side as a script sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = b""

    def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            piece = self.connection.recv(65_536)
            if not piece:
                raise ConnectionResetError
            self.buffer += piece
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def method(self) -> tuple[int, int]:
        """Read frames up to the next method; return the numbers of its class and itself."""
        while True:
            kind, _, size = struct.unpack(">BHI", self.take(7))
            payload = self.take(size + 1)
            if kind == 1:
                class_id, method_id = struct.unpack_from(">HH", payload)
                return class_id, method_id

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def say(self, method: Method, *, channel: int = 0) -> None:
        self.send(ChannelFrame.marshall(channel, [method]).payload)

    def greet(self, start: commands.Connection.Start = START) -> None:
        """Go as far as the client's answer to the greeting."""
        self.take(8)
        self.say(start)
        self.method()

    def open(
        self,
        *,
        frame_max: int = 131_072,
        channel_max: int = 2047,
        start: commands.Connection.Start = START,
    ) -> None:
        """Go as far as an open connection."""
        self.greet(start)
        self.say(commands.Connection.Tune(channel_max, frame_max, 10))
        self.method()
        self.method()
        self.say(commands.Connection.OpenOk())

    def published(self, *, frame_max: int = 131_072, channel_max: int = 2047) -> int:
        """Go as far as a publish, and return the number of its channel."""
        self.open(frame_max=frame_max, channel_max=channel_max)
        while True:
            match self.method():
                case (20, 10):  # channel.open
                    self.say(commands.Channel.OpenOk(), channel=1)
                case (85, 10):  # confirm.select
                    self.say(commands.Confirm.SelectOk(), channel=1)
                case (60, 40):  # basic.publish
                    return 1
                case _:
                    pass


Script = Callable[[Client], None]


def raw(kind: int, channel: int, payload: bytes, *, size: int | None = None) -> bytes:
    """Make a frame; `size` is what it claims."""
    length = len(payload) if size is None else size
    return struct.pack(">BHI", kind, channel, length) + payload + b"\xce"


@contextmanager
def scripted(script: Script) -> Iterator[int]:
    """Have a broker on a port of loopback that does this with every connection."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not ended.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=follow, args=(connection,), daemon=True).start()

    def follow(connection: socket.socket) -> None:
        connection.settimeout(30)
        with suppress(OSError), connection:
            script(Client(connection))
            while connection.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            with suppress(OSError):  # wakes who accepts
                socket.create_connection(listener.getsockname(), timeout=1).close()
