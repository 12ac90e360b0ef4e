"""What a Service's annotations record of its assignment: which addresses, and from which pools they were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from allocator.core.addresses import Address
from allocator.objects import names
from allocator.objects.document import Document, annotations_of
from allocator.objects.service import addresses_in_annotation, addresses_in_status, recorded_pools


def assignment_annotations(
    addresses: Sequence[Address], *, pools: str, original_pools: str = ""
) -> Mapping[str, str | None]:
    """Return the annotations of a Service that has these addresses; `pools` as a decision lists them."""
    return {
        names.FROM_POOL_ANNOTATION: pools,
        names.ASSIGNED_IPS_ANNOTATION: ",".join(str(address) for address in addresses),
        names.ORIGINAL_POOL_ANNOTATION: original_pools or None,
    }


def given_from(service: Document) -> Mapping[Address, tuple[str, ...]]:
    """Return, by address, the pools that each address in status is recorded for: the present one, then the one it was
    first given from. None for an address that another controller wrote there.

    Reconciler and MetalLB write status and annotation together. Nobody but a controller writes status, and admission
    keeps a hand-written annotation out, so that both together record an assignment; an address that status shows and
    our list (where there is one; MetalLB writes none) does not is another controller's.
    """
    pools = recorded_pools(service)
    shown = addresses_in_status(service)
    if not pools:
        return {}
    listed = addresses_in_annotation(service)
    if not listed and names.ASSIGNED_IPS_ANNOTATION not in annotations_of(service):
        listed = shown
    first = [name.strip() for name in annotations_of(service).get(names.ORIGINAL_POOL_ANNOTATION, "").split(",")]
    return {
        address: _of_each(pools, listed, index) + (_of_each(first, listed, index) if any(first) else ())
        for index, address in enumerate(listed)
        if address in shown
    }


def _of_each(pools: Sequence[str], listed: Sequence[Address], index: int) -> tuple[str, ...]:
    """The address's own entry where there is one for each address; a pool that serves both is listed once."""
    return (pools[index],) if len(pools) == len(listed) else tuple(pools)
