"""What goes over the wire, and how an address is read."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from yarl import URL

from app.core.net.urls import address
from app.targets.http.rules import (
    MAX_RETRY_AFTER_SECONDS,
    Request,
    reset_seconds,
    retry_after_seconds,
)

NOW = datetime(2026, 11, 28, tzinfo=UTC)


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


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["0"], 0.0),
        (["120"], 120.0),
        ([" 7 "], 7.0),
        (["1.5"], 1.5),
        (["0" * 20 + "7"], 7.0),
        (["86400"], MAX_RETRY_AFTER_SECONDS),
        (["86401"], MAX_RETRY_AFTER_SECONDS),
        (["9" * 9], MAX_RETRY_AFTER_SECONDS),
        (["9" * 10], MAX_RETRY_AFTER_SECONDS),
        (["9" * 5_000], MAX_RETRY_AFTER_SECONDS),
        (["Sat, 28 Nov 2026 00:05:00 GMT"], 300.0),
        (["Saturday, 28-Nov-26 00:05:00 GMT"], 300.0),
        (["Sat Nov 28 00:05:00 2026"], 300.0),
        (["Sat, 28 Nov 2026 00:05:60 GMT"], 359.0),
        (["Fri, 31 Dec 9999 23:59:59 GMT"], MAX_RETRY_AFTER_SECONDS),
        (["Fri, 31 Dec 9999 23:59:59 -2300"], MAX_RETRY_AFTER_SECONDS),
        (["Sat, 01 Jan 10000 00:00:00 GMT"], MAX_RETRY_AFTER_SECONDS),
        (["Sun, 06 Nov 1994 08:49:37 GMT"], 0.0),
        (["30", "120"], 120.0),
        (["30, 120"], 120.0),
        (["soon", "30"], 30.0),
        (["30", "Sat, 28 Nov 2026 00:05:00 GMT"], 300.0),
        ([], None),
        ([""], None),
        (["soon"], None),
        (["-5"], None),
        (["+5"], None),
        (["5s"], None),
        (["1e3"], None),
        (["\u0663"], None),
        (["Sat, 31 Feb 2026 00:00:00 GMT"], None),
    ],
)
def test_a_wish_to_be_left_alone_is_heard_for_at_most_a_day(
    values: list[str], seconds: float | None
) -> None:
    assert retry_after_seconds(values, now=NOW) == seconds


@pytest.mark.parametrize("days", [1, 2, 365, 300_000])
def test_a_date_far_ahead_is_a_day_ahead(days: int) -> None:
    asked = [format_datetime(NOW + timedelta(days=days), usegmt=True)]

    assert retry_after_seconds(asked, now=NOW) == MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (f"{NOW.timestamp() + 60:.0f}", 60.0),
        (f"{(NOW.timestamp() + 60) * 1000:.0f}", 60.0),
        ("Sat, 28 Nov 2026 00:01:00 GMT", 60.0),
        ("1", 1.0),
        (f"{NOW.timestamp() - 60:.0f}", 0.0),
        ("999999", 86_400.0),
        ("9" * 400, 86_400.0),
        ("soon", None),
        ("", None),
    ],
)
def test_x_ratelimit_reset_is_read_in_all_of_its_forms(value: str, seconds: float | None) -> None:
    assert reset_seconds([value], now=NOW) == seconds
