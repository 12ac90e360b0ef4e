"""A live cluster as the start of a replay, and the documents of a change as they are applied to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from allocator.core.claims import Claim
from allocator.kube import resource
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.document import Document
from allocator.offline.applied import applied
from allocator.offline.input_documents import InputDocument
from allocator.rules.kinds import KINDS

Identity = tuple[str, str, str, str]
"""API group, kind, namespace and name."""

READ: Final[tuple[Resource, ...]] = (
    *(kind.resource for kind in KINDS),
    resource.NODES,
    resource.SERVICES,
)
"""Every kind that bears on who gets which address."""
_NAMESPACED: Final = {(one.group, one.kind): one.namespaced for one in READ}


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """What there is: every object of the kinds read, with apiVersion and kind, and all claims."""

    objects: Mapping[Resource, Sequence[Document]]
    claims: Sequence[Claim] = ()

    def by_identity(self, default_namespace: str = "") -> dict[Identity, Document]:
        """Return every object by what documents name it by."""
        listed = (document for documents in self.objects.values() for document in documents)
        return {identity_of(document, default_namespace): document for document in listed}


def kinds_read_in(namespace: str) -> Mapping[Resource, str | None]:
    """Return the kinds to list, each with the one namespace that it is read in, None for all."""
    ours = {kind.resource for kind in KINDS if kind.in_one_namespace}
    return {one: namespace if one in ours else None for one in READ}


def applied_to(
    live: LiveCluster, documents: Iterable[InputDocument], *, default_namespace: str
) -> list[InputDocument]:
    """Return the documents as the API server gets them: those of live objects are changes of these."""
    known = live.by_identity()
    found = []
    for one in documents:
        before = known.get(identity_of(one.content, default_namespace))
        found.append(one if before is None else replace(one, content=applied(before, one.content)))
    return found


def identity_of(document: Document, default_namespace: str) -> Identity:
    """Return what names the object of a document; those of malformed ones name nothing that is there."""
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    group = str(document.get("apiVersion") or "").rpartition("/")[0]
    kind = str(document.get("kind"))
    namespace = str(metadata.get("namespace") or default_namespace) if _NAMESPACED.get((group, kind), True) else ""
    return group, kind, namespace, str(metadata.get("name") or "")


def named(document: Document, kind: Resource) -> dict[str, Any]:
    """Return an item of a list with the apiVersion and kind that the API server leaves out there."""
    return {**document, "apiVersion": kind.api_version, "kind": kind.kind}


def pools_of(live: LiveCluster) -> Sequence[Document]:
    """Return the live IPAddressPools."""
    return live.objects.get(names.IP_ADDRESS_POOLS, ())
