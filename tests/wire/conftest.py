"""Hosts on a wire: fresh network namespaces joined by a bridge, for tests that look at packets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.lab.network import Host, Network

Join = Callable[..., tuple[Host, ...]]

_serial = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture
def network() -> Iterator[Network]:
    """An empty network; its LANs and hosts go when the test ends."""
    with Network() as network:
        yield network


@pytest.fixture
def join(network: Network) -> Join:
    """Make hosts on one LAN: `speaker, client = join(speaker=["192.0.2.1/24"], client=["192.0.2.2/24"])`.

    Each has `lo` and `eth0`. `host.inside()` puts the calling thread into it, `host.call(function)` runs one
    there, `host.run("ip", "neigh")` a program to its end, `Process(argv, netns=host.name)` a lasting one;
    `host.links["eth0"].down()` pulls its cable. Calling `join` again makes a separate LAN.
    """

    def make(**hosts: Sequence[str]) -> tuple[Host, ...]:
        serial = next(_serial)
        lan = network.lan(f"wire{serial}")
        made = []
        for name, addresses in hosts.items():
            # Not the bare name: the whole lab's node-1 may be up in the same session.
            host = network.host(f"wire{serial}-{name}")
            host.plug(lan, "eth0", addresses)
            made.append(host)
        return tuple(made)

    return make
