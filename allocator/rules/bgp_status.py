"""What the status of the kinds for BGP says: whether an object is sound, what it waits for, what it is used for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from allocator.core.listing import listed
from allocator.core.pools import Pool
from allocator.objects.bgp_advertisement import Advertisement, advertisement_from
from allocator.objects.bgp_community import CommunityValue, aliases_from
from allocator.objects.bgp_peer import Peer, peer_from
from allocator.objects.document import Document, name_of
from allocator.rules.bgp_advertisement import selected_peers, unknown_aliases
from allocator.rules.bgp_nodes import Nodes
from allocator.rules.conditions import Condition, ready, reconciling, stalled
from allocator.rules.configuration import Fault

_NO_COMPONENT = "the component bgp, which brings FRR to the nodes, is not installed"


def peer_conditions(
    document: Document,
    fault: Fault | None,
    *,
    profiles: Collection[str],
    absent_secrets: Collection[str],
    nodes: Nodes,
) -> tuple[Condition, ...]:
    """Say what keeps the nodes from connecting.

    `profiles` are the names of the sound BFDProfiles, `absent_secrets` those of Secrets that are not there.
    """
    if fault is not None:
        return stalled(fault.reason, fault.message)
    peer = peer_from(document)
    if peer.bfd_profile and peer.bfd_profile not in profiles:
        why = f"there is no BFDProfile {peer.bfd_profile} (yet), or it is not sound; no node connects"
        return reconciling("BFDProfileMissing", why)
    if peer.password_secret in absent_secrets:
        return reconciling("SecretMissing", f"there is no Secret {peer.password_secret} (yet); no node connects")
    if nodes and not nodes.chosen(peer.node_selectors):
        return reconciling("NoNode", "no node's labels match nodeSelectors; no node connects")
    return reconciling("NoBGP", f"no node connects: {_NO_COMPONENT}")


def advertisement_conditions(
    document: Document,
    fault: Fault | None,
    *,
    pools: Sequence[Pool],
    peers: Sequence[Peer],
    aliases: Mapping[str, CommunityValue],
    nodes: Nodes,
) -> tuple[Condition, ...]:
    """Say what is announced to whom, or what keeps it from being."""
    if fault is not None:
        return stalled(fault.reason, fault.message)
    advertisement = advertisement_from(document)
    covered = sorted(pool.name for pool in pools if advertisement.pools.covers(pool))
    if not covered:
        return reconciling("NoPool", f"{_no_pool(advertisement, pools)}; nothing is announced")
    if nodes and not nodes.chosen(advertisement.node_selectors):
        return reconciling("NoNode", "no node's labels match nodeSelectors; nothing is announced")
    mine = [peer.name for peer in selected_peers(advertisement, peers)]
    if not mine:
        missing = (
            f"there is no BGPPeer {listed(advertisement.peers)}" if advertisement.peers else "there is no BGPPeer"
        )
        return reconciling("NoPeer", f"{missing} (yet); nothing is announced")
    if unknown := unknown_aliases(advertisement, aliases):
        why = f"no Community gives the name {listed(text for _, text in unknown)} (yet); nothing is announced"
        return reconciling("CommunityMissing", why)
    what = f"{'pools' if len(covered) > 1 else 'pool'} {listed(covered)}"
    return reconciling("NoBGP", f"{what} would go to BGPPeer {listed(mine)}: {_NO_COMPONENT}")


def profile_conditions(document: Document, fault: Fault | None, *, peers: Sequence[Peer]) -> tuple[Condition, ...]:
    """Say who uses the profile."""
    if fault is not None:
        return stalled(fault.reason, fault.message)
    users = sorted(peer.name for peer in peers if peer.bfd_profile == name_of(document))
    return ready("Valid", f"used by BGPPeer {listed(users)}" if users else "used by no BGPPeer")


def community_conditions(document: Document, fault: Fault | None) -> tuple[Condition, ...]:
    """Say which names it gives."""
    if fault is not None:
        return stalled(fault.reason, fault.message)
    aliases = sorted(aliases_from(document))
    if not aliases:
        return ready("Valid", "gives no name")
    return ready("Valid", f"gives the name{'s' if len(aliases) > 1 else ''} {listed(aliases)}")


def _no_pool(advertisement: Advertisement, pools: Sequence[Pool]) -> str:
    if advertisement.pools.names:
        return f"there is no pool {listed(sorted(advertisement.pools.names))} (yet)"
    return "no pool's labels match ipAddressPoolSelectors" if pools else "there is no pool (yet)"
