"""A request to have a certain node announce an address, as the reconciler marks it on the IPAllocation."""

from __future__ import annotations

from dataclasses import dataclass

from allocator.core.addresses import Address, AddressError
from allocator.objects.document import Document, annotations_of
from allocator.objects.names import MOVE_TO_NODE_ANNOTATION

MOVE_WEIGHT = 1_000_000
"""What the request adds to the node's weight: more than the preferences of any advertisements together. It does not
make up for a handicap: nothing is moved to a node that is not Ready, or could not answer as well."""


@dataclass(frozen=True, slots=True)
class NodeMove:
    """That `node` is to announce `address`."""

    address: Address
    node: str


def node_move_from(document: Document) -> NodeMove | None:
    """Read an IPAllocation; None for one that asks for no node, or whose name is no address."""
    node = (annotations_of(document).get(MOVE_TO_NODE_ANNOTATION) or "").strip()
    address = address_of(document["metadata"]["name"])
    return NodeMove(address, node) if node and address is not None else None


def address_of(claim: str) -> Address | None:
    """Return the address that an IPAllocation of this name is about; None where the name is no address."""
    try:
        return Address.from_claim_name(claim)
    except AddressError:
        return None
