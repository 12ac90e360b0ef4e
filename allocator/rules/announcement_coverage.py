"""Whether an advertisement, of layer 2 or BGP, covers an address of a Service."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.core.pool_selection import Origin
from allocator.core.selectors import covers
from allocator.objects.document import Document, InvalidDocument, Problems
from allocator.objects.l2_advertisement import pool_selection_from
from allocator.objects.selectors import selectors_from


def covers_service(advertisement: Document, origin: Origin, labels: Mapping[str, str]) -> bool:
    """Return whether it announces an address of these pools of a Service with these labels.

    One that cannot be read announces nothing.
    """
    try:
        selection = pool_selection_from(advertisement)
    except InvalidDocument:
        return False
    field = "serviceSelectors"
    selectors = selectors_from((advertisement.get("spec") or {}).get(field), f"spec.{field}", Problems())
    return selection.covers_origin(origin) and covers(selectors, labels)
