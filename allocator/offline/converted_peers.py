"""BGPPeers in MetalLB's older version v1beta1, which is not served: how to write the same in v1beta2.

MetalLB api/v1beta1/bgppeer_conversion.go. What is printed never has the password in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from allocator.objects import names
from allocator.objects.document import Document

OLD_VERSION: Final = "metallb.io/v1beta1"
_PASSWORD_STAYS: Final = "<the password, as it is>"  # noqa: S105  no password
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_FIELDS: Final = frozenset(
    {
        *("myASN", "peerASN", "peerAddress", "peerPort", "sourceAddress", "routerID", "password", "bfdProfile"),
        *("holdTime", "keepaliveTime", "nodeSelectors", "ebgpMultiHop"),
    }
)
"""All there were; the API server dropped others."""
_TIMERS: Final = ("holdTime", "keepaliveTime")


def is_old_peer(document: Document) -> bool:
    """Whether the document is a BGPPeer of the older version."""
    return document.get("kind") == names.BGP_PEERS.kind and document.get("apiVersion") == OLD_VERSION


def converted(document: Document) -> dict[str, Any]:
    """Return the same peer in v1beta2, for MetalLB as for AdmitLB: what v1beta1 left out gets today's default."""
    spec = {key: value for key, value in _mapping(document.get("spec")).items() if key in _FIELDS}
    if not spec.get("peerPort"):
        spec.pop("peerPort", None)
    metadata = {
        key: value for key, value in _mapping(document.get("metadata")).items() if key not in _SET_BY_THE_SERVER
    }
    annotations = dict(_mapping(metadata.pop("annotations", None)))
    # It holds the whole object as it was applied, password included.
    annotations.pop(_LAST_APPLIED, None)
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": names.BGP_PEERS.api_version,
        "kind": names.BGP_PEERS.kind,
        "metadata": metadata,
        "spec": spec,
    }


def remedy(document: Document) -> str:
    """Say in one line how to convert: the document to write, and what is not as it was."""
    shown = converted(document)
    if shown["spec"].get("password"):
        shown["spec"]["password"] = _PASSWORD_STAYS
    text = json.dumps(shown, separators=(", ", ": "), ensure_ascii=False, default=str)
    notes = "".join(f"; {note}" for note in _differences(_mapping(document.get("spec"))))
    return f"write {names.BGP_PEERS.api_version}, the fields keep their names{notes}: {text}"


_SET_BY_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")


def _differences(spec: Mapping[str, Any]) -> Iterator[str]:
    missing = [field for field in _TIMERS if field not in spec]
    if len(missing) == len(_TIMERS):
        yield (
            "without holdTime and keepaliveTime MetalLB's conversion meant 0s (no timers), and v1beta2 means 180s "
            "and 60s; add holdTime: 0s to keep what was"
        )
    if spec.get("peerPort") == 0:
        yield "peerPort 0 meant the default and goes"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
