"""Arguments of `admitlb who-has` that make no question: refused before anything is asked."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from allocator.cli import main


def refused(*words: str) -> str:
    done = CliRunner().invoke(main, ["who-has", "--no-cluster", *words])
    assert done.exit_code == 2, done.output
    return done.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "an unspecified"),
        ("0.1.2.3", "an unspecified"),
        ("::", "an unspecified"),
        ("127.0.0.1", "a loopback"),
        ("::1", "a loopback"),
        ("224.0.0.1", "a multicast"),
        ("ff02::1", "a multicast"),
        ("255.255.255.255", "a broadcast"),
    ],
)
def test_an_address_that_no_host_on_a_lan_has(address: str, kind: str) -> None:
    said = f"Error: '{address}' is {kind} address; name the address of a host on the LAN"
    assert refused(address) == said
    assert refused("192.0.2.1", address) == said


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "-1", "0", "x"])
@pytest.mark.parametrize("words", [["192.0.2.1"], ["--listen", "192.0.2.0/24"]], ids=" ".join)
def test_a_time_that_is_none(words: list[str], seconds: str) -> None:
    assert refused(*words, f"--seconds={seconds}").startswith("Error: Invalid value for '--seconds': ")
