"""Reads the answers of a mail server, whatever it sends and in however many pieces."""

from typing import Any

from aiosmtplib import smtp
from aiosmtplib.protocol import MAX_RESPONSE_LENGTH, SMTPProtocol

READ_COST = 1024
"""The bytes that each read counts for, beside its own."""
MAX_RECEIVED = 1024 * 1024
"""The most bytes, as counted, that are read in one session: over 200 answers and their pieces."""


class Answers(SMTPProtocol):
    """aiosmtplib's protocol, which is given whole answers, and a session has a bound.

    By itself it parses an answer from its beginning for each piece that comes, and reads what
    nobody asked for without an end.
    """

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - the library's own
        super().__init__(*given, **named)
        self.received = 0
        """Bytes of this session, as counted."""
        self.begun = bytearray()
        """What has come of the next answer."""
        self.at_line = 0
        """Where in it the line begins that has yet to be looked at."""

    def data_received(self, data: bytes) -> None:
        self.received += len(data) + READ_COST
        if self.received > MAX_RECEIVED:
            super().data_received(bytes(MAX_RESPONSE_LENGTH + 1))  # it refuses what is so long
            if self.transport is not None:
                self.transport.abort()  # type: ignore[attr-defined] # of a connection
            return
        self.begun += data
        while (end := self.begun.find(b"\n", self.at_line)) >= 0:
            goes_on = self.begun[self.at_line + 3 : self.at_line + 4] == b"-"
            self.at_line = end + 1
            if not goes_on:  # whatever comes behind it was not asked for
                self.hand_over(self.at_line)
                return
        if len(self.begun) > MAX_RESPONSE_LENGTH:
            self.hand_over(len(self.begun))

    def hand_over(self, length: int) -> None:
        """Have what was received parsed, up to this length, and forget the rest."""
        answer = bytes(self.begun[:length])
        self.forget()
        super().data_received(answer)

    def forget(self) -> None:
        self.begun.clear()
        self.at_line = 0

    def write(self, data: bytes) -> None:
        """Send something; what came before was no answer to it, nor protected by TLS."""
        self.forget()
        super().write(data)


smtp.SMTPProtocol = Answers  # type: ignore[attr-defined] # not exported; its only way in
