from ipaddress import IPv4Address, IPv6Address

from hypothesis import example, given
from hypothesis import strategies as st

from app.core.net.addresses import RANGES
from app.core.net.egress import Egress


@given(st.ip_addresses())
@example(IPv6Address("5f00::1"))
@example(IPv4Address("192.0.0.10"))
def test_what_python_calls_not_global_is_never_called(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global:
        assert Egress().verdict(str(address), port=443) is not None


@given(st.data())
def test_every_address_of_every_listed_range_is_blocked(data: st.DataObject) -> None:
    network, _ = data.draw(st.sampled_from(RANGES))
    address = data.draw(st.ip_addresses(network=network))

    assert Egress().verdict(str(address), port=443) is not None


@given(st.ip_addresses(v=4))
def test_no_translator_makes_an_ipv4_address_callable(address: IPv4Address) -> None:
    low = int(address)
    forms = [
        IPv6Address(low),
        IPv6Address(0xFFFF << 32 | low),
        IPv6Address(0xFFFF << 48 | low),
        IPv6Address(0x64FF9B << 96 | low),
        IPv6Address(0x2002 << 112 | low << 80),
    ]

    assert all(Egress().verdict(str(form), port=443) for form in forms)
