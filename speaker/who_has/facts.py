"""What the API says of addresses and of the nodes that may answer for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from allocator.core.pools import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An address's IPAllocation: who has it, which node is to announce it, or why none is."""

    services: tuple[str, ...] = ()
    pool: str = ""
    announced_by: str = ""
    not_announced: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What is known of the cluster; `known` is whether there was one to ask. `nodes` are by their own addresses."""

    known: bool = False
    nodes: Mapping[Address, str] = field(default_factory=dict)
    records: Mapping[Address, Record] = field(default_factory=dict)
    pools: tuple[Pool, ...] = ()
