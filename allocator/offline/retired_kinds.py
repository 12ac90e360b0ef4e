"""Documents under our groups that are of no kind there is, and MetalLB's old configuration: what took their place.

MetalLB: website/content/release-notes (0.13: objects instead of a ConfigMap; 0.15: AddressPool gone).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from allocator.objects.document import Document

_GROUPS = ("metallb.io", "admitlb.io")
_OPERATOR_KINDS = ("MetalLB",)
"""The operator's own kind in MetalLB's group; nobody but the operator reads it."""
_SUCCESSORS = {
    "addresspool": "write an IPAddressPool, and an L2Advertisement or BGPAdvertisement that announces it",
    "ippool": "write an IPAddressPool",
    "layer2advertisement": "write an L2Advertisement",
    "bgpsession": "write a BGPPeer",
}
_OLD_CONFIGURATION = re.compile(r"^\s*[\"']?(?:address-pools|bgp-communities)[\"']?\s*:", re.MULTILINE)
_QUOTED_CHARACTERS = 60


def remedy_for(document: Document, *, namespace: str, kinds: Callable[[], Collection[str]]) -> str | None:
    """Say what to write instead of a document that nobody reads any more; None for all others.

    `namespace` is the install namespace, `kinds` gives the names of the kinds there are in our groups.
    """
    kind = str(document.get("kind") or "")
    group, _, _ = str(document.get("apiVersion") or "").rpartition("/")
    if not group and kind == "ConfigMap":
        return _OBJECTS_NOW if _is_old_configuration(document, namespace) else None
    if group not in _GROUPS or kind in _OPERATOR_KINDS:
        return None
    return f"kind: {kind[:_QUOTED_CHARACTERS]} is no kind of {group}; {_successor(kind, kinds())}"


_OBJECTS_NOW = (
    "data: MetalLB's configuration by ConfigMap is not read since MetalLB 0.13; write an IPAddressPool for each "
    "entry of address-pools, an L2Advertisement or BGPAdvertisement that announces them, and a BGPPeer for each peer"
)


def _successor(kind: str, kinds: Collection[str]) -> str:
    named = _SUCCESSORS.get(kind.lower())
    if named is not None:
        return named
    by_name = {known.lower(): known for known in kinds}
    import difflib  # noqa: PLC0415  only for what is misspelt

    close = difflib.get_close_matches(kind.lower(), list(by_name), n=1)
    return f"did you mean {by_name[close[0]]}?" if close else f"there are {', '.join(sorted(kinds))}"


def _is_old_configuration(document: Document, namespace: str) -> bool:
    metadata, data = document.get("metadata"), document.get("data")
    if not isinstance(metadata, dict) or not isinstance(data, dict):
        return False
    if metadata.get("name") == "config" and metadata.get("namespace") == namespace and "config" in data:
        return True
    return any(isinstance(text, str) and _OLD_CONFIGURATION.search(text) for text in data.values())
