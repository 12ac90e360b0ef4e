"""Events on Services, written by a thread of their own: nothing that moves an address waits for the API server."""

from __future__ import annotations

import queue
import threading
import uuid
from datetime import UTC, datetime

from allocator.cluster import ApiError, Cluster, Object, Unavailable
from allocator.logs import EventLog
from allocator.names import EVENTS
from speaker.write_pace import WritePace

log = EventLog("events")

_COMPONENT = "metallb-speaker"
_WAITING_LIMIT = 100
_RETRY_SECONDS = 2.0


class EventRecorder:
    """Posts Events in the order given. While the API server is away the oldest wait, up to a limit, and later ones
    are dropped: an Event tells people what happened, nothing depends on it."""

    def __init__(self, cluster: Cluster, *, node: str, pace: WritePace) -> None:
        self._cluster = cluster
        self._node = node
        self._pace = pace
        self._waiting: queue.Queue[Object | None] = queue.Queue(_WAITING_LIMIT)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin posting."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what still waits is lost."""
        self._stopping.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            # The thread is awake with work, and sees the flag next.
            log.debug("events.lost", waiting=self._waiting.qsize())
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def record(self, about: Object, *, reason: str, message: str, warning: bool = False) -> None:
        """Report something about an object, as a warning or as what is normal; returns at once."""
        try:
            kind = "Warning" if warning else "Normal"
            self._waiting.put_nowait(self._event(about, kind=kind, reason=reason, message=message))
        except queue.Full:
            log.debug("event.dropped", reason=reason, name=about["metadata"]["name"])

    def _event(self, about: Object, *, kind: str, reason: str, message: str) -> Object:
        metadata = about["metadata"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
            "involvedObject": {
                # Items of a list carry neither kind nor apiVersion.
                "kind": about.get("kind", "Service"),
                "apiVersion": about.get("apiVersion", "v1"),
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": _COMPONENT, "host": self._node},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _run(self) -> None:
        while not self._stopping.is_set():
            event = self._waiting.get()
            if event is not None and self._pace.wait_turn(self._stopping):
                self._post(event)

    def _post(self, event: Object) -> None:
        while not self._stopping.is_set():
            try:
                self._cluster.create(EVENTS, event, event["metadata"]["namespace"])
            except Unavailable:
                self._stopping.wait(_RETRY_SECONDS)
                continue
            except ApiError as error:
                # The namespace may be going, or a quota full.
                log.debug("event.refused", name=event["metadata"]["name"], error=error)
            return
