"""Objects as they come out of Git, and the names by which tools keep track of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from allocator.kube.client import Object
from tests.lab.control_plane import ControlPlane


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which object: what inventories and tracking ids are made of."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def key_of(obj: Object) -> Key:
    """Return the object's key; what has no namespace in Git has none in the key."""
    group, _, _ = obj["apiVersion"].rpartition("/")
    metadata = obj["metadata"]
    return Key(group, obj["kind"], metadata.get("namespace") or "", metadata["name"])


def render(control_plane: ControlPlane, folder: Path) -> list[Object]:
    """Return what `kustomize build` makes of a folder, as both tools do it before anything else."""
    return documents(control_plane.kubectl("kustomize", str(folder)).stdout)


def documents(text: str) -> list[Object]:
    """Return the objects of a YAML stream."""
    return [document for document in yaml.safe_load_all(text) if document]


def find(objects: Iterable[Object], kind: str, name: str) -> Object:
    """Return the one object of this kind and name."""
    (found,) = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found


def edited(objects: Iterable[Object], kind: str, name: str, edit: Callable[[Object], None]) -> list[Object]:
    """Return all objects as they are after a commit that changes one of them."""
    changed = copy.deepcopy(list(objects))
    edit(find(changed, kind, name))
    return changed


def without(objects: Iterable[Object], kind: str, name: str) -> list[Object]:
    """Return the objects that stay after a commit that removes one of them."""
    return [obj for obj in objects if (obj["kind"], obj["metadata"]["name"]) != (kind, name)]


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Say in which fields two values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for field in sorted(before.keys() | after.keys()):
            found += differences(before.get(field), after.get(field), f"{path}.{field}")
        return found
    return [] if before == after else [f"{path}: {before!r} -> {after!r}"]
