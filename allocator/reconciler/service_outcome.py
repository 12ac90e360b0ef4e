"""Shows a Service what was decided about it: status, condition and annotations in one write, and Events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from allocator.core.addresses import Address
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.events import EventRecorder
from allocator.objects.field_managers import managers_of
from allocator.objects.service import addresses_in_status
from allocator.process.logs import EventLog
from allocator.reconciler.metrics import REPAIRS
from allocator.reconciler.service_events import ServiceEvents
from allocator.reconciler.service_status import FIELD_MANAGER, ServiceStatus
from allocator.reconciler.status_contention import StatusContention
from allocator.rules.foreign_status import why_left_alone
from allocator.rules.service_report import (
    ServiceEvent,
    condition_for,
    events_of_addresses,
    events_of_losses,
    events_of_request,
    stored_condition,
)

log = EventLog("reconciler")

Key = tuple[str, str]

_CONTENDED_AFTER = 2
"""Overwritten once, a status may have been edited by hand."""


class ServiceOutcome:
    """Writes for one Service at a time; safe to call from several threads for different Services."""

    def __init__(self, cluster: Cluster, events: EventRecorder) -> None:
        self._cluster = cluster
        self._recorder = events
        self._events = ServiceEvents(events)
        self._status = ServiceStatus(cluster)
        self._contention = StatusContention()
        self._left_alone: dict[Key, str] = {}
        """Who has had its event, by uid; whoever repairs a Service owns its entry."""

    def latest(self, cached: Object) -> Object:
        """Return the Service as cached, or as our own last write left it where the cache is behind that."""
        return self._status.latest(cached)

    def written(self, cached: Object) -> Object:
        """As `latest`, for whoever does not repair the Service."""
        return self._status.written(cached)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a Service that is gone."""
        self._events.forget(key)
        self._status.forget(key)
        self._contention.forget(key)
        self._left_alone.pop(key, None)

    def show(
        self,
        service: Object,
        request: ServiceRequest,
        decision: Decision,
        *,
        ours: Collection[Address],
        lost: Mapping[Address, str],
    ) -> float:
        """Make the Service show the decision; return 0, or in how many seconds to come back to do it.

        `ours` is what may be taken out of its status, `lost` which of it is taken away though it is asked for, and
        why. Raises NotFound, Conflict (it changed or was recreated since it was read), ApiError.
        """
        before = addresses_in_status(service)
        addresses = tuple(place.address for place in decision.placements)
        changes = before != addresses if addresses else bool(set(ours).intersection(before))
        if changes and (pause := self._contention.pause_seconds(service, addresses)):
            return pause
        contended = changes and self._contention.overwritten(service, addresses) >= _CONTENDED_AFTER
        # Asked before the write, which makes us the field's manager.
        contention = [self._contended(service, addresses)] if contended else []
        condition = condition_for(request, decision)
        events = contention + events_of_losses(request, decision, lost)
        if self._events.is_new(service, condition):
            events += events_of_request(request, decision)
        if addresses:
            self._status.show(service, addresses, decision.pools, condition, original_pools=decision.original_pools)
            events += events_of_addresses(service, addresses)
        else:
            self._status.clear(service, ours, condition)
        if changes:
            _note_change(request, decision, before)
            self._contention.wrote(service, addresses)
        self._events.record(service, condition, events)
        return 0.0

    def leave_alone(self, service: Object) -> None:
        """Record once that another load balancer serves the Service; its status is not ours to touch."""
        key, uid = _key(service), service["metadata"]["uid"]
        if self._left_alone.get(key) == uid:
            return
        self._left_alone[key] = uid
        message = why_left_alone(self._live(service))
        log.info("service.ignored", service="/".join(key), why=message)
        self._recorder.record(service, reason="Ignored", message=message)

    def clear(self, service: Object, ours: Collection[Address]) -> None:
        """Take our addresses and our condition off a Service that wants none of ours. Raises as `show`."""
        self._events.forget(_key(service))
        if ours or stored_condition(service) is not None:
            self._status.clear(service, ours, None)

    def _live(self, service: Object) -> Object:
        """The Service with its field managers, which caches leave out; as cached where it cannot be read."""
        metadata = service["metadata"]
        try:
            return self._cluster.get(resource.SERVICES, metadata["name"], metadata["namespace"])
        except ApiError:
            return service

    def _contended(self, service: Object, addresses: Sequence[Address]) -> ServiceEvent:
        others = [
            name for name in managers_of(self._live(service), "status", "loadBalancer") if name != FIELD_MANAGER
        ]
        who = f"field manager {others[0]}" if others else "another writer"
        message = (
            f"status.loadBalancer is overwritten by {who}, AdmitLB assigned {_listed(addresses) or 'nothing'}; "
            "stop the other controller, or give the Service the loadBalancerClass of the one that shall serve it"
        )
        log.warning("status.contended", service="/".join(_key(service)), by=who)
        return ServiceEvent("StatusOverwritten", message, normal=False)


def _note_change(request: ServiceRequest, decision: Decision, before: Sequence[Address]) -> None:
    if decision.placements:
        REPAIRS.labels("assigned").inc()
        listed = _listed([place.address for place in decision.placements])
        log.info("address.assigned", ip=listed, service=request.label, pool=decision.pools)
    else:
        REPAIRS.labels("withdrawn").inc()
        log.info("address.withdrawn", service=request.label, was=_listed(before))


def _key(service: Object) -> Key:
    return service["metadata"]["namespace"], service["metadata"]["name"]


def _listed(addresses: Sequence[Address]) -> str:
    return ",".join(str(address) for address in addresses)
