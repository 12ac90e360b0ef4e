"""The Services of a whole cluster as BGP needs them, read from documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from allocator.bgp.inputs import Service
from allocator.bgp.object_values import service_value
from allocator.core.pools import Pool
from allocator.objects.announced_service import service_from
from allocator.objects.document import Document
from allocator.objects.endpoint_slice import Slice, serving, slice_from


def services_of(
    documents: Sequence[Document], slices: Sequence[Document], pools: Mapping[str, Pool], lb_class: str
) -> dict[str, Service]:
    """Return the Services that have addresses and are ours to serve, by `namespace/name`, with their endpoints."""
    by_owner: dict[str, list[Slice]] = {}
    for one in slices:
        read = slice_from(one)
        if read is not None:
            by_owner.setdefault("/".join(read.owner), []).append(read)
    found = {}
    for document in documents:
        service = service_from(document, lb_class=lb_class)
        if service is not None:
            key = "/".join(service.key)
            served = serving(by_owner.get(key, ()), service.ports)
            found[key] = service_value(service, pools=pools, serving=served)
    return found
