"""What a GitOps tool deletes: the documents of the earlier state that the later one lacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from allocator.kube.resource import SERVICES
from allocator.offline.input_documents import InputDocument
from allocator.offline.live_cluster import identity_of


def deletions(
    before: Iterable[InputDocument], after: Iterable[InputDocument], *, default_namespace: str
) -> list[InputDocument]:
    """Return a deletion for each object of `before` that `after` does not have; unnamed ones stay.

    A document that names no namespace is of `default_namespace`. Services come first: what is refused while Services
    hold on to the object is tried again by those tools.
    """
    kept = {identity_of(document.content, default_namespace) for document in after}
    last = {identity_of(document.content, default_namespace): document for document in before}
    going = [document for identity, document in last.items() if identity[3] and identity not in kept]
    going.sort(key=lambda document: document.content.get("kind") != SERVICES.kind)
    return [_deletion(document) for document in going]


def _deletion(document: InputDocument) -> InputDocument:
    content = document.content
    # Any moment will do: it is there or it is not.
    metadata = {**content["metadata"], "deletionTimestamp": "1970-01-01T00:00:00Z"}
    return replace(document, content={**content, "metadata": metadata})
