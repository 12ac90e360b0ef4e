"""`metallb_speaker_announced` of BGP: which addresses of which Services this node announces."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from speaker.bgp.events import Event
from speaker.bgp.reports import BgpReader, Snapshot

PROTOCOL = "bgp"
"""MetalLB's name for it."""


class AnnouncedServices(Collector):
    """A `BgpListener` that only notes what has changed; whoever scrapes has it looked at.

    A series for each address on every node, as MetalLB has it: for 10,000 the text takes 2 MB, gauges would take 8.
    `_lock` guards `_changed` and `_all_changed`, `_scraping` the rest.
    """

    def __init__(self, reader: BgpReader, registry: CollectorRegistry, *, node: str) -> None:
        self._reader = reader
        self._node = node
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._all_changed = True
        self._scraping = threading.Lock()
        self._announced: dict[str, tuple[str, ...]] = {}
        registry.register(self)

    def on_services(self, keys: frozenset[str] | None) -> None:
        """Note which to look at."""
        with self._lock:
            if keys is None:
                self._all_changed = True
            else:
                self._changed |= keys

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Pass over it."""

    def on_event(self, event: Event) -> None:
        """Pass over it."""

    def collect(self) -> Iterator[Metric]:
        """Yield a series for each address that is announced."""
        with self._scraping:
            self._look()
            family = GaugeMetricFamily(
                "metallb_speaker_announced",
                "Services being announced from this node",
                labels=("service", "protocol", "node", "ip"),
            )
            for key, addresses in self._announced.items():
                for address in addresses:
                    family.add_metric((key, PROTOCOL, self._node, address), 1)
        yield family

    def _look(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
            everything, self._all_changed = self._all_changed, False
        if everything:
            changed = {*self._announced, *self._reader.services()}
        for key in changed:
            announcements = self._reader.service(key).announcements
            addresses = tuple(sorted(str(address) for address, each in announcements.items() if each.prefixes))
            if addresses:
                self._announced[key] = addresses
            else:
                self._announced.pop(key, None)
