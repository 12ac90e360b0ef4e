"""Events about Services, only when there is news: what a Service was told already is not told again."""

from __future__ import annotations

from collections.abc import Sequence

from allocator.kube.client import Object
from allocator.kube.events import EventRecorder
from allocator.rules.conditions import Condition
from allocator.rules.service_report import ServiceEvent, stored_condition

Key = tuple[str, str]


class ServiceEvents:
    """Remembers what each Service was last told. Whoever repairs a Service owns its entry in `_told`."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder
        self._told: dict[Key, tuple[str, Condition]] = {}

    def is_news(self, service: Object, condition: Condition) -> bool:
        """Tell whether the Service has not been told this yet, by us or by the leader before us."""
        uid, told = self._told.get(_key(service), ("", condition))
        if uid == service["metadata"]["uid"]:
            return told != condition
        shown = stored_condition(service) or {}
        return (shown.get("reason"), shown.get("message")) != (condition.reason, condition.message)

    def tell(self, service: Object, condition: Condition, news: Sequence[ServiceEvent]) -> None:
        """Record the news, and that the Service now knows what the condition says."""
        self._told[_key(service)] = (service["metadata"]["uid"], condition)
        for one in news:
            self._recorder.record(service, reason=one.reason, message=one.message, normal=one.normal)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a Service that is gone or wants nothing any more."""
        self._told.pop(key, None)


def _key(service: Object) -> Key:
    return service["metadata"]["namespace"], service["metadata"]["name"]
