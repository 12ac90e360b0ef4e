"""The example repository as each tool would work through it: which folder comes when, and how it is waited for."""

from __future__ import annotations

from pathlib import Path

from allocator.kube.client import Object
from tests.cluster.gitops.argocd import WAVE_ANNOTATION
from tests.cluster.gitops.objects import documents
from tests.cluster.gitops.site import EXAMPLE, ROOT

_FLUX = EXAMPLE / "clusters" / "flux"
_ARGOCD = EXAMPLE / "clusters" / "argocd"
_OWN_SOURCE = "flux-system"
_OWN_URL = "https://git.example.com/platform/fleet"


def kustomizations() -> list[Object]:
    """Flux's Kustomizations, each after those it depends on."""
    waiting = {obj["metadata"]["name"]: obj for obj in _manifests(_FLUX) if obj["kind"] == "Kustomization"}
    ordered: list[Object] = []
    while waiting:
        done = {obj["metadata"]["name"] for obj in ordered}
        free = [name for name, obj in waiting.items() if _dependencies(obj) <= done]
        assert free, f"{sorted(waiting)} depend on each other, or on what is not there"
        ordered += [waiting.pop(name) for name in free]
    return ordered


def sources() -> list[Object]:
    """Flux's sources, beside the one that bootstrapping makes."""
    return [obj for obj in _manifests(_FLUX) if obj["kind"] == "GitRepository"]


def applications() -> list[Object]:
    """Argo CD's Applications, by wave."""
    found = [obj for obj in _manifests(_ARGOCD) if obj["kind"] == "Application"]
    return sorted(found, key=lambda obj: int((obj["metadata"].get("annotations") or {}).get(WAVE_ANNOTATION, 0)))


def folder_of(obj: Object) -> Path:
    """Return the folder a Kustomization or an Application points at, with this checkout in place of both sources."""
    spec = obj["spec"]
    if obj["kind"] == "Kustomization":
        own, path = spec["sourceRef"]["name"] == _OWN_SOURCE, spec["path"]
    else:
        own, path = spec["source"]["repoURL"] == _OWN_URL, spec["source"]["path"]
    return (EXAMPLE if own else ROOT) / str(path)


def _dependencies(obj: Object) -> set[str]:
    return {one["name"] for one in obj["spec"].get("dependsOn") or ()}


def _manifests(folder: Path) -> list[Object]:
    (kustomization,) = documents((folder / "kustomization.yaml").read_text())
    return [obj for name in kustomization["resources"] for obj in documents((folder / name).read_text())]
