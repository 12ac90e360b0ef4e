"""What a Service shows of its addresses: status.loadBalancer and the two annotations, in one write."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from allocator import names
from allocator.cluster import Cluster, Object
from allocator.core.addresses import Address
from allocator.documents import annotations_of
from allocator.services import addresses_in_status

FIELD_MANAGER = "admitlb-reconciler"


def shows(service: Object, addresses: Sequence[Address], pools: str) -> bool:
    """Tell whether the Service already shows exactly these addresses, in this order, from these pools."""
    return addresses_in_status(service) == tuple(addresses) and _annotations_show(service, addresses, pools)


def show(cluster: Cluster, service: Object, addresses: Sequence[Address], pools: str) -> None:
    """Write the addresses to the Service. Raises NotFound, Conflict (it was recreated), ApiError."""
    annotations = {
        names.FROM_POOL_ANNOTATION: pools,
        names.ASSIGNED_IPS_ANNOTATION: ",".join(str(address) for address in addresses),
    }
    ingress = [{"ip": str(address)} for address in addresses]
    _patch(cluster, service, annotations=dict(annotations), ingress=ingress)


def clear(cluster: Cluster, service: Object, ours: Collection[Address]) -> bool:
    """Remove what we assigned from the Service and tell whether there was any of it.

    Addresses that are not in `ours` were written by somebody else and stay (MetalLB wipes them).
    """
    shown = addresses_in_status(service)
    foreign = [address for address in shown if address not in ours]
    stale = {key: None for key in names.OUTPUT_ANNOTATIONS if key in annotations_of(service)}
    if len(foreign) == len(shown):
        if stale:
            _patch(cluster, service, annotations=dict(stale), ingress=None)
        return bool(stale)
    _patch(cluster, service, annotations=dict(stale), ingress=[{"ip": str(address)} for address in foreign])
    return True


def _annotations_show(service: Object, addresses: Sequence[Address], pools: str) -> bool:
    annotations = annotations_of(service)
    listed = ",".join(str(address) for address in addresses)
    return (
        annotations.get(names.FROM_POOL_ANNOTATION) == pools
        and annotations.get(names.ASSIGNED_IPS_ANNOTATION) == listed
    )


def _patch(
    cluster: Cluster, service: Object, *, annotations: dict[str, str | None], ingress: list[Object] | None
) -> None:
    metadata = service["metadata"]
    # The uid makes a write to a Service of the same name, created since, a Conflict instead of a mistake.
    body: Object = {"metadata": {"uid": metadata["uid"], "annotations": annotations}}
    if ingress is not None:
        body["status"] = {"loadBalancer": {"ingress": ingress or None}}
    cluster.patch(
        names.SERVICES,
        metadata["name"],
        body,
        metadata["namespace"],
        subresource="status",
        field_manager=FIELD_MANAGER,
    )
