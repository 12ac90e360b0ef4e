"""A replay: documents one after another, each answered and stored as a cluster would.

The answers are admission's own (`allocator.rules.service`, `allocator.rules.kinds`), and so is the order of things:
first the schema, then our rules; a refused document leaves everything as it was.

A document of a name that is there already is an update, one with metadata.deletionTimestamp a deletion. A Service
that comes with addresses in its status was there before the first document: they are kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from allocator.core.pool_selection import PoolSelection
from allocator.core.pools import Pool
from allocator.kube import resource
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.document import Document, labels_of
from allocator.objects.node import Node, node_from
from allocator.objects.pool import pool_from
from allocator.objects.service import addresses_in_status
from allocator.offline.input_documents import InputDocument
from allocator.offline.live_cluster import LiveCluster
from allocator.offline.manifests import Manifest, Manifests
from allocator.offline.replayed_context import ReplayedContext
from allocator.offline.schemas import Schemas
from allocator.offline.simulated_services import Key, SimulatedServices
from allocator.rules import configuration
from allocator.rules.cluster_context import ClusterContext
from allocator.rules.kinds import BY_KIND, KINDS, Change, KindRules
from allocator.rules.pool_coverage import not_announced, selections_of
from allocator.rules.verdict import Rules, Verdict

NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""The API server puts it on every Namespace (Kubernetes 1.21 and later)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a document is answered. `namespace` is empty for kinds without; `name` is made up for generateName."""

    origin: InputDocument
    kind: str
    namespace: str
    name: str
    verdict: Verdict


