"""Kubernetes documents as the core's values, and back: plain dicts in, values out, no I/O.

Bad input is an InvalidDocument that lists every problem with its field path, the value and the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from allocator import names
from allocator.core.addresses import AddressError, AddressRange, unusable_part
from allocator.core.pools import DEFAULT_REUSE_DELAY_SECONDS, Overlap, Pool, ServiceAllocation, ShrinkPolicy, overlaps
from allocator.core.selectors import Operator, Requirement, Selector

Document = Mapping[str, Any]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where, and why with the remedy."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class InvalidDocument(ValueError):
    """A document that cannot be taken as it is."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class Problems:
    """Collects problems, so that one answer names all of them."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, path: str, why: str) -> None:
        """Note a problem at a field path."""
        self._found.append(Problem(path, why))

    def read(self, path: str, parse: Callable[[], _Value]) -> _Value | None:
        """Run a parser; its AddressError becomes a problem at `path` and the result None."""
        try:
            return parse()
        except AddressError as error:
            self.add(path, str(error))
            return None

    def raise_if_any(self) -> None:
        """Raise InvalidDocument when anything was noted."""
        if self._found:
            raise InvalidDocument(self._found)


def labels_of(document: Document | None) -> Mapping[str, str]:
    """Return metadata.labels, empty when absent."""
    labels: Mapping[str, str] = ((document or {}).get("metadata") or {}).get("labels") or {}
    return labels


def annotations_of(document: Document | None) -> Mapping[str, str]:
    """Return metadata.annotations, empty when absent."""
    annotations: Mapping[str, str] = ((document or {}).get("metadata") or {}).get("annotations") or {}
    return annotations


def quota_of(namespace: Document | None) -> int | None:
    """Read how many addresses a namespace may hold; None when it does not say. Raises InvalidDocument."""
    text = annotations_of(namespace).get(names.QUOTA_ANNOTATION)
    if text is None:
        return None
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit()):
        who = ((namespace or {}).get("metadata") or {}).get("name")
        path = f"metadata.annotations[{names.QUOTA_ANNOTATION}]"
        raise InvalidDocument(
            [Problem(path, f"{text!r} on namespace {who} is not a number; write how many addresses it may hold")]
        )
    return int(stripped)


def selector_from(document: Document, path: str = "selector", problems: Problems | None = None) -> Selector:
    """Read a metav1.LabelSelector. Raises InvalidDocument, or notes into `problems` when given."""
    noted = problems or Problems()
    requirements = {
        Requirement(key, Operator.IN, frozenset({value}))
        for key, value in (document.get("matchLabels") or {}).items()
    }
    for index, expression in enumerate(document.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{index}]"
        values = expression.get("values") or ()
        try:
            operator = Operator(expression.get("operator"))
        except ValueError:
            allowed = ", ".join(Operator)
            noted.add(f"{here}.operator", f"{expression.get('operator')!r} is unknown; use one of {allowed}")
            continue
        if operator in (Operator.IN, Operator.NOT_IN) and not values:
            noted.add(f"{here}.values", f"{operator} needs at least one value")
        elif operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST) and values:
            noted.add(f"{here}.values", f"{operator} takes no values; remove them")
        elif len(set(values)) < len(values):
            noted.add(f"{here}.values", "a value stands twice; remove one")
        requirements.add(Requirement(str(expression.get("key")), operator, frozenset(values)))
    if problems is None:
        noted.raise_if_any()
    return Selector(frozenset(requirements))


def selectors_from(documents: Iterable[Document] | None, path: str, problems: Problems) -> tuple[Selector, ...]:
    """Read a list of selectors; the same one twice is a problem, as in MetalLB."""
    selectors: list[Selector] = []
    for index, document in enumerate(documents or ()):
        selector = selector_from(document, f"{path}[{index}]", problems)
        if selector in selectors:
            problems.add(f"{path}[{index}]", f"{selector} stands twice; remove one")
        selectors.append(selector)
    return tuple(selectors)


def names_from(names: Iterable[str] | None, path: str, problems: Problems) -> tuple[str, ...]:
    """Read a list of names; the same one twice is a problem, as in MetalLB."""
    taken: list[str] = []
    for index, name in enumerate(names or ()):
        if name in taken:
            problems.add(f"{path}[{index}]", f"{name} stands twice; remove one")
        taken.append(name)
    return tuple(taken)


def pool_from(document: Document) -> Pool:
    """Read an IPAddressPool by itself; see `pool_overlaps` for what it may not share. Raises InvalidDocument."""
    problems = Problems()
    spec = document.get("spec") or {}
    ranges = _ranges_from(spec.get("addresses"), "spec.addresses", problems)
    if not spec.get("addresses"):
        problems.add("spec.addresses", "the pool has no addresses; list a CIDR, a range or an address")
    for index, owned in enumerate(ranges):
        unfit = unusable_part(owned)
        if unfit is not None:
            problems.add(f"spec.addresses[{index}]", f"{owned} holds {unfit[0]} addresses; {unfit[1]}")
    excluded = _ranges_from(spec.get("excludeAddresses"), "spec.excludeAddresses", problems)
    allocation = _allocation_from(spec.get("serviceAllocation"), problems)
    policy = spec.get("shrinkPolicy", str(ShrinkPolicy.REJECT))
    if policy not in list(ShrinkPolicy):
        problems.add("spec.shrinkPolicy", f"{policy!r} is unknown; use one of {', '.join(ShrinkPolicy)}")
    problems.raise_if_any()
    return Pool(
        name=document["metadata"]["name"],
        ranges=ranges,
        excluded=excluded,
        auto_assign=spec.get("autoAssign", True),
        avoid_buggy_ips=spec.get("avoidBuggyIPs", False),
        allocation=allocation,
        reuse_delay_seconds=spec.get("reuseDelaySeconds", DEFAULT_REUSE_DELAY_SECONDS),
        allow_cross_namespace_sharing=spec.get("allowCrossNamespaceSharing", True),
        shrink_policy=ShrinkPolicy(policy),
        labels=labels_of(document),
    )


def _ranges_from(texts: Iterable[str] | None, path: str, problems: Problems) -> tuple[AddressRange, ...]:
    read = (
        problems.read(f"{path}[{index}]", lambda text=text: AddressRange.parse(text))  # type: ignore[misc]
        for index, text in enumerate(texts or ())
    )
    return tuple(owned for owned in read if owned is not None)


def _allocation_from(document: Document | None, problems: Problems) -> ServiceAllocation | None:
    if document is None:
        return None
    path = "spec.serviceAllocation"
    priority = document.get("priority", 0)
    if priority < 0:
        problems.add(f"{path}.priority", f"{priority} is negative; use 0 (last) or a positive number (lowest first)")
    return ServiceAllocation(
        priority=priority,
        namespaces=frozenset(names_from(document.get("namespaces"), f"{path}.namespaces", problems)),
        namespace_selectors=selectors_from(
            document.get("namespaceSelectors"), f"{path}.namespaceSelectors", problems
        ),
        service_selectors=selectors_from(document.get("serviceSelectors"), f"{path}.serviceSelectors", problems),
    )


def pool_overlaps(pool: Pool, others: Iterable[Pool]) -> list[Problem]:
    """List what a pool's ranges share with one another or with other pools' ranges."""
    return [
        Problem(f"spec.addresses[{found.mine_index}]", _overlap_text(pool, found)) for found in overlaps(pool, others)
    ]


def _overlap_text(pool: Pool, found: Overlap) -> str:
    where = "of the same pool" if found.other_pool == pool.name else f"of pool {found.other_pool}"
    return f"{found.mine} overlaps {found.other} {where}; every address belongs to one range of one pool"


def check_l2_advertisement(document: Document) -> None:
    """Check what an L2Advertisement says. Raises InvalidDocument (MetalLB internal/config/config.go)."""
    problems = Problems()
    spec = document.get("spec") or {}
    names_from(spec.get("ipAddressPools"), "spec.ipAddressPools", problems)
    names_from(spec.get("interfaces"), "spec.interfaces", problems)
    for field in ("ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors"):
        selectors_from(spec.get(field), f"spec.{field}", problems)
    for index, preferred in enumerate(spec.get("preferredNodeSelectors") or ()):
        selector_from(preferred.get("preference") or {}, f"spec.preferredNodeSelectors[{index}].preference", problems)
    problems.raise_if_any()
