"""Kubernetes Events, written from a thread of their own so that nothing waits for them."""

from __future__ import annotations

import queue
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from allocator import names
from allocator.cluster import ApiError, Cluster, Object
from allocator.logs import EventLog

log = EventLog("events")

_BACKLOG = 10_000
_SAME_AGAIN_SECONDS = 600


class EventRecorder:
    """Records Events about objects. An Event that cannot be written is logged and dropped.

    `_backlog` is a queue: any thread puts, only the recorder's thread takes. `_said` belongs to that thread.
    """

    def __init__(self, cluster: Cluster, *, component: str, host: str = "") -> None:
        self._cluster = cluster
        self._source = {"component": component, **({"host": host} if host else {})}
        self._backlog: queue.Queue[Object | None] = queue.Queue(_BACKLOG)
        self._said: dict[tuple[str, str, str], datetime] = {}
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, for a few seconds at most, and end."""
        try:
            self._backlog.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the recorder's thread still runs."""
        return self._thread.is_alive()

    def record(self, about: Object, *, kind: str, reason: str, message: str, normal: bool = True) -> None:
        """Queue an Event about a namespaced object of API version v1; never blocks."""
        metadata = about["metadata"]
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:200]}.{uuid4().hex[:16]}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata.get("uid"),
                "resourceVersion": metadata.get("resourceVersion"),
            },
            "type": "Normal" if normal else "Warning",
            "reason": reason,
            "message": message[:1024],
            "source": self._source,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        try:
            self._backlog.put_nowait(event)
        except queue.Full:
            log.warning("event.dropped", reason=reason, object=f"{metadata['namespace']}/{metadata['name']}")

    def _run(self) -> None:
        while (event := self._backlog.get()) is not None:
            if self._just_said(event):
                continue
            try:
                self._cluster.create(names.EVENTS, event, event["metadata"]["namespace"])
            except ApiError as error:
                log.debug("event.unwritten", reason=event["reason"], error=error)

    def _just_said(self, event: Object) -> bool:
        """Tell whether the same was said of the same object a short while ago: a repeated try is no news."""
        now = datetime.now(UTC)
        key = (str(event["involvedObject"]["uid"]), event["reason"], event["message"])
        last = self._said.get(key)
        if last is not None and (now - last).total_seconds() < _SAME_AGAIN_SECONDS:
            return True
        if len(self._said) > _BACKLOG:
            self._said.clear()
        self._said[key] = now
        return False
