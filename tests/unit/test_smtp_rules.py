"""What mails can have, and what is refused with its field."""

from time import process_time
from typing import Any

import pytest

from app.errors import InvalidInput
from app.targets.registry import decode_target
from app.targets.smtp.rules import NAMED, mailbox, server_of

TARGET: dict[str, Any] = {
    "url": "smtp://mail.example.com",
    "from": "me@example.com",
    "to": ["you@example.com"],
    "text": "hello",
}


def fields(**target: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refusal:
        decode_target("smtp", {k: v for k, v in (TARGET | target).items() if v is not None})
    return {error.field: error.message for error in refusal.value.errors}


@pytest.mark.parametrize("breaking", ["\n", "\r", "\r\n", "\0", "\x0b", "\x85", "\u2028"])
def test_no_line_break_gets_into_a_header(breaking: str) -> None:
    injected = f"x{breaking}Bcc: all@example.com"
    address = f"Me{breaking}Bcc: all <me@example.com>"

    assert [*fields(subject=injected)] == ["target.subject"]
    assert [*fields(headers={"X-A": injected})] == ["target.headers.X-A"]
    assert next(iter(fields(headers={f"X-A{breaking}B": "x"}))).startswith("target.headers")
    assert [*fields(**{"from": address})] == ["target.from"]
    assert [*fields(reply_to=f"me@example.com{breaking}")] == ["target.reply_to"]
    for name in ("to", "cc", "bcc"):
        found = fields(**{name: ["a@example.com", f"b@example.com{breaking}RCPT TO:<c@d>"]})
        assert [*found] == [f"target.{name}[1]"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "me", "@example.com", "me@", "me@@example.com", "a@b c", "a b@example.com"),
        *("a@example.com, b@example.com", "<a@example.com> b@example.com", "a@-b.com"),
        *("mé@example.com", "a@exämple.com", ".a@example.com", "a..b@example.com"),
        *("(" * 900, "<" * 900, '"' * 900, "a@" + "b." * 450, "me@example.com>", '"a"b"<a@b.c>'),
        *("a" * 65 + "@example.com", "Group: a@example.com;", "a@[127.0.0.1]"),
    ],
)
def test_what_is_no_single_address_is_refused(text: str) -> None:
    assert [*fields(to=[text])] == ["target.to[0]"]


def test_an_address_is_read_in_time_that_grows_with_its_length_alone() -> None:
    began = process_time()

    assert NAMED.fullmatch("me" + " " * 100_000 + "me@example.com") is None

    assert process_time() - began < 1.0  # 6 s where the spaces are split in each way


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("me@example.com", "", "me@example.com"),
        (" Me, Myself <me+tag@sub.example.com> ", "Me, Myself", "me+tag@sub.example.com"),
        ('"Doe, Jane" <j@example.com>', "Doe, Jane", "j@example.com"),
        ('"Doe, Jane"<j@example.com>', "Doe, Jane", "j@example.com"),
        ("Zoë <zoe@xn--exmple-cua.com>", "Zoë", "zoe@xn--exmple-cua.com"),
        ("root@localhost", "", "root@localhost"),
    ],
)
def test_an_address_may_have_a_name(text: str, name: str, address: str) -> None:
    assert (mailbox(text).display_name, mailbox(text).addr_spec) == (name, address)


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ({"url": "http://mail.example.com"}, "url"),
        ({"url": "smtp://"}, "url"),
        ({"url": "smtp://me:secret@mail.example.com"}, "url"),
        ({"url": "smtp://mail.example.com/inbox"}, "url"),
        ({"url": "smtp://mail.example.com?starttls=no"}, "url"),
        ({"url": "smtp://mail.example.com:99999"}, "url"),
        ({"url": "smtp://a b"}, "url"),
        ({"to": []}, "to"),
        ({"to": ["a@example.com"] * 60, "bcc": ["b@example.com"] * 60}, "to"),
        ({"to": ["a@example.com"] * 101}, "to"),
        ({"text": None}, "text"),
        ({"from": None}, "from"),
        ({"username": "me"}, "password"),
        ({"password": "x"}, "username"),
        ({"username": "me", "password": "x", "starttls": False}, "password"),
        ({"headers": {"To": "a@example.com"}}, "headers.To"),
        ({"headers": {"content-type": "text/html"}}, "headers.content-type"),
        ({"headers": {"Tocsin-Job-Id": "7"}}, "headers.Tocsin-Job-Id"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers.x-a"),
        ({"headers": {"X A": "1"}}, "headers.X A"),
        ({"subject": "x" * 999}, "subject"),
        ({"verify_tls": False, "ca": "x"}, "ca"),
    ],
)
def test_what_a_mail_cannot_have_is_refused_with_its_field(
    target: dict[str, object], field: str
) -> None:
    assert f"target.{field}" in fields(**target)


def test_the_ports_are_those_of_submission_unless_given() -> None:
    assert server_of("smtp://mail.example.com") == ("mail.example.com", 587)
    assert server_of("SMTPS://mail.example.com/") == ("mail.example.com", 465)
    assert server_of("smtp://[::1]:25") == ("::1", 25)
