"""Admission of our own kinds and of Namespaces: the common reviews, fed with what the API server holds now.

Where a pool's ranges change, pools are read afresh: that is rare, and a cache that is a moment old would let two
overlapping ones of one `kubectl apply` in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from allocator.allocation.cache import ClaimCache
from allocator.allocation.cluster_families import known_service_cidrs
from allocator.core.addresses import AddressRange
from allocator.core.claims import Claim
from allocator.core.pool_selection import PoolSelection
from allocator.core.pools import Pool
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.kube.resource import Resource
from allocator.kube.secret_presence import is_absent
from allocator.objects import names
from allocator.objects.document import InvalidDocument, in_deletion, labels_of
from allocator.objects.field_managers import has_applied, managers_of
from allocator.objects.pool import pool_from
from allocator.process.logs import EventLog
from allocator.rules.cluster_context import ClusterContext, ServiceKey
from allocator.rules.foreign_ranges import foreign_ranges
from allocator.rules.kinds import BY_KIND, Change, KindRules
from allocator.rules.pool_coverage import selections_of
from allocator.rules.verdict import Rules, Verdict, denied
from webhook.review import AdmissionRequest, Answer

log = EventLog("admission")

_ASKED_ONE_BY_ONE = 8
"""Services whose labels are asked for by name; with more, one list of all costs less."""


class ConfigAdmission:
    """Answers CREATE, UPDATE and DELETE of every kind in KINDS by its rules. Safe to call from many threads."""

    def __init__(self, cluster: Cluster, cache: ClaimCache, *, rules: Rules) -> None:
        self._cluster = cluster
        self._cache = cache
        self._rules = rules

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit what its kind's rules allow; an object on its way out passes, it can only lose finalizers."""
        kind = BY_KIND[review.group, review.kind]
        document = review.object
        if in_deletion(document):
            return Answer()
        try:
            verdict = self._deletion(kind, review) if document is None else self._change(kind, review, document)
        except ApiError as error:
            verdict = denied(503, f"{review.kind} {review.name}: cannot be checked now ({error.reason}); try again")
        if not verdict.allowed:
            log.info("admission.denied", kind=review.kind, name=review.name, code=verdict.code, why=verdict.message)
        return Answer(allowed=verdict.allowed, code=verdict.code, message=verdict.message, warnings=verdict.warnings)

    def _change(self, kind: KindRules, review: AdmissionRequest, document: Object) -> Verdict:
        change = Change(
            new=document,
            old=review.old_object if review.operation == "UPDATE" else None,
            rules=self._rules,
            context=self._context,
            pool_names=lambda: {pool["metadata"]["name"] for pool in self._cache.pool_documents()},
        )
        verdict = kind.answer(change, namespace=review.namespace)
        manager = review.field_manager
        if verdict.allowed or not (review.dry_run and manager and has_applied(document, manager)):
            return verdict
        # A tool applies a set of objects and dry-runs them one by one: what this one contradicts may change with it.
        others = replace(change, context=lambda: self._context(apart_from=manager))
        alone = kind.answer(others, namespace=review.namespace)
        if not alone.allowed:
            return verdict
        warning = (
            f"dry run: refused when applied, unless {manager} changes in the same set what it contradicts: "
            f"{verdict.message}"
        )
        return replace(alone, warnings=(*alone.warnings, warning))

    def _deletion(self, kind: KindRules, review: AdmissionRequest) -> Verdict:
        installed = self._cache.namespace(self._rules.namespace) or {}
        if review.old_object is None or in_deletion(installed):
            # With the namespace goes the whole installation: nothing is left whose addresses could be lost.
            return Verdict()
        return kind.answer_deletion(review.old_object, self._context, namespace=review.namespace, rules=self._rules)

    def _context(self, *, apart_from: str = "") -> ClusterContext:
        return _LiveContext(self._cluster, self._cache, self._rules.namespace, apart_from=apart_from)


class _LiveContext(ClusterContext):
    """What an object is checked against, for one review: claims and namespaces as cached, the rest as it is now.

    `apart_from` names a field manager: objects whose spec it wrote can be referred to, and contradict nothing.
    """

    def __init__(self, cluster: Cluster, cache: ClaimCache, namespace: str, *, apart_from: str = "") -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespace = namespace
        self._apart_from = apart_from
        self._pools: list[Pool] | None = None
        self._objects: dict[Resource, list[Object]] = {}

    def pools(self) -> list[Pool]:
        if self._pools is None:
            self._pools = list(_readable(self.objects(names.IP_ADDRESS_POOLS)))
        return self._pools

    def namespaces(self) -> dict[str, Mapping[str, str]]:
        return {one["metadata"]["name"]: labels_of(one) for one in self._cache.namespaces()}

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        return labels_of(self._cache.namespace(name))

    def claims_within(self, owned: AddressRange) -> list[Claim]:
        return self._cache.claims_within(owned)

    def claims_recorded_for(self, pool: str) -> list[Claim]:
        return self._cache.claims_recorded_for(pool)

    def service_labels(self, services: Collection[ServiceKey]) -> dict[ServiceKey, Mapping[str, str]]:
        """Ask for few Services one by one, else for the metadata of all at once."""
        found: dict[ServiceKey, Mapping[str, str]] = {}
        if len(services) <= _ASKED_ONE_BY_ONE:
            for namespace, name in services:
                with suppress(NotFound):
                    found[namespace, name] = labels_of(self._cluster.get(resource.SERVICES, name, namespace))
            return found
        for page in self._cluster.pages(resource.SERVICES, metadata_only=True):
            for one in page["items"]:
                key = (one["metadata"]["namespace"], one["metadata"]["name"])
                if key in services:
                    found[key] = labels_of(one)
        return found

    def selections(self) -> Sequence[PoolSelection]:
        return selections_of(one for kind in names.ADVERTISEMENT_KINDS for one in self.objects(kind))

    def foreign(self) -> list[tuple[str, AddressRange]]:
        nodes = self._cluster.list(resource.NODES).get("items") or ()
        return foreign_ranges(nodes, known_service_cidrs(self._cluster))

    def objects(self, kind: Resource) -> list[Object]:
        if not self._apart_from:
            return self.expected(kind)
        return [one for one in self.expected(kind) if self._apart_from not in managers_of(one, "spec")]

    def expected(self, kind: Resource) -> list[Object]:
        if kind not in self._objects:
            self._objects[kind] = list(self._cluster.list(kind, self._namespace).get("items") or ())
        return self._objects[kind]

    def nodes(self) -> dict[str, Mapping[str, str]]:
        pages = self._cluster.pages(resource.NODES, metadata_only=True)
        return {one["metadata"]["name"]: labels_of(one) for page in pages for one in page["items"]}

    def lacks_secret(self, name: str) -> bool:
        return is_absent(self._cluster, name, self._namespace)


def _readable(documents: Iterable[Object]) -> Iterator[Pool]:
    for document in documents:
        if in_deletion(document):
            continue
        try:
            yield pool_from(document)
        except InvalidDocument as error:
            log.warning("pool.ignored", pool=document["metadata"]["name"], error=error)
