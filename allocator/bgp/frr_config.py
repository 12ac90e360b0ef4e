"""FRR's configuration as a map from keys to lines, and the one a desired state comes to.

Two layers. *Sessions*: routers, neighbours, BFD profiles, route-maps; rarely changed. *Prefixes*: `network P
route-map CLASS`; often changed, each by itself. There are no lists of prefixes anywhere, so that a prefix costs the
same whatever others there are.

A class is a route-map named by its content: an edit makes another class and moves prefixes to it, so that no
route-map in use is ever edited, for which FRR would wait (`bgp route-map delay-timer`). It sets what all peers get
alike, and a tag; each neighbour lets tags through by its own map `to:VRF:NEIGHBOR`, which sets what is for that
peer alone. A tag stands for what differs between peers (`mark`), which mostly is nothing: one tag, one entry a
neighbour. Entries are worth saving: FRR 8.4 takes 1.4 s for the first 100 of a route-map, 80 s for the next 400.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from allocator.bgp import communities
from allocator.bgp.inputs import BFDProfile, Password, Peer
from allocator.bgp.route_class import Attributes, Prefix, RouteClass
from allocator.core.addresses import Family
from allocator.objects.bgp_peer import DEFAULT_PORT, DynamicAsn

Key = tuple[str, ...]
Line = str | Password
NetworkKey = tuple[str, Prefix]
"""A VRF and a prefix."""

CLASS_PREFIX = "adv-"
OUT_PREFIX = "to:"
DENY_IN = "deny-in"
"""The route-map by which nothing is accepted."""

DEFAULT_CONNECT_SECONDS = 10
"""FRR's own is 120 s: a router that restarts would be missed for two minutes."""

_LAST_SEQUENCE = 65535
_HASH_DIGITS = 16

GLOBAL_LINES: Mapping[Key, Line] = {("global", "route-map delay-timer"): "bgp route-map delay-timer 1"}
"""1 s and not 0, with which FRR would never act on a changed route-map by itself."""

_ROUTER_LINES = (
    "no bgp ebgp-requires-policy",
    "no bgp default ipv4-unicast",
    "no bgp network import-check",
    "bgp graceful-restart preserve-fw-state",
    # FRR waits 1 s and more for other sessions that get the same before a new one gets anything (bgpd/bgp_updgrp.h).
    # Each of ours has a route-map of its own, so that none shares; without routes, 0 would leave out End-of-RIB.
    "coalesce-time 1",
)


class TooManyMarks(ValueError):
    """More kinds of difference between peers than a route-map has entries."""


@dataclass(slots=True)
class Config:
    """What FRR is configured with. `lines` by key:

    `global NAME`; `bfd PROFILE [SETTING]`; `route-map NAME SEQUENCE [COMMAND]`; `router VRF [SETTING]`;
    `neighbor VRF ID SETTING`; `neighbor VRF ID FAMILY SETTING`. A key of a thing itself holds what creates it.
    `networks` has the class of each prefix.
    """

    lines: dict[Key, Line] = field(default_factory=dict)
    networks: dict[NetworkKey, str] = field(default_factory=dict)

    def copy(self) -> Config:
        """Return one that can be changed by itself."""
        return Config(dict(self.lines), dict(self.networks))

    def remove(self, key: Key) -> None:
        """Remove a thing; with a router go its neighbours and networks."""
        for start in (key, ("neighbor", *key[1:])) if key[0] == "router" else (key,):
            for below in self.under(*start):
                del self.lines[below]
        if key[0] == "router":
            for network in [network for network in self.networks if network[0] == key[1]]:
                del self.networks[network]

    def leave(self, present: Config, key: Key) -> None:
        """Want of a thing what there is at present, and the route-maps that it uses as well."""
        self.remove(key)
        self.lines |= present.under(*key)
        used = present.under("route-map") if key[0] in ("router", "neighbor") else {}
        self.lines = used | self.lines
        if key[0] == "router":
            self.lines |= present.under("neighbor", *key[1:])
            self.networks |= {each: name for each, name in present.networks.items() if each[0] == key[1]}

    def under(self, *start: str) -> dict[Key, Line]:
        """Return the lines whose key begins so."""
        length = len(start)
        return {key: line for key, line in self.lines.items() if key[:length] == start}


