"""What the announcer does when one address of many changes."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address, Family
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.layer2.announcer import Announcer
from speaker.metrics import SpeakerMetrics
from speaker.persistent_map import PersistentMap

VIP = Address.parse("192.0.2.100")


def test_an_address_more_costs_no_look_at_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    no_packets: Any = None
    announcer = Announcer(
        packets=no_packets, open_endpoint=lambda *_: no_packets, metrics=SpeakerMetrics(CollectorRegistry())
    )
    many: PersistentMap[Address, Scope] = PersistentMap(
        {Address(Family.IPV4, number): EVERYWHERE for number in range(1000)}
    )
    announcer.announce(many)

    def iterate(_: object) -> Any:
        raise AssertionError("all addresses are looked at")

    monkeypatch.setattr(PersistentMap, "__iter__", iterate)
    announcer.announce(many.updated({VIP: EVERYWHERE}), unheld={VIP})
    assert announcer.answered([VIP]) == frozenset()
    announcer.announce(many.updated({VIP: EVERYWHERE}), unheld={VIP})
    announcer.announce(many)
