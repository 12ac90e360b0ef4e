"""What FRR runs, as the values that rendering it began with: for objects that a new speaker cannot read.

The inverse of `allocator.bgp.frr_config`, as far as what it writes says: a value that renders to the same lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from allocator.bgp import communities
from allocator.bgp.frr_config import (
    BFD_DEFAULTS,
    DEFAULT_CONNECT_SECONDS,
    Config,
    Line,
    class_name,
    out_map_name,
)
from allocator.bgp.inputs import BFDProfile, Password, Peer
from allocator.bgp.route_class import Attributes, Prefix, RouteClass
from allocator.core.addresses import Address, AddressError, Family
from allocator.objects.bgp_peer import DEFAULT_PORT, DynamicAsn

NeighborKey = tuple[str, str]
"""A VRF, and a neighbour's address or interface."""

_DYNAMIC = {each.value for each in DynamicAsn}


def neighbors(running: Config) -> frozenset[NeighborKey]:
    """Return the neighbours that there are."""
    return frozenset((key[1], key[2]) for key in running.lines if key[0] == "neighbor" and key[3:] == ("remote-as",))


def router_ids(running: Config) -> dict[str, str]:
    """Return the router ID of each VRF that has one."""
    ids = {key[1]: str(line) for key, line in running.lines.items() if key[2:] == ("bgp router-id",)}
    return {vrf: line.split()[-1] for vrf, line in ids.items()}


def passwords(running: Config) -> dict[NeighborKey, Password]:
    """Return the passwords of neighbours."""
    return {(key[1], key[2]): line for key, line in running.lines.items() if isinstance(line, Password)}


def peer_of(running: Config, neighbor: NeighborKey, *, name: str, created: str, router_id: str = "") -> Peer | None:
    """Return a neighbour as the BGPPeer of that name that selects this node; None where there is no such one.

    A `router_id` of FRR may be the node's or the BGPPeer's: whoever calls has to know.
    """
    vrf, neighbor_id = neighbor
    lines = {" ".join(key[3:]): line for key, line in running.under("neighbor", vrf, neighbor_id).items()}
    router = running.lines.get(("router", vrf))
    if router is None or "remote-as" not in lines:
        return None

    def number(setting: str, word: int) -> int | None:
        return int(_words(lines, setting)[word]) if setting in lines else None

    asn = _words(lines, "remote-as")[-1]
    source = _words(lines, "update-source")
    password = lines.get("password")
    connect = number("timers connect", -1)
    graceful = lines.get("graceful-restart") == "graceful-restart"
    restart = running.lines.get(("router", vrf, "bgp graceful-restart restart-time"))
    return Peer(
        name=name,
        created=created,
        my_asn=int(str(router).split()[2]),
        peer_asn=DynamicAsn(asn) if asn in _DYNAMIC else int(asn),
        address=_address(neighbor_id),
        interface="" if _address(neighbor_id) is not None else neighbor_id,
        local_asn=number("local-as", 1),
        source_address=_address(source[-1]) if source else None,
        port=number("port", -1) or DEFAULT_PORT,
        keepalive_seconds=number("timers", 1),
        hold_seconds=number("timers", 2),
        connect_seconds=connect if connect != DEFAULT_CONNECT_SECONDS else None,
        router_id=router_id,
        password=password if isinstance(password, Password) else None,
        bfd_profile=str(lines.get("bfd profile", "")).removeprefix("bfd profile "),
        graceful_restart=graceful,
        restart_seconds=int(str(restart).split()[-1]) if graceful and restart is not None else None,
        ebgp_multihop="ebgp-multihop" in lines,
        ttl_security_hops=number("ttl-security", -1),
        vrf=vrf,
        dual_stack=all(f"{family.value} activate" in lines for family in Family),
        shutdown="shutdown" in lines,
        description=str(lines.get("description", "")).removeprefix("description "),
    )


def profile_of(running: Config, name: str) -> BFDProfile | None:
    """Return a BFD profile; None where there is no such one."""
    lines = {" ".join(key[2:]): line for key, line in running.under("bfd", name).items()}
    if not lines:
        return None

    def number(setting: str) -> int | None:
        value = int(_words(lines, setting)[-1]) if setting in lines else None
        return value if value != BFD_DEFAULTS[setting] else None

    return BFDProfile(
        name=name,
        receive_milliseconds=number("receive-interval"),
        transmit_milliseconds=number("transmit-interval"),
        detect_multiplier=number("detect-multiplier"),
        echo_milliseconds=number("echo transmit-interval"),
        echo_mode="echo-mode" in lines,
        passive_mode="passive-mode" in lines,
        minimum_ttl=number("minimum-ttl"),
    )


def routes_of(running: Config, peers: Iterable[Peer]) -> dict[Prefix, RouteClass]:
    """Return the prefixes with what each of these peers gets; a prefix that none of them gets is left out."""
    known = list(peers)
    classes: dict[str, RouteClass | None] = {}
    routes = {}
    for (_, prefix), name in running.networks.items():
        if name not in classes:
            classes[name] = _class_of(running, name, known)
        if (found := classes[name]) is not None:
            routes[prefix] = found
    return routes


def _class_of(running: Config, name: str, peers: Iterable[Peer]) -> RouteClass | None:
    """Return what a class comes to; of two ways to say the same, the one that has its name."""
    tag = str(running.lines.get(("route-map", name, "1", "set tag"), "")).split()
    if not tag:
        return None
    common = _attributes(running, name, "1")
    given = {}
    for peer in peers:
        out = out_map_name(peer.vrf, peer.id)
        if running.lines.get(("route-map", out, tag[-1])) == "permit":
            own = _attributes(running, out, tag[-1])
            given[peer.name] = Attributes(
                communities=common.communities | own.communities,
                local_pref=own.local_pref if own.local_pref is not None else common.local_pref,
                med=own.med if own.med is not None else common.med,
                prepend=own.prepend,
            )
    if not given:
        return None
    everyone = RouteClass(next(iter(given.values())))
    return everyone if class_name(everyone) == name else RouteClass(named=tuple(sorted(given.items())))


def _attributes(running: Config, route_map: str, sequence: str) -> Attributes:
    """Return what an entry of a route-map sets."""
    lines = {key[3]: line for key, line in running.under("route-map", route_map, sequence).items() if len(key) == 4}
    large = [tuple(map(int, word.split(":"))) for word in _words(lines, "set large-community")[2:-1]]
    standard = [communities.read(word) for word in _words(lines, "set community")[2:-1]]

    def number(setting: str) -> int | None:
        return int(_words(lines, setting)[-1]) if setting in lines else None

    return Attributes(
        communities=frozenset([*standard, *large]),
        local_pref=number("set local-preference"),
        med=number("set metric"),
        prepend=len(_words(lines, "set as-path prepend")[3:]) or None,
    )


def _words(lines: Mapping[str, Line], setting: str) -> list[str]:
    return str(lines.get(setting, "")).split()


def _address(text: str) -> Address | None:
    try:
        return Address.parse(text)
    except AddressError:
        return None
