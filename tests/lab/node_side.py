"""What a Pod needs of its node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from allocator.kube.client import Cluster
from tests.lab.images import Image
from tests.lab.network import Host
from tests.lab.pod_network import PodNetworks


@dataclass(frozen=True, slots=True)
class NodeSide:
    """One life of a node, as its Pods see it."""

    host: Host
    addresses: tuple[str, ...]
    networks: PodNetworks
    cluster: Cluster
    directory: Path
    volumes: Path
    files: Path
    """What of the node's own file system Pods see (`hostPath`); empty when the node has booted."""
    service_environment: dict[str, str]
    token: Callable[[str, str], str]
    """Returns a fresh token of (namespace, ServiceAccount)."""
    ca_certificate: Path
    images: Mapping[str, Image]
    """What was built or pulled, by name without tag; other images stand for this checkout's programs."""
    connected: threading.Event
    """Cleared while the node is cut off or dead: nothing is reported then."""
    dead: threading.Event
    """Set when the node is killed: nothing is started, restarted or reported ever after."""
