"""One address of one Service, and the nodes that may announce it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.cluster.eligibility import Nobody, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAddress:
    """`first` is the Service's first address, `nobody` says why there are no nodes."""

    service: Key
    address: Address
    first: Address
    nodes: Mapping[str, Standing] = field(default_factory=dict)
    nobody: Nobody | None = None
