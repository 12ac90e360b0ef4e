"""What a Service asks for, as far as it decides who may share an address with it and whether it asked to move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

_PINS = "metallb.io/loadBalancerIPs"
_KEY = "metallb.io/allow-shared-ip"

CHANGED = "chaos.admitlb.io/changed"
"""Annotation of a Service that no longer asks for what it was created with: the witness may have been away then."""


@dataclass(frozen=True, slots=True)
class Needs:
    """One Service's needs. Written against the annotations' documentation, not with the code under test."""

    load_balancer: bool
    pins: str
    sharing_key: str
    ports: frozenset[tuple[str, int]]
    local: bool
    selector: str

    @classmethod
    def of(cls, service: dict[str, Any]) -> Self:
        """Read it from a Service as stored."""
        spec = service["spec"]
        annotations = service["metadata"].get("annotations") or {}
        return cls(
            load_balancer=spec.get("type") == "LoadBalancer",
            pins=annotations.get(_PINS) or spec.get("loadBalancerIP") or "",
            sharing_key=annotations.get(_KEY, ""),
            ports=frozenset((port.get("protocol", "TCP"), port["port"]) for port in spec.get("ports") or ()),
            local=spec.get("externalTrafficPolicy") == "Local",
            selector=str(sorted((spec.get("selector") or {}).items())),
        )

    def may_share_with(self, other: Needs) -> bool:
        """Whether two Services of one namespace with these needs may hold one address."""
        if not self.sharing_key or self.sharing_key != other.sharing_key or self.ports & other.ports:
            return False
        return self.local is other.local and (not self.local or self.selector == other.selector)