@lru_cache(maxsize=4096)
def split(route_class: RouteClass) -> tuple[Attributes, RouteClass]:
    """Divide a class into what all peers get alike, and the mark: what is for some alone.

    Prepending is always for some: it depends on the session's own ASN and would loop on iBGP.
    """
    told = [replace(attributes, prepend=None) for attributes in route_class.told]
    default = replace(route_class.default, prepend=None) if route_class.default is not None else None
    if default is not None and all(_adds_to(attributes, default) for attributes in told):
        common = default
    elif len(set(told)) == 1:
        common = told[0]
    else:
        # An entry of a route-map adds and overwrites, and takes nothing away.
        common = Attributes(
            communities=frozenset.intersection(*(each.communities for each in told)) if default else frozenset()
        )

    def rest(attributes: Attributes | None) -> Attributes | None:
        return attributes and Attributes(
            communities=attributes.communities - common.communities,
            local_pref=attributes.local_pref if attributes.local_pref != common.local_pref else None,
            med=attributes.med if attributes.med != common.med else None,
            prepend=attributes.prepend,
        )

    named = tuple((peer, rest(attributes)) for peer, attributes in route_class.named)
    return common, RouteClass(rest(route_class.default), named)


def _adds_to(attributes: Attributes, default: Attributes) -> bool:
    """Whether these can be had of the default by adding communities and by setting what is to be another value."""
    return (
        attributes.communities >= default.communities
        and (default.local_pref is None or attributes.local_pref is not None)
        and (default.med is None or attributes.med is not None)
    )


def mark_of(class_name: str) -> str:
    """Return the part of a class's name that stands for its mark."""
    return class_name[len(CLASS_PREFIX) : len(CLASS_PREFIX) + _HASH_DIGITS]


@lru_cache(maxsize=4096)
def class_name(route_class: RouteClass) -> str:
    """Name a class by its content: the mark first, so that it is known from a running configuration as well."""
    common, mark = split(route_class)
    told = [(peer, _content(attributes)) for peer, attributes in mark.named]
    return f"{CLASS_PREFIX}{_hash((_content(mark.default), told))}-{_hash(_content(common))}"


def out_map(peer: Peer) -> str:
    """Name the route-map towards a peer."""
    return out_map_name(peer.vrf, peer.id)


def out_map_name(vrf: str, neighbor: str) -> str:
    """Name the route-map towards a neighbour. No VRF or interface has a colon in its name."""
    return f"{OUT_PREFIX}{vrf}:{neighbor}"


def numbers(present: Config, marks: Iterable[str]) -> dict[str, int]:
    """Number marks for tags and sequences: as the present configuration has them; a new one takes a free number.

    What is numbered there keeps its number taken, so that the old and the new can be configured side by side.
    Raises TooManyMarks.
    """
    numbered: dict[str, int] = {}
    taken: set[int] = set()
    for key, line in sorted(present.lines.items(), key=lambda item: item[0]):
        if key[0] == "route-map" and key[1].startswith(CLASS_PREFIX) and key[3:] == ("set tag",):
            # FRR has `set tag untagged` as well, which nobody here writes.
            tag = str(line).split()[-1]
            number = int(tag) if tag.isdecimal() else _LAST_SEQUENCE
            if number not in taken and number < _LAST_SEQUENCE:
                numbered.setdefault(mark_of(key[1]), number)
            taken.add(number)
        elif key[0] == "route-map" and key[1].startswith(OUT_PREFIX):
            taken.add(int(key[2]))
    free = (number for number in range(1, _LAST_SEQUENCE) if number not in taken)
    wanted: dict[str, int] = {}
    for mark in sorted(set(marks)):
        known = numbered.get(mark)
        number = known if known is not None else next(free, 0)
        if not number:
            raise TooManyMarks("the advertisements differ by peer in more ways than a route-map has entries (65,534)")
        wanted[mark] = number
    return wanted


def grouped(lines: Mapping[Key, Line], section: str, length: int) -> dict[Key, dict[Key, Line]]:
    """Return a section's lines by the first `length` parts of their key, and then by what is left of it."""
    groups: dict[Key, dict[Key, Line]] = {}
    for key, line in lines.items():
        if key[0] == section:
            groups.setdefault(key[:length], {})[key[length:]] = line
    return groups


