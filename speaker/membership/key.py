"""The key the speakers share, as the API server holds it."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable

from allocator.kube.client import ApiError, Cluster, NotFound
from allocator.kube.resource import SECRETS
from allocator.objects.names import SPEAKER_KEY_FIELD, SPEAKER_KEY_SECRET
from allocator.process.logs import EventLog

log = EventLog("key")

_REREAD_SECONDS = 5.0


def read_key(cluster: Cluster, namespace: str) -> bytes:
    """Return the key. Raises NotFound while the Secret or its field is not there, and other ApiErrors."""
    secret = cluster.get(SECRETS, SPEAKER_KEY_SECRET, namespace)
    encoded = (secret.get("data") or {}).get(SPEAKER_KEY_FIELD) or ""
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if not key:
        where = f"{namespace}/{SPEAKER_KEY_SECRET}"
        raise NotFound(404, "NoKey", f"Secret {where} has no field {SPEAKER_KEY_FIELD}")
    return key


class KeyWatch:
    """Reads the key anew when heartbeats stop matching it, from a thread of its own, and passes on a changed one.

    Without this, speakers started after the Secret was replaced could not hear those started before, and both
    halves would announce every address. Forged heartbeats cost one read in five seconds at most.
    """

    def __init__(self, read: Callable[[], bytes], *, key: bytes, on_change: Callable[[bytes], None]) -> None:
        self._read = read
        self._key = key
        self._on_change = on_change
        self._doubted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key", daemon=True)

    def start(self) -> None:
        """Begin to wait for doubts."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._doubted.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def doubt(self) -> None:
        """Somebody speaks with another key; returns at once."""
        self._doubted.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._doubted.wait()
            if self._stopping.is_set():
                return
            self._doubted.clear()
            try:
                key = self._read()
            except ApiError as error:
                log.debug("key.unread", error=error)
            else:
                if key != self._key:
                    self._key = key
                    self._on_change(key)
                    log.info("key.changed")
            self._stopping.wait(_REREAD_SECONDS)
