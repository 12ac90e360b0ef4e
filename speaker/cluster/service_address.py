"""One address of one Service, and the nodes that may announce it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.cluster.eligibility import Nobody, Standing
from speaker.cluster.eligible_nodes import EligibleNodes


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAddress:
    """`first` is the Service's first address, `nobody` says why there are no nodes.

    Two are equal while the nodes are the same object: which nodes those are changes in there.
    """

    service: Key
    address: Address
    first: Address
    eligible: EligibleNodes | None = None
    nobody: Nobody | None = None

    @property
    def nodes(self) -> Mapping[str, Standing]:
        """How each node is placed that may announce it."""
        return {} if self.eligible is None else self.eligible.nodes
