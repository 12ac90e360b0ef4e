"""Events, written by a thread of their own: nothing waits for them, and nothing depends on them."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, Object, Unavailable
from allocator.kube.resource import Resource
from allocator.process.logs import EventLog

log = EventLog("events")

_BACKLOG = 10_000
_REMEMBERED = 10_000
_RETRY_SECONDS = 2.0
_KEPT_SECONDS = 3600.0
"""How long one is tried again: an API server keeps none for longer."""
_NAME_CHARACTERS = 200
_OF_NODES = "default"
"""Where the Events of objects without a namespace are."""
_MESSAGE_CHARACTERS = 1024
"""What the API server takes."""


class Pace(Protocol):
    """What says how fast Events may be written."""

    def wait_turn(self, stopping: threading.Event) -> bool:
        """Wait until one is due; False when asked to stop before."""
        ...


class EventRecorder:
    """Posts Events in the order given. While the API server is away they wait, up to `backlog`; later ones are
    dropped, as is one that the API server refuses: the namespace may be going, or a quota full.

    One that may be taken later is tried again, behind all that were not tried; as many again may wait for that. The
    same said of the same object within `repeat_after_seconds` is not said again. `_waiting` is a queue: any thread
    puts, only the recorder's takes. `_said`, `_failed` and `_retry_at` belong to that thread.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        component: str,
        host: str = "",
        pace: Pace | None = None,
        backlog: int = _BACKLOG,
        repeat_after_seconds: float = 0.0,
    ) -> None:
        self._cluster = cluster
        self._component = component
        self._host = host
        self._pace = pace
        self._repeat_after_seconds = repeat_after_seconds
        self._waiting: queue.Queue[Object | None] = queue.Queue(backlog)
        self._said: dict[tuple[str, str, str], float] = {}
        self._failed: deque[tuple[float, Object]] = deque()
        self._retry_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin posting."""
        self._thread.start()

    def stop(self) -> None:
        """Post what waits and is due, for a few seconds at most, and end."""
        self._stopping.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            log.debug("events.lost", waiting=self._waiting.qsize())
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def record(
        self,
        about: Object,
        *,
        reason: str,
        message: str,
        normal: bool = True,
        kind: Resource = resource.SERVICES,
    ) -> None:
        """Report something about an object of that kind, as what is normal or as a warning; returns at once."""
        self._put(self._event(about, kind, normal=normal, reason=reason, message=message))

    def record_node(self, name: str, *, reason: str, message: str) -> None:
        """Warn of something about a Node, with its name for its uid as the kubelet does; returns at once."""
        node = {"metadata": {"name": name, "namespace": _OF_NODES, "uid": name}}
        self._put(self._event(node, resource.NODES, normal=False, reason=reason, message=message))

    def _put(self, event: Object) -> None:
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            log.debug("event.dropped", reason=event["reason"], about=_name(event))

    def _event(self, subject: Object, kind: Resource, *, normal: bool, reason: str, message: str) -> Object:
        metadata = subject["metadata"]
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = f"{metadata['name'][:_NAME_CHARACTERS]}.{uuid4().hex[:16]}"
        return {
            "apiVersion": resource.EVENTS.api_version,
            "kind": resource.EVENTS.kind,
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                # Items of a list carry neither kind nor apiVersion.
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "name": metadata["name"],
                **({"namespace": metadata["namespace"]} if kind is not resource.NODES else {}),
                "uid": metadata.get("uid"),
                "resourceVersion": metadata.get("resourceVersion"),
            },
            "type": "Normal" if normal else "Warning",
            "reason": reason,
            "message": message[:_MESSAGE_CHARACTERS],
            "source": {"component": self._component, **({"host": self._host} if self._host else {})},
            "reportingComponent": self._component,
            "reportingInstance": self._host,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }

    def _run(self) -> None:
        while not self._stopping.is_set() or not self._waiting.empty():
            try:
                event = self._waiting.get(timeout=self._seconds_to_retry())
            except queue.Empty:
                first_tried_at, event = self._failed.popleft()
                self._post(event, first_tried_at)
                continue
            if event is not None and not self._just_said(event):
                self._post(event, time.monotonic())

    def _seconds_to_retry(self) -> float | None:
        return max(0.0, self._retry_at - time.monotonic()) if self._failed else None

    def _post(self, event: Object, first_tried_at: float) -> None:
        if self._pace is not None and not self._pace.wait_turn(self._stopping):
            return
        try:
            self._cluster.create(resource.EVENTS, event, event["metadata"]["namespace"])
        except Unavailable as error:
            now = time.monotonic()
            if now - first_tried_at < _KEPT_SECONDS and len(self._failed) < self._waiting.maxsize:
                self._failed.append((first_tried_at, event))
            self._retry_at = now + _RETRY_SECONDS
            if not error.answered:
                self._stopping.wait(_RETRY_SECONDS)
        except ApiError as error:
            log.debug("event.refused", reason=event["reason"], service=_name(event), error=error)

    def _just_said(self, event: Object) -> bool:
        if not self._repeat_after_seconds:
            return False
        now = time.monotonic()
        key = (str(event["involvedObject"]["uid"]), event["reason"], event["message"])
        last = self._said.get(key)
        if last is not None and now - last < self._repeat_after_seconds:
            return True
        if len(self._said) > _REMEMBERED:
            self._said.clear()
        self._said[key] = now
        return False


def _name(event: Object) -> str:
    return f"{event['involvedObject']['namespace']}/{event['involvedObject']['name']}"
