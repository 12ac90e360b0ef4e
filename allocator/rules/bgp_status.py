"""What the status of the kinds for BGP says: whether an object is sound, what it waits for, what it is used for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from allocator.core.listing import listed
from allocator.core.pools import Pool
from allocator.objects.bgp_advertisement import Advertisement, advertisement_from
from allocator.objects.bgp_community import CommunityValue, aliases_from
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus
from allocator.objects.bgp_peer import Peer, peer_from
from allocator.objects.document import Document, name_of
from allocator.rules.bgp_advertisement import WAITS, selected_peers, unknown_aliases
from allocator.rules.bgp_nodes import Nodes
from allocator.rules.conditions import Condition, ready, reconciling, stalled
from allocator.rules.configuration import Fault
from allocator.rules.left_out import by_reason, in_one_line

_NO_COMPONENT = "the component bgp, which brings FRR to the nodes, is not installed"


def peer_conditions(
    document: Document,
    fault: Fault | None,
    *,
    profiles: Collection[str],
    absent_secrets: Collection[str],
    nodes: Nodes,
    statuses: Mapping[str, BgpNodeStatus] = MappingProxyType({}),
    silent: Collection[str] = (),
) -> tuple[Condition, ...]:
    """Say on how many nodes its session is up, or what keeps them from connecting.

    `profiles` are the names of the sound BFDProfiles, `absent_secrets` those of Secrets that are not there;
    `statuses` are what nodes report, none where no node speaks BGP. What `silent` nodes have reported is of a time
    that is over, and does not count.
    """
    if fault is not None:
        return stalled(fault.reason, fault.message)
    peer = peer_from(document)
    counted = {node: status for node, status in statuses.items() if node not in silent}
    if peer.bfd_profile and peer.bfd_profile not in profiles:
        effect = "sessions go by FRR's own BFD timers" if statuses else "no node connects"
        why = f"there is no BFDProfile {peer.bfd_profile} (yet), or it is not sound; {effect}"
        return reconciling("BFDProfileMissing", why)
    if peer.password_secret in absent_secrets:
        entries = [status.session(peer.name) for status in counted.values()]
        up = any(entry is not None and entry.up for entry in entries)
        effect = "sessions that are up go on with the password that they had" if up else "no node connects"
        return reconciling("SecretMissing", f"there is no Secret {peer.password_secret} (yet); {effect}")
    if nodes and not nodes.chosen(peer.node_selectors):
        return reconciling("NoNode", "no node's labels match nodeSelectors; no node connects")
    if not statuses:
        return reconciling("NoBGP", f"no node connects: {_NO_COMPONENT}")
    if peer.shutdown:
        return ready("Shutdown", "no node connects, as shutdown says")
    return _session_conditions(peer, sorted(nodes.chosen(peer.node_selectors)), counted)


def _session_conditions(
    peer: Peer, chosen: Sequence[str], statuses: Mapping[str, BgpNodeStatus]
) -> tuple[Condition, ...]:
    """Sum up what the chosen nodes report; one that reports nothing has no FRR, and is only mentioned."""
    silent = [node for node in chosen if node not in statuses]
    entries = {node: _entry(peer.name, statuses[node]) for node in chosen if node in statuses}
    without = f"; no speaker reports BGP on {listed(silent)}" if silent else ""
    if not entries:
        return reconciling("NotEstablished", f"no node connects{without}")
    rejecting = {node: entry.message for node, entry in entries.items() if entry.rejected}
    if rejecting:
        return stalled("Rejected", in_one_line(by_reason(rejecting)))
    down = {node: entry.message or "not connected" for node, entry in entries.items() if not entry.up}
    what = f"up on {len(entries) - len(down)} of {len(entries)} nodes"
    if down:
        in_use = any(entries[node].state == SessionStatus.IN_USE for node in down)
        reason = "PeerInUse" if in_use else "NotEstablished"
        return reconciling(reason, f"{what}; {in_one_line(by_reason(down))}{without}")
    waiting = {node: entry.message for node, entry in entries.items() if entry.message}
    remark = f"; {in_one_line(by_reason(waiting))}" if waiting else ""
    return ready("Established", f"{what}{remark}{without}")


def _entry(peer: str, status: BgpNodeStatus) -> SessionEntry:
    missing = f"not configured yet: {status.message}" if status.message else "not configured yet"
    return status.session(peer) or SessionEntry(peer=peer, message=missing)


def advertisement_conditions(
    document: Document,
    fault: Fault | None,
    *,
    pools: Sequence[Pool],
    peers: Sequence[Peer],
    aliases: Mapping[str, CommunityValue],
    nodes: Nodes,
    announcing: bool = False,
) -> tuple[Condition, ...]:
    """Say what is announced to whom, or what keeps it from being; `announcing` is whether any node speaks BGP."""
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
        why = f"no Community gives the name {listed(text for _, text in unknown)} (yet); {WAITS}"
        return reconciling("CommunityMissing", why)
    what = f"{'pools' if len(covered) > 1 else 'pool'} {listed(covered)}"
    if announcing:
        return ready("Announced", f"{what} go{'' if len(covered) > 1 else 'es'} to BGPPeer {listed(mine)}")
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
