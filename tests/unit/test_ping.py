"""What the addresses of pings say."""

import pytest

from app.core.checks.ping import MAX_BODY_BYTES, Action, Ping, as_text, digest_of, read_ping


@pytest.mark.parametrize(
    ("word", "ping"),
    [
        ("", Ping(action=Action.SUCCESS)),
        ("start", Ping(action=Action.START)),
        ("fail", Ping(action=Action.FAIL)),
        ("log", Ping(action=Action.LOG)),
        ("0", Ping(action=Action.SUCCESS, exit_code=0)),
        ("3", Ping(action=Action.FAIL, exit_code=3)),
        ("255", Ping(action=Action.FAIL, exit_code=255)),
    ],
)
def test_an_address_says_what_happened(word: str, ping: Ping) -> None:
    assert read_ping(word) == ping


@pytest.mark.parametrize(
    "word", ["256", "-1", "1e1", "START", "ping", "٣", " 1", "1 ", "0x1", "success"]
)
def test_what_says_something_else_is_no_ping(word: str) -> None:
    assert read_ping(word) is None


@pytest.mark.parametrize("token", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 63 + "\n"])
def test_what_cannot_be_a_token_is_not_looked_up(token: str) -> None:
    assert digest_of(token) is None
    assert digest_of("a" * 64) is not None


def test_a_body_is_kept_as_text_that_postgres_takes() -> None:
    assert as_text(b"a\0b\xff") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert len(as_text(b"x" * 10 * MAX_BODY_BYTES)) == MAX_BODY_BYTES
