"""Reads the HTTP answers on a connection, one after the other, each up to a bounded size.

httptools parses the bytes (docs/adr/0038). This module decides where a message ends if that depends
on the request (RFC 9112, section 6.3), and how much a server may send: servers are strangers'.
"""

from collections.abc import Callable
from contextlib import suppress

import httptools

from app.targets.http.failures import Closed, NotHttp
from app.targets.http.lengths import HEAD_END, LENGTH_LINE, with_one_length, without_spaces

MAX_RESPONSE_LENGTH = 16_384
"""The most bytes of an answer's body that are kept; the connection of a longer one is closed."""

MAX_INTERIM = 10
"""The most interim answers (1xx) before the final answer."""

HEAD_BUDGET = 131_072
"""The most bytes of all heads of one exchange, with `READ_COST` and `FIELD_COST` added."""

BODY_BUDGET = 1_048_576
"""The most bytes after the head, with `READ_COST` and `FIELD_COST` added. This suffices for a body
of 16 KiB in chunks of one byte, even if each byte on the wire arrives in a read of its own."""

READ_COST = 8
"""Bytes that each read counts in addition to its data. A read takes as long as parsing hundreds of
bytes, but with twice this cost `BODY_BUDGET` would not suffice for that body of 16 KiB."""

FIELD_COST = 32
"""Bytes that each header or trailer line counts in addition to its text."""

INTERIM_STATUS = 100
SWITCHING_PROTOCOLS = 101
FIRST_FINAL_STATUS = 200
BODILESS = (204, 304)

NOTED = frozenset({b"location", b"retry-after", b"x-ratelimit-reset"})
"""The header fields that are kept; a client may discard all others (RFC 9110, 5.4)."""

MENDABLE = ("Content-Length", "header token")
"""Words in the parser's errors about heads that RFC 9112 allows to be read after a correction."""

PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


def nothing_to_drop() -> None:
    """Do nothing: there is no connection yet, or it may have been given to others by now."""


class HttpAnswer:
    """The answer to one request, as far as it has arrived."""

    __slots__ = ("asked_at", "body", "drop", "fields", "sending", "status")

    def __init__(self, sending: Callable[[], None] | None = None) -> None:
        self.sending = sending
        """To be called before the request is written; what it raises keeps it from that."""
        self.drop: Callable[[], None] = nothing_to_drop
        """Closes the connection that the answer is to come on; to be called by whoever waits for
        the answer no longer."""
        self.asked_at: float | None = None
        """When the request was written, in monotonic seconds."""
        self.status: int | None = None
        """The status of the answer; None until the head is complete."""
        self.fields: dict[bytes, list[bytes]] = {}
        """The header fields named in `NOTED`, by lower-case name."""
        self.body = bytearray()
        """The first `MAX_RESPONSE_LENGTH` bytes of the body."""

    @property
    def final_status(self) -> int:
        """The status of an answer.

        Raises:
            ValueError: the head is not complete yet.
        """
        if self.status is None:
            raise ValueError("there is no answer yet")
        return self.status

    def values(self, name: str) -> list[str]:
        """Return the values of a field of `NOTED`, one for each line."""
        found = self.fields.get(name.lower().encode(), ())
        return [value.decode(errors="replace").strip() for value in found]


class Stop(Exception):
    """Stops the parser from within a callback, which has noted the reason in the reader."""


