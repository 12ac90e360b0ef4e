"""Pools that no advertisement covers: their addresses are assigned, and nobody announces them."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core.pool_selection import PoolSelection
from allocator.core.pools import Pool
from allocator.objects.document import Document, InvalidDocument
from allocator.objects.l2_advertisement import pool_selection_from


def selections_of(advertisements: Iterable[Document]) -> tuple[PoolSelection, ...]:
    """Return what each L2Advertisement or BGPAdvertisement that can be read selects: they say it alike."""
    found = []
    for document in advertisements:
        try:
            found.append(pool_selection_from(document))
        except InvalidDocument:
            continue
    return tuple(found)


def not_announced(pool: Pool, selections: Iterable[PoolSelection]) -> str:
    """Say that no advertisement covers the pool; empty where one does."""
    if any(selection.covers(pool) for selection in selections):
        return ""
    return (
        f"no L2Advertisement or BGPAdvertisement covers pool {pool.name}, so that nobody announces its addresses; "
        "name it in spec.ipAddressPools of one, or create one without pools and selectors, which covers all"
    )
