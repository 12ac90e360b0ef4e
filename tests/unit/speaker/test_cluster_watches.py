"""When the watches are told that the way to the API server may be back."""

from __future__ import annotations

from typing import cast

import pytest

from allocator.kube.client import Cluster
from allocator.kube.reflector import Reflector
from allocator.kube.resource import ENDPOINT_SLICES_V1
from speaker.cluster_watches import ClusterWatches
from speaker.netdev.interfaces import Interface

_UP, _BROADCAST = 0x1, 0x2
ETH0 = Interface(index=2, name="eth0", mac=bytes(6))
ETH1 = Interface(index=3, name="eth1", mac=bytes(6))
ETH1_DOWN = Interface(index=3, name="eth1", mac=bytes(6), flags=_UP | _BROADCAST)


def test_only_a_link_that_is_back_has_them_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    retried: list[str] = []
    monkeypatch.setattr(Reflector, "retry", lambda self: retried.append(self.resource.plural))
    watches = ClusterWatches(
        cast(Cluster, None), namespace="metallb-system", slices=ENDPOINT_SLICES_V1, on_change=lambda _: None
    )
    counts = []
    for interfaces in [(ETH0, ETH1), (ETH0, ETH1), (ETH0, ETH1_DOWN), (ETH0,), (ETH0, ETH1_DOWN), (ETH0, ETH1)]:
        retried.clear()
        watches.on_interfaces(interfaces)
        counts.append(len(retried))
    every = len(watches.parts)
    assert counts == [every, 0, 0, 0, 0, every]
