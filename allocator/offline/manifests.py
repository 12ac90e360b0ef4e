"""Manifests: documents of kinds there are rules for, as their schemas have them, in the namespace they go to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from allocator.core.listing import cut
from allocator.kube import resource
from allocator.objects import names
from allocator.objects.document import Document, annotations_of
from allocator.offline import converted_peers
from allocator.offline.input_documents import InputDocument
from allocator.offline.retired_kinds import remedy_for
from allocator.offline.schemas import Kind, Schemas
from allocator.offline.simulated_services import Key
from allocator.rules.verdict import Verdict, denied

_KIND_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A document of a kind there are rules for, with what its schema says of it."""

    origin: InputDocument
    kind: Kind
    content: Document
    key: Key
    listed: bool
    verdict: Verdict
    """A refusal, or the warnings that any further verdict carries as well."""

    @property
    def names_namespace(self) -> bool:
        """Whether the document says itself which namespace it is in."""
        return bool(self.origin.content["metadata"].get("namespace"))

    @property
    def going(self) -> bool:
        """Whether the document says that its object is to be deleted."""
        return bool(self.content["metadata"].get("deletionTimestamp"))


class Manifests:
    """Reads manifests, and names those of generateName one after another."""

    def __init__(self, schemas: Schemas, *, namespace: str, default_namespace: str) -> None:
        """`namespace` is the install namespace; `default_namespace` is where kubectl puts what names none."""
        self._schemas = schemas
        self._namespace = namespace
        self._default_namespace = default_namespace
        self._generated = 0

    def read(self, origin: InputDocument) -> Manifest | None:
        """Return the manifest of a document; None for one that there are no rules for."""
        versions = self._schemas.versions(origin.content)
        if not versions:
            return self._retired(origin)
        wanted = origin.content.get("apiVersion")
        kind = next((kind for kind in versions if kind.api_version == wanted), None)
        metadata = origin.content.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        key = self._key(metadata, kind or versions[0])
        label = "/".join(key) if versions[0].kind == resource.SERVICES.kind else f"{versions[0].kind} {key[1]}"
        if kind is None:
            remedy = _successor(origin.content, versions)
            verdict = denied(404, f"{label}: apiVersion: {wanted} is not served; {remedy}")
            content: Document = origin.content
        else:
            checked = kind.check(origin.content)
            content = _placed(checked.content, key, kind) if not checked.problems else checked.content
            problems = "; ".join(str(problem) for problem in checked.problems)
            repeated = (
                f"{path}: is written twice, and the last one counts; remove one" for path in origin.repeated()
            )
            warnings = tuple(f"{label}: {problem}" for problem in (*checked.unknown, *repeated))
            verdict = denied(422, f"{label}: {problems}", warnings) if problems else Verdict(warnings=warnings)
        return Manifest(
            origin=origin,
            kind=kind or versions[0],
            content=content,
            key=key,
            listed=_listed(content),
            verdict=verdict,
        )

    def _retired(self, origin: InputDocument) -> Manifest | None:
        """Refuse what looks like a kind of ours and is none; documents of others are passed over."""
        remedy = remedy_for(origin.content, namespace=self._namespace, kinds=self._schemas.kinds)
        if remedy is None:
            return None
        kind = Kind("", "", str(origin.content.get("kind")), namespaced=True, schema={})
        metadata = origin.content.get("metadata")
        key = self._key(metadata if isinstance(metadata, dict) else {}, kind)
        verdict = denied(404, f"{kind.kind[:_KIND_CHARACTERS]} {key[1]}: {remedy}")
        return Manifest(origin=origin, kind=kind, content=origin.content, key=key, listed=True, verdict=verdict)

    def _key(self, metadata: Mapping[str, Any], kind: Kind) -> Key:
        namespace = str(metadata.get("namespace") or self._default_namespace) if kind.namespaced else ""
        if metadata.get("name") or not metadata.get("generateName"):
            return namespace, str(metadata.get("name") or "")
        self._generated += 1
        return namespace, f"{metadata['generateName']}{self._generated:05}"


def _successor(document: Document, versions: Sequence[Kind]) -> str:
    """Say what to write instead of a version that is not served."""
    served = " or ".join(kind.api_version for kind in versions)
    if not converted_peers.is_old_peer(document):
        return f"write {served}"
    # What would be refused then is better known now.
    problems = [str(problem) for problem in versions[0].check(converted_peers.converted(document)).problems]
    return "; ".join([cut(converted_peers.remedy(document)), *(f"then {problem}" for problem in problems)])


def _placed(document: Document, key: Key, kind: Kind) -> Document:
    """The document with the namespace that kubectl would put it into, and the name that the API server makes up.

    Services are decided upon before they have that name.
    """
    namespace, name = key
    metadata = {**document["metadata"], **({"namespace": namespace} if namespace else {})}
    if kind.kind != resource.SERVICES.kind:
        metadata["name"] = name
    return {**document, "metadata": metadata}


def _listed(document: Document) -> bool:
    """Whether there are rules for what the document says, and not only for its kind."""
    kind, spec = document.get("kind"), document.get("spec")
    if kind == resource.SERVICES.kind:
        return isinstance(spec, dict) and spec.get("type") == "LoadBalancer"
    if kind == resource.NODES.kind:
        return False
    if kind == resource.NAMESPACES.kind:
        return any(key.startswith(names.ANNOTATION_PREFIXES) for key in _annotations(document))
    return True


def _annotations(document: Document) -> Mapping[str, Any]:
    try:
        return annotations_of(document)
    except AttributeError:
        return {}