class Replay:
    """A cluster in memory: give it documents, then ask what became of Services and pools."""

    def __init__(self, rules: Rules, schemas: Schemas, *, default_namespace: str = "default") -> None:
        self._rules = rules
        self._manifests = Manifests(schemas, namespace=rules.namespace, default_namespace=default_namespace)
        self._pools: dict[str, Pool] = {}
        """Every pool as stored; what may be used of them is in `_usable`."""
        self._usable: dict[str, Pool] = {}
        self._stored: dict[Resource, dict[Key, Document]] = {kind.resource: {} for kind in KINDS}
        self._named: dict[Resource, dict[Key, Document]] = {kind.resource: {} for kind in KINDS}
        """Every object of the input by its first document: what one names may come after it."""
        self._nodes: dict[str, Node] = {}
        """Those in the input, as its last document has each: nothing in the input makes or changes nodes."""
        self.services = SimulatedServices(rules, pools=self._usable_pools, namespace=self._namespace)

    def start_from(self, live: LiveCluster) -> None:
        """Be where a live cluster is, whatever admission would say of its objects today. For a fresh replay."""
        for kind, documents in live.objects.items():
            in_order = sorted(documents, key=configuration.age) if kind is names.IP_ADDRESS_POOLS else documents
            for document in in_order:
                metadata = document["metadata"]
                key = (metadata.get("namespace") or "", metadata["name"])
                if kind is resource.NODES:
                    self._nodes[metadata["name"]] = node_from(document)
                if kind not in self._stored:
                    continue
                self._stored[kind][key] = self._named[kind][key] = document
                if kind is names.IP_ADDRESS_POOLS and isinstance(pool := configuration.parse(document), Pool):
                    self._pools[metadata["name"]] = pool
        self._settle_pools()
        self.services.begin(live.objects.get(resource.SERVICES, ()), live.claims)

    def run(self, documents: Sequence[InputDocument]) -> list[Answer]:
        """Replay the documents and return the answers to those there are rules for."""
        manifests = [manifest for document in documents if (manifest := self._manifests.read(document)) is not None]
        seen: set[Key] = set()
        for manifest in manifests:
            if manifest.kind.kind == resource.SERVICES.kind and manifest.verdict.allowed and manifest.key not in seen:
                seen.add(manifest.key)
                if addresses_in_status(manifest.content) and not manifest.going:
                    self.services.expect(manifest.key, manifest.content)
            elif manifest.kind.kind == resource.NODES.kind and manifest.verdict.allowed and not manifest.going:
                self._nodes[manifest.key[1]] = node_from(manifest.content)
            elif (rules := _rules_of(manifest)) is not None and manifest.verdict.allowed and not manifest.going:
                self._named[rules.resource].setdefault(manifest.key, manifest.content)
        self.services.secure()
        answers = self._with_coverage([self._answer(manifest) for manifest in manifests])
        return [answer for manifest, answer in zip(manifests, answers, strict=True) if manifest.listed]

    def _with_coverage(self, answers: list[Answer]) -> list[Answer]:
        """Warn of pools that no advertisement covers, in the last answer to each.

        Where neither an advertisement nor a Service of such a pool is in the input, the rest may be elsewhere.
        """
        advertisements = any(self._stored[kind] for kind in names.ADVERTISEMENT_KINDS)
        selections = self.selections()
        last = {(one.kind, one.name): index for index, one in enumerate(answers) if one.verdict.allowed}
        for pool in self.pools():
            index = last.get((names.IP_ADDRESS_POOLS.kind, pool.name))
            serves = any(claim.in_use for claim in self.services.ledger.recorded_for(pool.name))
            lacks = not_announced(pool, selections) if index is not None and (advertisements or serves) else ""
            if index is not None and lacks:
                verdict = answers[index].verdict
                warning = f"IPAddressPool {pool.name}: {lacks}"
                answers[index] = replace(
                    answers[index], verdict=replace(verdict, warnings=(*verdict.warnings, warning))
                )
        return answers

    def pools(self) -> list[Pool]:
        """Return the pools there are, as far as they may be used, in the order of their first documents."""
        return list(self._usable.values())

    def stored_pools(self) -> list[Pool]:
        """Return the same as they are stored."""
        return [self._pools[name] for _, name in self._stored[names.IP_ADDRESS_POOLS] if name in self._pools]

    def _usable_pools(self) -> Iterable[Pool]:
        return self._usable.values()

    def _settle_pools(self) -> Iterable[str]:
        """Find out anew what may be used of each pool; return of which it is something else than before."""
        before = self._usable
        self._usable = configuration.of_pools((pool.name, pool) for pool in self.stored_pools()).sound_pools()
        return [name for name, pool in self._usable.items() if before.get(name) != pool]

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes in the input; none where it has none, though the cluster has some."""
        return self._nodes

    def _answer(self, manifest: Manifest) -> Answer:
        verdict = manifest.verdict
        if verdict.allowed:
            found = self._apply(manifest)
            verdict = replace(found, warnings=(*verdict.warnings, *found.warnings))
            self.services.retry()
        namespace, name = manifest.key
        return Answer(
            origin=manifest.origin, kind=manifest.kind.kind, namespace=namespace, name=name, verdict=verdict
        )

    def _apply(self, manifest: Manifest) -> Verdict:
        if manifest.kind.kind == resource.SERVICES.kind and not manifest.kind.group:
            return self._service(manifest)
        rules = _rules_of(manifest)
        if rules is None:
            return Verdict()
        old = self._stored[rules.resource].get(manifest.key)
        if manifest.going:
            return self._delete(rules, manifest.key, old)
        change = Change(
            new=manifest.content,
            old=old,
            rules=self._rules,
            context=self._context,
            pool_names=lambda: {one["metadata"]["name"] for one in self.expected(names.IP_ADDRESS_POOLS)},
        )
        verdict = rules.answer(change, namespace=manifest.key[0], assumed=not manifest.names_namespace)
        if verdict.allowed:
            self._stored[rules.resource][manifest.key] = manifest.content
            self._changed(rules.resource, manifest)
        return verdict

    def _delete(self, rules: KindRules, key: Key, old: Document | None) -> Verdict:
        verdict = Verdict()
        if old is not None:
            verdict = rules.answer_deletion(old, self._context, namespace=key[0], rules=self._rules)
        if verdict.allowed:
            if rules.resource is names.IP_ADDRESS_POOLS and old is not None:
                self._drop_pool(key)
            elif rules.resource is resource.NAMESPACES:
                self._drop_namespace(key[1])
            self._stored[rules.resource].pop(key, None)
        return verdict

    def _changed(self, kind: Resource, manifest: Manifest) -> None:
        """Let the Services have what the new state of an object means for them."""
        name = manifest.key[1]
        if kind is names.IP_ADDRESS_POOLS:
            self._pools[name] = pool_from(manifest.content)
            self._pool_changed(name)
        elif kind is resource.NAMESPACES:
            self.services.namespace_changed(name)

    def _drop_namespace(self, name: str) -> None:
        self.services.remove_all(name)
        if name == self._rules.namespace:
            for pool in list(self._stored[names.IP_ADDRESS_POOLS]):
                self._drop_pool(pool)

    def _drop_pool(self, key: Key) -> None:
        del self._stored[names.IP_ADDRESS_POOLS][key]
        self._pools.pop(key[1], None)
        self._pool_changed(key[1])

    def _pool_changed(self, name: str) -> None:
        for affected in dict.fromkeys((name, *self._settle_pools())):
            self.services.pool_changed(affected)

    def _service(self, manifest: Manifest) -> Verdict:
        if manifest.going:
            self.services.remove(manifest.key)
            return Verdict()
        return self.services.admit(manifest.key, manifest.content)

    def _context(self) -> ClusterContext:
        return ReplayedContext(self)

    def selections(self) -> Sequence[PoolSelection]:
        """Return which pools each advertisement selects."""
        return selections_of(one for kind in names.ADVERTISEMENT_KINDS for one in self._stored[kind].values())

    def objects(self, kind: Resource) -> list[Document]:
        """Return the stored objects of a kind, of the install namespace alone."""
        return self._installed(self._stored[kind])

    def expected(self, kind: Resource) -> list[Document]:
        """Return those, and the ones that come later."""
        return self._installed({**self._named[kind], **self._stored[kind]})

    def _installed(self, documents: Mapping[Key, Document]) -> list[Document]:
        return [document for (namespace, _), document in documents.items() if namespace == self._rules.namespace]

    def namespaces(self) -> dict[str, Mapping[str, str]]:
        """Return the labels of the namespaces that have a document."""
        return {name: labels_of(self._namespace(name)) for _, name in self._stored[resource.NAMESPACES]}

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of any namespace."""
        return labels_of(self._namespace(name))

    def _namespace(self, name: str) -> Document:
        """The Namespace; one without a document is there all the same, with the label every one has."""
        stored = self._stored[resource.NAMESPACES].get(("", name))
        return _labelled(stored or {"metadata": {"name": name}}, name)


def _rules_of(manifest: Manifest) -> KindRules | None:
    return BY_KIND.get((manifest.kind.group, manifest.kind.kind))


def _labelled(namespace: Document, name: str) -> Document:
    labels = {NAMESPACE_NAME_LABEL: name, **labels_of(namespace)}
    return {**namespace, "metadata": {**namespace["metadata"], "labels": labels}}
