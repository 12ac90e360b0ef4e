"""What admission answers, and what an installation sets for all answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from allocator.core.addresses import Family
from allocator.core.listing import one_line
from allocator.core.pools import PriorityOrder
from allocator.core.verdicts import Decision
from allocator.objects import names
from allocator.objects.document import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an installation sets."""

    namespace: str = names.DEFAULT_NAMESPACE
    lb_class: str = ""
    strict: bool = False
    take_over_foreign: bool = False
    """Whether what other load balancers serve is taken over without an annotation."""
    order: PriorityOrder = PriorityOrder.LOWEST_FIRST
    families: tuple[Family, ...] = (Family.IPV4,)
    """The cluster's, primary first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer: `code` is HTTP's, `message` says why when not `allowed`, `warnings` are one line each."""

    allowed: bool = True
    code: int = 200
    message: str = ""
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str | None] | None = None
    """The assignment a Service shall carry (None under a key: the key goes); None leaves the object alone."""
    decision: Decision | None = None
    """What was decided, where something had to be."""

    def __post_init__(self) -> None:
        # Both may quote what a user wrote.
        object.__setattr__(self, "message", one_line(self.message))
        object.__setattr__(self, "warnings", tuple(map(one_line, self.warnings)))


def denied(code: int, message: str, warnings: tuple[str, ...] = ()) -> Verdict:
    """A refusal."""
    return Verdict(allowed=False, code=code, message=message, warnings=warnings)


def misplaced(
    kind: str, document: Document, *, namespace: str, rules: Rules, assumed: bool = False
) -> Verdict | None:
    """Refuse an object of ours in a namespace that nobody reads (MetalLB's webhooks do the same on CREATE).

    `assumed`: the document names no namespace, as one of a kustomize base that its overlay gives one.
    """
    if namespace == rules.namespace:
        return None
    name = document["metadata"]["name"]
    if assumed:
        return denied(
            422,
            f"{kind} {name}: metadata.namespace: is missing, and kubectl would create it in {namespace}, which is "
            f"not read by AdmitLB; write namespace: {rules.namespace} here or in the kustomization that includes it",
        )
    return denied(
        422,
        f"{kind} {name}: metadata.namespace: {namespace} is not read by AdmitLB; create it in {rules.namespace}",
    )
