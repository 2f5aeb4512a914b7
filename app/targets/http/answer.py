"""Reads one HTTP answer after the other: when one is complete, and how much talk is too much.

The bytes are httptools' to parse (docs/adr/0038). Decided here are the ends of messages that need
to know the request (RFC 9112, section 6.3), and the bounds: the servers are those of strangers.
"""

from contextlib import suppress

import httptools

from app.targets.http.failures import Closed, NotHttp
from app.targets.http.lengths import HEAD_END, LENGTH_LINE, with_one_length, without_spaces

MAX_RESPONSE_LENGTH = 16_384
"""Bytes of an answer's body that are kept; upon more the connection is closed."""

MAX_INTERIM = 10
"""Interim answers (1xx) before the answer proper."""

HEAD_BUDGET = 131_072
"""Bytes for all heads of one exchange, counting also what each read and each line costs."""

BODY_BUDGET = 1_048_576
"""Bytes for all that follows the head, counted like `HEAD_BUDGET`. It suffices for a body of 16 KiB
in chunks of one byte, even if each byte of them arrives in a read of its own."""

READ_COST = 8
"""Bytes that each read counts in addition to its data. A read takes as long as parsing hundreds of
bytes, but with twice this cost `BODY_BUDGET` would not suffice for the body described there."""

FIELD_COST = 32
"""Bytes that each header or trailer line counts in addition to its text."""

INTERIM_STATUS = 100
SWITCHING_PROTOCOLS = 101
FIRST_FINAL_STATUS = 200
BODILESS = (204, 304)

NOTED = frozenset({b"location", b"retry-after"})
"""Fields that are read; all others may be discarded, however long they are (RFC 9110, 5.4)."""

MENDABLE = ("Content-Length", "header token")
"""What the parser says of heads that have a reading all the same."""

PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class HttpAnswer:
    """What has come back so far upon one request."""

    __slots__ = ("asked_at", "body", "fields", "status")

    def __init__(self) -> None:
        self.asked_at: float | None = None
        """When the request was written, in monotonic seconds."""
        self.status: int | None = None
        """The status of the answer; None until its head is complete."""
        self.fields: dict[bytes, list[bytes]] = {}
        """The header fields named in `NOTED`, by lower-case name."""
        self.body = bytearray()
        """The first `MAX_RESPONSE_LENGTH` bytes of the body."""

    @property
    def final_status(self) -> int:
        """The status of an answer whose head is complete."""
        if self.status is None:
            raise ValueError("there is no answer yet")
        return self.status

    def values(self, name: str) -> list[str]:
        """The values of a field of `NOTED`, one for each line."""
        found = self.fields.get(name.lower().encode(), ())
        return [value.decode(errors="replace").strip() for value in found]


class Stop(Exception):
    """Ends the parser's run; its reason was noted before."""


class AnswerReader:
    """Reads the answers that come on one connection into an `HttpAnswer` each."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Take a new parser; the old one was left in the middle of something."""
        self.is_spent = False
        self.parser = httptools.HttpResponseParser(self)
        # All of it a recipient may read (RFC 9112). Dangerous it is in proxies, where the next one
        # may read the same bytes in another way; here there is no next one.
        self.parser.set_dangerous_leniencies(
            lenient_headers=True,  # lines that are folded, bytes that are no text
            lenient_chunked_length=True,  # Transfer-Encoding overrides Content-Length
            lenient_keep_alive=True,  # an interim answer may say `Connection: close`
            lenient_version=True,  # such as HTTP/1.2
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def begin(self, answer: HttpAnswer, *, to_head: bool) -> None:
        """Read the next answer into `answer`; `to_head`: upon a HEAD request, which has no body."""
        if self.is_spent:
            self.renew()
        self.answer = answer
        self.to_head = to_head
        self.is_complete = False
        self.is_clean = True
        """Whether the connection is at the beginning of another message once this one is read."""
        self.heads = b""
        """The bytes as received before the body, and some bytes of the body."""
        self.left = HEAD_BUDGET
        self.interim = 0
        self.has_length = False
        self.codings: bytes | None = None
        self.is_in_size = False
        """Whether a chunk's size was read and none of its bytes; the last chunk has none."""
        self.doubt = ""
        """What the parser has against a head, until that is here to the end."""
        self.mended = -1
        """How many interim answers preceded the head that was mended."""
        self.refusal = ""
        """Why a callback has stopped the parser."""

    def feed(self, data: bytes) -> None:
        """Read on; afterwards the answer may be complete.

        Raises:
            NotHttp: there is no making sense of it, or no end of it.
        """
        if self.answer.status is None:
            self.heads += data
        if self.doubt:
            self.mend()
        else:
            self.parse(data)
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
        """Note that nothing more will come, in whatever way the connection has ended.

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
        """Whether the body says where it ends; otherwise it ends with the connection."""
        if self.codings is None:
            return self.has_length
        return self.codings.rpartition(b",")[2].strip().lower() == b"chunked"

    def parse(self, data: bytes) -> None:
        """Let the parser read on, and judge what it stumbles over."""
        try:
            self.parser.feed_data(data)
        except PARSER_ERRORS as error:
            self.is_spent = True
            if self.is_complete:
                self.is_clean = False  # what follows an answer takes nothing away from it
            elif self.refusal:
                raise NotHttp(self.refusal) from None
            elif self.is_in_size:  # trailers, of no use to anybody
                self.is_complete, self.is_clean = True, False
            elif any(one in str(error) for one in MENDABLE) and self.mended != self.interim:
                self.doubt = str(error)
                self.mend()
            else:
                self.answer.status = None  # who breaks the framing may have broken all of it
                raise NotHttp(str(error)) from error

    def mend(self) -> None:
        """Parse a head again, as it is meant, if it is here to its end."""
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
        self.parse(head + whole[end.end() :])

    def is_bodiless(self, status: int) -> bool:
        return self.to_head or status < FIRST_FINAL_STATUS or status in BODILESS

    def exhaust(self) -> None:
        """Note that the budget is spent: an answer with a head is what its status says."""
        if self.answer.status is None:
            self.refusal = "its head is too long"
        else:
            self.is_complete, self.is_clean = True, False

    # What the parser calls.

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
            self.is_clean = False  # who frames it so is not to be trusted with another (6.1, 6.3)
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
