"""Addresses and ranges: what is read, what is refused and how it says so."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, AddressError, AddressRange, Family, unusable_part

V4 = st.integers(0, 2**32 - 1)
V6 = st.integers(0, 2**128 - 1).filter(lambda value: ipaddress.IPv6Address(value).ipv4_mapped is None)


@given(st.one_of(V4.map(lambda v: Address(Family.IPV4, v)), V6.map(lambda v: Address(Family.IPV6, v))))
def test_text_and_claim_name_lead_back_to_the_address(address: Address) -> None:
    assert Address.parse(str(address)) == address
    assert Address.from_claim_name(address.claim_name) == address


def test_claim_names_are_one_per_address_and_fit_object_names() -> None:
    assert Address.parse("192.168.1.100").claim_name == "192.168.1.100"
    assert Address.parse("fd00::10").claim_name == "fd00-0000-0000-0000-0000-0000-0000-0010"
    assert Address.parse("fd00:0::10").claim_name == Address.parse("fd00::10").claim_name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not an IP address"),
        ("web", "is not an IP address"),
        ("1.2.3", "is not an IP address"),
        ("01.2.3.4", "leading zeros, which not all programs read alike; write 1.2.3.4"),
        ("fe80::1%eth0", "zone id"),
        ("::ffff:1.2.3.4", "write 1.2.3.4"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(AddressError, match=says):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "first", "last", "canonical"),
    [
        ("192.168.1.100-192.168.1.110", "192.168.1.100", "192.168.1.110", "192.168.1.100-192.168.1.110"),
        ("  10.0.0.1 - 10.0.0.1 ", "10.0.0.1", "10.0.0.1", "10.0.0.1-10.0.0.1"),
        ("198.51.100.10/24", "198.51.100.0", "198.51.100.255", "198.51.100.0/24"),
        ("192.168.1.200/32", "192.168.1.200", "192.168.1.200", "192.168.1.200/32"),
        ("192.168.1.7", "192.168.1.7", "192.168.1.7", "192.168.1.7"),
        ("2001:db8::/126", "2001:db8::", "2001:db8::3", "2001:db8::/126"),
        ("2001:DB8:1::100-2001:db8:1::110", "2001:db8:1::100", "2001:db8:1::110", "2001:db8:1::100-2001:db8:1::110"),
    ],
)
def test_ranges_are_read_as_cidr_bounds_or_single_address(text: str, first: str, last: str, canonical: str) -> None:
    owned = AddressRange.parse(text)
    assert (owned.first, owned.last) == (Address.parse(first).value, Address.parse(last).value)
    assert str(owned) == canonical


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1.2.3.4-fc00::1", "write one range per family"),
        ("10.0.0.9-10.0.0.1", "write 10.0.0.1-10.0.0.9"),
        ("10.0.0.0/33", "prefix length"),
        ("10.0.0.0/-1", "prefix length"),
        ("10.0.0.0/", "prefix length"),
        ("10.0.0.0/08", "leading zeros"),
        ("10.0.0.0/²", "prefix length"),
        ("10.0.0.0-", "is a range with one end"),
        ("::ffff:1.2.3.0/120", "write 1.2.3.0/24"),
    ],
)
def test_what_is_no_range_is_refused_with_the_remedy(text: str, says: str) -> None:
    with pytest.raises(AddressError, match=says):
        AddressRange.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_and_never_breaks(text: str) -> None:
    try:
        AddressRange.parse(text)
    except AddressError as error:
        assert str(error)


parts = st.one_of(
    st.integers(0, 300).map(str),
    st.sampled_from(["", "00", "01", "0x1", "+1", "1_0", " 1", "1 ", "\u00b2", "\u0663", "-1", "1e1"]),
)


@given(st.lists(parts, min_size=3, max_size=5).map(".".join))
def test_four_decimal_parts_are_read_as_python_reads_them(text: str) -> None:
    try:
        expected = ipaddress.IPv4Address(text.strip())
    except ValueError:
        with pytest.raises(AddressError):
            Address.parse(text)
    else:
        assert Address.parse(text) == Address(Family.IPV4, int(expected))


@given(V4, V4, V4, V4)
def test_overlap_is_exact(a: int, b: int, c: int, d: int) -> None:
    one = AddressRange(Family.IPV4, min(a, b), max(a, b), "one")
    two = AddressRange(Family.IPV4, min(c, d), max(c, d), "two")
    shared = max(one.first, two.first) <= min(one.last, two.last)
    assert one.overlaps(two) is two.overlaps(one) is shared


def test_only_an_ipv6_cidr_of_126_or_shorter_has_a_subnet_router_anycast_address() -> None:
    assert AddressRange.parse("2001:db8::/126").anycast == Address.parse("2001:db8::").value
    assert AddressRange.parse("2001:db8::/127").anycast is None
    assert AddressRange.parse("2001:db8::1/128").anycast is None
    assert AddressRange.parse("10.0.0.0/24").anycast is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("224.0.0.1-224.0.0.9", "multicast"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.1.0/24", "link-local"),
        ("0.0.0.0/0", "unspecified"),
        ("::1", "loopback"),
        ("fe80::/64", "link-local"),
        ("ff02::/16", "multicast"),
    ],
)
def test_addresses_no_service_can_have_are_named(text: str, kind: str) -> None:
    unfit = unusable_part(AddressRange.parse(text))
    assert unfit is not None
    assert unfit[0] == kind


def test_ordinary_ranges_have_no_unusable_part() -> None:
    assert all(
        unusable_part(AddressRange.parse(text)) is None for text in ("10.0.0.0/8", "fd00::/8", "203.0.113.0/24")
    )
