"""What a Service may say at most, so that the claim on its address can be written (core/limits.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from allocator.core import limits
from allocator.core.addresses import quoted
from allocator.core.claims import Port
from allocator.objects import names
from allocator.objects.annotations import first_annotation
from allocator.objects.document import Document, Problems

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_LAST_PORT = 65535


def check_headless(spec: Document, problems: Problems) -> None:
    """Refuse clusterIP None; the API server does too, but only after an address would have been reserved for it."""
    first = next(iter(spec.get("clusterIPs") or ()), None)
    for path, value in (("spec.clusterIP", spec.get("clusterIP")), ("spec.clusterIPs[0]", first)):
        if value == "None":
            problems.add(path, "None makes the Service headless, which one of type LoadBalancer cannot be; remove it")
            return


def check_limits(service: Document, problems: Problems) -> None:
    """Refuse what a claim could not hold, and ports the API server would refuse after us."""
    metadata, spec = service["metadata"], service.get("spec") or {}
    bounded = (
        ("metadata.name", metadata.get("name") or "", limits.NAME_CHARACTERS),
        ("metadata.generateName", metadata.get("generateName") or "", limits.NAME_CHARACTERS),
        ("metadata.uid", metadata.get("uid") or "", limits.UID_CHARACTERS),
    )
    if not (metadata.get("name") or metadata.get("generateName")):
        problems.add("metadata", "needs name or generateName")
    for path, text, most in bounded:
        _check_length(path, text, most, problems)
    key, written = first_annotation(service, names.ALLOW_SHARED_IP_ANNOTATIONS)
    _check_length(f"metadata.annotations[{key}]", written or "", limits.SHARING_KEY_CHARACTERS, problems)
    ports: Sequence[Document] = spec.get("ports") or ()
    if len(ports) > limits.PORTS:
        problems.add("spec.ports", f"lists {len(ports)} ports; use {limits.PORTS} at most, or several Services")
    for index, port in enumerate(ports):
        number, protocol = port.get("port"), port.get("protocol") or "TCP"
        if not isinstance(number, int) or not 1 <= number <= _LAST_PORT:
            problems.add(f"spec.ports[{index}].port", f"{_shown_number(number)} is no port; use 1 to {_LAST_PORT}")
        if protocol not in _PROTOCOLS:
            known = ", ".join(_PROTOCOLS)
            problems.add(f"spec.ports[{index}].protocol", f"{str(protocol)[:20]!r} is unknown; use one of {known}")


def _check_length(path: str, text: str, most: int, problems: Problems) -> None:
    if len(text) > most:
        problems.add(path, f"{quoted(text)} has {len(text)} characters; use {most} at most")


def _shown_number(number: object) -> str:
    """A number of any length: str() refuses thousands of digits."""
    if isinstance(number, int) and number.bit_length() > 64:
        return "a number of many digits"
    return repr(number)[:40]


def backend_key(selector: Mapping[str, str] | None) -> str:
    """Return the selector as text that is equal where the selectors are."""
    text = ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items()))
    return fitting(text, limits.BACKEND_KEY_CHARACTERS)


def fitting(text: str, most: int) -> str:
    """Return the text, or its digest where it is too long; both are only ever compared."""
    if len(text) <= most:
        return text
    # Brings OpenSSL, for what hardly any Service has.
    import hashlib  # noqa: PLC0415

    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def fitting_ports(ports: Iterable[Port]) -> frozenset[Port]:
    """Return the ports, or the lowest of them where they are too many."""
    found = frozenset(ports)
    return found if len(found) <= limits.PORTS else frozenset(sorted(found)[: limits.PORTS])
