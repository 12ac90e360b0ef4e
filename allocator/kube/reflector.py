"""A local copy of one resource, kept by list and watch, that notifies one listener of every change.

Copies are hints: whatever must be right is decided by the API server (create, compare-and-swap).

They are kept encoded. A Service is 4 to 10 KB as dictionaries, each of which the garbage collector visits, and 1 KB
encoded; what is asked for is decoded in microseconds, and belongs to whoever asked. For a listener that keeps what it
needs by itself nothing is kept but what distinguishes one version from another (`kept=identity`).
"""

from __future__ import annotations

import marshal
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from allocator.kube.client import ApiError, Cluster, Expired, Object, Silent
from allocator.kube.resource import Resource
from allocator.kube.rewind import Rewound, check_version
from allocator.kube.watch_stream import Interrupt
from allocator.process.logs import EventLog

log = EventLog("reflector")

Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is empty."""

_REFUSED_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""How long to wait after the first attempt in a row that the API server answered, the second, and so on."""
_UNREACHED_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""The same where it did not answer: to one that is away it costs nothing to be asked."""
_LASTING_SECONDS = 5.0
"""What a watch has lasted that did not fail in a row with those before it."""
_HANGS_SECONDS = 300.0
_SMALL_PAGE = 100
"""Where nothing of a list is kept, the pages of it that are held at one time decide how large the process grows."""
_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

LAST_EVENT_AGE = Gauge(
    "admitlb_watch_last_event_age_seconds",
    "Seconds since the API server last answered a watch of the resource; bookmarks, about one a minute, count",
    ["resource"],
)

CURRENT = Gauge(
    "admitlb_watch_current",
    "1 while changes of the resource arrive as they are made, 0 while its watch is down",
    ["resource"],
)


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after: `old` is None when it appeared, `new` is None when it went.

    `version` is the resourceVersion at which the API server knew of the change.
    """

    resource: Resource
    key: Key
    old: Object | None
    new: Object | None
    version: str


def identity(obj: Object) -> Object:
    """What says which object it is, and which version of it."""
    metadata = obj["metadata"]
    names = ("namespace", "name", "resourceVersion")
    return {"metadata": {name: metadata[name] for name in names if name in metadata}}


class Pauses:
    """How long to wait after each attempt that failed in a row.

    What the API server answers counts apart from what it does not: as it starts it answers for a moment that it
    forbids (its roles are not loaded) or that a version is gone, and an outage before that says nothing of such.
    All nodes lose their watches at one moment; they must not all come back at one.
    """

    def __init__(self) -> None:
        self._failures = {True: 0, False: 0}

    def after(self, *, answered: bool) -> float:
        """Count one more failure and return the seconds to wait: at most the steps above, at least half of them."""
        steps = _REFUSED_SECONDS if answered else _UNREACHED_SECONDS
        step = steps[min(self._failures[answered], len(steps) - 1)]
        self._failures[answered] += 1
        return random.uniform(0.5, 1.0) * step  # noqa: S311  no secret


