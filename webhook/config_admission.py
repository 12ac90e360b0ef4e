"""Admission of our own kinds: malformed and overlapping pools, contradictory advertisements."""

from __future__ import annotations

from allocator import names
from allocator.cluster import ApiError, Cluster, Object
from allocator.core.pools import Pool
from allocator.documents import InvalidDocument, check_l2_advertisement, pool_from, pool_overlaps
from allocator.logs import EventLog
from webhook.review import AdmissionRequest, Answer

log = EventLog("admission")


class PoolAdmission:
    """Answers CREATE and UPDATE of IPAddressPools.

    The other pools are read from the API server each time: pools change rarely, and a mirror that is a moment
    old would let two overlapping ones of one `kubectl apply` in.
    """

    def __init__(self, cluster: Cluster, *, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit a pool that is well formed and whose addresses belong to no other pool."""
        document = review.object
        if document is None or _being_deleted(document):
            return Answer()
        misplaced = _misplaced(review, self._namespace)
        if misplaced is not None:
            return misplaced
        try:
            pool = pool_from(document)
            problems = pool_overlaps(pool, self._others(pool))
            if problems:
                raise InvalidDocument(problems)
        except InvalidDocument as error:
            return _invalid(review, error)
        except ApiError as error:
            message = f"IPAddressPool {review.name}: the other pools cannot be read now ({error.reason}); try again"
            return Answer(allowed=False, code=503, message=message)
        return Answer()

    def _others(self, pool: Pool) -> list[Pool]:
        others = []
        for document in self._cluster.list(names.IP_ADDRESS_POOLS, self._namespace).get("items") or ():
            if document["metadata"]["name"] == pool.name:
                continue
            try:
                others.append(pool_from(document))
            except InvalidDocument as error:
                log.warning("pool.ignored", pool=document["metadata"]["name"], error=error)
        return others


class L2AdvertisementAdmission:
    """Answers CREATE and UPDATE of L2Advertisements."""

    def __init__(self, *, namespace: str) -> None:
        self._namespace = namespace

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit an advertisement that is well formed."""
        document = review.object
        if document is None or _being_deleted(document):
            return Answer()
        misplaced = _misplaced(review, self._namespace)
        if misplaced is not None:
            return misplaced
        try:
            check_l2_advertisement(document)
        except InvalidDocument as error:
            return _invalid(review, error)
        return Answer()


def _being_deleted(document: Object) -> bool:
    """An object on its way out only loses finalizers; refusing that would keep it for ever."""
    return bool((document.get("metadata") or {}).get("deletionTimestamp"))


def _misplaced(review: AdmissionRequest, namespace: str) -> Answer | None:
    if review.operation != "CREATE" or review.namespace == namespace:
        return None
    message = (
        f"{review.kind} {review.name}: metadata.namespace: {review.namespace} is not read by AdmitLB; "
        f"create it in {namespace}"
    )
    return Answer(allowed=False, code=422, message=message)


def _invalid(review: AdmissionRequest, error: InvalidDocument) -> Answer:
    log.info("admission.denied", kind=review.kind, name=review.name, code=422, why=error)
    return Answer(allowed=False, code=422, message=f"{review.kind} {review.name}: {error}")
