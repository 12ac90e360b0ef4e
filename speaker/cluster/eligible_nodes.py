"""The nodes that may announce, once for all addresses to which the same advertisements apply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from allocator.objects.node import Node
from allocator.rules.left_out import NO_ENDPOINT, few_by_reason, left_out
from speaker.cluster.advertisements import Advertisement
from speaker.cluster.eligibility import Nobody, Standing, standing
from speaker.cluster.node_move import MOVE_WEIGHT


class EligibleNodes:
    """The nodes that may announce what some advertisements cover; where `serving` is given, only of those.

    `preferred` is the node that somebody asked for, empty for none.

    One object for all addresses of that kind, compared by identity: a node's change costs one entry in it. `nodes` is
    replaced whole. Owned by the thread that owns the index.
    """

    __slots__ = ("nodes", "preferred", "serving", "users")

    def __init__(
        self, nodes: Mapping[str, Standing], serving: frozenset[str] | None = None, preferred: str = ""
    ) -> None:
        self.nodes = nodes
        self.serving = serving
        self.preferred = preferred
        self.users = 0


LeftOut = tuple[tuple[str, str], ...]
"""Nodes that may not announce, and why (`allocator.rules.left_out.few_by_reason`)."""

_Covering = frozenset[str]
_ANY_NODE = ""


class EligibilityIndex:
    """Keeps EligibleNodes in step with the nodes and the advertisements. Owned by one thread.

    `changed` collects the objects whose nodes are others than before, with the names of those nodes, until
    `take_changed`. `left_out_changed` is set when `left_out` may be another for any of them; for its owner to clear.
    """

    def __init__(self) -> None:
        self.advertisements: dict[str, Advertisement] = {}
        self.nodes: dict[str, Node] = {}
        self._everywhere: dict[_Covering, EligibleNodes] = {}
        self._derived: dict[tuple[_Covering, frozenset[str] | None, str], EligibleNodes] = {}
        self._derived_of: dict[_Covering, dict[str, set[EligibleNodes]]] = {}
        self._keys: dict[EligibleNodes, _Covering] = {}
        self._changed: dict[EligibleNodes, set[str]] = {}
        self._left_out: dict[EligibleNodes, LeftOut] = {}
        self.left_out_changed = False

    def use(self, names: frozenset[str], serving: frozenset[str] | None, preferred: str = "") -> EligibleNodes:
        """Return the nodes for what the advertisements of these names cover; `release` it when it is not needed."""
        everywhere = self._everywhere.get(names)
        if everywhere is None:
            everywhere = self._everywhere[names] = EligibleNodes(self._judge(names, self.nodes.values()))
            self._keys[everywhere] = names
        if serving is None and not preferred:
            everywhere.users += 1
            return everywhere
        derived = self._derived.get((names, serving, preferred))
        if derived is None:
            derived = EligibleNodes(_derived(everywhere.nodes, serving, preferred), serving, preferred)
            self._derived[names, serving, preferred] = derived
            self._keys[derived] = names
            everywhere.users += 1
            by_node = self._derived_of.setdefault(names, {})
            for node in _concerned(serving):
                by_node.setdefault(node, set()).add(derived)
        derived.users += 1
        return derived

    def release(self, used: EligibleNodes) -> None:
        """One user less; what nobody uses is forgotten."""
        used.users -= 1
        if used.users:
            return
        names = self._keys.pop(used)
        self._changed.pop(used, None)
        self._left_out.pop(used, None)
        if used is self._everywhere[names]:
            del self._everywhere[names]
            self._derived_of.pop(names, None)
            return
        del self._derived[names, used.serving, used.preferred]
        for node in _concerned(used.serving):
            others = self._derived_of[names][node]
            others.discard(used)
            if not others:
                del self._derived_of[names][node]
        self.release(self._everywhere[names])

    def put_node(self, name: str, node: Node | None) -> None:
        """A node is another than before, or gone."""
        before = self.nodes.get(name)
        if node is None or before is None or self._is_left_out_otherwise(before, node):
            self._left_out.clear()
            self.left_out_changed = True
        if node is None:
            self.nodes.pop(name, None)
        else:
            self.nodes[name] = node
        for names, everywhere in self._everywhere.items():
            found = None if node is None else standing(node, self._named(names))
            if everywhere.nodes.get(name) != found:
                nodes = dict(everywhere.nodes)
                if found is None:
                    del nodes[name]
                else:
                    nodes[name] = found
                self._replace(names, everywhere, nodes, {name})

    def put_advertisement(self, name: str, advertisement: Advertisement | None) -> None:
        """An advertisement is another than before, or gone; which addresses it covers is the caller's concern."""
        before = self.advertisements.get(name)
        if advertisement is None:
            self.advertisements.pop(name, None)
        else:
            self.advertisements[name] = advertisement
        selects_others = (
            before is None or advertisement is None or before.node_selectors != advertisement.node_selectors
        )
        if selects_others and any(name in names for names in self._everywhere):
            self._left_out.clear()
            self.left_out_changed = True
        for names, everywhere in self._everywhere.items():
            if name in names:
                had, nodes = everywhere.nodes, self._judge(names, self.nodes.values())
                changed = {each for each in had.keys() | nodes.keys() if had.get(each) != nodes.get(each)}
                if changed:
                    self._replace(names, everywhere, nodes, changed)

    def _is_left_out_otherwise(self, before: Node, node: Node) -> bool:
        """Return whether a node is left out of any of them for another reason than before, or no longer."""
        if (before.labels, before.ruled_out) == (node.labels, node.ruled_out):
            return False
        selectors = [[each.node_selectors for each in self._named(names)] for names in self._everywhere]
        return any(left_out([before], each) != left_out([node], each) for each in selectors)

    def nobody(self, used: EligibleNodes) -> Nobody | None:
        """Say why there are no such nodes; None where there are."""
        if used.nodes:
            return None
        if used.serving is not None and self._everywhere[self._keys[used]].nodes:
            return Nobody.NO_LOCAL_ENDPOINT
        return Nobody.NO_NODE

    def left_out(self, used: EligibleNodes) -> LeftOut:
        """Return which nodes may not, and why; worked out anew after a change of a node or an advertisement."""
        found = self._left_out.get(used)
        if found is None:
            named = self._named(self._keys[used])
            reasons = left_out(self.nodes.values(), [each.node_selectors for each in named])
            if used.serving is not None:
                reasons |= {name: NO_ENDPOINT for name in sorted(self.nodes.keys() - reasons.keys() - used.serving)}
            found = self._left_out[used] = few_by_reason(reasons)
        return found

    def take_changed(self) -> dict[EligibleNodes, set[str]]:
        """Return what has changed since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    def _replace(
        self, names: _Covering, everywhere: EligibleNodes, nodes: dict[str, Standing], changed: set[str]
    ) -> None:
        was_empty, everywhere.nodes = not everywhere.nodes, nodes
        self._changed.setdefault(everywhere, set()).update(changed)
        by_node = self._derived_of.get(names)
        if not by_node:
            return
        for derived in {each for node in (*changed, _ANY_NODE) for each in by_node.get(node, ())}:
            derived.nodes = _derived(nodes, derived.serving, derived.preferred)
            concerned = changed if derived.serving is None else changed & derived.serving
            self._changed.setdefault(derived, set()).update(concerned)
        if was_empty != (not nodes):
            # Of those that have no nodes either way, the reason is another.
            for each in {derived for some in by_node.values() for derived in some}:
                self._changed.setdefault(each, set())

    def _judge(self, names: _Covering, nodes: Iterable[Node]) -> dict[str, Standing]:
        advertisements = self._named(names)
        return {node.name: found for node in nodes if (found := standing(node, advertisements)) is not None}

    def _named(self, names: _Covering) -> list[Advertisement]:
        return [self.advertisements[name] for name in sorted(names) if name in self.advertisements]


def _concerned(serving: frozenset[str] | None) -> Iterable[str]:
    """The nodes whose changes concern what is derived for these."""
    return (_ANY_NODE,) if serving is None else serving


def _derived(nodes: Mapping[str, Standing], serving: frozenset[str] | None, preferred: str) -> Mapping[str, Standing]:
    """The nodes that serve, or all, with the weight that a request adds to one of them."""
    among = nodes if serving is None else {name: nodes[name] for name in serving if name in nodes}
    if preferred not in among:
        return among
    asked = among[preferred]
    return {**among, preferred: replace(asked, weight=asked.weight + MOVE_WEIGHT)}