class AnswerReader:
    """Reads the answers that come on one connection into an `HttpAnswer` each."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Take a new parser, as the old one stopped within a message."""
        self.is_spent = False
        self.parser = httptools.HttpResponseParser(self)
        # A recipient may read all of these (RFC 9112). They are dangerous in proxies, where the
        # next recipient may read the same bytes in another way; here there is none.
        self.parser.set_dangerous_leniencies(
            lenient_headers=True,  # lines that are folded, bytes that are no text
            lenient_chunked_length=True,  # Transfer-Encoding overrides Content-Length
            lenient_keep_alive=True,  # an interim answer may say `Connection: close`
            lenient_version=True,  # such as HTTP/1.2
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def begin(self, answer: HttpAnswer, *, to_head: bool) -> None:
        """Begin to read the next answer into `answer`; `to_head`: the request was HEAD."""
        if self.is_spent:
            self.renew()
        self.answer = answer
        self.to_head = to_head
        self.is_complete = False
        self.is_clean = True
        """Whether the connection can be used for another exchange once this answer is read."""
        self.heads = b""
        """The bytes received up to the read in which the final answer's head ended."""
        self.left = HEAD_BUDGET
        """How much of the budget is left, in bytes."""
        self.interim = 0
        self.has_length = False
        self.codings: bytes | None = None
        self.is_in_size = False
        """Whether a chunk's size was read and none of its bytes; the last chunk has no bytes."""
        self.doubt = ""
        """The parser's error about a head that can be mended once all of the head has arrived."""
        self.mended = -1
        """How many interim answers preceded the head that was mended."""
        self.refusal = ""
        """Why a callback has stopped the parser."""

    def feed(self, data: bytes) -> None:
        """Parse bytes from the connection; afterwards the answer may be complete.

        Raises:
            NotHttp: the bytes are no HTTP, or the head is too long.
        """
        if self.answer.status is None:
            self.heads += data
        if self.doubt:
            self.mend()
        else:
            try:
                self.parser.feed_data(data)
            except PARSER_ERRORS as error:
                self.judge(error)
        if self.is_complete:
            if self.to_head and not self.heads.endswith((b"\n\r\n", b"\n\n")):
                self.is_clean = False
            return
        self.left -= len(data) + READ_COST
        if self.left < 0:
            self.exhaust()
            if self.refusal:
                raise NotHttp(self.refusal)

    def feed_eof(self) -> None:
        """Note that the connection has ended, by a FIN or a reset.

        Raises:
            Closed: the answer is not complete.
        """
        self.is_clean = False
        if self.answer.status is not None:
            if self.is_in_size:  # an empty line is a beginning for any chunk but the last
                with suppress(*PARSER_ERRORS):
                    self.parser.feed_data(b"\r\n\r\n")
                self.is_complete = self.is_complete or self.is_in_size
            elif not self.is_framed:
                self.is_complete = True
        if not self.is_complete:
            raise Closed

    @property
    def is_framed(self) -> bool:
        """Whether the head says where the body ends; otherwise the connection's end is the end."""
        if self.codings is None:
            return self.has_length
        return self.codings.rpartition(b",")[2].strip().lower() == b"chunked"

    def judge(self, error: Exception) -> None:
        """Decide what an error of the parser means for the answer.

        Raises:
            NotHttp: the error makes the answer worthless.
        """
        self.is_spent = True
        if self.is_complete:
            self.is_clean = False  # bytes after an answer take nothing away from the answer
        elif self.refusal:
            raise NotHttp(self.refusal) from None
        elif self.is_in_size:  # only the trailers are invalid, and no trailer is used
            self.is_complete, self.is_clean = True, False
        elif any(one in str(error) for one in MENDABLE) and self.mended != self.interim:
            self.doubt = str(error)
            self.mend()
        else:
            self.answer.status = None  # a server with broken framing may break anything
            raise NotHttp(str(error)) from error

    def mend(self) -> None:
        """Correct a head that the parser refused, and parse it again, once all of it has arrived.

        Raises:
            NotHttp: the head has no unambiguous reading.
        """
        whole = self.heads
        for _ in range(self.interim):
            whole = HEAD_END.split(whole.lstrip(b"\r\n"), maxsplit=1)[1]
        end = HEAD_END.search(whole)
        if end is None:
            return
        bodiless = self.is_bodiless(self.parser.get_status_code())
        head: bytes | None = without_spaces(whole[: end.end()])
        if head and ("Content-Length" in self.doubt or LENGTH_LINE.search(head)):
            head = with_one_length(head, bodiless=bodiless)
        if head is None:
            raise NotHttp(self.doubt)
        self.doubt = ""
        self.mended = self.interim
        self.renew()
        self.is_clean = False
        self.answer.fields.clear()
        try:
            self.parser.feed_data(head + whole[end.end() :])
        except PARSER_ERRORS as error:
            self.judge(error)

    def is_bodiless(self, status: int) -> bool:
        return self.to_head or status < FIRST_FINAL_STATUS or status in BODILESS

    def exhaust(self) -> None:
        """Note that the budget is spent: the answer ends here, or is refused within its head."""
        if self.answer.status is None:
            self.refusal = "its head is too long"
        else:
            self.is_complete, self.is_clean = True, False

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        self.left -= FIELD_COST
        if self.left < 0:
            self.exhaust()
            raise Stop
        if self.answer.status is not None:
            return  # a trailer
        name = name.lower()
        if name in NOTED:
            self.answer.fields.setdefault(name, []).append(value)
        elif name == b"content-length":
            self.has_length = True
        elif name == b"transfer-encoding":
            self.codings = value

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if not self.heads.lstrip(b"\r\n").startswith(b"HTTP/"):
            self.refusal = "it is of another protocol"
        elif status < INTERIM_STATUS:
            self.refusal = f"there is no status {status}"
        elif status < FIRST_FINAL_STATUS and status != SWITCHING_PROTOCOLS:
            self.interim += 1
            if self.interim > MAX_INTERIM:
                self.refusal = f"more than {MAX_INTERIM} interim answers"
        else:
            self.head_is_complete(status)
        if self.refusal:
            raise Stop

    def head_is_complete(self, status: int) -> None:
        self.answer.status = status
        self.left = BODY_BUDGET
        self.lasts = self.parser.should_keep_alive()
        if self.codings is not None and (
            self.has_length or self.parser.get_http_version() == "1.0"
        ):
            self.is_clean = False  # RFC 9112, 6.1 and 6.3: close a connection with such framing
        if self.to_head or status == SWITCHING_PROTOCOLS:
            self.is_complete = self.is_spent = True
            self.is_clean = self.is_clean and self.to_head

    def on_chunk_header(self) -> None:
        if self.is_complete:
            raise Stop
        self.is_in_size = True

    def on_body(self, data: bytes) -> None:
        if self.is_complete:
            raise Stop
        self.is_in_size = False
        room = MAX_RESPONSE_LENGTH - len(self.answer.body)
        self.answer.body += data[:room]
        if len(data) > room:
            self.is_complete, self.is_clean = True, False
            raise Stop

    def on_message_complete(self) -> None:
        if self.answer.status is None:  # an interim answer's; its fields are not the answer's
            self.answer.fields.clear()
            self.has_length, self.codings = False, None
        else:
            self.is_complete = True
