"""No Service comes to show an address beside one that it may not share it with, whoever changes, and when.

The repair as it is, on Services and claims in memory. Between any two of its writes another Service may change or be
repaired as well, as by another worker.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.kube import resource
from allocator.kube.client import Cluster, Conflict, NotFound, Object, Unavailable
from allocator.kube.events import EventRecorder
from allocator.kube.reflector import Change
from allocator.kube.resource import Resource
from allocator.objects.service import readable_request
from allocator.reconciler.repair import Repair
from allocator.reconciler.service_outcome import ServiceOutcome
from allocator.reconciler.shown_addresses import ShownAddresses
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.reconciler.collecting import collecting

NAMES = st.sampled_from(["a", "b", "c"])
PORTS = st.sampled_from([(80,), (443,), (53,), (80, 443)])
KEYS = st.sampled_from(["k", "k", "k", "other", ""])
_ROUNDS = 6
Needs = tuple[str, tuple[int, ...]]


def may_share(one: Needs, other: Needs) -> bool:
    """The rule from the documentation, as far as these Services differ: one key, no port in common."""
    return bool(one[0]) and one[0] == other[0] and not set(one[1]) & set(other[1])


class StoredServices(StoredClaims):
    """Services beside the claims. `between` is called once before the next write, as another thread gets its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[tuple[str, str], Object] = {}
        self.shown = ShownAddresses()
        self.between: Callable[[], None] | None = None
        self.on_shown: Callable[[str, str], None] = lambda *_: None

    def store_service(self, key: tuple[str, str], document: Object | None) -> None:
        self._version += 1
        old = self.documents.pop(key, None)
        if document is not None:
            document["metadata"]["resourceVersion"] = str(self._version)
            self.documents[key] = document
        self.shown.note(Change(resource.SERVICES, key, old, document, str(self._version)))

    def get(self, kind: Resource, name: str, namespace: str | None = None) -> Object:
        if kind is not resource.SERVICES:
            return super().get(kind, name, namespace)
        if (str(namespace), name) not in self.documents:
            raise NotFound(404, "NotFound", name)
        return self.documents[str(namespace), name]

    def create(self, kind: Resource, obj: Object) -> Object:
        self._let_others()
        return super().create(kind, obj)

    def replace(self, kind: Resource, obj: Object) -> Object:
        self._let_others()
        return super().replace(kind, obj)

    def delete(self, kind: Resource, name: str, *, resource_version: str) -> None:
        self._let_others()
        super().delete(kind, name, resource_version=resource_version)

    def patch(self, _: Resource, name: str, body: Object, namespace: str, **__: Any) -> Object:
        """The status of a Service, under the precondition that it is still as it was read."""
        self._let_others()
        key = (namespace, name)
        stored = self.documents.get(key)
        if stored is None:
            raise NotFound(404, "NotFound", name)
        if body["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", name)
        annotations = {**stored["metadata"]["annotations"], **body["metadata"]["annotations"]}
        annotations = {name: value for name, value in annotations.items() if value is not None}
        status = {**stored["status"], **body["status"]}
        metadata = {**stored["metadata"], "annotations": annotations}
        before = _ingress(stored)
        self.store_service(key, {**stored, "metadata": metadata, "status": status})
        for address in _ingress(self.documents[key]) - before:
            self.on_shown(name, address)
        return self.documents[key]

    def _let_others(self) -> None:
        between, self.between = self.between, None
        if between is not None:
            between()


def _ingress(service: Object) -> set[str]:
    return {entry["ip"] for entry in (service["status"].get("loadBalancer") or {}).get("ingress") or ()}


