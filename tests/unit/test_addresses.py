"""Which addresses may be called, and what an operator changes about it."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest

from app.config import Settings
from app.core.net.addresses import Kind, carried_by, kind_of
from app.core.net.egress import Egress, Listed
from app.errors import InvalidSettings

PUBLIC = ["1.1.1.1", "93.184.216.34", "100.63.255.255", "172.32.0.1", "2606:4700:4700::1111"]

SPECIAL = {
    "0.0.0.0": Kind.UNSPECIFIED,  # noqa: S104 - nothing binds to it
    "0.1.2.3": Kind.RESERVED,
    "10.0.0.1": Kind.PRIVATE,
    "100.64.0.1": Kind.SHARED,
    "100.100.100.200": Kind.METADATA,
    "127.0.0.1": Kind.LOOPBACK,
    "127.255.255.254": Kind.LOOPBACK,
    "168.63.129.16": Kind.METADATA,
    "169.254.1.1": Kind.LINK_LOCAL,
    "169.254.169.254": Kind.METADATA,
    "169.254.170.2": Kind.METADATA,
    "172.16.0.1": Kind.PRIVATE,
    "172.31.255.255": Kind.PRIVATE,
    "192.0.0.1": Kind.RESERVED,
    "192.0.0.192": Kind.METADATA,
    "192.0.2.1": Kind.RESERVED,
    "192.88.99.1": Kind.RESERVED,
    "192.168.1.1": Kind.PRIVATE,
    "198.18.0.1": Kind.RESERVED,
    "198.51.100.1": Kind.RESERVED,
    "203.0.113.1": Kind.RESERVED,
    "224.0.0.1": Kind.MULTICAST,
    "240.0.0.1": Kind.RESERVED,
    "255.255.255.255": Kind.RESERVED,
    "::": Kind.UNSPECIFIED,
    "::1": Kind.LOOPBACK,
    "::127.0.0.1": Kind.EMBEDDED,
    "::ffff:127.0.0.1": Kind.EMBEDDED,
    "::ffff:8.8.8.8": Kind.EMBEDDED,
    "::ffff:0:127.0.0.1": Kind.EMBEDDED,
    "64:ff9b::7f00:1": Kind.EMBEDDED,
    "64:ff9b:1::a9fe:a9fe": Kind.EMBEDDED,
    "100::1": Kind.RESERVED,
    "2001:0:7f00:1::": Kind.RESERVED,
    "2001:db8::1": Kind.RESERVED,
    "2002:7f00:1::": Kind.EMBEDDED,
    "3fff::1": Kind.RESERVED,
    "4000::1": Kind.RESERVED,
    "5f00::1": Kind.RESERVED,
    "fc00::1": Kind.PRIVATE,
    "fd00:ec2::254": Kind.METADATA,
    "fd20:ce::254": Kind.METADATA,
    "fe80::1": Kind.LINK_LOCAL,
    "fe80::1%eth0": Kind.LINK_LOCAL,
    "fec0::1": Kind.PRIVATE,
    "ff02::1": Kind.MULTICAST,
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_has_no_kind_and_may_be_called(address: str) -> None:
    assert kind_of(ip_address(address)) is None
    assert Egress().verdict(address, port=443) is None


@pytest.mark.parametrize(("address", "kind"), SPECIAL.items(), ids=SPECIAL)
def test_a_special_address_has_a_kind_and_may_not_be_called(address: str, kind: Kind) -> None:
    assert kind_of(ip_address(address)) is kind
    assert Egress().verdict(address, port=443) is not None


def test_what_is_no_address_is_blocked() -> None:
    assert Egress().verdict("example.com", port=443) == "example.com is no IP address"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.1.1", "100.64.0.1", "fd00::1"]
)
def test_private_addresses_are_opened_by_one_setting(address: str) -> None:
    refusal = Egress().verdict(address, port=443)

    assert refusal is not None
    assert address in refusal
    assert "TOCSIN_ALLOW_PRIVATE_TARGETS=true" in refusal
    assert Egress(allow_private=True).verdict(address, port=443) is None


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "224.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "198.18.0.1",
        "2001:db8::1",
    ],
)
def test_no_other_special_address_is_opened_by_it(address: str) -> None:
    assert Egress(allow_private=True).verdict(address, port=443) is not None


def test_a_metadata_service_is_opened_only_by_its_own_address() -> None:
    around = Egress(allowed=Listed.of(["169.254.0.0/16", "*", "*.internal"]), allow_private=True)
    itself = Egress(allowed=Listed.of(["169.254.169.254"]))

    refusal = around.verdict("169.254.169.254", port=80, host="metadata.google.internal")

    assert refusal == (
        "metadata.google.internal is at 169.254.169.254, which is a cloud's metadata service: "
        "only 169.254.169.254 itself in TOCSIN_ALLOWED_TARGETS would allow it"
    )
    assert itself.verdict("169.254.169.254", port=80) is None


def test_an_allowed_translator_still_leads_only_to_what_is_allowed() -> None:
    egress = Egress(allowed=Listed.of(["64:ff9b::/96", "2002::/16"]))

    assert egress.verdict("64:ff9b::808:808", port=443) is None
    assert egress.verdict("2002:808:808::1", port=443) is None
    refusal = egress.verdict("64:ff9b::a9fe:a9fe", port=80)
    assert refusal is not None
    assert "leads to 169.254.169.254, which is a cloud's metadata service" in refusal
    assert egress.verdict("2002:7f00:1::", port=80) is not None


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("hooks.corp.example", True),
        ("HOOKS.Corp.Example.", True),
        ("deep.below.corp.example", True),
        ("corp.example", False),
        ("evilcorp.example", False),
        ("corp.example.evil.test", False),
        ("intranet", True),
        ("xintranet", False),
        ("www.intranet", False),
    ],
)
def test_an_allowed_name_opens_private_addresses_for_itself(host: str, allowed: bool) -> None:  # noqa: FBT001
    egress = Egress(allowed=Listed.of(["*.corp.example", "Intranet"]))

    assert (egress.verdict("10.0.0.1", port=443, host=host) is None) is allowed
    assert egress.verdict("10.0.0.1", port=443) is not None


def test_a_denied_network_or_name_is_blocked_though_it_is_public() -> None:
    egress = Egress(denied=Listed.of(["93.184.216.0/24", "*.rival.test"]))

    assert egress.verdict("93.184.216.34", port=443) is not None
    assert egress.verdict("1.1.1.1", port=443) is None
    refusal = egress.host_verdict("api.rival.test")
    assert refusal is not None
    assert "TOCSIN_DENIED_TARGETS" in refusal
    assert egress.host_verdict("example.test") is None


def test_with_everything_denied_only_the_allowed_may_be_called() -> None:
    egress = Egress(allowed=Listed.of(["hooks.example.com", "1.1.1.0/24"]), denied=Listed.of(["*"]))

    assert egress.verdict("93.184.216.34", port=443, host="hooks.example.com") is None
    assert egress.verdict("1.1.1.1", port=443) is None
    assert egress.verdict("93.184.216.34", port=443, host="other.example.com") is not None
    assert egress.verdict("2606:4700:4700::1111", port=443) is not None


@pytest.mark.parametrize(
    ("port", "allowed"), [(80, 1), (443, 1), (1024, 1), (65535, 1), (22, 0), (25, 0)]
)
def test_low_ports_serve_something_else_than_the_web(port: int, allowed: int) -> None:
    assert (Egress().verdict("1.1.1.1", port=port) is None) is bool(allowed)


def test_a_blocked_port_is_blocked_on_the_allowed_list_too() -> None:
    egress = Egress(allowed=Listed.of(["10.0.0.1"]))

    refusal = egress.verdict("10.0.0.1", port=22)

    assert refusal == "port 22 of 10.0.0.1 is not allowed: TOCSIN_ALLOWED_PORTS would allow it"


def test_settings_become_the_rules() -> None:
    settings = Settings.from_environ(
        {
            "TOCSIN_ALLOWED_TARGETS": "10.1.0.0/16, *.corp.example,",
            "TOCSIN_DENIED_TARGETS": "1.1.1.1",
            "TOCSIN_ALLOWED_PORTS": "443, 8000-8999",
        }
    )

    egress = Egress.from_settings(settings)

    assert egress.allowed.networks == (IPv4Network("10.1.0.0/16"),)
    assert egress.allowed.hosts == {"*.corp.example"}
    assert egress.verdict("1.1.1.1", port=443) is not None
    assert egress.verdict("9.9.9.9", port=8443) is None
    assert egress.verdict("9.9.9.9", port=80) is not None
    assert not egress.allow_private


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TOCSIN_ALLOWED_TARGETS", "10.0.0.1/8"),
        ("TOCSIN_ALLOWED_TARGETS", "http://example.com"),
        ("TOCSIN_ALLOWED_TARGETS", "*.com*"),
        ("TOCSIN_ALLOWED_TARGETS", "1.2.3"),
        ("TOCSIN_DENIED_TARGETS", "bücher.example"),
        ("TOCSIN_DENIED_TARGETS", "example.com:443"),
        ("TOCSIN_ALLOWED_PORTS", "0"),
        ("TOCSIN_ALLOWED_PORTS", "900-800"),
        ("TOCSIN_ALLOWED_PORTS", "1-70000"),
    ],
)
def test_a_list_that_cannot_be_read_names_its_variable_and_the_entry(
    variable: str, value: str
) -> None:
    settings = Settings.from_environ({variable: value})

    with pytest.raises(InvalidSettings, match=f"^{variable}: '") as refusal:
        Egress.from_settings(settings)

    assert repr(value) in str(refusal.value)


def test_only_what_leads_to_an_ipv4_address_carries_one() -> None:
    assert carried_by(IPv6Address("64:ff9b::808:808")) == IPv4Address("8.8.8.8")
    assert carried_by(IPv6Address("2002:808:808::1")) == IPv4Address("8.8.8.8")
    assert carried_by(IPv6Address("2606:4700::1")) is None
    assert carried_by(IPv4Address("8.8.8.8")) is None
