"""Every kind but Services that there are rules for: one entry a kind, and nothing else lists them.

The webhook's routes, `lint` and `plan` (offline/replay.py) and the configuration's status (rules/configuration.py)
read this table. Services have no entry: their answer commits claims, see rules/service.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from allocator.kube import resource
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.bgp_advertisement import advertisement_from
from allocator.objects.bgp_bfd_profile import bfd_profile_from
from allocator.objects.bgp_community import aliases_from
from allocator.objects.bgp_peer import peer_from
from allocator.objects.document import Document
from allocator.objects.l2_advertisement import check_l2_advertisement
from allocator.objects.namespace import check_quota, quota_text
from allocator.objects.pool import pool_from
from allocator.rules.bgp_advertisement import review_bgp_advertisement
from allocator.rules.bgp_bfd_profile import review_bfd_profile, review_bfd_profile_deletion
from allocator.rules.bgp_community import review_community, review_community_deletion
from allocator.rules.bgp_peer import review_peer
from allocator.rules.cluster_context import ClusterContext
from allocator.rules.l2_advertisement import review_l2_advertisement
from allocator.rules.namespace import review_namespace
from allocator.rules.pool import review_pool, review_pool_deletion
from allocator.rules.verdict import Rules, Verdict, misplaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A creation (`old` is None) or a change, and what it is judged by.

    `context` and `pool_names` are asked only by the kinds that need them: the first may cost calls of the API.
    """

    new: Document
    old: Document | None
    rules: Rules
    context: Callable[[], ClusterContext]
    pool_names: Callable[[], Collection[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRules:
    """What is said of one kind."""

    resource: Resource
    path: str
    """The webhook's route; kinds may share one."""
    check: Callable[[Document], object]
    """Raises InvalidDocument for an object of which no use can be made, whoever let it in."""
    review: Callable[[Change], Verdict]
    review_deletion: Callable[[Document, Callable[[], ClusterContext]], Verdict] = lambda _old, _context: Verdict()
    judged: Callable[[Document], object] = lambda document: document.get("spec")
    """What `review` reads of an object: a change of nothing else is never refused."""
    in_one_namespace: bool = False
    """Read in the install namespace only: elsewhere its creation is refused."""
    reads_cluster: bool = False
    """Whether an answer needs the webhook's cache."""

    def answer(self, change: Change, *, namespace: str, assumed: bool = False) -> Verdict:
        """Answer a creation or change of an object of this kind in `namespace` (empty where it has none).

        `assumed` says that the document names none and it is where kubectl would put it.
        """
        if not self.is_read_in(namespace, change.rules):
            # One that came in while nothing checked it: nobody uses it, so that no change of it takes anything away.
            refused = misplaced(
                self.resource.kind, change.new, namespace=namespace, rules=change.rules, assumed=assumed
            )
            return refused if refused is not None and change.old is None else Verdict()
        verdict = self.review(change)
        if verdict.allowed or change.old is None or self.judged(change.old) != self.judged(change.new):
            return verdict
        # Stored while nothing checked it, or by an earlier release: it keeps no label, annotation or finalizer back.
        return Verdict(warnings=(*verdict.warnings, verdict.message))

    def answer_deletion(
        self, old: Document, context: Callable[[], ClusterContext], *, namespace: str, rules: Rules
    ) -> Verdict:
        """Answer the deletion of an object of this kind in `namespace`."""
        return self.review_deletion(old, context) if self.is_read_in(namespace, rules) else Verdict()

    def is_read_in(self, namespace: str, rules: Rules) -> bool:
        """Whether an object of this kind there means anything."""
        return not self.in_one_namespace or namespace == rules.namespace


def _review_pool(change: Change) -> Verdict:
    return review_pool(change.new, change.old, context=change.context(), rules=change.rules)


def _review_l2_advertisement(change: Change) -> Verdict:
    return review_l2_advertisement(change.new, pools=change.pool_names())


def _review_peer(change: Change) -> Verdict:
    return review_peer(change.new, change.old, context=change.context(), rules=change.rules)


def _review_bgp_advertisement(change: Change) -> Verdict:
    return review_bgp_advertisement(change.new, change.old, context=change.context(), rules=change.rules)


def _review_community(change: Change) -> Verdict:
    return review_community(change.new, change.old, context=change.context())


def _bgp(
    kind: Resource,
    check: Callable[[Document], object],
    review: Callable[[Change], Verdict],
    review_deletion: Callable[[Document, Callable[[], ClusterContext]], Verdict] = lambda _old, _context: Verdict(),
) -> KindRules:
    return KindRules(
        resource=kind,
        path="/validate-metallb-io-bgp",
        check=check,
        review=review,
        review_deletion=review_deletion,
        in_one_namespace=True,
        reads_cluster=True,
    )


KINDS: tuple[KindRules, ...] = (
    KindRules(
        resource=names.IP_ADDRESS_POOLS,
        path="/validate-metallb-io-v1beta1-ipaddresspool",
        check=pool_from,
        review=_review_pool,
        review_deletion=lambda old, context: review_pool_deletion(old, context=context()),
        in_one_namespace=True,
        reads_cluster=True,
    ),
    KindRules(
        resource=names.L2_ADVERTISEMENTS,
        path="/validate-metallb-io-v1beta1-l2advertisement",
        check=check_l2_advertisement,
        review=_review_l2_advertisement,
        in_one_namespace=True,
        reads_cluster=True,
    ),
    _bgp(names.BGP_PEERS, peer_from, _review_peer),
    _bgp(names.BGP_ADVERTISEMENTS, advertisement_from, _review_bgp_advertisement),
    _bgp(
        names.BFD_PROFILES,
        bfd_profile_from,
        lambda change: review_bfd_profile(change.new, context=change.context()),
        lambda old, context: review_bfd_profile_deletion(old, context=context()),
    ),
    _bgp(
        names.COMMUNITIES,
        aliases_from,
        _review_community,
        lambda old, context: review_community_deletion(old, context=context()),
    ),
    KindRules(
        resource=resource.NAMESPACES,
        path="/validate-v1-namespace",
        check=check_quota,
        review=lambda change: review_namespace(change.new, change.old),
        judged=quota_text,
    ),
)

BY_KIND: Mapping[tuple[str, str], KindRules] = MappingProxyType(
    {(kind.resource.group, kind.resource.kind): kind for kind in KINDS}
)
"""By group and kind."""
