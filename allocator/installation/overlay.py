"""One of the shipped overlays, with further components, other images and another namespace."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from allocator.installation.image import Image
from allocator.shipped import KUSTOMIZE, MANIFESTS

DEFAULT: Final = "default"
_LAST: Final = ("selinux", "argocd", "flux")
"""Components that change all that is there, in the order they come (kustomize/README.md)."""

Kustomization = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choices:
    """What somebody wants of an overlay; `images` by the name that the manifests give them."""

    overlay: str = DEFAULT
    components: Sequence[str] = ()
    images: Mapping[str, Image] = field(default_factory=lambda: MappingProxyType({}))
    namespace: str = ""
    """Empty: as the overlay has it."""


def overlays() -> tuple[str, ...]:
    """Return the names of all shipped overlays."""
    return _names("overlays")


def components() -> tuple[str, ...]:
    """Return the names of all shipped components."""
    return _names("components")


def write(choices: Choices, into: Path) -> Path:
    """Copy everything shipped into an empty folder, with the choices made; return the folder to be rendered."""
    shutil.copytree(MANIFESTS, into / "manifests")
    shutil.copytree(KUSTOMIZE, into / "kustomize")
    folder = into / "kustomize" / "overlays" / choices.overlay
    chosen = with_choices(_read(folder), choices, included=_included(folder))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(chosen, sort_keys=False))
    return folder


def with_choices(overlay: Kustomization, choices: Choices, *, included: frozenset[str]) -> Kustomization:
    """Return an overlay's kustomization with the choices; components that are `included` are not added again."""
    added = [_path(name) for name in dict.fromkeys(choices.components) if name not in included]
    listed = sorted([*overlay.get("components", ()), *added], key=_rank)
    images = {image["name"]: image for image in overlay.get("images", ())}
    images |= {name: image.override(name) for name, image in choices.images.items()}
    changed = {"components": listed, "images": list(images.values()), "namespace": choices.namespace}
    return {**overlay, **{key: value for key, value in changed.items() if value}}


def _included(folder: Path) -> frozenset[str]:
    """Return the components of an overlay and of those it is built on."""
    overlay = _read(folder)
    bases = ((folder / resource).resolve() for resource in overlay.get("resources", ()))
    below = [_included(base) for base in bases if base.parent == folder.resolve().parent]
    return frozenset(Path(path).name for path in overlay.get("components", ())).union(*below)


def _read(folder: Path) -> Kustomization:
    loaded: Kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return loaded


def _path(component: str) -> str:
    return f"../../components/{component}"


def _rank(path: str) -> int:
    name = Path(path).name
    return _LAST.index(name) + 1 if name in _LAST else 0


def _names(kind: str) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in (KUSTOMIZE / kind).glob("*/kustomization.yaml")))
