"""What a GitOps tool deletes: the documents of the earlier state that the later one lacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from allocator.kube.resource import SERVICES
from allocator.offline.input_documents import InputDocument

_Identity = tuple[str, str, str, str]


def deletions(before: Iterable[InputDocument], after: Iterable[InputDocument]) -> list[InputDocument]:
    """Return a deletion for each object of `before` that `after` does not have; unnamed ones stay.

    Services come first: what is refused while Services hold on to the object is tried again by those tools.
    """
    kept = {_identity(document) for document in after}
    last = {_identity(document): document for document in before}
    going = [document for identity, document in last.items() if identity[3] and identity not in kept]
    going.sort(key=lambda document: document.content.get("kind") != SERVICES.kind)
    return [_deletion(document) for document in going]


def _identity(document: InputDocument) -> _Identity:
    content = document.content
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    group = str(content.get("apiVersion") or "").rpartition("/")[0]
    name = str(metadata.get("name") or "")
    return group, str(content.get("kind")), str(metadata.get("namespace") or ""), name


def _deletion(document: InputDocument) -> InputDocument:
    content = document.content
    # Any moment will do: it is there or it is not.
    metadata = {**content["metadata"], "deletionTimestamp": "1970-01-01T00:00:00Z"}
    return replace(document, content={**content, "metadata": metadata})