def router_line(config: Config, vrf: str) -> str:
    """Return the command that enters a VRF's router."""
    return str(config.lines["router", vrf])


def family_context(config: Config, vrf: str, family: Family) -> tuple[str, ...]:
    """Return the commands that enter a family of a VRF's router."""
    return router_line(config, vrf), f"address-family {family.value.lower()} unicast"


def session_lines(sessions: Iterable[Peer], *, graceful_shutdown: bool = False) -> dict[Key, Line]:
    """Return the lines of routers and neighbours. All sessions of a VRF have one ASN and one router ID."""
    lines: dict[Key, Line] = {}
    for peer in sessions:
        vrf = f" vrf {peer.vrf}" if peer.vrf else ""
        lines["router", peer.vrf] = f"router bgp {peer.my_asn}{vrf}"
        lines |= {("router", peer.vrf, line): line for line in _ROUTER_LINES}
        if graceful_shutdown:
            lines["router", peer.vrf, "bgp graceful-shutdown"] = "bgp graceful-shutdown"
        if peer.router_id:
            lines["router", peer.vrf, "bgp router-id"] = f"bgp router-id {peer.router_id}"
        lines |= _neighbor_lines(peer)
    for key, seconds in _restart_times(sessions).items():
        lines[key] = f"bgp graceful-restart restart-time {seconds}"
    return lines


def profile_lines(profiles: Iterable[BFDProfile]) -> dict[Key, Line]:
    """Return the lines of BFD profiles; FRR prints no defaults, so that none are written."""
    lines: dict[Key, Line] = {}
    for profile in profiles:
        here = ("bfd", profile.name)
        lines[here] = f"profile {profile.name}"
        values = (
            ("receive-interval", profile.receive_milliseconds),
            ("transmit-interval", profile.transmit_milliseconds),
            ("detect-multiplier", profile.detect_multiplier),
            ("echo transmit-interval", profile.echo_milliseconds),
            ("echo receive-interval", profile.echo_milliseconds),
            ("minimum-ttl", profile.minimum_ttl),
        )
        for setting, value in values:
            if value is not None and value != BFD_DEFAULTS[setting]:
                lines[*here, setting] = f"{setting} {value}"
        for setting, enabled in (("echo-mode", profile.echo_mode), ("passive-mode", profile.passive_mode)):
            if enabled:
                lines[*here, setting] = setting
    return lines


BFD_DEFAULTS: Mapping[str, int] = {
    "receive-interval": 300,
    "transmit-interval": 300,
    "detect-multiplier": 3,
    "echo transmit-interval": 50,
    "echo receive-interval": 50,
    "minimum-ttl": 254,
}


def class_lines(name: str, route_class: RouteClass, number: int) -> dict[Key, Line]:
    """Return the route-map of a class."""
    common, _ = split(route_class)
    here = ("route-map", name, "1")
    lines: dict[Key, Line] = {here: "permit", (*here, "set tag"): f"set tag {number}"}
    return lines | {(*here, command): line for command, line in _sets(common, None).items()}


def out_lines(peer: Peer, marks: Mapping[int, RouteClass]) -> dict[Key, Line]:
    """Return the route-map towards a peer: an entry for each number whose mark lets something through to it."""
    name = out_map(peer)
    lines: dict[Key, Line] = {("route-map", name, str(_LAST_SEQUENCE)): "deny"}
    for number, mark in marks.items():
        attributes = mark.for_peer(peer.name)
        if attributes is None:
            continue
        here = ("route-map", name, str(number))
        lines |= {here: "permit", (*here, "match tag"): f"match tag {number}"}
        lines |= {(*here, command): line for command, line in _sets(attributes, peer).items()}
    return lines


DENY_IN_LINES: Mapping[Key, Line] = {("route-map", DENY_IN, "1"): "deny"}


