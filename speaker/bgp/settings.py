"""What the BGP of a node is configured with, and what it has to know before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from allocator.objects.names import BGP_KINDS, IP_ADDRESS_POOLS

LISTED = (IP_ADDRESS_POOLS, *BGP_KINDS)
"""The kinds of which all objects have to be known, beside Services and Nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpSettings:
    """`kube_proxy_url` is empty where nobody is to be asked before this node begins; for how long routes are marked
    before they are withdrawn is `marked_seconds`."""

    node: str
    sockets: Path
    kube_proxy_url: str
    marked_seconds: float
    leave_on_cordon: bool = False
