"""What can be wrong with the kinds for BGP, each with what is there before."""

from __future__ import annotations

from tests.unit.commands.bgp_manifests import bgp_advertisement, community, peer, profile
from tests.unit.commands.manifests import deleted, pool
from tests.unit.explanations.case import Case, case

_MAIN = pool("main", "192.0.2.0/24")
_OTHER = peer("other", peerAddress="192.0.2.2")
_PREFERRED = bgp_advertisement("preferred", localPref=200)

BGP: dict[str, tuple[Case, ...]] = {
    "BGPPeer": (
        case("no peerASN and no dynamicASN", peer(peerASN=None)),
        case("both", peer(dynamicASN="external")),
        case("localASN that is myASN", peer(localASN=64500)),
        case("localASN for a peer of our own AS", peer(peerASN=64500, localASN=64999)),
        case("no address and no interface", peer(peerAddress=None)),
        case("a link-local address", peer(peerAddress="fe80::1")),
        case("a source of another family", peer(sourceAddress="2001:db8::2")),
        case("an IPv6 router ID", peer(routerID="2001:db8::1")),
        case("ebgpMultiHop for a peer of our own AS", peer(peerASN=64500, ebgpMultiHop=True)),
        case("ebgpMultiHop beside ttlSecurityHops", peer(ebgpMultiHop=True, ttlSecurityHops=2)),
        case("a hold time that is too short", peer(holdTime="2s")),
        case("a keepalive time longer than that", peer(keepaliveTime="10s")),
        case("a password that is too long", peer(password="p" * 81)),
        case("a password with a blank", peer(password="p p")),
        case("password and passwordSecret", peer(password="p", passwordSecret={"name": "tor"})),
        case("a description that FRR does not keep", peer(description="rack 1 | port 2")),
        case("another's address", peer("other"), peer()),
        case("another's node with another AS number", _OTHER, peer(myASN=64599)),
        case("another's node with another router ID", _OTHER, peer(routerID="10.0.0.1")),
        case("a BFDProfile that does not exist (a warning, refused under strict)", peer(bfdProfile="fast")),
        case("no BFD and FRR's own hold time (a warning)", peer(holdTime=None)),
        case("a password in the clear (a warning)", peer(password="p")),
        case("graceful restart without BFD (a warning)", peer(enableGracefulRestart=True)),
        case("a change that resets its sessions (a warning)", peer(), peer(peerASN=64502)),
        case("of v1beta1", {**peer(), "apiVersion": "metallb.io/v1beta1"}),
    ),
    "BGPAdvertisement": (
        case("a length that is none", bgp_advertisement(aggregationLengthV6=0)),
        case("prefixes wider than the pool", _MAIN, bgp_advertisement(aggregationLength=16)),
        case(
            "prefixes and serviceSelectors",
            bgp_advertisement(aggregationLength=24, serviceSelectors=[{"matchLabels": {"a": "b"}}]),
        ),
        case("a community with too large a number", bgp_advertisement(communities=["65536:1"])),
        case("another's prefixes with another localPref", _MAIN, _PREFERRED, bgp_advertisement(localPref=100)),
        case(
            "what does not exist (warnings, refused under strict)",
            bgp_advertisement(ipAddressPools=["mian"], peers=["rot"], communities=["blue"]),
        ),
        case("localPref that no peer gets (a warning)", peer(), bgp_advertisement(localPref=100)),
        case(
            "communities that add up (a warning)",
            _MAIN,
            bgp_advertisement("other", communities=["64512:1"]),
            bgp_advertisement(communities=["64512:2"]),
        ),
        case("a pool that gets narrower than its prefixes", bgp_advertisement(aggregationLength=16), _MAIN),
    ),
    "BFDProfile, Community": (
        case("a profile's name that is too long", profile("p" * 64)),
        case(
            "echo to a peer over IPv6 (a warning)",
            peer(bfdProfile="fast", peerAddress="2001:db8::1"),
            profile(echoMode=True),
        ),
        case("a profile in use is deleted", profile(), peer(bfdProfile="fast"), deleted(profile())),
        case("a community that is none", community(blue="64512")),
        case("a name that another Community gives", community("other", blue="64512:1"), community(blue="64512:2")),
        case(
            "a name in use is taken away",
            community(blue="64512:1"),
            bgp_advertisement(communities=["blue"]),
            community(red="64512:1"),
        ),
    ),
}
"""By kind."""
