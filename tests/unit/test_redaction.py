"""Secrets are taken out of what receivers say, however these escape them."""

import base64
import html
import json
from collections.abc import Callable, Iterator
from time import process_time
from urllib.parse import quote, quote_plus

import pytest

from app.core.secrets import redaction
from app.core.secrets.places import MASK
from app.core.secrets.redaction import MAX_ESCAPES, holds, redact

SECRET = 'p@ss/w+rd "q"\\ <é😀> %41&amp;'
"""Something of all that any encoding treats in a way of its own."""
TOKEN = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"


def every_percent(text: str, digits: str = "%{:02X}") -> str:
    return "".join(digits.format(byte) for byte in text.encode())


def every_u(text: str, digits: str = "\\u{:04x}") -> str:
    units = text.encode("utf-16-be")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(digits.format(high * 256 + low) for high, low in pairs)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded but for slashes": quote,
    "percent-encoded as a path": lambda text: quote(text, safe="/!$&'()*+,;=:@"),
    "percent-encoded letter by letter": every_percent,
    "percent-encoded letter by letter, lower case": lambda text: every_percent(text, "%{:02x}"),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent-encoded three times": lambda text: quote(quote(quote(text, safe=""))),
    "as a form": quote_plus,
    "as JSON in ASCII": lambda text: json.dumps(text)[1:-1],
    "as JSON in Unicode": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "as JSON with slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "as JSON that is safe in HTML": lambda text: (
        json.dumps(text)[1:-1]
        .replace("<", "\\u003C")
        .replace(">", "\\u003E")
        .replace("&", "\\u0026")
    ),
    "as JSON with every letter escaped": every_u,
    "as JSON with every letter escaped, upper case": lambda text: every_u(text, "\\u{:04X}"),
    "as JSON inside JSON": lambda text: json.dumps(json.dumps(text))[1:-1],
    "as JSON of a URL": lambda text: json.dumps(quote(text))[1:-1],
    "as HTML": html.escape,
    "as HTML in numbers": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "as HTML in hexadecimal": lambda text: "".join(f"&#x{ord(letter):X};" for letter in text),
    "as JSON inside HTML": lambda text: html.escape(json.dumps(text)[1:-1]),
    "as Python writes bytes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "in hexadecimal": lambda text: text.encode().hex(),
    "in hexadecimal, upper case": lambda text: text.encode().hex().upper(),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "in base64 for URLs without padding": lambda text: (
        base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    ),
    "in base64 after one letter": lambda text: base64.b64encode(f"x{text}".encode()).decode(),
    "in base64 after two letters": lambda text: base64.b64encode(f"me{text}yz".encode()).decode(),
    "in base64 among others": lambda text: base64.b64encode(f"user:{text}!".encode()).decode(),
    "in base64 for URLs after one letter": lambda text: base64.urlsafe_b64encode(
        f"x{text}yz".encode()
    ).decode(),
    "in base64 in lines": lambda text: base64.encodebytes(f"{'x' * 40}{text}".encode()).decode(),
    "in base64, percent-encoded": lambda text: quote(
        base64.b64encode(text.encode()).decode(), safe=""
    ),
    "in base64, as JSON": lambda text: json.dumps(base64.b64encode(text.encode()).decode()).replace(
        "/", "\\/"
    )[1:-1],
}


def windows(text: str, length: int = 8) -> set[str]:
    return {text[at : at + length] for at in range(len(text) - length + 1)}


@pytest.mark.parametrize(
    "secret", [SECRET, TOKEN, "pass word+1", "T0/B0/x y", "line one\nline two"]
)
@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_a_secret_is_hidden_in_every_encoding(encode: Callable[[str], str], secret: str) -> None:
    encoded = encode(secret)

    hidden = redact({secret}, f'{{"you sent": "{encoded}", "ok": true}}')

    assert MASK in hidden
    assert hidden.startswith('{"you sent": "')
    assert hidden.endswith('", "ok": true}')
    middle = hidden.removeprefix('{"you sent": "').removesuffix('", "ok": true}')
    outside = "x" * 40 + "user:!meyz"
    allowed = windows(base64.b64encode(outside.encode()).decode(), 8)
    assert not (windows(middle) & windows(encoded)) - allowed or "lines" in encoded


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_what_stands_around_a_secret_stays(encode: Callable[[str], str]) -> None:
    around = 'before <b>%41 &amp; \\u0041 + "</b>\n', "\nafter %zz &nothing; \\q =="

    hidden = redact({TOKEN}, f"{around[0]}{encode(TOKEN)}{around[1]}")

    assert hidden.startswith(around[0])
    assert hidden.endswith(around[1])
    assert MASK in hidden


