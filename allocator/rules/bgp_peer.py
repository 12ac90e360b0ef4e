"""What admission answers for a BGPPeer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from allocator.core.addresses import Family
from allocator.objects import names
from allocator.objects.bgp_bfd_profile import BfdProfile, bfd_profile_from
from allocator.objects.bgp_peer import SELECTORS, Peer, peer_from
from allocator.objects.bgp_timers import DEFAULT_HOLD_SECONDS
from allocator.objects.document import Document, InvalidDocument, name_of
from allocator.objects.selectors import repeated_in
from allocator.rules.bgp_conflict import split
from allocator.rules.bgp_nodes import Nodes
from allocator.rules.bgp_peer_conflicts import conflicts
from allocator.rules.bgp_session_resets import resetting_fields
from allocator.rules.cluster_context import ClusterContext
from allocator.rules.verdict import Rules, Verdict, denied

_SLOW_SECONDS = 10
"""From here on a dead node's routes stay for long enough that people notice."""
_RESERVED_ASNS = (23_456, 65_535, (1 << 32) - 1)
"""RFC 6793, RFC 7300. FRR takes them."""


def review_peer(new: Document, old: Document | None, *, context: ClusterContext, rules: Rules) -> Verdict:
    """Answer the creation (`old` is None) or change of a BGPPeer."""
    label = f"BGPPeer {name_of(new)}"
    try:
        peer = peer_from(new)
        repeated_in(new, SELECTORS).raise_if_any()
        others = peers_of(one for one in context.objects(names.BGP_PEERS) if name_of(one) != peer.name)
        nodes = Nodes(context.nodes())
        before = readable_peer(old)
        known = conflicts(before, others, nodes) if before is not None else []
        problems, stored = split(conflicts(peer, others, nodes), known)
        if problems:
            raise InvalidDocument(problems)
    except InvalidDocument as error:
        return denied(422, f"{label}: {error}")
    absent = [f"{label}: {text}" for text in _absent(peer, context)]
    profile = next((one for one in profiles_of(context) if one.name == peer.bfd_profile), None)
    notes = [f"{label}: {text}" for text in (*stored, *_notes(peer, new, rules), *_effects(peer, profile))]
    if nodes and not nodes.chosen(peer.node_selectors):
        notes.append(f"{label}: spec.nodeSelectors: no node's labels match, so that none connects")
    notes += [f"{label}: {text}" for text in _reset(peer, before)]
    if absent and rules.strict:
        return denied(422, "; ".join(absent), tuple(notes))
    return Verdict(warnings=(*absent, *notes))


def peers_of(documents: Iterable[Document]) -> list[Peer]:
    """Return the BGPPeers that can be read."""
    return [peer for document in documents if (peer := readable_peer(document)) is not None]


def readable_peer(document: Document | None) -> Peer | None:
    """Return a stored BGPPeer; None for none and for one that came in while nothing checked it."""
    try:
        return peer_from(document) if document is not None else None
    except InvalidDocument:
        return None


def profiles_of(context: ClusterContext) -> list[BfdProfile]:
    """Return the BFDProfiles there are or will be, of those that can be read."""
    found = []
    for document in context.expected(names.BFD_PROFILES):
        try:
            found.append(bfd_profile_from(document))
        except InvalidDocument:
            continue
    return found


def echo_problem(peer: Peer, profile: BfdProfile) -> str:
    """Say why echo packets cannot work between a node and the peer; empty where they can."""
    if not profile.echo_mode:
        return ""
    if peer.multi_hop or (peer.ttl_security_hops or 1) > 1:
        return "the peer is several hops away, and echo packets go over one"
    if peer.address is None or peer.address.family is Family.IPV6:
        return "over IPv6 echo packets work between two FRR only"
    return ""


def _absent(peer: Peer, context: ClusterContext) -> Iterator[str]:
    """What the peer names and is not there: it may come."""
    profiles = {name_of(one) for one in context.expected(names.BFD_PROFILES)}
    if peer.bfd_profile and peer.bfd_profile not in profiles:
        yield (
            f"spec.bfdProfile: there is no BFDProfile {peer.bfd_profile} (yet), and BFD goes by FRR's own timers "
            "(300 ms, times 3) without it; create it, or remove the field"
        )
    if peer.password_secret and context.lacks_secret(peer.password_secret):
        yield (
            f"spec.passwordSecret: there is no Secret {peer.password_secret} (yet), and no node connects without it; "
            "create it with type kubernetes.io/basic-auth and the key password"
        )


def _notes(peer: Peer, document: Document, rules: Rules) -> Iterator[str]:
    spec = document.get("spec") or {}
    if peer.password:
        yield "spec.password: can be read by whoever may read this object; keep it in a Secret, by passwordSecret"
    elsewhere = (spec.get("passwordSecret") or {}).get("namespace")
    if peer.password_secret and elsewhere not in (None, "", rules.namespace):
        yield f"spec.passwordSecret.namespace: {elsewhere} is not read, the Secret is looked for in {rules.namespace}"
    if spec.get("disableMP"):
        yield "spec.disableMP: has no effect; each session carries its own family, or both by dualStackAddressFamily"
    for field, number in (("myASN", peer.my_asn), ("peerASN", peer.remote), ("localASN", peer.local_asn)):
        if number in _RESERVED_ASNS:
            yield f"spec.{field}: {number} is reserved; routers may refuse it, use a number of your own"


def _effects(peer: Peer, profile: BfdProfile | None) -> Iterator[str]:
    """What comes of the peer as it is, when a node or FRR goes."""
    held = peer.timers.hold_seconds
    hold = DEFAULT_HOLD_SECONDS if held is None else held
    if not peer.bfd_profile and (hold > _SLOW_SECONDS or not hold):
        lasts = f"for holdTime {hold}s" if hold else "without end"
        yield f"spec.bfdProfile: without one a dead node's routes stay {lasts}; name a BFDProfile, or lower holdTime"
    if peer.graceful_restart and not peer.bfd_profile:
        yield (
            "spec.enableGracefulRestart: without bfdProfile the router keeps a dead node's routes for the restart "
            "time as well"
        )
    elif peer.graceful_restart:
        yield (
            "spec.enableGracefulRestart: with bfdProfile the router must be set to keep routes when BFD goes down "
            "in a restart (BIRD: bfd graceful), else each restart takes the node's routes away"
        )
    elif peer.timers.restart_seconds:
        yield "spec.restartTime: has no effect without enableGracefulRestart"
    if profile is not None and (why := echo_problem(peer, profile)):
        yield f"spec.bfdProfile: {profile.name} has echoMode, but {why}"


def _reset(peer: Peer, before: Peer | None) -> Iterator[str]:
    if before is None:
        return
    fields = resetting_fields(before, peer)
    if fields:
        yield f"its sessions reset: spec.{', spec.'.join(fields)} changed"
    elif not peer.shutdown and _negotiated(before) != _negotiated(peer):
        yield (
            "spec.holdTime, spec.keepaliveTime: sessions that are up keep what they have agreed on, until they are "
            "established again; set shutdown and take it back to have that now"
        )
    if before.node_selectors != peer.node_selectors:
        yield "its sessions end on nodes that spec.nodeSelectors no longer match"


def _negotiated(peer: Peer) -> tuple[int, int]:
    """What both sides agree on when a session is established (RFC 4271, section 4.2), FRR's own included."""
    hold, keepalive = peer.timers.hold_seconds, peer.timers.keepalive_seconds
    return (
        DEFAULT_HOLD_SECONDS if hold is None else hold,
        DEFAULT_HOLD_SECONDS // 3 if keepalive is None else keepalive,
    )