def _neighbor_lines(peer: Peer) -> dict[Key, Line]:
    asn = peer.peer_asn.value if isinstance(peer.peer_asn, DynamicAsn) else str(peer.peer_asn)
    here = ("neighbor", peer.vrf, peer.id)
    settings: dict[str, Line | None] = {
        "remote-as": f"remote-as {asn}" if peer.address is not None else f"interface remote-as {asn}",
        "description": f"description {peer.description}" if peer.description else None,
        "local-as": f"local-as {peer.local_asn} no-prepend replace-as" if peer.local_asn else None,
        "port": f"port {peer.port}" if peer.port != DEFAULT_PORT else None,
        "timers": _timers(peer),
        "timers connect": f"timers connect {peer.connect_seconds or DEFAULT_CONNECT_SECONDS}",
        "password": peer.password,
        "update-source": f"update-source {peer.source_address}" if peer.source_address is not None else None,
        "ebgp-multihop": "ebgp-multihop" if peer.ebgp_multihop else None,
        "ttl-security": f"ttl-security hops {peer.ttl_security_hops}" if peer.ttl_security_hops else None,
        "disable-connected-check": "disable-connected-check" if _skips_connected_check(peer) else None,
        # Without this line FRR announces the capability as a helper all the same, and a router would keep the routes
        # of a dead node for its restart time.
        "graceful-restart": "graceful-restart" if peer.graceful_restart else "graceful-restart-disable",
        "bfd": "bfd" if peer.bfd_profile else None,
        "bfd profile": f"bfd profile {peer.bfd_profile}" if peer.bfd_profile else None,
        "shutdown": "shutdown" if peer.shutdown else None,
    }
    lines: dict[Key, Line] = {(*here, key): line for key, line in settings.items() if line is not None}
    for family in peer.families:
        there = (*here, family.value)
        lines |= {
            (*there, "route-map in"): f"route-map {DENY_IN} in",
            (*there, "route-map out"): f"route-map {out_map(peer)} out",
            (*there, "activate"): "activate",
        }
    return lines


def _timers(peer: Peer) -> str | None:
    """FRR's own are written as well where BFD is used: 10.4 and 10.5 take a session without any for one with a hold
    time of zero, which they end only 30 s after BFD went down (`frr_versions`)."""
    if peer.hold_seconds is not None:
        return f"timers {peer.keepalive_seconds} {peer.hold_seconds}"
    return "timers 60 180" if peer.bfd_profile else None


def _skips_connected_check(peer: Peer) -> bool:
    """As MetalLB (internal/bgp/frr/config.go mustDisableConnectedCheck): eBGP over IPv6 to a numbered neighbour."""
    numbered_v6 = peer.address is not None and ":" in peer.id
    return numbered_v6 and peer.external and not (peer.ebgp_multihop or peer.ttl_security_hops or peer.dual_stack)


def _restart_times(sessions: Iterable[Peer]) -> dict[Key, int]:
    """FRR has one restart time a router: the longest that is asked for."""
    longest: dict[Key, int] = {}
    for peer in sessions:
        if peer.graceful_restart and peer.restart_seconds is not None:
            key = ("router", peer.vrf, "bgp graceful-restart restart-time")
            longest[key] = max(peer.restart_seconds, longest.get(key, 0))
    return {key: seconds for key, seconds in longest.items() if seconds != _DEFAULT_RESTART_SECONDS}


_DEFAULT_RESTART_SECONDS = 120


def _sets(attributes: Attributes, peer: Peer | None) -> dict[str, str]:
    """Return the `set` commands of a route-map entry; of a class, where there is no peer."""
    lines = {}
    for command, chosen in (
        ("set community", communities.standard(attributes.communities)),
        ("set large-community", communities.large(attributes.communities)),
    ):
        if chosen:
            lines[command] = f"{command} {' '.join(map(communities.text_of, chosen))} additive"
    if attributes.local_pref is not None:
        lines["set local-preference"] = f"set local-preference {attributes.local_pref}"
    if attributes.med is not None:
        lines["set metric"] = f"set metric {attributes.med}"
    if peer is not None and attributes.prepend and peer.external:
        own = str(peer.local_asn or peer.my_asn)
        lines["set as-path prepend"] = f"set as-path prepend {' '.join([own] * attributes.prepend)}"
    return lines


def _content(attributes: Attributes | None) -> tuple[object, ...] | None:
    if attributes is None:
        return None
    return sorted(attributes.communities), attributes.local_pref, attributes.med, attributes.prepend


def _hash(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:_HASH_DIGITS]
