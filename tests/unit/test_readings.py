"""What programs read in different ways is refused, with a hint at what was meant."""

import pytest
from aiormq.connection import Connection
from yarl import URL

from app.core.net.urls import url_error
from app.core.schedule.zones import rules_in_use, unknown_zone
from app.targets.amqp import rules

PORTS = ["18_221", "+18221", "-1", "0x50", "\u0661\u0662", "80 ", "65536", "0", "123456"]


@pytest.mark.parametrize("port", PORTS)
def test_a_port_is_a_number_in_digits(port: str) -> None:
    assert url_error(f"http://example.com:{port}/")
    assert rules.url_error(f"amqp://example.com:{port}/")


@pytest.mark.parametrize("port", ["", ":80", ":18221", ":65535"])
def test_any_other_port_is_fine(port: str) -> None:
    assert url_error(f"http://example.com{port}/") is None
    assert url_error(f"http://[::1]{port}/@") is None
    assert rules.url_error(f"amqp://user:p%40ss@example.com{port}/") is None


@pytest.mark.parametrize("host", ["example.com", "[::1]", "example.com:80"])
def test_an_empty_user_is_refused(host: str) -> None:
    assert "user" in str(url_error(f"http://@{host}/"))
    assert "user" in str(rules.url_error(f"amqp://@{host}/"))


@pytest.mark.parametrize(
    ("path", "vhost"),
    [
        ("", "/"),
        ("/", "/"),
        ("/%2F", "/"),
        ("/%2E%2E", ".."),
        ("/%2E", "."),
        ("/a%2Fb", "a/b"),
        ("/a%20b", "a b"),
        ("/%25", "%"),
        ("/%252E", "%2E"),
    ],
)
async def test_a_virtual_host_is_decoded_once(path: str, vhost: str) -> None:
    url = f"amqp://example.com{path}"

    assert rules.url_error(url) is None
    asked = URL(url, encoded=True).update_query(heartbeat=10)
    assert Connection(asked).vhost == vhost


@pytest.mark.parametrize("path", ["/%252F", "/a%252fb", "/100%", "/%zz"])
def test_a_virtual_host_that_the_client_would_decode_twice_is_refused(path: str) -> None:
    assert "virtual host" in str(rules.url_error(f"amqp://example.com{path}"))


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("GMT+2", "Etc/GMT-2"),
        ("UTC+2", "Etc/GMT-2"),
        ("UTC-05:00", "Etc/GMT+5"),
        ("+02:00", "Etc/GMT-2"),
        ("UTC+0", "UTC"),
        ("PST", "America/Los_Angeles"),
        ("pst", "America/Los_Angeles"),
        ("EDT", "America/New_York"),
        ("CEST", "Europe/Paris"),
        ("localtime", "Europe/Paris"),
        ("Europe/Pariss", "Europe/Paris"),
        ("New_York", "America/New_York"),
    ],
)
def test_a_zone_that_is_none_is_refused_with_what_was_meant(zone: str, hint: str) -> None:
    said = unknown_zone(zone, rules_in_use())

    assert hint in said
    assert f"did you mean {zone}" not in said
