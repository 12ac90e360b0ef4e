"""Makes, corrects and deletes what a node has one of for each Service: a ServiceL2Status, a ServiceBGPStatus."""

from __future__ import annotations

from collections.abc import Callable

from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound, Object
from allocator.kube.reflector import Key
from allocator.kube.resource import LEASES, Resource
from allocator.objects.names import SPEAKER_LEASE_PREFIX
from speaker.status.service_l2_status import Drop, Step, Tell, name_of, new_object, says

_WITH_THE_OBJECT = (None, "status")
_BY_THE_SUBRESOURCE = ("status", None)


class ServiceStatusWriter:
    """One node's writes of one kind. Belongs to one thread, but for `lease_uid`, which another sets.

    By AdmitLB's CRDs of these kinds the status is written with the object: one write for a new one. By MetalLB's it
    is a subresource, which a create and a patch of the object leave as it is; what was stored shows it.
    """

    def __init__(self, cluster: Cluster, kind: Resource, *, node: str, namespace: str) -> None:
        self._cluster = cluster
        self._kind = kind
        self._node = node
        self._namespace = namespace
        self._ways: tuple[str | None, str | None] = _WITH_THE_OBJECT
        self.lease_uid = ""

    def take(self, step: Step, service: Key, wait_turn: Callable[[], bool]) -> Object | None:
        """Take a step; return the object as it is then, None where there is none. Raises ApiError.

        `wait_turn` is called before a second write, and says whether there is to be one.
        """
        match step:
            case Drop(name):
                self._delete(name)
                return None
            case Tell(name, exists, said):
                if not exists:
                    made = self._create(name, service, said)
                    if made is not None and says(made, said):
                        return made
                    if made is not None:
                        self._ways = _BY_THE_SUBRESOURCE
                    if not wait_turn():
                        return None
                return self._patch(name, said)

    def delete_that_of(self, node: str, service: Key) -> None:
        """Delete what a node that has gone has left for the Service. Raises ApiError."""
        self._delete(name_of(node, service))

    def _create(self, name: str, service: Key, said: Object) -> Object | None:
        """Make the object and return it; None where there is one of that name."""
        uid = self.lease_uid
        if not uid:
            lease = self._cluster.get(LEASES, f"{SPEAKER_LEASE_PREFIX}{self._node}", self._namespace)
            uid = lease["metadata"]["uid"]
        document = new_object(self._kind, name, self._node, service, namespace=self._namespace, lease_uid=uid)
        try:
            return self._cluster.create(self._kind, {**document, "status": said}, self._namespace)
        except AlreadyExists:
            return None

    def _patch(self, name: str, said: Object) -> Object | None:
        """Write the status by the way that was right the last time; by the other where the CRD has changed."""
        stored = None
        for way in self._ways:
            try:
                stored = self._cluster.patch(self._kind, name, {"status": said}, self._namespace, subresource=way)
            except NotFound:
                continue
            if says(stored, said):
                self._ways = _WITH_THE_OBJECT if way is None else _BY_THE_SUBRESOURCE
                break
        return stored

    def _delete(self, name: str) -> None:
        try:
            self._cluster.delete(self._kind, name, self._namespace)
        except (NotFound, Conflict):
            return
