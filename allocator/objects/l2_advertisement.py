"""L2Advertisements: the form of their fields."""

from __future__ import annotations

from allocator.core.pool_selection import PoolSelection
from allocator.objects.document import Document, Problems, names_from
from allocator.objects.selectors import selector_from, selectors_from

SELECTORS = ("ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors")
PREFERENCES = "preferredNodeSelectors"


def check_l2_advertisement(document: Document) -> None:
    """Check what an L2Advertisement says. Raises InvalidDocument (MetalLB internal/config/config.go)."""
    problems = Problems()
    spec = document.get("spec") or {}
    names_from(spec.get("ipAddressPools"), "spec.ipAddressPools", problems)
    names_from(spec.get("interfaces"), "spec.interfaces", problems)
    for field in SELECTORS:
        selectors_from(spec.get(field), f"spec.{field}", problems)
    for index, preferred in enumerate(spec.get(PREFERENCES) or ()):
        selector_from(preferred.get("preference") or {}, f"spec.{PREFERENCES}[{index}].preference", problems)
    problems.raise_if_any()


def pool_selection_from(document: Document) -> PoolSelection:
    """Read which pools an L2Advertisement selects. Raises InvalidDocument."""
    spec = document.get("spec") or {}
    selectors = spec.get("ipAddressPoolSelectors") or ()
    return PoolSelection(
        names=frozenset(spec.get("ipAddressPools") or ()),
        selectors=tuple(
            selector_from(selector, f"spec.ipAddressPoolSelectors[{index}]")
            for index, selector in enumerate(selectors)
        ),
    )
