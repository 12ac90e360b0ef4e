"""The shipped manifests as plain objects."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "manifests"


def shipped(kind: str | None = None) -> list[dict[str, Any]]:
    """Return every object under manifests/, or those of one kind, in the order they are applied."""
    return [deepcopy(obj) for obj in _documents() if kind in (None, obj["kind"])]


@cache
def _documents() -> tuple[dict[str, Any], ...]:
    """Read them once: the CustomResourceDefinitions take a third of a second."""
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    return tuple(obj for name in listed for obj in yaml.safe_load_all((MANIFESTS / name).read_text()))


def named(kind: str, name: str) -> dict[str, Any]:
    """Return the one shipped object of this kind and name."""
    (found,) = (obj for obj in shipped(kind) if obj["metadata"]["name"] == name)
    return found
