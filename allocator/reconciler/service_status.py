"""What a Service shows of its addresses: status.loadBalancer, one condition and two annotations, in one write."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from allocator.core.addresses import Address
from allocator.kube import resource
from allocator.kube.client import STRATEGIC_MERGE_PATCH, Cluster, Object
from allocator.objects import names
from allocator.objects.assignment import assignment_annotations
from allocator.objects.document import annotations_of
from allocator.objects.service import addresses_in_status
from allocator.rules.conditions import Condition, merged
from allocator.rules.service_report import IP_ASSIGNED, stored_condition

FIELD_MANAGER = "admitlb-reconciler"


class ServiceStatus:
    """Writes to Services what differs from what they show; safe to call from several threads.

    Some API servers have no status.conditions (Kubernetes 1.20 to 1.23 drop them unless a feature gate is open).
    Their answers show it; from then on no write is made for the condition alone, or it would be made without end.
    `_keeps_conditions` is a flag that any of the threads may set: whoever is last has the newest answer.
    `_answers` has the API server's answers to our writes that the cache may not show yet; whoever repairs a
    Service owns its entry.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._keeps_conditions = True
        self._answers: dict[tuple[str, str], Object] = {}

    def written(self, cached: Object) -> Object:
        """As `latest`; nothing is dropped, so that any thread may ask."""
        answer = self._answers.get(_key(cached))
        return answer if answer is not None and _version(answer) > _version(cached) else cached

    def latest(self, cached: Object) -> Object:
        """Return the Service as cached, or as our own last write left it where the cache is behind that.

        Without it every write would be made a second time, by whatever comes before its echo.
        """
        found = self.written(cached)
        if found is cached:
            self._answers.pop(_key(cached), None)
        return found

    def forget(self, key: tuple[str, str]) -> None:
        """Drop what is remembered of a Service that is gone."""
        self._answers.pop(key, None)

    def show(
        self,
        service: Object,
        addresses: Sequence[Address],
        pools: str,
        condition: Condition,
        *,
        original_pools: str = "",
    ) -> bool:
        """Make the Service show these addresses, in this order, from these pools; return whether that took a write.

        Raises NotFound, Conflict (it changed or was recreated since it was read), ApiError.
        """
        annotations = assignment_annotations(addresses, pools=pools, original_pools=original_pools)
        ingress = [{"ip": str(address)} for address in addresses]
        if addresses_in_status(service) == tuple(addresses):
            ingress = _ingress(service)
        return self._write(service, ingress, annotations, condition)

    def clear(self, service: Object, ours: Collection[Address], condition: Condition | None) -> bool:
        """Make the Service show none of our addresses, and no condition where there is nothing to say (None).

        What is not in `ours` was written by somebody else and stays (MetalLB wipes it). Raises as `show`.
        """
        texts = {str(address) for address in ours}
        foreign = [entry for entry in _ingress(service) if entry.get("ip") not in texts]
        return self._write(service, foreign, dict.fromkeys(names.OUTPUT_ANNOTATIONS), condition)

    def _write(
        self,
        service: Object,
        ingress: list[Object],
        annotations: Mapping[str, str | None],
        condition: Condition | None,
    ) -> bool:
        shown = annotations_of(service)
        wanted_conditions = _conditions(service, condition)
        status: dict[str, Any] = {}
        if ingress != _ingress(service):
            status["loadBalancer"] = {"ingress": ingress or None}
        stale = {key: value for key, value in annotations.items() if shown.get(key) != value}
        if not status and not stale and not (wanted_conditions and self._keeps_conditions):
            return False
        if wanted_conditions:
            status["conditions"] = wanted_conditions
        metadata = service["metadata"]
        # Holds for exactly the Service that was decided on. A leader paused between decision and write finds it
        # changed when it wakes; or it would show an address that its successor has released.
        precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        body: Object = {"metadata": {**precondition, "annotations": stale}, "status": status}
        stored = self._cluster.patch(
            resource.SERVICES,
            metadata["name"],
            body,
            metadata["namespace"],
            subresource="status",
            # Conditions of others are merged with by type instead of overwritten from a cache.
            content_type=STRATEGIC_MERGE_PATCH,
            field_manager=FIELD_MANAGER,
        )
        self._answers[_key(service)] = stored
        if condition is not None:
            self._keeps_conditions = stored_condition(stored) is not None
        return True


def _key(service: Object) -> tuple[str, str]:
    return service["metadata"]["namespace"], service["metadata"]["name"]


def _version(service: Object) -> int:
    return int(service["metadata"]["resourceVersion"])


def _ingress(service: Object) -> list[Object]:
    load_balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return list(load_balancer.get("ingress") or ())


def _conditions(service: Object, condition: Condition | None) -> list[dict[str, Any]]:
    """Return what the patch must say about conditions; nothing when the Service shows it already."""
    stored = stored_condition(service)
    if condition is None:
        return [{"$patch": "delete", "type": IP_ASSIGNED}] if stored is not None else []
    known = [stored] if stored is not None else []
    wanted = merged(known, [condition], owned={IP_ASSIGNED}, now=datetime.now(UTC))
    return [] if wanted == known else wanted
