"""What a Service's annotations record of its assignment: from which pool each address was given."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.core.addresses import Address
from allocator.objects import names
from allocator.objects.document import Document, annotations_of
from allocator.objects.service import addresses_in_annotation, addresses_in_status


def recorded_pools(service: Document) -> Mapping[Address, tuple[str, ...]]:
    """Return, by address, the pools that each address in status was given from; none for what others wrote there.

    Reconciler and MetalLB write status and annotation together. Nobody but a controller writes status, and admission
    keeps a hand-written annotation out, so that both together record an assignment; an address that status shows and
    our list (where there is one; MetalLB writes none) does not is another controller's.
    """
    pools = _listed(annotations_of(service).get(names.FROM_POOL_ANNOTATION))
    shown = addresses_in_status(service)
    if not pools:
        return {}
    listed = addresses_in_annotation(service)
    if not listed and names.ASSIGNED_IPS_ANNOTATION not in annotations_of(service):
        listed = shown
    apart = len(pools) == len(listed)
    return {address: (pools[index],) if apart else pools for index, address in enumerate(listed) if address in shown}


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part for part in (each.strip() for each in (text or "").split(",")) if part)
