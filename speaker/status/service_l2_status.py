"""ServiceL2Status objects: one for each Service and node that announces it, made, corrected and deleted by that node.

A node sees its own alone, by their label. They go with the node's Lease, which goes with the Node; while a dead
node's Node is still there, whoever announces the Service next deletes the one it left, which it knows by its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import LEASES, Resource
from allocator.objects.document import labels_of
from allocator.objects.names import SPEAKER_LEASE_PREFIX

NODE_LABEL = "metallb.io/node"
NAME_LABEL = "metallb.io/service-name"
NAMESPACE_LABEL = "metallb.io/service-namespace"


@dataclass(frozen=True, slots=True)
class Tell:
    """Say this in the object of that name; make it where there is none."""

    name: str
    exists: bool
    said: Object


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete the object of that name."""

    name: str


Step = Tell | Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """On which interfaces (empty: on all) an address is announced, since when, and which nodes are left out of it."""

    interfaces: tuple[str, ...]
    since: str
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class StoredStatuses:
    """This node's objects as last seen, by Service and name. Guarded by its owner's lock."""

    _by_service: dict[Key, dict[str, Object]] = field(default_factory=dict)

    def note(self, change: Change) -> Key | None:
        """Take in a change; return whose object it is, None where that is known already."""
        document = change.new or change.old
        if document is None:
            return None
        known = self._by_service.get(service_of(document), {}).get(change.key[1])
        if change.new is None:
            self.drop(service_of(document), change.key[1])
        elif known is None or _version(known) != _version(change.new):
            self.put(change.new)
        else:
            return None
        return service_of(document)

    def put(self, document: Object) -> None:
        """Take in an object as a write returned it, but for what nobody here reads."""
        document["metadata"].pop("managedFields", None)
        self._by_service.setdefault(service_of(document), {})[document["metadata"]["name"]] = document

    def drop(self, service: Key, name: str) -> None:
        """Forget an object that was deleted."""
        stored = self._by_service.get(service, {})
        stored.pop(name, None)
        if not stored:
            self._by_service.pop(service, None)

    def forget(self, service: Key) -> None:
        """Forget all that is known of the Service's objects; making one that is there is no error."""
        self._by_service.pop(service, None)

    def services(self) -> tuple[Key, ...]:
        """Return the Services that have an object of this node."""
        return tuple(self._by_service)

    def of(self, service: Key) -> tuple[Object, ...]:
        """Return this node's objects for the Service, one at most but for what others made."""
        return tuple(self._by_service.get(service, {}).values())


def steps(
    node: str, service: Key, announced: Mapping[Address, Announcement], stored: Iterable[Object]
) -> Iterator[Step]:
    """Yield what there is to write so that the Service has one object of this node if it is announced, else none."""
    objects = {document["metadata"]["name"]: document for document in stored}
    kept = name_of(node, service)
    if kept not in objects:
        kept = min(objects, default=kept)
    for name in sorted(objects.keys() - {kept}):
        yield Drop(name)
    if not announced:
        if kept in objects:
            yield Drop(kept)
        return
    said, there = _status(node, service, announced), objects.get(kept)
    if there is None:
        yield Tell(kept, False, said)
    elif _differs(there.get("status") or {}, said) and not _refuses(there, said):
        yield Tell(kept, True, said)


def name_of(node: str, service: Key, *, prefix: str = "l2") -> str:
    """Return the name of a node's object for a Service, which any node can work out."""
    digest = hashlib.sha256("/".join((node, *service)).encode()).hexdigest()
    return f"{prefix}-{digest[:16]}"


def service_of(document: Object) -> Key:
    """Return the Service that an object is about."""
    labels = labels_of(document)
    return labels.get(NAMESPACE_LABEL, ""), labels.get(NAME_LABEL, "")


def new_object(kind: Resource, name: str, node: str, service: Key, *, namespace: str, lease_uid: str) -> Object:
    """Return the object to create, but for its status."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {NODE_LABEL: node, NAME_LABEL: service[1], NAMESPACE_LABEL: service[0]},
            "ownerReferences": [owned_by_lease(node, lease_uid)],
        },
    }


def owned_by_lease(node: str, lease_uid: str) -> Object:
    """Return the reference by which an object goes with the node's Lease, and that with the Node."""
    name = f"{SPEAKER_LEASE_PREFIX}{node}"
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "name": name, "uid": lease_uid}


def _status(node: str, service: Key, announced: Mapping[Address, Announcement]) -> Object:
    ordered = dict(sorted(announced.items()))
    first = next(iter(ordered.values()))
    return {
        "node": node,
        "serviceName": service[1],
        "serviceNamespace": service[0],
        "interfaces": [{"name": name} for name in first.interfaces],
        "addresses": [str(address) for address in ordered],
        "since": min(each.since for each in ordered.values()),
        "leftOut": [
            {"nodes": nodes, "reason": reason}
            for nodes, reason in dict.fromkeys(pair for each in ordered.values() for pair in each.left_out)
        ],
    }


def _differs(status: Object, said: Object) -> bool:
    """Return whether they say different things; an empty list says nothing."""
    return any((status.get(name) or None) != (said.get(name) or None) for name in status.keys() | said.keys())


def says(document: Object, said: Object) -> bool:
    """Return whether a stored object says this, but for fields that its CRD does not have."""
    kept = document.get("status") or {}
    return bool(kept) and all(value == said.get(name) for name, value in kept.items())


def _refuses(document: Object, said: Object) -> bool:
    """Return whether the API server has dropped fields: its CRD is MetalLB's own."""
    return says(document, said) and "addresses" not in document["status"]


def _version(document: Object) -> str:
    return str(document["metadata"].get("resourceVersion"))
