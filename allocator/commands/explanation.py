"""Why a live Service has the addresses it has, or has none: everything the cluster knows of it, in one value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from allocator.commands.announcement import nodes_left_out, only_by_bgp
from allocator.commands.bgp_explanation import BgpFacts, BgpOutcome, bgp_outcomes
from allocator.core.addresses import AddressError, Family
from allocator.core.claims import Claim
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool, PriorityOrder
from allocator.core.verdicts import Decision, NoteKind
from allocator.objects.document import Document
from allocator.objects.ip_allocation import claim_from
from allocator.objects.service import readable_request, wants_address
from allocator.offline.plan_result import State, why_ignored
from allocator.rules.configuration import read
from allocator.rules.foreign_status import left_alone, why_left_alone
from allocator.rules.pool_coverage import selections_of
from allocator.rules.service_report import message_of
from allocator.rules.unannounced import why_not_announced

_SHOWN_EVENTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the cluster holds that bears on one Service."""

    service: Document
    namespace: Document | None
    pools: Sequence[Document]
    allocations: Sequence[Document]
    announcements: Sequence[Document] = ()
    """The Service's ServiceL2Status objects."""
    advertisements: Sequence[Document] | None = None
    """All L2Advertisements; None where they were not asked for."""
    nodes: Sequence[Document] = ()
    leases: Sequence[Document] = ()
    """Those of the installation's namespace: the speakers' are among them."""
    events: Sequence[Document] = ()
    families: tuple[Family, ...] = (Family.IPV4,)
    bgp: BgpFacts | None = None
    """None where there is neither a BGPPeer nor a BGPAdvertisement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAddress:
    """One address of the Service. `interfaces` is empty where all of the node's are meant, or nobody announces."""

    ip: str
    pool: str
    state: str
    since: str
    node: str
    interfaces: tuple[str, ...]
    announced_since: str
    sharers: tuple[str, ...]
    """Others who hold it too."""
    not_announced: str = ""
    """Why nobody announces it, as far as the API says."""
    layer2: bool = True
    """Whether layer 2 is to announce it, which it is not where only BGPAdvertisements cover it."""
    bgp: tuple[BgpOutcome, ...] = ()
    """What becomes of it from each node to each BGPPeer."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Nodes that may not announce it, or only after others, each with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer to "why". `considered` lists pools and why each did not serve, where something is still wanted."""

    namespace: str
    name: str
    state: State
    message: str
    addresses: tuple[HeldAddress, ...]
    considered: tuple[tuple[str, str], ...]
    conditions: tuple[Document, ...]
    events: tuple[Document, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON output."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "state": str(self.state),
            "message": self.message,
            "addresses": [
                {
                    "ip": held.ip,
                    "pool": held.pool,
                    "state": held.state,
                    "since": held.since,
                    "node": held.node,
                    "interfaces": list(held.interfaces),
                    "announcedSince": held.announced_since,
                    "sharedWith": list(held.sharers),
                    "notAnnounced": held.not_announced,
                    "leftOut": [{"node": node, "reason": reason} for node, reason in held.left_out],
                    "layer2": held.layer2,
                    "bgp": [outcome.as_json() for outcome in held.bgp],
                }
                for held in self.addresses
            ],
            "considered": [{"pool": pool, "reason": reason} for pool, reason in self.considered],
            "conditions": [dict(condition) for condition in self.conditions],
            "events": [
                {
                    "type": event.get("type", ""),
                    "reason": event.get("reason", ""),
                    "message": event.get("message", ""),
                    "count": event.get("count") or 1,
                    "lastTimestamp": last_seen(event),
                }
                for event in self.events
            ],
        }


