"""Redacts secrets in texts of targets and servers, in whatever encoding the secrets are repeated.

A target may repeat a secret as it is or escaped: percent-encoded, as a form, in JSON, in HTML, in
base64, in hexadecimal, wrapped into lines, or several of these at once. So the text is unescaped
layer by layer until no escape is left, with a record of where in the text each byte came from.
"""

import re
import sys
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from html.entities import html5
from itertools import islice, pairwise

from app.core.secrets.places import MASK

MIN_HIDDEN_LENGTH = 4
"""Characters; shorter secrets are found by chance everywhere, and are not redacted."""
MAX_LAYERS = 5
"""How deeply nested escapes are read."""
MAX_ESCAPES = 5000
"""How many escapes are read in all layers together, to bound the time."""
MAX_WORK = 1_000_000
"""Characters times secrets; the end of a longer text is dropped, to bound the time."""
SPACES = bytes.maketrans(b"+", b" ")
"""Reads `+` as a space, as HTML forms encode it."""

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
"""The incomplete escape that a text may end in."""
BEGINS_ESCAPE = re.compile(rb"[%\\&\r\n]")
MAX_BEGINNING = 7
"""As many bytes of a secret make more than `MIN_HIDDEN_LENGTH` letters in base64, at any offset."""
STRIDES = {"percent": 3, "byte": 4}
"""Bytes of text for each byte that the escape stands for: `%41`, `\\x41`."""
LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
IN_BASE64 = re.compile(rb"[A-Za-z0-9+/_ -]")
PADDING = re.compile(rb"={1,2}")
MAX_ESCAPE_LENGTH = 32
"""Bytes of text for one byte of a secret, at most, in all layers."""

Span = tuple[int, int]
"""The first byte, and the byte after the last."""


class TooManyEscapes(Exception):
    """A text has more escapes than are read."""


class Layer:
    """A text with one layer of escapes read, and where in the text each byte of it came from."""

    def __init__(self, text: bytes, escapes: list[re.Match[bytes]]) -> None:
        pieces: list[bytes] = []
        self.starts: list[int] = []
        """The index in `read` at which each piece begins."""
        self.places: list[tuple[int, int, int]] = []
        """Where each piece was in the text: its first byte, the byte after its last, and the bytes
        of text for each byte read (0 for a piece that counts only as a whole)."""
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
        """Return the span of the text from which a span of `read` was read."""
        begins, ends = span
        index = bisect_right(self.starts, begins) - 1
        first, _, stride = self.places[index]
        start = first + stride * (begins - self.starts[index])
        index = bisect_left(self.starts, ends) - 1
        first, last, stride = self.places[index]
        return start, first + stride * (ends - self.starts[index]) if stride else last


