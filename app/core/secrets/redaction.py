"""Takes secrets out of what others say, however they write them.

A receiver may repeat a secret as it is or escaped: percent-encoded, as a form, in JSON, in HTML,
in base64, in hexadecimal, wrapped into lines, or several of these at once. So the text is read as
if it were each of them, until nothing is left to unescape, with a record of where each byte was.
"""

import re
import sys
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from html.entities import html5
from itertools import islice, pairwise

from app.core.secrets.places import MASK

MIN_HIDDEN_LENGTH = 4
"""Characters; taking anything shorter out of a text would shred it and hide nothing."""
MAX_LAYERS = 5
"""Escapes of escapes that are read."""
MAX_ESCAPES = 10_000
"""So many are read in all."""
MAX_WORK = 1_000_000
"""Characters times secrets; of more, the end is left out: no job is to hold up its neighbours."""
SPACES = bytes.maketrans(b"+", b" ")
"""Forms write a space so."""

ESCAPE = re.compile(
    rb"""
    (?P<percent>(?:%[0-9a-f]{2})+)
    | \\u(?P<high>d[89ab][0-9a-f]{2})\\u(?P<low>d[c-f][0-9a-f]{2})
    | (?P<byte>(?:\\x[0-9a-f]{2})+)
    | [\\%]u(?P<unit>[0-9a-f]{4})
    | \\u\{(?P<point>[0-9a-f]{1,6})\}
    | &\#x(?P<hex>[0-9a-f]{1,6});?
    | &\#(?P<decimal>[0-9]{1,7});?
    | &(?P<entity>[a-z][a-z0-9]{1,24});
    | \\(?P<letter>["'\\/bfnrt])
    | (?P<wrapped>[\r\n]+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
CUT_OFF = re.compile(
    rb"(?:%u?[0-9a-f]{0,3}|(?:\\ud[89ab][0-9a-f]{2})?(?:\\(?:u\{?[0-9a-f]{0,5}|x[0-9a-f]?)?)?"
    rb"|&\#?[a-z0-9]{0,24}|\xef\xbf\xbd)\Z",
    re.IGNORECASE,
)
"""What may be the beginning of an escape at the end of a text."""
STRIDES = {"percent": 3, "byte": 4}
LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
IN_BASE64 = re.compile(rb"[A-Za-z0-9+/_ -]")
PADDING = re.compile(rb"={1,2}")
MAX_ESCAPE_LENGTH = 32
"""Bytes."""

Span = tuple[int, int]


class Layer:
    """A text with one layer of escapes read, piece by piece."""

    def __init__(self, text: bytes, escapes: list[re.Match[bytes]]) -> None:
        pieces: list[bytes] = []
        self.starts: list[int] = []
        """Where each piece begins as it is read,"""
        self.places: list[tuple[int, int, int]] = []
        """and where it was written: from, to, in how many bytes each byte; 0: in all of them."""
        at = size = 0
        for escape in escapes:
            begins, ends = escape.span()
            if begins > at:
                pieces.append(text[at:begins])
                self.starts.append(size)
                self.places.append((at, begins, 1))
                size += begins - at
            piece = meant(escape)
            pieces.append(piece)
            self.starts.append(size)
            self.places.append((begins, ends, STRIDES.get(escape.lastgroup or "", 0)))
            size += len(piece)
            at = ends
        pieces.append(text[at:])
        self.starts.append(size)
        self.places.append((at, len(text), 1))
        self.read = b"".join(pieces)

    def written(self, span: Span) -> Span:
        """Where it was written what was read there."""
        begins, ends = span
        index = bisect_right(self.starts, begins) - 1
        first, _, stride = self.places[index]
        start = first + stride * (begins - self.starts[index])
        index = bisect_left(self.starts, ends) - 1
        first, last, stride = self.places[index]
        return start, first + stride * (ends - self.starts[index]) if stride else last


def redact(secrets: Collection[str], text: str) -> str:
    """`text` with `***` for each of the secrets that is not too short to be one.

    Also where it is escaped, and where the end of the text cuts it off. Of a long text and very
    many secrets no more than the beginning is returned.
    """
    wanted = [secret for secret in secrets if len(secret) >= MIN_HIDDEN_LENGTH]
    if not wanted or not text:
        return text
    text = text[: max(MAX_WORK // len(wanted), 1)]
    data = text.encode(errors="replace")
    longest = MAX_ESCAPE_LENGTH * (len(text) + 1)  # of more, no more than this can be in the text
    return redacted({secret[:longest].encode(errors="replace") for secret in wanted}, data)


def holds(secrets: Collection[str], text: str) -> bool:
    """Whether one of the secrets is in a text, or in the beginning of a long one, escaped.

    Those too short to be told from other text are not looked for.
    """
    wanted = [secret for secret in secrets if len(secret) >= MIN_HIDDEN_LENGTH]
    if any(secret in text for secret in wanted):
        return True
    longest = MAX_WORK // max(len(wanted), 1) - 1
    ended = f"{text[:longest]}\0"  # its end is none that cuts a secret off
    return redact(wanted, ended) != ended


def redacted(wanted: Collection[bytes], data: bytes) -> str:
    """`data` with `***` for each of the secrets."""
    spans: list[Span] = []
    for secret in wanted:
        spans += found(secret, data)
    spans += escaped_spans(wanted, data)
    if (cut := CUT_OFF.search(data, max(0, len(data) - MAX_ESCAPE_LENGTH))) and cut[0]:
        spans += [
            (begins, len(data))
            for begins, ends in escaped_spans(wanted, data[: cut.start()])
            if ends == cut.start()
        ]
    return masked(data, spans).decode(errors="replace")


def escaped_spans(secrets: Collection[bytes], text: bytes) -> Iterator[Span]:
    """Find the secrets in what a text reads, layer by layer and when no escape is left in it."""
    layers = layers_of(text)
    read = (layers[-1].read if layers else text).translate(SPACES)
    for secret in secrets:
        for depth, layer in enumerate(layers, start=1):
            yield from (written(span, layers[:depth]) for span in found(secret, layer.read))
        yield from (written(span, layers) for span in read_spans(secret, read))


def written(span: Span, layers: list[Layer]) -> Span:
    """Where it was written what was read below so many layers."""
    for layer in reversed(layers):
        span = layer.written(span)
    return span


def layers_of(text: bytes) -> list[Layer]:
    """Read one layer of escapes after the other, as long as that is little work."""
    layers: list[Layer] = []
    left = MAX_ESCAPES
    while left > 0 and len(layers) < MAX_LAYERS:
        escapes = list(islice(ESCAPE.finditer(text), left))
        if not escapes:
            break
        left -= len(escapes)
        layer = Layer(text, escapes)
        if layer.read == text:  # what is no escape after all
            break
        layers.append(layer)
        text = layer.read
    return layers


def meant(escape: re.Match[bytes]) -> bytes:
    """What one escape stands for; itself if for nothing."""
    kind, given = escape.lastgroup, escape[escape.lastgroup or 0]
    match kind:
        case "percent":
            return bytes.fromhex(given.replace(b"%", b"").decode())
        case "byte":
            return bytes.fromhex(re.sub(rb"\\x", b"", given, flags=re.IGNORECASE).decode())
        case "letter":
            return LETTERS.get(given, given)
        case "wrapped":
            return b""
        case _:
            text = character(escape, given)
            return escape[0] if text is None else text.encode(errors="replace")


def character(escape: re.Match[bytes], given: bytes) -> str | None:
    """The character that an escape names or numbers; None: there is none."""
    match escape.lastgroup:
        case "entity":
            return html5.get(f"{given.decode()};")
        case "low":
            high, low = int(escape["high"], 16) - 0xD800, int(given, 16) - 0xDC00
            return chr(0x10000 + (high << 10) + low)
        case kind:
            code = int(given, 10 if kind == "decimal" else 16)
            return chr(code) if code <= sys.maxunicode else None


def read_spans(secret: bytes, text: bytes) -> Iterator[Span]:
    """Find a secret, in each of its encodings, in a text that has no escapes left."""
    layers = layers_of(secret)
    secret = secret[: len(text)]
    plain = layers[-1].read if layers else secret
    yield from found(plain.translate(SPACES), text)
    yield from found(secret.hex().encode(), text.lower())
    for offset in range(3):
        for url_safe in (b"+/", b"-_"):
            form, cut = base64_within(secret, offset, url_safe)
            for begins, ends in found(form, text):
                at_the_start = offset > 0 and IN_BASE64.match(text, max(begins - 1, 0))
                at_the_end = cut and IN_BASE64.match(text, ends)
                end = ends + 1 if at_the_end else ends
                padding = PADDING.match(text, end)
                yield begins - 1 if at_the_start else begins, padding.end() if padding else end


def base64_within(secret: bytes, offset: int, alphabet: bytes) -> tuple[bytes, bool]:
    """What base64 of a longer text has of a secret that begins `offset` bytes after a third.

    The letters on its edges are left out, as they depend on its neighbours; True: there is one at
    the end.
    """
    encoded = b64encode(bytes(offset) + secret, altchars=alphabet).rstrip(b"=")
    first = (0, 2, 3)[offset]
    last = (offset + len(secret)) * 8 // 6
    return encoded[first:last].translate(SPACES), last < len(encoded)


def found(form: bytes, text: bytes) -> Iterator[Span]:
    """Find every occurrence, and the beginning of one that the end of the text cuts off."""
    if len(form) < MIN_HIDDEN_LENGTH:
        return
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + len(form))
    at = text.find(form[:MIN_HIDDEN_LENGTH], max(0, len(text) - len(form)))
    while at >= 0:
        if form.startswith(text[at:]):
            yield at, len(text)
            break
        at = text.find(form[:MIN_HIDDEN_LENGTH], at + 1)


def masked(text: bytes, spans: Collection[Span]) -> bytes:
    """Put `***` in the place of each span, and of those that overlap one for all."""
    merged: list[Span] = []
    for begins, ends in sorted(spans):
        if merged and begins < merged[-1][1]:
            merged[-1] = merged[-1][0], max(ends, merged[-1][1])
        else:
            merged.append((begins, ends))
    edges = [(0, 0), *merged, (len(text), len(text))]
    return MASK.encode().join(text[one[1] : other[0]] for one, other in pairwise(edges))
