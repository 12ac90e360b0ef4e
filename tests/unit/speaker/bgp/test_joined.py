"""BGP joined to the controller: what it is handed of Services, and that it is not there where nobody asks for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from allocator.bgp.inputs import Service
from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import ENDPOINT_SLICES_V1, SERVICES, Resource
from allocator.objects.names import IP_ADDRESS_POOLS
from speaker.bgp.service_follower import ServiceFollower
from speaker.cluster.state import View
from tests.unit.speaker.objects import endpoint, endpoint_slice, pool, service

VIP = Address.parse("10.0.0.1")
WEB: Key = ("default", "web")


class Cluster:
    """A view that is brought up to date change by change, and what BGP was handed of it."""

    def __init__(self) -> None:
        self._view = View()
        self.handed: list[Mapping[Key, Service | None]] = []
        self._follower = ServiceFollower(self.handed.append, on_known=lambda: None)

    def put(self, resource: Resource, *objects: Object) -> None:
        for one in objects:
            key = (one["metadata"].get("namespace") or "", one["metadata"]["name"])
            self._apply(Change(resource, key, None, one, "1"))

    def remove(self, resource: Resource, key: Key) -> None:
        self._apply(Change(resource, key, None, None, "1"))

    def _apply(self, change: Change) -> None:
        seen = self._view.read(change)
        assert seen is not None
        self._view.apply(seen)

    def follow(self) -> Mapping[Key, Service | None]:
        """What the controller does after changes; returns what BGP is handed."""
        self.handed.clear()
        seen = self._view.refresh().seen
        if seen:
            self._follower.follow(self._view, seen)
        return self.handed[-1] if self.handed else {}


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool("public", addresses=["10.0.0.0/24"]))
    cluster.put(SERVICES, service("10.0.0.1"), service("10.0.0.2", name="other"))
    cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a")))
    return cluster


def test_every_service_with_an_address_is_handed_on_though_no_l2_advertisement_covers_it(cluster: Cluster) -> None:
    handed = cluster.follow()
    web = handed[WEB]
    assert web is not None
    assert dict(web.addresses) == {VIP: ("public",)}
    assert (web.has_endpoints, web.endpoint_nodes) == (True, frozenset({"node-a"}))
    assert handed["default", "other"] is not None


def test_only_what_a_change_concerns_is_handed_on(cluster: Cluster) -> None:
    cluster.follow()
    cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-b")))
    handed = cluster.follow()
    assert set(handed) == {WEB}
    web = handed[WEB]
    assert web is not None
    assert web.endpoint_nodes == {"node-b"}
    assert cluster.follow() == {}


def test_service_that_is_gone_is_handed_on_as_nothing(cluster: Cluster) -> None:
    cluster.follow()
    cluster.remove(SERVICES, WEB)
    assert cluster.follow() == {WEB: None}


def test_address_of_a_renamed_pool_is_of_the_new_one(cluster: Cluster) -> None:
    cluster.follow()
    cluster.remove(IP_ADDRESS_POOLS, ("metallb-system", "public"))
    cluster.put(IP_ADDRESS_POOLS, pool("internet", addresses=["10.0.0.0/24"]))
    web = cluster.follow()[WEB]
    assert web is not None
    assert "internet" in web.addresses[VIP]


def test_speaker_without_frr_imports_nothing_of_bgp() -> None:
    code = (
        "import sys, speaker.main; print([name for name in sys.modules if '.bgp' in name and 'objects' not in name])"
    )
    found: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
