"""The shipped manifests as plain objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "manifests"


def shipped(kind: str | None = None) -> list[dict[str, Any]]:
    """Return every object under manifests/, or those of one kind, in the order they are applied."""
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    objects = [obj for name in listed for obj in yaml.safe_load_all((MANIFESTS / name).read_text())]
    return [obj for obj in objects if kind in (None, obj["kind"])]


def named(kind: str, name: str) -> dict[str, Any]:
    """Return the one shipped object of this kind and name."""
    (found,) = (obj for obj in shipped(kind) if obj["metadata"]["name"] == name)
    return found
