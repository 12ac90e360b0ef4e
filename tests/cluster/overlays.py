"""Overlays as kubectl renders them: those that are shipped, and compositions that only a user would write."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from allocator.kube.client import Object
from tests.lab.binaries import find

KUSTOMIZE = Path(__file__).parents[2] / "kustomize"
BASE = KUSTOMIZE / "base"


def folders(kind: str) -> list[str]:
    """Return the names of all `components` or `overlays`."""
    return sorted(path.parent.name for path in (KUSTOMIZE / kind).glob("*/kustomization.yaml"))


class DoesNotRender(AssertionError):
    """kubectl refuses the folder; the message is what it says."""


def render(folder: Path) -> list[Object]:
    """Return the objects of a folder, in the order kubectl prints them. Raises DoesNotRender."""
    done = subprocess.run(
        [_kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise DoesNotRender(done.stderr)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [obj for obj in yaml.load_all(done.stdout, Loader=loader) if obj is not None]


def compose(folder: Path, *components: str, **fields: Any) -> Path:
    """Write an overlay on the base into `folder`, with components and further fields, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    kustomization: Mapping[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(BASE, folder)],
        "components": [os.path.relpath(KUSTOMIZE / "components" / name, folder) for name in components],
        **fields,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization, sort_keys=False))
    return folder


def key(obj: Object) -> tuple[str, str, str, str]:
    """What tells an object from all others: apiVersion, kind, namespace, name."""
    metadata = obj["metadata"]
    return obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"]


def as_list(objects: Iterable[Object]) -> str:
    """Return the objects as one document that kubectl takes in this order."""
    return yaml.safe_dump_all(objects, sort_keys=False)


@cache
def _kubectl() -> Path:
    return find().kubectl