def explanation_of(
    facts: Facts,
    *,
    lb_class: str = "",
    order: PriorityOrder = PriorityOrder.LOWEST_FIRST,
    take_over_foreign: bool = False,
) -> Explanation:
    """Explain one Service by the decision that admission and the reconciler would make now."""
    metadata = facts.service["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    stored = list(_claims(facts.allocations))
    pools = {pool.name: pool for pool in pools_from(facts.pools)}
    outcomes = (
        bgp_outcomes(facts.service, facts.bgp, pools=pools, nodes=facts.nodes, lb_class=lb_class) if facts.bgp else []
    )
    held = [
        _with_nodes(_held(claim, document, facts.announcements, (namespace, name)), claim, document, facts, pools)
        for claim, document in stored
        if claim.in_use and claim.holder(namespace, name) is not None
    ]
    state, message, considered = _state(
        facts, [claim for claim, _ in stored], bool(held), lb_class, order, take_over_foreign
    )
    if facts.bgp is not None:
        outcomes = bgp_outcomes(facts.service, facts.bgp, pools=pools, nodes=facts.nodes, lb_class=lb_class)
        held = [replace(each, bgp=tuple(one for one in outcomes if str(one.address) == each.ip)) for each in held]
    return Explanation(
        namespace=namespace,
        name=name,
        state=state,
        message=message,
        addresses=tuple(held),
        considered=considered,
        conditions=tuple((facts.service.get("status") or {}).get("conditions") or ()),
        events=tuple(sorted(facts.events, key=last_seen)[-_SHOWN_EVENTS:]),
    )


def pools_from(documents: Iterable[Document]) -> list[Pool]:
    """Return the pools that are in use; admission lets no other in while it runs."""
    return list(read(documents).sound_pools().values())


def claims_from(documents: Iterable[Document]) -> list[Claim]:
    """Return the claims that can be read; anybody who may can write others."""
    return [claim for claim, _ in _claims(documents)]


def last_seen(event: Document) -> str:
    """Return when an Event last happened, as the API writes times."""
    series: Mapping[str, Any] = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"))
    return str(next((time for time in times if time), event["metadata"].get("creationTimestamp") or ""))


def _state(
    facts: Facts, claims: list[Claim], holds: bool, lb_class: str, order: PriorityOrder, take_over_foreign: bool
) -> tuple[State, str, tuple[tuple[str, str], ...]]:
    service = facts.service
    if not wants_address(service, lb_class=lb_class):
        return State.IGNORED, why_ignored(service, lb_class), ()
    pools = pools_from(facts.pools)
    alone = left_alone(service, namespace=facts.namespace, pools=pools, take_over_foreign=take_over_foreign)
    if not holds and alone:
        return State.IGNORED, why_left_alone(service), ()
    state = State.ASSIGNED if holds else State.PENDING
    request = readable_request(service, namespace=facts.namespace, cluster_families=facts.families)
    ledger = Ledger()
    for claim in claims:
        ledger.put(claim)
    decision = decide(request, pools=pools, ledger=ledger, order=order)
    return state, _message(decision, state), decision.considered


def _message(decision: Decision, state: State) -> str:
    conflicted = any(note.kind is NoteKind.CONFLICTED for note in decision.notes)
    if decision.refusal is None and state is State.PENDING and not conflicted:
        listed = ", ".join(str(place.address) for place in decision.placements)
        return f"{listed} from pool {decision.pools} is free for it; it is assigned as soon as a reconciler leads"
    return message_of(decision)


def _claims(documents: Iterable[Document]) -> Iterable[tuple[Claim, Document]]:
    for document in documents:
        try:
            yield claim_from(document), document
        except (AddressError, KeyError, ValueError):
            continue


def _held(claim: Claim, document: Document, announcements: Sequence[Document], key: tuple[str, str]) -> HeldAddress:
    me = claim.holder(*key)
    announced: Mapping[str, Any] = (document.get("status") or {}).get("announcedBy") or {}
    node, interfaces = announced.get("node") or "", tuple(announced.get("interfaces") or ())
    if not node and announcements:
        status: Mapping[str, Any] = announcements[0].get("status") or {}
        node = status.get("node") or ""
        interfaces = tuple(interface["name"] for interface in status.get("interfaces") or ())
    return HeldAddress(
        ip=str(claim.address),
        pool=claim.pool,
        state=str(claim.state),
        since=me.since if me is not None else "",
        node=node,
        interfaces=interfaces,
        announced_since=announced.get("since") or "",
        sharers=tuple(holder.label for holder in claim.others(*key)),
    )


def _with_nodes(
    held: HeldAddress, claim: Claim, allocation: Document, facts: Facts, pools: Mapping[str, Pool]
) -> HeldAddress:
    """Add why nobody announces it, and who is left out."""
    if facts.bgp is not None and not held.node and only_by_bgp(claim, facts.advertisements, facts.bgp, pools):
        return replace(held, layer2=False)
    selections = selections_of(facts.advertisements) if facts.advertisements is not None else None
    return replace(
        held,
        not_announced=why_not_announced(allocation, claim, selections=selections, pools=pools),
        left_out=nodes_left_out(
            facts.service,
            claim,
            advertisements=facts.advertisements or (),
            pools=pools,
            nodes=facts.nodes,
            leases=facts.leases,
            announcements=facts.announcements,
        ),
    )
