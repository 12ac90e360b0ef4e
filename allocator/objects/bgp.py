"""The kinds that only BGP needs: the form of the fields that are read already, which are their label selectors."""

from __future__ import annotations

from allocator.objects.document import Document, Problems
from allocator.objects.selectors import selectors_from

PEER_SELECTORS = ("nodeSelectors",)
ADVERTISEMENT_SELECTORS = ("ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors")


def check_peer(document: Document) -> None:
    """Check the label selectors of a BGPPeer. Raises InvalidDocument."""
    _check(document, PEER_SELECTORS)


def check_advertisement(document: Document) -> None:
    """Check the label selectors of a BGPAdvertisement. Raises InvalidDocument."""
    _check(document, ADVERTISEMENT_SELECTORS)


def _check(document: Document, fields: tuple[str, ...]) -> None:
    problems = Problems()
    spec = document.get("spec") or {}
    for field in fields:
        selectors_from(spec.get(field), f"spec.{field}", problems)
    problems.raise_if_any()
