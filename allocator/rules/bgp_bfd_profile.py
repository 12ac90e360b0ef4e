"""What admission answers for a BFDProfile, its deletion included."""

from __future__ import annotations

from allocator.core.listing import listed
from allocator.objects import names
from allocator.objects.bgp_bfd_profile import bfd_profile_from
from allocator.objects.document import Document, InvalidDocument, name_of
from allocator.rules.bgp_peer import echo_problem, peers_of
from allocator.rules.cluster_context import ClusterContext
from allocator.rules.verdict import Verdict, denied


def review_bfd_profile(new: Document, *, context: ClusterContext) -> Verdict:
    """Answer the creation or change of a BFDProfile; running sessions take a change over."""
    label = f"BFDProfile {name_of(new)}"
    try:
        profile = bfd_profile_from(new)
    except InvalidDocument as error:
        return denied(422, f"{label}: {error}")
    if not profile.echo_mode:
        return Verdict()
    users = [peer for peer in peers_of(context.objects(names.BGP_PEERS)) if peer.bfd_profile == profile.name]
    return Verdict(
        warnings=tuple(
            f"{label}: spec.echoMode: BGPPeer {peer.name} uses this profile, but {why}"
            for peer in users
            if (why := echo_problem(peer, profile))
        )
    )


def review_bfd_profile_deletion(old: Document, *, context: ClusterContext) -> Verdict:
    """Answer the deletion of a BFDProfile: refused while a BGPPeer names it, whose sessions would end."""
    name = name_of(old)
    users = [
        name_of(peer)
        for peer in context.objects(names.BGP_PEERS)
        if (peer.get("spec") or {}).get("bfdProfile") == name and not peer["metadata"].get("deletionTimestamp")
    ]
    if not users:
        return Verdict()
    return denied(
        409,
        f"BFDProfile {name}: is used by BGPPeer {listed(sorted(users))}; "
        "remove it from their spec.bfdProfile, or delete them first",
    )