class Reflector:
    """Caches `resource` in memory from a thread of its own; readers get the API server's plain dicts, but for what
    nobody here reads and can be most of an object: metadata.managedFields and kubectl's copy of what was applied.
    With `metadata_only` the API server sends nothing but the metadata, with `label_selector` only what it selects.
    `kept` returns what is kept of an object, for readers and for `Change.old`; the listener gets the whole one, once.


    The mapping and `_interrupt`, that of the present watch, are written by the reflector's thread alone, under
    `_lock`; readers take the lock for a lookup. `on_change` runs on the reflector's
    thread, in the order of the changes, after the mapping has them; for the first list before `wait_synced` returns.
    `on_listed` runs there after every list, once all of it was reported.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        *,
        namespace: str | None = None,
        metadata_only: bool = False,
        label_selector: str | None = None,
        kept: Callable[[Object], Object] | None = None,
        on_change: Callable[[Change], None] = lambda _: None,
        on_listed: Callable[[], None] = lambda: None,
        on_rewound: Callable[[str], None] | None = None,
    ) -> None:
        """`on_rewound`, where given, is called with how it shows that etcd was restored from an older snapshot.

        After a failure the copy is listed anew then, so that it is whole, and compared, before `following` is set.
        """
        self._metadata_only = metadata_only
        self._label_selector = label_selector
        self._kept = kept
        self.resource = resource
        self._cluster = cluster
        self._namespace = namespace
        self._on_change = on_change
        self._on_listed = on_listed
        self._on_rewound = on_rewound
        self._objects: dict[Key, bytes] = {}
        self._lock = threading.Lock()
        self._synced = threading.Event()
        self._following = threading.Event()
        self._soon = threading.Event()
        self._seen = "0"
        self._interrupted = False
        """Whether the watch failed since it was last begun. As `_seen`, the newest version, the thread's own."""
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._anew = threading.Event()
        self._interrupt = Interrupt()
        self._heard_at = self._tried_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"reflect-{resource.plural}", daemon=True)

    def start(self) -> None:
        """Begin listing and watching."""
        LAST_EVENT_AGE.labels(self.resource.plural).set_function(self.silent_seconds)
        CURRENT.labels(self.resource.plural).set_function(lambda: float(self.following))
        self._thread.start()

    def stop(self) -> None:
        """End the watch and its thread; the last copy stays readable."""
        self._stopping.set()
        self.refresh()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def refresh(self) -> None:
        """Watch anew from the last version seen, because the way to the API server was cut and is back.

        A connection that outlived the cut would deliver what it missed with the next retransmission only: after a
        cut as long as that again, for TCP doubles its pauses.
        """
        self._following.clear()
        self._woken.set()
        with self._lock:
            interrupt = self._interrupt
        interrupt.request()

    def retry(self) -> None:
        """Try again at once, if the API server could not be reached, and then soon: the way there may be back."""
        self._soon.set()
        self.wake()

    def wake(self) -> None:
        """Try again at once, and then as late as before."""
        self._woken.set()

    def relist(self) -> None:
        """List anew, because what the watch has seen is of a state that the API server has lost (`rewind`)."""
        self._anew.set()
        self.refresh()

    def wait_synced(self, timeout_seconds: float | None = None) -> bool:
        """Return whether the first full list has been taken in, waiting for it up to the timeout."""
        return self._synced.wait(timeout_seconds)

    @property
    def synced(self) -> bool:
        """Whether the first full list has been taken in."""
        return self._synced.is_set()

    @property
    def following(self) -> bool:
        """Whether changes arrive as they are made: a watch is open. The copy is milliseconds old then, else older.

        Of a connection that died silently that is known after 25 to 90 s.
        """
        return self._following.is_set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs and does not hang; its owner must treat False as fatal unless it stopped it.

        It hangs when neither an answer nor a failure has come for far longer than any request may take. That the API
        server cannot be reached is no reason to be started anew: nothing would be known then.
        """
        last = max(self._heard_at, self._tried_at)
        return self._thread.is_alive() and time.monotonic() - last < _HANGS_SECONDS

    def silent_seconds(self) -> float:
        """How long ago the API server last answered: by a page of a list, an event, a bookmark, or a watch begun."""
        return time.monotonic() - self._heard_at

    def get(self, namespace: str, name: str) -> Object | None:
        """Return the cached object, or None."""
        with self._lock:
            encoded = self._objects.get((namespace, name))
        return _decoded(encoded)

    def items(self) -> list[Object]:
        """Return all cached objects, in no particular order."""
        with self._lock:
            encoded = list(self._objects.values())
        return [marshal.loads(one) for one in encoded]  # noqa: S302  what this process encoded

    def _run(self) -> None:
        version: str | None = None
        pauses = Pauses()
        while True:
            # In this order, or the wake of a stop that comes between would be forgotten.
            self._woken.clear()
            if self._stopping.is_set():
                break
            began = time.monotonic()
            answered = True
            if self._anew.is_set():
                self._anew.clear()
                version = None
            try:
                if version is None:
                    version = self._list()
                version = self._follow(version)
            except Expired:
                log.info("watch.expired", resource=self.resource.plural)
                version = None
            except Silent as error:
                log.debug("watch.silent", resource=self.resource.plural, error=error)
                version = self._version_after_failure(version)
            except ApiError as error:
                if not self._interrupted:
                    log.warning("watch.interrupted", resource=self.resource.plural, error=error)
                self._interrupted = True
                answered = error.answered or self._heard_at > began
                version = self._version_after_failure(version)
            self._following.clear()
            self._tried_at = time.monotonic()
            # A server that ends every watch at once must not be asked again at once, whatever it says.
            if self._heard_at > began and time.monotonic() - began >= _LASTING_SECONDS:
                pauses = Pauses()
            else:
                self._woken.wait(pauses.after(answered=answered))
                if self._soon.is_set():
                    pauses = Pauses()
                self._soon.clear()

    def _version_after_failure(self, version: str | None) -> str | None:
        """Where to watch from: a server that comes back may still serve it; None to list anew.

        What a watch has missed comes at some time after it was begun. Only a list is complete when it is there.
        """
        return version if self._on_rewound is None else None

    def _check_history(self, version: str, stale: Mapping[Key, bytes], fresh: Mapping[Key, bytes]) -> None:
        """Call `on_rewound` where a list, or an object in it, is older than what was seen before."""
        if self._on_rewound is None:
            return
        try:
            check_version(f"the list of {self.resource.plural}", int(version), before=int(self._seen))
            for key, encoded in fresh.items():
                # Most have not changed: their bytes are equal.
                if (known := stale.get(key)) is not None and known != encoded:
                    before, now = (_version(marshal.loads(one)) for one in (known, encoded))  # noqa: S302  ours
                    check_version("/".join(filter(None, key)), int(now), before=int(before))
        except Rewound as error:
            self._on_rewound(str(error))

    def _list(self) -> str:
        if self._kept is not None:
            return self._list_and_forget()
        fresh: dict[Key, bytes] = {}
        version = ""
        pages = self._cluster.pages(
            self.resource,
            self._namespace,
            metadata_only=self._metadata_only,
            label_selector=self._label_selector,
        )
        for page in pages:
            self._heard_at = time.monotonic()
            fresh.update((_key(obj), _encoded(obj)) for obj in page.get("items") or ())
            version = str(page["metadata"]["resourceVersion"])
        with self._lock:
            stale = self._objects
            self._objects = dict(fresh)
        self._check_history(version, stale, fresh)
        self._seen = version
        for key, gone in stale.items():
            if key not in fresh:
                self._report(key, _decoded(gone), None, version)
        for key, encoded in fresh.items():
            before = _decoded(stale.get(key))
            new = marshal.loads(encoded)  # noqa: S302  what this process encoded
            if before is None or _version(before) != _version(new):
                self._report(key, before, new, _version(new))
        self._synced.set()
        self._on_listed()
        return version

    def _list_and_forget(self) -> str:
        """As `_list`, page by page: no page is kept until the last has come."""
        listed: set[Key] = set()
        version = ""
        pages = self._cluster.pages(
            self.resource,
            self._namespace,
            size=_SMALL_PAGE,
            metadata_only=self._metadata_only,
            label_selector=self._label_selector,
        )
        for page in pages:
            self._heard_at = time.monotonic()
            for obj in page.get("items") or ():
                key = _key(obj)
                listed.add(key)
                with self._lock:
                    old = _decoded(self._objects.get(key))
                    self._objects[key] = self._encoded(obj)
                if old is None or _version(old) != _version(obj):
                    self._report(key, old, obj, _version(obj))
            version = str(page["metadata"]["resourceVersion"])
        with self._lock:
            gone = {key: self._objects.pop(key) for key in self._objects.keys() - listed}
        for key, encoded in gone.items():
            self._report(key, _decoded(encoded), None, version)
        self._synced.set()
        self._on_listed()
        return version

    def _follow(self, version: str) -> str:
        interrupt = Interrupt()
        with self._lock:
            self._interrupt = interrupt
        if self._stopping.is_set() or self._anew.is_set():
            return version
        events = self._cluster.watch(
            self.resource,
            self._namespace,
            resource_version=version,
            metadata_only=self._metadata_only,
            label_selector=self._label_selector,
            interrupt=interrupt,
        )
        self._heard_at = time.monotonic()
        self._interrupted = False
        self._following.set()
        for kind, obj in events:
            self._heard_at = time.monotonic()
            self._seen = version = _version(obj)
            if kind != "BOOKMARK":
                self._take(obj, gone=kind == "DELETED")
            if self._stopping.is_set():
                break
        self._heard_at = time.monotonic()
        return version

    def _take(self, obj: Object, *, gone: bool) -> None:
        key = _key(obj)
        encoded = self._encoded(obj)
        with self._lock:
            old = self._objects.pop(key, None)
            if not gone:
                self._objects[key] = encoded
        if gone and old is None:
            return
        self._report(key, _decoded(old), None if gone else obj, _version(obj))

    def _encoded(self, obj: Object) -> bytes:
        return _encoded(obj) if self._kept is None else marshal.dumps(self._kept(obj))

    def _report(self, key: Key, old: Object | None, new: Object | None, version: str) -> None:
        try:
            self._on_change(Change(self.resource, key, old, new, version))
        except Exception:
            # One object that its listener cannot digest must not stop the others from being cached.
            log.exception("change.failed", resource=self.resource.plural, namespace=key[0], name=key[1])


def _key(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _encoded(obj: Object) -> bytes:
    metadata = obj["metadata"]
    metadata.pop("managedFields", None)
    if annotations := metadata.get("annotations"):
        annotations.pop(_APPLIED_ANNOTATION, None)
    return marshal.dumps(obj)


def _decoded(encoded: bytes | None) -> Object | None:
    return None if encoded is None else marshal.loads(encoded)  # noqa: S302  what this process encoded


def _version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])
