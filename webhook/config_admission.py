"""Admission of our own kinds and of Namespaces: the common reviews, fed with what the API server holds now.

Pools are read afresh each time: they change rarely, and a mirror that is a moment old would let two overlapping
ones of one `kubectl apply` in.
"""

from __future__ import annotations

from allocator.allocation.cache import ClaimCache
from allocator.core.addresses import AddressError, AddressRange
from allocator.core.claims import Holder
from allocator.core.pools import Applicant, Pool
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.objects import names
from allocator.objects.document import InvalidDocument, labels_of
from allocator.objects.pool import pool_from
from allocator.process.logs import EventLog
from allocator.rules.kinds import BY_KIND, Change, KindRules
from allocator.rules.pool import ClusterContext
from allocator.rules.verdict import Rules, Verdict, denied
from webhook.review import AdmissionRequest, Answer

log = EventLog("admission")


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
        if document is not None and (document.get("metadata") or {}).get("deletionTimestamp"):
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
        return kind.answer(change, namespace=review.namespace)

    def _deletion(self, kind: KindRules, review: AdmissionRequest) -> Verdict:
        home = self._cache.namespace(self._rules.namespace) or {}
        going = (home.get("metadata") or {}).get("deletionTimestamp")
        if review.old_object is None or going:
            # With the namespace goes the whole installation: nothing is left to keep a promise.
            return Verdict()
        return kind.review_deletion(review.old_object, self._context)

    def _context(self) -> ClusterContext:
        return ClusterContext(
            pools=self._pools(),
            claims=self._cache.claims(),
            applicant=self._applicant,
            namespaces={one["metadata"]["name"]: labels_of(one) for one in self._cache.namespaces()},
            foreign=_foreign_ranges(self._cluster),
        )

    def _pools(self) -> list[Pool]:
        pools = []
        for document in self._cluster.list(names.IP_ADDRESS_POOLS, self._rules.namespace).get("items") or ():
            try:
                pools.append(pool_from(document))
            except InvalidDocument as error:
                log.warning("pool.ignored", pool=document["metadata"]["name"], error=error)
        return pools

    def _applicant(self, holder: Holder) -> Applicant | None:
        """Who a holder is now. Its labels are asked for one by one: only holders of the pool under review are."""
        try:
            service = self._cluster.get(resource.SERVICES, holder.name, holder.namespace) if holder.name else None
        except NotFound:
            service = None
        if service is None:
            return None
        return Applicant(holder.namespace, labels_of(self._cache.namespace(holder.namespace)), labels_of(service))


def _foreign_ranges(cluster: Cluster) -> list[tuple[str, AddressRange]]:
    """What else in the cluster uses addresses, as far as the API tells: nodes, their Pods, Services."""
    found: list[tuple[str, str]] = []
    for node in cluster.list(resource.NODES).get("items") or ():
        name = node["metadata"]["name"]
        addresses = (node.get("status") or {}).get("addresses") or ()
        found += [(f"an address of node {name}", one["address"]) for one in addresses if "IP" in one["type"]]
        found += [(f"the Pod CIDR of node {name}", cidr) for cidr in _pod_cidrs(node)]
    found += [("the Service CIDR", cidr) for cidr in _service_cidrs(cluster)]
    ranges = []
    for what, text in found:
        try:
            ranges.append((what, AddressRange.parse(text)))
        except AddressError:
            continue
    return ranges


def _pod_cidrs(node: Object) -> list[str]:
    return list((node.get("spec") or {}).get("podCIDRs") or ())


def _service_cidrs(cluster: Cluster) -> list[str]:
    """The Service CIDRs where the API has them (Kubernetes 1.31+), else the one Service address known for certain."""
    try:
        listing = cluster.list(resource.SERVICE_CIDRS)
    except NotFound:
        service = cluster.get(resource.SERVICES, "kubernetes", "default")
        return [service["spec"]["clusterIP"]]
    return [cidr for item in listing.get("items") or () for cidr in item["spec"]["cidrs"]]
