"""What L2Advertisement.status says: which pools it announces, and from which nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from allocator.core.listing import cut, listed
from allocator.core.selectors import Selector
from allocator.objects.document import Document, Problems, labels_of
from allocator.objects.l2_advertisement import pool_selection_from
from allocator.objects.node import Node
from allocator.objects.selectors import selectors_from
from allocator.rules.conditions import Condition, ready, reconciling, stalled
from allocator.rules.configuration import Fault
from allocator.rules.left_out import UNSELECTED, left_out, summary, without_subnets
from allocator.rules.speaker_subnets import PoolSubnets

_NODES_CHARACTERS = 300
_UNKNOWN = PoolSubnets()

Labels = Mapping[str, Mapping[str, str]]
"""Labels by the name of their object."""


def conditions(
    document: Document, fault: Fault | None, *, pools: Labels, nodes: Labels, subnets: PoolSubnets = _UNKNOWN
) -> tuple[Condition, ...]:
    """Say what is covered, and which nodes are left out of it or come after others.

    What is not there yet may come: that is no fault of the advertisement. Of a node whose speaker's Lease
    says nothing in `subnets`, nothing is said.
    """
    if fault is not None:
        return stalled(fault.reason, fault.message)
    spec = document.get("spec") or {}
    named: Sequence[str] = spec.get("ipAddressPools") or ()
    covered = _covered_pools(document, pools)
    missing = [name for name in named if name not in pools]
    absent = f"there is no pool {', '.join(missing)} (yet)" if missing else ""
    if not covered:
        why = absent or ("no pool's labels match ipAddressPoolSelectors" if pools else "there is no pool (yet)")
        return reconciling("NoPool", f"{why}; nothing is announced")
    selectors = _selectors(spec, "nodeSelectors")
    reasons = left_out((Node(name=name, labels=labels) for name, labels in nodes.items()), [selectors])
    excluded = {name: reason for name, reason in reasons.items() if reason != UNSELECTED}
    chosen = sorted(nodes.keys() - reasons.keys())
    if (nodes or selectors) and not chosen:
        why = summary(excluded, counted=False) or "no node's labels match nodeSelectors"
        return reconciling("NoNode", f"{why}; nothing is announced")
    where = f"node{'s' if len(chosen) > 1 else ''} {listed(chosen, counted=False)}" if selectors else "all nodes"
    message = f"announces {'pools' if len(covered) > 1 else 'pool'} {listed(covered)} from {where}"
    behind = without_subnets(
        subnets.nodes.intersection(chosen), {name: subnets.inside.get(name, ()) for name in covered}
    )
    if excluded or behind:
        message += f" but {summary({**excluded, **behind}, counted=False)}"
    if missing:
        return ready("PoolMissing", f"{message}; {absent}")
    return ready("Announcing", message)


def columns(document: Document) -> dict[str, str]:
    """Say in words what the spec restricts, and `all` where it restricts nothing: what `kubectl get` shows."""
    spec = document.get("spec") or {}
    pools: Sequence[str] = spec.get("ipAddressPools") or ()
    by_label = bool(spec.get("ipAddressPoolSelectors"))
    nodes = " or ".join(str(selector) for selector in _selectors(spec, "nodeSelectors"))
    return {
        "pools": listed(pools) or ("by label" if by_label else "all"),
        "interfaces": listed(spec.get("interfaces") or ()) or "all",
        "nodes": cut(nodes, limit=_NODES_CHARACTERS) or "all",
    }


def _covered_pools(document: Document, pools: Labels) -> list[str]:
    selection = pool_selection_from(document)
    return sorted(name for name, labels in pools.items() if selection.selects(name, labels))


def _selectors(spec: Document, field: str) -> tuple[Selector, ...]:
    return selectors_from(spec.get(field), f"spec.{field}", Problems())


def labels_by_name(documents: Iterable[Document]) -> dict[str, Mapping[str, str]]:
    """Return the labels of each document under its name."""
    return {document["metadata"]["name"]: labels_of(document) for document in documents}
