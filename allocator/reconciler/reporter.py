"""Reports what the configuration has come to: status of pools and advertisements, and ConfigurationState.

A new or changed object is answered for at once, because kstatus takes one without conditions for finished;
counters follow the claims once a second at most. What nobody changed costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from allocator.allocation.cache import ClaimCache
from allocator.allocation.claim_writer import LostRace
from allocator.core.addresses import Address
from allocator.core.conflicts import Judgement
from allocator.core.usage import Usage
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.lease import NotLeading
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.document import labels_of
from allocator.objects.namespace import quota_text
from allocator.objects.pool_status import NEXT_ADDRESSES_FIELD
from allocator.process.logs import EventLog
from allocator.reconciler.bgp_reporter import BgpReporter
from allocator.reconciler.configuration_state import NAME, ConfigurationState
from allocator.reconciler.foreign_hosts import ForeignHosts
from allocator.reconciler.speaker_leases import SpeakerLeases
from allocator.reconciler.status_writer import StatusWriter
from allocator.rules import configuration, pool_status
from allocator.rules import l2_advertisement_status as advertisement_status
from allocator.rules.conditions import KSTATUS_TYPES, Condition, merged
from allocator.rules.configuration import Configuration
from allocator.rules.l2_advertisement_status import labels_by_name
from allocator.rules.speaker_subnets import PoolSubnets, SpeakerSubnets, pool_subnets

log = EventLog("reporter")

_COUNTERS_SECONDS = 1.0
_PACE_SECONDS = 0.05


class Reporter:
    """Watches always; writes from a thread of its own between `lead` and `stop`.

    `_changed` and `_urgent` are set by any thread and cleared by the reporter's before it looks, so that nothing
    that changes while it looks is missed. The writers and `_reported` (what each pool was last found to show, so that
    it is not looked at again) belong to the reporter's thread, `_node_labels` to that of the nodes' reflector.
    `_edits` counts changes of what is configured, so that it need not be read anew for each report.
    """

    def __init__(
        self,
        cluster: Cluster,
        cache: ClaimCache,
        foreign_hosts: ForeignHosts,
        *,
        namespace: str,
        require_leadership: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._namespace = namespace
        self._foreign_hosts = foreign_hosts
        self._require_leadership = require_leadership
        self._writer = StatusWriter(cluster)
        self._state = ConfigurationState(cluster, namespace=namespace)
        self._changed = threading.Event()
        self._urgent = threading.Event()
        self._stopping = threading.Event()
        watched = (names.L2_ADVERTISEMENTS, names.CONFIGURATION_STATES)
        self._advertisements, self._states = (
            Reflector(cluster, resource, namespace=namespace, on_change=self.note) for resource in watched
        )
        self._leases = SpeakerLeases(
            lambda: [one for page in cluster.pages(resource.LEASES, namespace) for one in page.get("items") or ()]
        )
        self._bgp = BgpReporter(cluster, self._leases, namespace=namespace, on_change=self.note)
        self._nodes = Reflector(cluster, resource.NODES, metadata_only=True, on_change=self._note_node)
        self._node_labels: dict[str, Mapping[str, str]] = {}
        self._found: tuple[object, Configuration] | None = None
        self._subnets: tuple[Configuration, SpeakerSubnets, PoolSubnets] | None = None
        self._edits = 0
        self._reported: dict[str, tuple[object, ...]] = {}
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin watching."""
        for mirror in self._mirrors:
            mirror.start()

    def lead(self) -> None:
        """Begin writing."""
        self._urgent.set()
        self._thread.start()

    def stop_writing(self) -> None:
        """Begin no other report."""
        self._stopping.set()
        self._urgent.set()

    def stop(self) -> None:
        """End both."""
        self.stop_writing()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        for mirror in self._mirrors:
            mirror.stop()

    def dead_threads(self) -> list[str]:
        """Name the reflectors, and once it was started the thread, that have ended though nobody stopped them."""
        dead = [mirror.resource.plural for mirror in self._mirrors if not mirror.alive]
        return dead + (["reporter"] if self._thread.ident is not None and not self._thread.is_alive() else [])

    def note(self, change: Change) -> None:
        """Take in that something changed: here, or in the cache."""
        if change.resource is resource.NAMESPACES:
            # Of these only the quota is reported on.
            if quota_text(change.old) != quota_text(change.new):
                self._edits += 1
                self._urgent.set()
            return
        if change.resource is not names.IP_ALLOCATIONS and _judged(change.old) != _judged(change.new):
            self._edits += 1
            self._urgent.set()
        self._changed.set()

    def _note_node(self, change: Change) -> None:
        """Of a node only the labels count, not its heartbeats."""
        name = change.key[1]
        labels = labels_of(change.new)
        if change.new is None:
            self._node_labels.pop(name, None)
        elif labels == self._node_labels.get(name):
            return
        else:
            self._node_labels[name] = labels
        self._edits += 1
        self._changed.set()
        self._urgent.set()

    def bgp_node_statuses(self) -> list[Object]:
        """Return what nodes report of their BGP sessions."""
        return self._bgp.node_statuses()

    def node_labels(self) -> dict[str, Mapping[str, str]] | None:
        """Return the labels of all nodes; None before all are listed: objects for BGP are judged by all of them."""
        return dict(self._node_labels) if self._nodes.synced else None

    def l2_advertisements(self) -> list[Object] | None:
        """Return the L2Advertisements; None before they are listed."""
        return self._advertisements.items() if self._advertisements.synced else None

    def bgp_advertisements(self) -> list[Object]:
        """Return the BGPAdvertisements."""
        return self._bgp.objects()[names.BGP_ADVERTISEMENTS]

    def configuration(self) -> Configuration:
        """Return what pools, advertisements and quotas say now, and what is wrong with them."""
        nodes = self.node_labels()
        read = (self._edits, nodes is not None)
        known = self._found
        if known is not None and known[0] == read:
            return known[1]
        found = self._cache.configuration().copy()
        others = {
            names.L2_ADVERTISEMENTS: self._advertisements.items(),
            resource.NAMESPACES: self._cache.namespaces(),
            **self._bgp.objects(),
        }
        configuration.add_others(found, others, nodes or {})
        self._found = (read, found)
        return found

    @property
    def _mirrors(self) -> tuple[Reflector, ...]:
        return self._advertisements, self._states, self._nodes, *self._bgp.reflectors

    def _run(self) -> None:
        while not self._stopping.is_set():
            hurry = self._urgent.wait(_COUNTERS_SECONDS) or self._bgp.due() or self._leases.due()
            for overdue in self._foreign_hosts.overdue():
                self._reported.pop(overdue, None)
                hurry = True
            if not hurry and not self._changed.is_set():
                continue
            self._changed.clear()
            self._urgent.clear()
            try:
                self._report()
            except (NotLeading, LostRace):
                self._again()
            except ApiError as error:
                log.debug("report.interrupted", error=error)
                self._again()
            except Exception:
                log.exception("report.failed")
                self._again()
            else:
                self._stopping.wait(_PACE_SECONDS)

    def _again(self) -> None:
        self._changed.set()
        self._stopping.wait(_COUNTERS_SECONDS)

    def _report(self) -> None:
        self._require_leadership()
        found = self.configuration()
        usage = self._cache.usage()
        now = datetime.now(UTC)
        documents = self._cache.pool_documents()
        there = {document["metadata"]["name"] for document in documents}
        self._reported = {name: seen for name, seen in self._reported.items() if name in there}
        self._foreign_hosts.free_orphans(there)
        for document in documents:
            self._report_pool(document, found, usage, now)
        pools = labels_by_name(one for one in documents if one["metadata"]["name"] not in found.pool_faults)
        nodes = dict(self._node_labels)
        advertisements = self._advertisements.items()
        reporting = self._bgp.take_reports()
        self._leases.look(needed=bool(advertisements) or reporting)
        subnets = self._pool_subnets(found)
        for document in advertisements:
            fault = found.advertisement_faults.get(document["metadata"]["name"])
            conditions = advertisement_status.conditions(document, fault, pools=pools, nodes=nodes, subnets=subnets)
            self._write(names.L2_ADVERTISEMENTS, document, advertisement_status.columns(document), conditions, now)
        if not all(mirror.synced for mirror in self._mirrors):
            # A list with nothing in it brings no change.
            self._changed.set()
            return
        self._bgp.report(found, nodes, lambda kind, one, conditions: self._write(kind, one, {}, conditions, now))
        self._require_leadership()
        stored = self._states.get(self._namespace, NAME)
        self._state.write(stored, found.errors(), remarks=found.remarks(), now=now)

    def _pool_subnets(self, found: Configuration) -> PoolSubnets:
        """Which nodes have an interface in the subnets of each pool; worked out anew only when either has changed."""
        subnets, known = self._leases.subnets, self._subnets
        if known is None or known[0] is not found or known[1] is not subnets:
            known = self._subnets = found, subnets, pool_subnets(found.pools.values(), subnets)
        return known[2]

    def _report_pool(self, document: Object, found: Configuration, usage: dict[str, Usage], now: datetime) -> None:
        name = document["metadata"]["name"]
        pool, used = found.pools.get(name), usage.get(name, Usage())
        fault = found.pool_faults.get(name)
        # Before the advertisements are listed, none is missing.
        lacks = found.not_announced(name) if self._advertisements.synced else ""
        awaited = found.awaited.get(name, "")
        about = (document["metadata"]["uid"], document["metadata"]["resourceVersion"], fault, awaited, lacks)
        if self._reported.get(name) == (*about, used, used.changes):
            return
        lan = Judgement()
        coming: tuple[Address, ...] = ()
        if pool is not None and fault is None and self._advertisements.synced:
            lan = self._foreign_hosts.review(document, pool, announced=not lacks)
            # As it is now: what was marked is none of those that come next.
            used, coming = self._cache.usage_of(name), self._cache.next_addresses(pool)
        conditions = pool_status.conditions(pool, fault, used, awaited=awaited, not_announced=lacks, lan=lan)
        fields: dict[str, int | str | list[str]] = {
            **pool_status.counters(pool, used),
            **pool_status.conflict_counters(used),
            NEXT_ADDRESSES_FIELD: [str(address) for address in coming],
        }
        if not self._write(names.IP_ADDRESS_POOLS, document, fields, conditions, now):
            self._reported[name] = (*about, used, used.changes)

    def _write(
        self,
        resource: Resource,
        document: Object,
        fields: Mapping[str, int | str | list[str]],
        conditions: tuple[Condition, ...],
        now: datetime,
    ) -> bool:
        self._require_leadership()
        stored = (document.get("status") or {}).get("conditions") or ()
        generation = document["metadata"]["generation"]
        wanted: dict[str, Any] = {
            **fields,
            "observedGeneration": generation,
            "conditions": merged(stored, conditions, owned=KSTATUS_TYPES, now=now, generation=generation),
        }
        return self._writer.write(resource, document, wanted)


def _judged(obj: Object | None) -> object:
    """What of an object must be answered for at once: neither counters nor a node's heartbeats are."""
    if obj is None:
        return None
    metadata, status = obj["metadata"], obj.get("status") or {}
    return metadata.get("generation"), labels_of(obj), status.get("observedGeneration"), status.get("result")