def redact(secrets: Collection[str], text: str) -> str:
    """Return `text` with `***` for each secret, even if escaped or cut off by the end of the text.

    Secrets shorter than `MIN_HIDDEN_LENGTH` are left in. Only the beginning of a text is returned
    that is long where the secrets are very many, or that has more escapes than `MAX_ESCAPES`.
    """
    wanted = [secret for secret in secrets if len(secret) >= MIN_HIDDEN_LENGTH]
    if not wanted or not text:
        return text
    text = text[: max(MAX_WORK // len(wanted), 1)]
    data = text.encode(errors="replace")
    longest = MAX_ESCAPE_LENGTH * (len(text) + 1)  # the text cannot hold more of a secret than this
    return redacted({secret[:longest].encode(errors="replace") for secret in wanted}, data)


def holds(secrets: Collection[str], text: str) -> bool:
    """Return whether a text has one of the secrets, as it is or escaped.

    Secrets shorter than `MIN_HIDDEN_LENGTH` are not looked for; escaped secrets are looked for in
    the beginning of a long text only.
    """
    wanted = [secret for secret in secrets if len(secret) >= MIN_HIDDEN_LENGTH]
    if any(secret in text for secret in wanted):
        return True
    longest = MAX_WORK // max(len(wanted), 1) - 1
    beginning, _ = readable(text[:longest].encode(errors="replace"))
    # The NUL ends the text, so that its end cuts no secret off.
    ended = f"{beginning.decode(errors='replace')}\0"
    return redact(wanted, ended) != ended


def redacted(secrets: Collection[bytes], data: bytes) -> str:
    """Return `data` as text with `***` for each of the secrets."""
    data, layers = readable(data)
    cut = CUT_OFF.search(data, max(0, len(data) - MAX_ESCAPE_LENGTH))
    ended = data[: cut.start()] if cut else data
    layers_ended = layers if ended == data else readable(ended)[1]
    if not (wanted := suspects(secrets, {data: layers, ended: layers_ended})):
        return data.decode(errors="replace")
    spans: list[Span] = []
    for secret in wanted:
        spans += found(secret, data)
    spans += escaped_spans(wanted, data, layers)
    if ended != data:
        spans += [
            (begins, len(data))
            for begins, ends in escaped_spans(wanted, ended, layers_ended)
            if ends == len(ended)
        ]
    return masked(data, spans).decode(errors="replace")


def suspects(
    secrets: Collection[bytes], layers_of_texts: Mapping[bytes, list[Layer]]
) -> list[bytes]:
    """Return the secrets of which some form may begin in a text, by the first bytes of each form.

    A private key in PEM has up to a hundred parts that are looked for, and no text has any of them.
    """
    plain, read = [], []
    for text, layers in layers_of_texts.items():
        texts = [text, *(layer.read for layer in layers)]
        plain += texts
        read.append(texts[-1].translate(SPACES))
    written, innermost = b"\0".join(plain), b"\0".join(read)
    lower = innermost.lower()
    return [
        secret
        for secret in secrets
        if secret[:MIN_HIDDEN_LENGTH] in written
        or BEGINS_ESCAPE.search(secret, 0, MIN_HIDDEN_LENGTH)
        or secret[: MIN_HIDDEN_LENGTH // 2].hex().encode() in lower
        or any(begin in innermost for begin in beginnings(secret[:MAX_BEGINNING]))
    ]


@lru_cache(maxsize=10_000)
def beginnings(secret: bytes) -> tuple[bytes, ...]:
    """Return the first bytes of a secret as forms have it, and its first letters in base64.

    `secret`: the first `MAX_BEGINNING` bytes of the secret. Results are kept, as all executions of
    a job have the same secrets.
    """
    forms = [base64_within(secret, offset, b"+/")[0] for offset in range(3)]
    forms += [form.replace(b" ", b"-").replace(b"/", b"_") for form in forms]  # of URLs
    return tuple({form[:MIN_HIDDEN_LENGTH] for form in (secret.translate(SPACES), *forms)})


def escaped_spans(secrets: Collection[bytes], text: bytes, layers: list[Layer]) -> Iterator[Span]:
    """Find the secrets in each layer of a text, and encoded ones in the innermost layer."""
    read = (layers[-1].read if layers else text).translate(SPACES)
    for secret in secrets:
        for depth, layer in enumerate(layers, start=1):
            yield from (written(span, layers[:depth]) for span in found(secret, layer.read))
        yield from (written(span, layers) for span in read_spans(secret, read))


def written(span: Span, layers: list[Layer]) -> Span:
    """Return the span of the outermost text from which a span of the innermost layer was read."""
    for layer in reversed(layers):
        span = layer.written(span)
    return span


def readable(text: bytes) -> tuple[bytes, list[Layer]]:
    """Return as much of the beginning of a text as can be read, and its layers."""
    while True:
        try:
            return text, layers_of(text)
        except TooManyEscapes:
            text = text[: len(text) // 2]


def layers_of(text: bytes) -> list[Layer]:
    """Unescape a text layer by layer, up to `MAX_LAYERS`.

    Raises:
        TooManyEscapes: there are more than `MAX_ESCAPES`.
    """
    layers: list[Layer] = []
    left = MAX_ESCAPES
    while len(layers) < MAX_LAYERS:
        escapes = list(islice(ESCAPE.finditer(text), left + 1))
        left -= len(escapes)
        if left < 0:
            raise TooManyEscapes
        if not escapes:
            break
        layer = Layer(text, escapes)
        if layer.read == text:  # the matches were no escapes
            break
        layers.append(layer)
        text = layer.read
    return layers


def meant(escape: re.Match[bytes]) -> bytes:
    """Return the bytes that an escape stands for; the escape itself if it is invalid."""
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
    """Return the character that an escape names or numbers; None if there is no such one."""
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
    """Find a secret, plain, in hexadecimal or in base64, in a text that has no escapes left."""
    _, layers = readable(secret)
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
    """Return the base64 letters that a secret always yields within a longer encoded text.

    The secret begins `offset` bytes after a multiple of three. The letters at its edges, which
    depend on the bytes around the secret, are left out; the second value tells whether there is one
    at the end.
    """
    encoded = b64encode(bytes(offset) + secret, altchars=alphabet).rstrip(b"=")
    first = (0, 2, 3)[offset]
    last = (offset + len(secret)) * 8 // 6
    return encoded[first:last].translate(SPACES), last < len(encoded)


def found(form: bytes, text: bytes) -> Iterator[Span]:
    """Find every occurrence of `form`, and its beginning if the end of the text cuts it off."""
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
    """Replace each span by `***`, and spans that overlap by one `***`."""
    merged: list[Span] = []
    for begins, ends in sorted(spans):
        if merged and begins < merged[-1][1]:
            merged[-1] = merged[-1][0], max(ends, merged[-1][1])
        else:
            merged.append((begins, ends))
    edges = [(0, 0), *merged, (len(text), len(text))]
    return MASK.encode().join(text[one[1] : other[0]] for one, other in pairwise(edges))
