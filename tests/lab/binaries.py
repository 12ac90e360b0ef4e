"""The control-plane programs of the cluster in a box."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_ASSETS = "KUBEBUILDER_ASSETS"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs are, and which Kubernetes version the API server is."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_proxy: Path
    kubectl: Path
    server_version: tuple[int, int, int]
    way: str


def find(progress: Callable[[str], None] = print) -> Binaries:
    """Return the programs, making them first where they do not exist yet."""
    assets = Path(os.environ[_ASSETS])

    def path(name: str) -> Path:
        return Path(shutil.which(name, path=f"{assets}:{os.environ['PATH']}:/usr/sbin") or name)

    api = path("kube-apiserver")
    text = subprocess.run([api, "--version"], capture_output=True, text=True, check=True).stdout
    numbers = re.search(r"v(\d+)\.(\d+)\.(\d+)", text)
    assert numbers is not None
    version = (int(numbers[1]), int(numbers[2]), int(numbers[3]))
    kubectl = Path(shutil.which("kubectl") or "kubectl")
    return Binaries(
        path("etcd"), api, path("kube-controller-manager"), path("kube-proxy"), kubectl, version, "assets"
    )
