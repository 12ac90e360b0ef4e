"""Entries that are no address and no range: what is proposed instead, and that it can be taken at its word."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, AddressError, AddressRange, Family

V4 = st.integers(1 << 24, (1 << 32) - 1).map(lambda value: str(Address(Family.IPV4, value)))
V6 = st.integers(1 << 112, (1 << 128) - 1).map(lambda value: str(Address(Family.IPV6, value)))

CIDR = st.tuples(V4, st.integers(1, 32)).map("{0[0]}/{0[1]}".format)


def proposed(remedy: str) -> list[str]:
    """The entries a remedy says to write; none where it says something else."""
    several = re.fullmatch(r"write \d+ entries: (.*)", remedy)
    if several:
        return several[1].split(", ")
    one = re.fullmatch(r"write ([0-9a-f].*)", remedy)
    return [one[1]] if one and " " not in one[1] else []


def refusal(entry: str) -> AddressError:
    with pytest.raises(AddressError) as refused:
        AddressRange.parse(entry)
    return refused.value


@pytest.mark.parametrize(
    ("entry", "meant"),
    [
        # only the last part of the end
        ("192.168.61.240-250", ["192.168.61.240-192.168.61.250"]),
        ("192.168.61.240 - 250", ["192.168.61.240-192.168.61.250"]),
        ("10.0.0.1-1.5", ["10.0.0.1-10.0.1.5"]),
        ("240-10.0.0.250", ["10.0.0.240-10.0.0.250"]),
        ("2001:db8::10-20", ["2001:db8::10-2001:db8::20"]),
        ("10.0.0.250-240", ["10.0.0.240-10.0.0.250"]),
        # white space around the slash
        ("10.0.1.0 / 28", ["10.0.1.0/28"]),
        ("2001:db8::/ 120", ["2001:db8::/120"]),
        # several in one entry
        ("10.0.0.1,10.0.0.9", ["10.0.0.1", "10.0.0.9"]),
        ("10.0.0.1-10.0.0.5, 10.0.1.0/24", ["10.0.0.1-10.0.0.5", "10.0.1.0/24"]),
        ("10.0.0.1-5,10.0.0.9", ["10.0.0.1-10.0.0.5", "10.0.0.9"]),
        ("10.0.0.1 10.0.0.2\t2001:db8::1", ["10.0.0.1", "10.0.0.2", "2001:db8::1"]),
        ("10.0.0.1;10.0.0.2", ["10.0.0.1", "10.0.0.2"]),
        # another character for the dash
        ("192.168.61.240.192.168.61.250", ["192.168.61.240-192.168.61.250"]),
        ("192.168.61.240.250", ["192.168.61.240-192.168.61.250"]),
        ("10.0.0.1–10.0.0.9", ["10.0.0.1-10.0.0.9"]),  # noqa: RUF001
        ("10.0.0.1 — 10.0.0.9", ["10.0.0.1-10.0.0.9"]),
        ("10.0.0.1−10.0.0.9", ["10.0.0.1-10.0.0.9"]),  # noqa: RUF001
        ("10.0.0.1--10.0.0.9", ["10.0.0.1-10.0.0.9"]),
        ("10.0.0.1..10.0.0.9", ["10.0.0.1-10.0.0.9"]),
        ("10.0.0.1 to 10.0.0.9", ["10.0.0.1-10.0.0.9"]),
        # prefix lengths where none belongs, and other ways to write one
        ("10.0.0.1/24-10.0.0.9/24", ["10.0.0.1-10.0.0.9"]),
        ("10.0.0.1-10.0.0.9/24", ["10.0.0.1-10.0.0.9"]),
        ("10.0.0.1/24-10.0.0.9", ["10.0.0.1-10.0.0.9"]),
        ("10.0.0.0/28-10.0.0.16/28", ["10.0.0.0-10.0.0.31"]),
        ("10.0.0.0/24 - 10.0.0.250/24", ["10.0.0.0-10.0.0.250"]),
        ("2001:db8::/120-2001:db8::100/120", ["2001:db8::-2001:db8::1ff"]),
        ("2001:db8::1/64-2001:db8::9/64", ["2001:db8::1-2001:db8::9"]),
        ("10.0.0.0/255.255.255.0", ["10.0.0.0/24"]),
        ("10.0.0.0/024", ["10.0.0.0/24"]),
        ("10.0.0/24", ["10.0.0.0/24"]),
        ("10.0.0.*", ["10.0.0.0/24"]),
        ("::ffff:10.0.0.0/120", ["10.0.0.0/24"]),
        # one end
        ("10.0.0.5-", ["10.0.0.5"]),
        ("-10.0.0.5", ["10.0.0.5"]),
        ("2001:db8::5 -", ["2001:db8::5"]),
        # text around it
        ("10.0.0.0/24 # office", ["10.0.0.0/24"]),
        ("'10.0.0.1-10.0.0.9'", ["10.0.0.1-10.0.0.9"]),
        ("lan 10.0.0.1-10.0.0.9 (office)", ["10.0.0.1-10.0.0.9"]),
        ("10.0.0.1:80", ["10.0.0.1"]),
        ("[2001:db8::1]", ["2001:db8::1"]),
        ("http://10.0.0.1/", ["10.0.0.1"]),
        ("10.0.0.1,", ["10.0.0.1"]),
        ("2001:db8::1%eth0", ["2001:db8::1"]),
        # the wrong way round, zeros
        ("10.0.0.9-10.0.0.1", ["10.0.0.1-10.0.0.9"]),
        ("10.0.0.001-10.0.0.009", ["10.0.0.1-10.0.0.9"]),
        ("010.0.0.1", ["10.0.0.1"]),
        # nobody can say
        ("web", []),
        ("", []),
        ("-", []),
        ("10.0.0.0/33", []),
        ("300.1.1.1", []),
        ("1.2.3", []),
        ("10.0.0.1-10.0.0.300", []),
        ("10.0.0.1-10.0.0.5-10.0.0.9", []),
        ("10.0.0.1-2001:db8::1", []),
    ],
)
def test_the_refusal_quotes_the_whole_entry_and_the_form_that_would_be_right(entry: str, meant: list[str]) -> None:
    error = refusal(entry)
    assert str(error).startswith(f"{entry!r} ")
    assert proposed(error.remedy) == meant


_noise = st.text("0123456789.:/-,; abcfx*–to[]%#", max_size=12)  # noqa: RUF001
_entries = st.one_of(
    st.lists(st.one_of(V4, V6, _noise), min_size=1, max_size=4).flatmap(
        lambda parts: st.sampled_from(["", "-", ",", " ", "/", " - ", "/24-", "–"]).map(lambda glue: glue.join(parts))  # noqa: RUF001
    ),
    st.text("0123456789.:/-,; abcfx*–", max_size=45),  # noqa: RUF001
    st.text(max_size=20),
)


@given(_entries)
def test_what_is_proposed_can_always_be_read(entry: str) -> None:
    try:
        AddressRange.parse(entry)
    except AddressError as error:
        for form in proposed(error.remedy):
            AddressRange.parse(form)
    try:
        Address.parse(entry)
    except AddressError as error:
        for form in proposed(error.remedy):
            assert [Address.parse(one) for one in form.split(",")]


@given(V4, V4, st.sampled_from(["–", "—", "..", " to ", "~", "--", "/24-"]))  # noqa: RUF001
def test_any_two_addresses_with_another_dash_are_the_range(one: str, two: str, dash: str) -> None:
    low, high = sorted((Address.parse(one), Address.parse(two)))
    assert proposed(refusal(f"{one}{dash}{two}").remedy) in ([f"{one}-{two}"], [f"{low}-{high}"])


@given(
    st.lists(
        st.one_of(V4, V6, st.tuples(V4, st.integers(1, 32)).map("{0[0]}/{0[1]}".format)),
        min_size=2,
        max_size=5,
        unique=True,
    )
)
def test_any_list_in_one_entry_is_taken_apart(parts: list[str]) -> None:
    assert proposed(refusal(", ".join(parts)).remedy) == parts


@pytest.mark.parametrize(
    "entry", ["9" * 5000, "10.0.0.0/" + "9" * 5000, ".".join(["0" * 5000 + "1"] * 4), "1-" * 5000, ":" * 9999]
)
def test_text_of_any_length_is_refused_in_a_short_line(entry: str) -> None:
    for read in (AddressRange.parse, Address.parse):
        with pytest.raises(AddressError) as refused:
            read(entry)
        assert len(str(refused.value)) < 500


def test_a_service_is_proposed_single_addresses() -> None:
    for entry, meant in {
        "10.0.0.1/32": "10.0.0.1",
        "10.0.0.1 2001:db8::1": "10.0.0.1,2001:db8::1",
        "10.0.0.010": "10.0.0.10",
        "10.0.0.1-10.0.0.9": "10.0.0.1",
    }.items():
        with pytest.raises(AddressError, match=f"write {meant}$"):
            Address.parse(entry)
