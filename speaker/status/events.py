"""Events on Services, as the reports need them."""

from __future__ import annotations

from typing import Protocol

from allocator.kube.client import Object
from allocator.kube.reflector import Key


class Recorder(Protocol):
    """What posts Events."""

    def record(self, service: Object, *, reason: str, message: str, normal: bool = True) -> None:
        """Report something about a Service; returns at once."""
        ...


def reference(service: Key, uid: str) -> Object:
    """Return as much of a Service as an Event about it needs."""
    return {"metadata": {"namespace": service[0], "name": service[1], "uid": uid}}
