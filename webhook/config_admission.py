"""Admission of our own kinds and of Namespaces: the common reviews, fed with what the API server holds now.

Pools are read afresh each time: they change rarely, and a mirror that is a moment old would let two overlapping
ones of one `kubectl apply` in.
"""

from __future__ import annotations

from collections.abc import Callable

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
from allocator.rules.bgp import review_bgp
from allocator.rules.l2_advertisement import review_l2_advertisement
from allocator.rules.namespace import review_namespace
from allocator.rules.pool import ClusterContext, review_pool, review_pool_deletion
from allocator.rules.verdict import Rules, Verdict, denied, misplaced
from webhook.review import AdmissionRequest, Answer

log = EventLog("admission")


class PoolAdmission:
    """Answers CREATE, UPDATE and DELETE of IPAddressPools."""

    def __init__(self, cluster: Cluster, cache: ClaimCache, *, rules: Rules) -> None:
        self._cluster = cluster
        self._cache = cache
        self._rules = rules

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit a pool that is well formed, alone on its addresses, and takes none from anybody unasked."""
        if review.operation == "DELETE":
            return _answer(review, lambda: self._deletion(review))
        return _answer(review, lambda: self._change(review), rules=self._rules)

    def _change(self, review: AdmissionRequest) -> Verdict:
        return review_pool(review.object or {}, review.old_object, context=self._context(), rules=self._rules)

    def _deletion(self, review: AdmissionRequest) -> Verdict:
        home = self._cache.namespace(self._rules.namespace) or {}
        going = (home.get("metadata") or {}).get("deletionTimestamp")
        if review.old_object is None or going:
            # With the namespace goes the whole installation: nothing is left to keep a promise.
            return Verdict()
        return review_pool_deletion(review.old_object, context=self._context())

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


class L2AdvertisementAdmission:
    """Answers CREATE and UPDATE of L2Advertisements."""

    def __init__(self, cache: ClaimCache, *, rules: Rules) -> None:
        self._cache = cache
        self._rules = rules

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit an advertisement that is well formed."""
        pools = {document["metadata"]["name"]: document for document in self._cache.pool_documents()}
        return _answer(review, lambda: review_l2_advertisement(review.object or {}, pools=pools), rules=self._rules)


class BgpAdmission:
    """Answers CREATE and UPDATE of the kinds that only BGP needs."""

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit it, and say that it has no effect."""
        return _answer(review, lambda: review_bgp(review.kind, review.object or {"metadata": {}}))


class NamespaceAdmission:
    """Answers CREATE and UPDATE of Namespaces, for the quota they may carry."""

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit a namespace whose quota, if any, is a number."""
        return _answer(review, lambda: review_namespace(review.object or {}))


def _answer(review: AdmissionRequest, judge: Callable[[], Verdict], *, rules: Rules | None = None) -> Answer:
    """Turn a verdict into an answer. An object on its way out passes: it can only lose finalizers."""
    document = review.object
    if document is not None and (document.get("metadata") or {}).get("deletionTimestamp"):
        return Answer()
    verdict = None
    if rules is not None and review.operation == "CREATE" and document is not None:
        verdict = misplaced(review.kind, document, namespace=review.namespace, rules=rules)
    try:
        verdict = verdict or judge()
    except ApiError as error:
        verdict = denied(503, f"{review.kind} {review.name}: cannot be checked now ({error.reason}); try again")
    if not verdict.allowed:
        log.info("admission.denied", kind=review.kind, name=review.name, code=verdict.code, why=verdict.message)
    return Answer(allowed=verdict.allowed, code=verdict.code, message=verdict.message, warnings=verdict.warnings)


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
