"""BFDProfiles as values: the timers of BFD sessions (MetalLB internal/config/config.go bfdProfileFromCR)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from allocator.objects.bgp_peer_fields import profile_name_problem
from allocator.objects.document import Document, Problems, name_of

_INTERVAL_MILLISECONDS: Final = (10, 60_000)
_RANGES: Final = {
    "receiveInterval": _INTERVAL_MILLISECONDS,
    "transmitInterval": _INTERVAL_MILLISECONDS,
    "echoInterval": _INTERVAL_MILLISECONDS,
    "detectMultiplier": (2, 255),
    "minimumTtl": (1, 254),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BfdProfile:
    """Intervals in milliseconds; None where FRR's default applies (300, 300, times 3; echo 50; TTL 254)."""

    name: str
    receive_milliseconds: int | None = None
    transmit_milliseconds: int | None = None
    echo_milliseconds: int | None = None
    detect_multiplier: int | None = None
    minimum_ttl: int | None = None
    echo_mode: bool = False
    passive_mode: bool = False


def bfd_profile_from(document: Document) -> BfdProfile:
    """Read a BFDProfile. Raises InvalidDocument."""
    problems = Problems()
    name = name_of(document)
    if document["metadata"].get("name") and (problem := profile_name_problem(name)):
        problems.add("metadata.name", problem)
    spec = document.get("spec") or {}
    for field, (least, most) in _RANGES.items():
        number = spec.get(field)
        if number is not None and not least <= number <= most:
            problems.add(f"spec.{field}", f"{number} is out of range; write {least} to {most}")
    problems.raise_if_any()
    return BfdProfile(
        name=name,
        receive_milliseconds=spec.get("receiveInterval"),
        transmit_milliseconds=spec.get("transmitInterval"),
        echo_milliseconds=spec.get("echoInterval"),
        detect_multiplier=spec.get("detectMultiplier"),
        minimum_ttl=spec.get("minimumTtl"),
        echo_mode=bool(spec.get("echoMode")),
        passive_mode=bool(spec.get("passiveMode")),
    )