class Sharers(RuleBasedStateMachine):
    """Three Services that share, change and are repaired in any order."""

    @initialize()
    def begin(self) -> None:
        self.stored = StoredServices()
        self.stored.on_shown = self.check
        cluster = cast(Cluster, self.stored)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.replica = Replica(self.stored, pool("p", "10.0.0.0/28"), now=lambda: self.now)
        securing, collection = collecting(
            self.replica, self.stored.documents, self.stored.shown, now=lambda: self.now
        )
        self.repairs = Repair(
            cluster,
            self.replica.cache,
            self.replica.claims,
            ServiceOutcome(cluster, EventRecorder(cluster, component="test")),
            collection,
            securing,
            find_service=lambda namespace, name: self.stored.documents.get((namespace, name)),
            require_leadership=lambda: None,
        )
        self.uids = 0
        self.overwrote: set[str] = set()
        self.needs: dict[str, list[Needs]] = {}
        """What each has needed, in order."""
        self.looked_at: dict[str, int] = {}
        """Which of that the last repair of each has read."""
        self.known: dict[str, dict[str, int]] = {}
        """`looked_at` as it was when the present repair of each began: what changes later it cannot know."""
        for name, port in (("a", 80), ("b", 443), ("c", 53)):
            self.create(name, "k", (port,), admitted=False)
            self.repair(name)

    def exists(self, name: str) -> bool:
        return ("prod", name) in self.stored.documents

    def check(self, name: str, address: str) -> None:
        mine = self.needs[name][-1]
        for (_, other), document in self.stored.documents.items():
            if other != name and address in _ingress(document):
                theirs = self.needs[other][self.known[name].get(other, 0) :]
                assert any(may_share(mine, needs) for needs in theirs), (
                    f"{name} {mine} comes to show {address} beside {other} {theirs}"
                )

    def document(self, name: str, needs: Needs, uid: str) -> Object:
        key, ports = needs
        return {
            "metadata": {
                "namespace": "prod",
                "name": name,
                "uid": uid,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"metallb.io/allow-shared-ip": key} if key else {},
            },
            "spec": {
                "type": "LoadBalancer",
                "ipFamilies": ["IPv4"],
                "ports": [{"port": port, "protocol": "TCP"} for port in ports],
            },
            "status": {},
        }

    @rule(name=NAMES, key=KEYS, ports=PORTS, admitted=st.booleans())
    def create(self, name: str, key: str, ports: tuple[int, ...], admitted: bool) -> None:
        if self.exists(name):
            return
        needs = (key, ports)
        document = self.document(name, needs, "")
        request = readable_request(document, namespace=None, cluster_families=self.replica.cache.families)
        if admitted:
            with self.replica.claims.propose(request, Occasion.CREATION) as proposal, suppress(LostRace):
                self.replica.claims.commit(proposal)
        self.uids += 1
        self.needs[name] = [needs]
        self.looked_at.pop(name, None)
        self.stored.store_service(("prod", name), self.document(name, needs, str(self.uids)))

    @rule(name=NAMES, key=KEYS, ports=PORTS)
    def change(self, name: str, key: str, ports: tuple[int, ...]) -> None:
        stored = self.stored.documents.get(("prod", name))
        if stored is None:
            return
        changed = self.document(name, (key, ports), stored["metadata"]["uid"])
        kept = {each: value for each, value in stored["metadata"]["annotations"].items() if "shared-ip" not in each}
        changed["metadata"]["annotations"] |= kept
        changed["status"] = stored["status"]
        self.needs[name].append((key, ports))
        self.stored.store_service(("prod", name), changed)

    @rule(name=NAMES)
    def overwritten(self, name: str) -> None:
        """Another writer clears the status; once, because whoever does so again is given time."""
        stored = self.stored.documents.get(("prod", name))
        if stored is not None and name not in self.overwrote:
            self.overwrote.add(name)
            self.stored.store_service(("prod", name), {**stored, "status": {}})

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if ("prod", name) in self.stored.documents:
            self.stored.store_service(("prod", name), None)

    @rule(name=NAMES)
    def repair(self, name: str) -> None:
        self.known[name] = dict(self.looked_at)
        looked_at = len(self.needs[name]) - 1
        try:
            self.repairs.service(("prod", name))
        except (LostRace, Unavailable):
            return
        self.looked_at[name] = looked_at

    @rule(name=NAMES, other=NAMES, key=KEYS, ports=PORTS, change=st.booleans(), repair=st.booleans())
    def repair_while_another(
        self, name: str, other: str, key: str, ports: tuple[int, ...], change: bool, repair: bool
    ) -> None:
        def between() -> None:
            if change:
                self.change(other, key, ports)
            if repair and other != name:
                self.repair(other)

        self.stored.between = between
        self.repair(name)
        self.stored.between = None

    @rule(name=NAMES, deleted=st.booleans())
    def repair_while_the_server_fails(self, name: str, deleted: bool) -> None:
        """One write is not answered, and was not made; by the next repair the Service may have gone."""

        def between() -> None:
            raise Unavailable(0, "Unavailable", "connection reset")

        self.stored.between = between
        self.repair(name)
        self.stored.between = None
        if deleted:
            self.delete(name)

    def teardown(self) -> None:
        """Left alone, every Service comes to show an address, and nobody waits for another without end."""
        # Reservations whose Services never came are not waited for any longer.
        self.now += timedelta(seconds=10)
        for _ in range(_ROUNDS):
            for name in ("a", "b", "c"):
                self.repair(name)
        shown = {name: _ingress(document) for (_, name), document in self.stored.documents.items()}
        assert all(len(addresses) == 1 for addresses in shown.values()), shown
        for one, other in combinations(shown, 2):
            if shown[one] == shown[other]:
                assert may_share(self.needs[one][-1], self.needs[other][-1])
        self.now += timedelta(hours=1)
        for name in ("a", "b", "c"):
            self.delete(name)
            self.repair(name)
        assert not [one for one in self.stored.allocations.values() if one["spec"]["state"] != "Cooling"]


TestSharers = Sharers.TestCase
TestSharers.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
