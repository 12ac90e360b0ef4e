"""A request to have a certain node announce an address, as the reconciler marks it on the IPAllocation."""

from __future__ import annotations

from dataclasses import dataclass

from allocator.core.addresses import Address
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
    """Read an IPAllocation; None for one that asks for no node. Raises AddressError for a name that is no address."""
    node = (annotations_of(document).get(MOVE_TO_NODE_ANNOTATION) or "").strip()
    return NodeMove(Address.from_claim_name(document["metadata"]["name"]), node) if node else None
