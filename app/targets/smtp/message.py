"""Writes a mail as it is sent (RFC 5322), in time that grows with its length alone.

The headers are folded and encoded (RFC 2047) here, and long texts put into base64: what the
standard library does for these takes ten times as long as the rest of a delivery, on the event
loop, and a stranger chooses the texts.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import quote
from uuid import uuid4, uuid5

from app.targets.base import Context
from app.targets.smtp.executor import SmtpTarget
from app.targets.smtp.rules import LINE, mailbox

POLICY = SMTP.clone(refold_source="none")
SHORT = 8192
"""The most characters of a text that is written legibly where that is possible."""
MAX_LINE = 76
"""The most characters of a line of a header (RFC 2047, 2), unless one word is longer."""
MAX_WORD = 900
"""The most characters of a word, with the spaces before it, that is written as it is; no line may
have more than 998 (RFC 5322, 2.1.1)."""
WRAPPING = "=?utf-8?b?{}?="
"""An encoded word, of a text in base64."""
MAX_ENCODED = 39
"""The most bytes of a text in one encoded word, which has 64 characters then."""
MIN_ENCODED = 6
"""The bytes of a text in one encoded word where there is hardly room for any."""
WORD = re.compile(r" *[^ ]+")
ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
"""A name that needs no quotes (RFC 5322, 3.2.3)."""


def mail_of(target: SmtpTarget, context: Context) -> bytes:
    """Return the mail as it is sent, with all its headers.

    Its `Message-ID` is the same for all attempts of a run: servers and readers recognise
    repetitions.
    """
    message = EmailMessage(policy=POLICY)
    sender = mailbox(target.sender)
    message.set_raw("From", listed([sender]))
    for name, texts in (("To", target.to), ("Cc", target.cc)):
        if texts:
            message.set_raw(name, listed(map(mailbox, texts)))
    if target.reply_to is not None:
        message.set_raw("Reply-To", listed([mailbox(target.reply_to)]))
    message.set_raw("Subject", folded("Subject", target.subject))
    message.set_raw("Date", format_datetime(datetime.now(UTC)))
    message.set_raw("Message-ID", f"<{uuid5(context.job_id, context.run).hex}@{sender.domain}>")
    message.set_raw("Auto-Submitted", "auto-generated")  # RFC 3834: no automatic answers
    for name, value in {**target.headers, **context.headers()}.items():
        line = value if LINE.fullmatch(value) else quote(value)
        message.set_raw(name, folded(name, line))
    long: dict[bytes, str] = {}
    """Texts in base64, by what stands for them until the rest is written."""
    if target.text is not None:
        text, encoding = legible(target.text, long)
        message.set_content(text, cte=encoding)
    if target.html is not None:
        html, encoding = legible(target.html, long)
        add = message.set_content if target.text is None else message.add_alternative
        add(html, subtype="html", cte=encoding)
    mail = message.as_bytes()
    for stand_in, long_text in long.items():
        mail = mail.replace(stand_in, in_base64(long_text), 1)
    return mail


def legible(text: str, long: dict[bytes, str]) -> tuple[str, str | None]:
    """Return a text and how to encode it, None: as the library likes; of a long one a stand-in.

    The text is then put into `long`, by what becomes of its stand-in, which nobody can guess.
    """
    if len(text) <= SHORT:
        return text, None
    stand_in = uuid4().hex
    long[b64encode(f"{stand_in}\r\n".encode())] = text
    return stand_in, "base64"


def in_base64(text: str) -> bytes:
    """Return a text in lines of base64, with its line breaks as mails have them."""
    written = b64encode(b"\r\n".join(text.encode().splitlines()) + b"\r\n")
    return b"\r\n".join(
        written[begins : begins + MAX_LINE] for begins in range(0, len(written), MAX_LINE)
    )


def listed(addresses: Iterable[Address]) -> str:
    """Return addresses as a header has them, each on a line of its own."""
    return ",\n ".join(map(written, addresses))


def written(address: Address) -> str:
    """Return one address with its name, if it has one."""
    name, bare = address.display_name, address.addr_spec
    if not name:
        return bare
    if not is_plain(name) or len(name) > MAX_LINE // 2:
        return "\n ".join([*encoded_words(name), f"<{bare}>"])
    return f"{name} <{bare}>" if ATOMS.fullmatch(name) else f'"{name}" <{bare}>'


def folded(name: str, text: str) -> str:
    """Return the value of a header without a structure, such as a subject, as it is sent."""
    room = MAX_LINE - len(name) - 2
    if is_plain(text):
        return "\n".join(lines_of(text, room))
    return "\n ".join(encoded_words(text, room))


def is_plain(text: str) -> bool:
    """Return whether a text without line breaks may stand in a header as it is."""
    if not text.isascii() or "=?" in text:
        return False
    return all(len(word) <= MAX_WORD for word in WORD.findall(text))


def lines_of(text: str, room: int) -> Iterator[str]:
    """Break a text before spaces; the first line has `room` characters, later ones `MAX_LINE`."""
    line = ""
    for word in WORD.findall(text):
        if line and len(line) + len(word) > room:
            yield line
            line, room = "", MAX_LINE
        line += word
    yield line


def encoded_words(text: str, room: int = MAX_LINE) -> Iterator[str]:
    """Return the encoded words that stand for a text, none of which splits a character.

    The first has at most `room` characters, unless the name of the header leaves hardly any.
    """
    data = text.encode()
    begins, most = 0, min(max((room - len(WRAPPING)) // 4 * 3, MIN_ENCODED), MAX_ENCODED)
    while begins < len(data):
        ends = min(begins + most, len(data))
        while ends < len(data) and is_within(data[ends]):
            ends -= 1
        yield WRAPPING.format(b64encode(data[begins:ends]).decode())
        begins, most = ends, MAX_ENCODED


def is_within(byte: int) -> bool:
    """Return whether a byte of UTF-8 goes on with a character instead of beginning one."""
    return byte >> 6 == 0b10  # noqa: PLR2004 - the bits that say so
