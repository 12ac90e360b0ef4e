"""Events about Services, each recorded once: what a Service's condition said before is not repeated."""

from __future__ import annotations

from collections.abc import Sequence

from allocator.kube.client import Object
from allocator.kube.events import EventRecorder
from allocator.rules.conditions import Condition
from allocator.rules.service_report import ServiceEvent, stored_condition

Key = tuple[str, str]


class ServiceEvents:
    """Remembers which condition each Service's events were last recorded for.

    Whoever repairs a Service owns its entry in `_recorded`.
    """

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder
        self._recorded: dict[Key, tuple[str, Condition]] = {}

    def is_new(self, service: Object, condition: Condition) -> bool:
        """Return whether no event of this condition was recorded yet, by us or by the leader before us."""
        uid, recorded = self._recorded.get(_key(service), ("", condition))
        if uid == service["metadata"]["uid"]:
            return recorded != condition
        shown = stored_condition(service) or {}
        return (shown.get("reason"), shown.get("message")) != (condition.reason, condition.message)

    def record(self, service: Object, condition: Condition, events: Sequence[ServiceEvent]) -> None:
        """Record the events, and for which condition."""
        self._recorded[_key(service)] = (service["metadata"]["uid"], condition)
        for one in events:
            self._recorder.record(service, reason=one.reason, message=one.message, normal=one.normal)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a Service that is gone or wants nothing any more."""
        self._recorded.pop(key, None)


def _key(service: Object) -> Key:
    return service["metadata"]["namespace"], service["metadata"]["name"]
