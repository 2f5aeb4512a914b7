"""Proxies before the API: which headers speak of one, and whom they are believed."""

import pytest

from app.core.net.clients import client_of
from app.core.net.proxies import Proxies, speaks_of_a_proxy

PROXIES = Proxies.of(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    "name",
    [
        *("Forwarded", "Forwarded-For", "Via", "Max-Forwards", "Client-IP", "Remote-Addr"),
        *("X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
        *(
            "X-Forwarded-Port",
            "X-Forwarded-Server",
            "X-Forwarded-Prefix",
            "X-Forwarded-Client-Cert",
        ),
        *("X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Remote-IP", "X-Remote-Addr"),
        *("X-Originating-IP", "X-Original-Forwarded-For", "X-Original-URL", "X-Original-Host"),
        *("X-Rewrite-URL", "X-ProxyUser-IP", "Proxy-Client-IP", "WL-Proxy-Client-IP", "X-Host"),
        *("CF-Connecting-IP", "CF-Connecting-IPv6", "CF-Ray", "CF-Visitor", "CDN-Loop"),
        *("True-Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "Akamai-Origin-Hop"),
        *("X-Azure-ClientIP", "X-Azure-SocketIP", "X-Amzn-Trace-Id", "X-Amz-Cf-Id"),
        *("X-AppEngine-User-IP", "X-Envoy-External-Address", "X-Vercel-Forwarded-For"),
        *("X-Scheme", "X-Url-Scheme", "Front-End-Https", "X-ARR-SSL", "X-Cloud-Trace-Context"),
        *("x_forwarded_for", "X-FORWARDED_HOST", "client_ip", "Proxy-Connection"),
    ],
)
def test_a_header_that_a_proxy_sets_is_known(name: str) -> None:
    assert speaks_of_a_proxy([name])


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "Origin", "Accept", "Accept-Encoding", "User-Agent", "Content-Type", "Cookie"),
        *("Connection", "Content-Length", "If-Match", "Authorization", "traceparent", "Referer"),
        *("X-Request-Id", "Sec-Fetch-Site", "Cache-Control", "DNT", "Upgrade-Insecure-Requests"),
    ],
)
def test_a_header_that_clients_set_is_none_of_a_proxy(name: str) -> None:
    assert not speaks_of_a_proxy([name])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.9, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("2001:db8::1", ["[2001:dba::7]:4711"], "2001:dba::7"),
        ("::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["", " , "], "127.0.0.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_the_client_is_the_last_one_that_no_trusted_proxy_is(
    peer: str, forwarded_for: list[str], client: str
) -> None:
    assert PROXIES.client(peer, forwarded_for) == client


def test_without_any_trusted_proxy_nobody_is_believed() -> None:
    assert Proxies().client("127.0.0.1", ["198.51.100.1"]) == "127.0.0.1"


@pytest.mark.parametrize("entry", ["localhost", "10.0.0.1/8", "*", "300.1.1.1"])
def test_what_is_no_address_or_network_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=entry.replace("*", r"\*")):
        Proxies.of([entry])


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.1.2.3", "loopback"),
        ("::1", "loopback"),
        ("", ""),
    ],
)
def test_a_client_is_known_by_what_it_cannot_choose(host: str, client: str) -> None:
    assert client_of(host) == client
