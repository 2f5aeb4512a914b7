"""What goes over the wire, and how an address is read."""

import pytest
from yarl import URL

from app.core.urls import address
from app.executors.http_rules import Request


def request(**changes: object) -> Request:
    parts: dict[str, object] = {
        "method": "POST",
        "address": address("http://example.com/a?b"),
        "headers": {"X-Team": "night"},
        "body": b"hello",
    }
    return Request(**(parts | changes))  # type: ignore[arg-type]


def test_a_request_is_written_as_the_standard_says() -> None:
    assert request().encoded() == (
        b"POST /a?b HTTP/1.1\r\nHost: example.com\r\n"
        b"X-Team: night\r\nContent-Length: 5\r\n\r\nhello"
    )


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", b"", None),
        ("HEAD", b"", None),
        ("POST", b"", b"0"),
        ("DELETE", b"", b"0"),
        ("GET", b"x", b"1"),
    ],
)
def test_a_body_that_may_be_expected_has_its_length(
    method: str, body: bytes, length: bytes | None
) -> None:
    head = request(method=method, body=body).encoded()

    assert (b"Content-Length" in head) is (length is not None)
    assert length is None or b"\r\nContent-Length: " + length + b"\r\n" in head


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nEvil: 1"},
        {"X": "a\nEvil: 1"},
        {"X": "a\rEvil: 1"},
        {"X\r\nEvil": "1"},
        {"X": "a\0b"},
        {"X": "é"},
    ],
    ids=["CRLF", "LF", "CR", "in a name", "NUL", "not ASCII"],
)
def test_no_header_can_start_another_line(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"line break|ascii"):
        request(headers=headers).encoded()


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("http://example.com", "http://example.com", "/"),
        ("https://example.com:8443/a/../b?c=%20&d", "https://example.com:8443", "/a/../b?c=%20&d"),
        ("http://example.com?q", "http://example.com", "/?q"),
        ("http://[::1]:81/x@y:z", "http://[::1]:81", "/x@y:z"),
    ],
)
def test_an_address_is_an_origin_and_what_is_asked_for_there(
    url: str, origin: str, path: str
) -> None:
    read = address(url)

    assert (str(read.origin), read.path) == (origin, path)
    assert read.origin == URL(url, encoded=True).origin()
    assert read.path == URL(url, encoded=True).raw_path_qs
