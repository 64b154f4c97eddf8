"""What leads into the house, in whatever notation, is told from what the public reaches."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.address import inside, inside_by_name
from ledger.domain.billing.webhook import check_target
from ledger.domain.errors import InvalidInputError
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.webhook_inputs import NewWebhook

HOUSE = (
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1", "198.18.0.1"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.0.2.1", "203.0.113.9"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::a00:1"),
    *("fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
    *("2002:7f00:1::", "2001:0:7f00:1::", "100::1", "3fff::1", "2001:10::1"),
)
PUBLIC = ("8.8.8.8", "172.32.0.1", "100.128.0.1", "169.253.1.1", "2606:4700:4700::1111", "2a00::1")


@pytest.mark.parametrize("text", HOUSE)
def test_addresses_of_the_house_are_known(text: str) -> None:
    assert inside(text) is not None
    assert inside_by_name(text) is not None


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_let_through(text: str) -> None:
    assert inside(text) is None
    assert inside_by_name(text) is None


@given(
    st.one_of(
        st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)
    )
)
def test_nothing_passes_that_python_itself_calls_other_than_global(
    address: IPv4Address | IPv6Address,
) -> None:
    if inside(str(address)) is None:
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.integers(0, 2**32 - 1))
def test_no_address_of_ipv4_passes_as_one_of_ipv6(number: int) -> None:
    for prefix in ("::ffff:0:0", "::", "64:ff9b::", "2002::"):
        shift = 80 if prefix == "2002::" else 0
        wrapped = IPv6Address(int(ip_address(prefix)) | number << shift)
        assert inside(str(wrapped)) is not None


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "a.localhost", "db.internal", "printer.local"),
        *("intranet", "metadata.google.internal", "0x7f000001", "2130706433", "017700000001"),
        *("0x7f.1", "127.1", "10.1", "1.2.3.4.5"),
    ],
)
def test_names_that_lead_inside_are_refused_before_they_are_looked_up(host: str) -> None:
    assert inside_by_name(host) is not None


@pytest.mark.parametrize("url", ["http://example.com/", "https://127.0.0.1/", "https://[::1]:8/x"])
def test_a_target_is_https_and_public(url: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_target(url, allow_inside=False)
    assert refused.value.where == "url"
    check_target(url, allow_inside=True)


@pytest.mark.parametrize(
    "url",
    [
        *("", "https://", "ftp://example.com/", "file:///etc/passwd", "https://example.com:0/"),
        *("https://user@example.com/", "https://user:pass@example.com/", "https://example.com/#x"),
        *("https://example.com/ x", "https://example.com/\r\nHost: x", "https://example.com\\@x/"),
        *("https://example.com:99999/", "https://[::1/", "https://exämple.com/", "gopher://x.y/"),
        "https://example.com/" + "x" * 2_000,
    ],
)
def test_what_is_no_plain_address_is_no_target(url: str) -> None:
    said = {"webhook_id": "erp", "entity_id": "acme", "url": url, "events": ["invoice.paid"]}
    with pytest.raises(InputError, match="url"):
        read_input(NewWebhook, said)