CUT = ("as it is", "percent-encoded", "as JSON in ASCII", "as JSON with every letter escaped")


@pytest.mark.parametrize("name", [*CUT, "as HTML in numbers", "in hexadecimal", "in base64"])
def test_a_secret_that_the_end_of_the_text_cuts_off_is_hidden(name: str) -> None:
    encoded = ENCODINGS[name](SECRET)

    for length in range(30, len(encoded)):
        hidden = redact({SECRET}, f"you sent {encoded[:length]}")
        assert hidden == f"you sent {MASK}", encoded[:length]


def test_masking_takes_no_longer_for_a_receiver_that_wants_it_to() -> None:
    secrets = {f"{TOKEN}{number}" for number in range(20)} | {"k" * 4000}
    for piece in ("%25", "\\\\", "&#37;", "\\u005c", "%2525", "sk_l", "+", "&amp;", "c2tf"):
        text = piece * (16_384 // len(piece))
        began = process_time()
        redact(secrets, text)
        assert process_time() - began < 3.0, piece  # a tenth of a second on an idle machine


@pytest.mark.parametrize("escaped", ["%73esame", "%2573esame", "&#115;esame"])
@pytest.mark.parametrize("before", ['\\"', "\\\\", "%25a", "a\n"])
def test_what_is_behind_more_escapes_than_are_read_is_left_out(before: str, escaped: str) -> None:
    text = before * (MAX_ESCAPES + 1)

    hidden = redact({"sesame"}, f"{text}{escaped}")
    masked = redact({"sesame"}, f"{escaped}{text}")

    assert text.startswith(hidden)
    assert masked.startswith("***")
    assert text.startswith(masked.removeprefix("***"))
    assert not holds({"sesame"}, text)
    assert holds({"sesame"}, f"{escaped}{text}")
    assert holds({"sesame"}, f"{text}sesame")


def test_the_parts_of_a_key_are_not_looked_for_in_a_text_that_has_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_for = []
    read_spans = redaction.read_spans

    def spans(secret: bytes, text: bytes) -> Iterator[redaction.Span]:
        looked_for.append(secret)
        return read_spans(secret, text)

    monkeypatch.setattr(redaction, "read_spans", spans)
    parts = {f"{number:04}{TOKEN}" for number in range(1000, 1100)}

    refused = "cannot connect to example.com:443: connection refused"
    assert redact(parts, refused) == refused
    assert looked_for == []
    assert redact(parts, f"you sent 1042{TOKEN}") == f"you sent {MASK}"
    assert set(looked_for) == {f"1042{TOKEN}".encode()}


def test_of_a_long_answer_to_a_target_with_very_many_secrets_the_end_is_left_out() -> None:
    secrets = {f"{TOKEN}{number}" for number in range(1000)}

    hidden = redact(secrets, f"{TOKEN}7 {'x' * 16_000}")

    assert hidden == f"{MASK} {'x' * (1_000_000 // 1000 - len(TOKEN) - 2)}"


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_secret_is_found_in_a_text_however_it_is_escaped(encode: Callable[[str], str]) -> None:
    assert holds([SECRET, TOKEN], f"before {encode(TOKEN)} after")
    assert not holds([SECRET], f"before {encode(TOKEN)} after")


def test_the_beginning_of_a_secret_is_none_and_a_long_text_is_read_to_its_end() -> None:
    assert not holds([TOKEN], f"https://example.com/{TOKEN[:8]}")
    assert not holds(["abc"], "abc")
    assert holds([TOKEN, *(f"other secret {n}" for n in range(100))], "x" * 1_000_000 + TOKEN)
