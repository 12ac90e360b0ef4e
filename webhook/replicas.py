"""Asks every replica behind the webhook's Service whether it answers a path, before it is registered.

During an upgrade there are replicas of a release without tokens, and after a new secret some that have not read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.kube.resource import ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1
from allocator.process.logs import EventLog
from webhook.https_get import CANNOT_ASK, status_of

log = EventLog("registration")

_SLICES = (ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1)
"""Kubernetes 1.20 has the second only."""
_TIMEOUT_SECONDS = 0.5
_REMEMBERED_SECONDS = 30.0


class Answer(Enum):
    """What a replica makes of a path with a token."""

    ACCEPTED = "accepted"
    STALE = "stale"
    """It knows tokens, this one not (yet)."""
    LEGACY = "legacy"
    """It is of a release without tokens: it has no such route."""
    SILENT = "silent"
    """It does not answer, or not under the certificate that the API server trusts; or it has no secret yet."""


@dataclass(frozen=True, slots=True)
class Replica:
    """An endpoint of the Service; `uid` is its pod's, so that a successor at the same address is asked anew."""

    address: str
    port: int
    uid: str
    ready: bool


class Replicas:
    """Reads the EndpointSlices of one Service and asks each replica; used by the registration's thread alone."""

    def __init__(
        self, cluster: Cluster, *, namespace: str, service: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._service = service
        self._clock = clock
        self._accepted: dict[tuple[Replica, str, bytes], float] = {}

    def found(self) -> tuple[Replica, ...]:
        """Return the Service's endpoints, ready or not; none where there are none, or they cannot be read."""
        selector = f"kubernetes.io/service-name={self._service}"
        for kind in _SLICES:
            try:
                slices = self._cluster.list(kind, self._namespace, label_selector=selector)
            except NotFound:
                continue
            except ApiError as error:
                log.debug("replicas.unknown", error=error)
                break
            return replicas_in(slices.get("items") or ())
        return ()

    def answer(self, replica: Replica, path: str, ca_bundle: bytes) -> Answer:
        """Return what a replica makes of a path. That it accepts one is remembered for a while."""
        key = (replica, path, ca_bundle)
        now = self._clock()
        self._accepted = {known: until for known, until in self._accepted.items() if until > now}
        if key in self._accepted:
            return Answer.ACCEPTED
        answer = self._ask(replica, path, ca_bundle)
        if answer is Answer.ACCEPTED:
            self._accepted[key] = now + _REMEMBERED_SECONDS
        return answer

    def _ask(self, replica: Replica, path: str, ca_bundle: bytes) -> Answer:
        try:
            status = status_of(
                path,
                address=replica.address,
                port=replica.port,
                server_name=f"{self._service}.{self._namespace}.svc",
                ca_bundle=ca_bundle,
                timeout=_TIMEOUT_SECONDS,
            )
        except CANNOT_ASK:
            return Answer.SILENT
        meaning: dict[int, Answer] = {
            HTTPStatus.OK: Answer.ACCEPTED,
            HTTPStatus.FORBIDDEN: Answer.STALE,
            HTTPStatus.NOT_FOUND: Answer.LEGACY,
        }
        return meaning.get(status, Answer.SILENT)


def replicas_in(slices: Iterable[Object]) -> tuple[Replica, ...]:
    """Return the replicas in a Service's slices, in an order of its own making; of several ports the `webhook`.

    One that ends is none any more, as in Endpoints; one of which nothing is said is ready.
    """
    found: set[Replica] = set()
    for one in slices:
        ports = one.get("ports") or []
        named = [port for port in ports if port.get("name") == "webhook"] or ports[:1]
        for endpoint in one.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            if conditions.get("terminating"):
                continue
            uid = (endpoint.get("targetRef") or {}).get("uid", "")
            ready = conditions.get("ready") is not False
            for address in endpoint.get("addresses") or ():
                found.update(Replica(address, int(port["port"]), uid, ready) for port in named)
    return tuple(sorted(found, key=lambda replica: (replica.address, replica.port)))
