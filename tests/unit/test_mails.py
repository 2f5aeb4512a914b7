"""What a mail looks like on its way, and that no text makes it dear to write."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from time import process_time
from typing import Any, cast

import pytest

from app.targets.registry import decode_target
from app.targets.smtp.executor import SmtpTarget
from app.targets.smtp.message import MAX_LINE, mail_of
from tests.support.attempts import attempt

MAX_LINE_LENGTH = 998
"""RFC 5322, 2.1.1."""
QUICK_SECONDS = 0.2
"""Of CPU time, on a busy machine; folded by the standard library it is half a second."""
TARGET: dict[str, Any] = {
    "url": "smtp://mail.example.com",
    "from": "me@example.com",
    "to": ["you@example.com"],
    "text": "hello",
}
TEXTS = [
    *("", "one", "two words", "two  spaces  between", "Nächtlich", "\N{PILE OF POO}" * 100),
    *("word " * 190 + "end", "x" * 998, "é" * 998, "a é " * 249 + "b", "=?utf-8?q?no?=", "=?"),
    " " * 997 + "x",
    *('a "quoted" \\ text', "(" * 500, "x" * 70 + " " + "y" * 70, "日本語" * 100, "é"),
]


def sent(**target: object) -> bytes:
    made = cast("SmtpTarget", decode_target("smtp", TARGET | target))
    return mail_of(made, attempt())


def read(data: bytes) -> EmailMessage:
    return message_from_bytes(data, policy=policy.default)


def head(data: bytes) -> list[bytes]:
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


def squeezed(name: str) -> str:
    """Leave spaces out: this reader takes those between encoded words for some of the name."""
    return name.replace(" ", "")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["X-A", "X-" + "long-" * 10])
def test_a_header_reads_as_it_was_written_whatever_its_text(text: str, name: str) -> None:
    data = sent(subject=text, headers={name: text})

    got = read(data)
    assert (got["Subject"], got[name]) == (text, text)
    assert data.isascii()
    for line in head(data):
        assert len(line) <= (MAX_LINE if b"=?" in line else MAX_LINE_LENGTH)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Jane", "Doe, Jane", "Zoë Über", "a.b", "(odd)", "=?utf-8?q?no?=", "x" * 200),
        *("é" * 200, "one two three " * 20 + "end", "@:;", "日本"),
    ],
)
def test_an_address_reads_as_it_was_written_whatever_its_name(name: str) -> None:
    texts = [f'"{name}" <a@example.com>' if name else "a@example.com", "b@example.com"]
    data = sent(**{"from": texts[0], "to": texts, "cc": texts[::-1], "reply_to": texts[0]})

    got = read(data)
    named = [(squeezed(name), "a@example.com"), ("", "b@example.com")]
    for field, expected in {
        "From": named[:1],
        "To": named,
        "Cc": named[::-1],
        "Reply-To": named[:1],
    }.items():
        found = [(squeezed(one.display_name), one.addr_spec) for one in got[field].addresses]
        assert found == expected
    assert all(len(line) <= MAX_LINE for line in head(data) if b"=?" in line)


def test_the_dearest_mail_of_all_takes_little_time() -> None:
    headers = {f"X-{number}": "é a " * 249 for number in range(50)}
    to = [f"é {number} ü <user{number}@example{number}.com>" for number in range(100)]
    sent()

    began = process_time()
    data = sent(subject="é" * 998, headers=headers, to=to)

    assert process_time() - began < QUICK_SECONDS
    assert len(read(data)["To"].addresses) == 100


@pytest.mark.parametrize("text", ["é\n.\r\nx\n" * 5000, "x" * 200_000, "日本 " * 9000])
def test_a_long_text_reads_as_it_was_written_and_takes_little_time(text: str) -> None:
    sent()

    began = process_time()
    data = sent(text=text, html=f"<p>{text}</p>")

    assert process_time() - began < QUICK_SECONDS / 4
    got = read(data)
    for kind, expected in (("plain", text), ("html", f"<p>{text}</p>")):
        part = got.get_body((kind,))
        assert part is not None
        assert part.get_content().splitlines() == expected.splitlines()
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= MAX_LINE
