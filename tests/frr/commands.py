"""FRR's commands for objects as they are written, sound or not: what a renderer without any check would send.

After MetalLB internal/bgp/frr/templates; prefixes get their attributes by a route-map of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from allocator.objects.bgp_community import WELL_KNOWN
from allocator.objects.durations import DurationError, seconds_of

Spec = Mapping[str, Any]
_BLANKS = re.compile(" +")
"""FRR keeps one of several."""
ADDRESSES = ("192.0.2.77/{}", "2001:db8::77/{}")
"""What an advertisement makes prefixes of."""


@dataclass(frozen=True, slots=True)
class Commands:
    """From the top of configuration mode, for each of the two daemons."""

    bgpd: tuple[str, ...] = ()
    bfdd: tuple[str, ...] = ()
    undone_by: tuple[str, ...] = field(default=(), compare=False)
    """What takes all of bgpd's away again."""


def of_peers(specs: Iterable[Spec]) -> Commands:
    """The commands for BGPPeers of one node."""
    sent: list[str] = []
    undone = []
    for spec in specs:
        # Each session has a route-map that is named after it, as MetalLB's have.
        route_map = f"route-map to:{spec.get('vrf') or ''}:{_neighbor(spec)}"
        router = f"router bgp {spec.get('myASN', 0)}{_named(' vrf', spec.get('vrf'))}"
        undone += [f"no {router}", f"no {route_map}"]
        sent += [*(["exit"] if sent else []), f"{route_map} permit 1", "exit", router, *_session(spec)]
    return Commands(bgpd=tuple(sent), undone_by=tuple(undone))


def of_advertisement(spec: Spec) -> Commands:
    """The commands for a prefix of each family that a BGPAdvertisement announces."""
    own = 64500
    sent = ["route-map adv permit 1"]
    if spec.get("localPref"):
        sent.append(f"set local-preference {spec['localPref']}")
    if spec.get("med") is not None:
        sent.append(f"set metric {spec['med']}")
    if spec.get("asPathPrepend"):
        sent.append(f"set as-path prepend {' '.join([str(own)] * spec['asPathPrepend'])}")
    values = [str(WELL_KNOWN.get(text.lower(), text)) for text in spec.get("communities") or ()]
    large = [text.removeprefix("large:") for text in values if text.startswith("large:")]
    standard = [text for text in values if not text.startswith("large:")]
    if standard:
        sent.append(f"set community {' '.join(standard)} additive")
    if large:
        sent.append(f"set large-community {' '.join(large)} additive")
    sent += ["exit", f"router bgp {own}"]
    lengths = (spec.get("aggregationLength", 32), spec.get("aggregationLengthV6", 128))
    for family, address, length in zip(("ipv4", "ipv6"), ADDRESSES, lengths, strict=True):
        prefix = address.format(length)
        sent += [f"address-family {family} unicast", f"network {prefix} route-map adv", "exit-address-family"]
    return Commands(bgpd=tuple(sent), undone_by=(f"no router bgp {own}", "no route-map adv"))


def of_profile(name: str, spec: Spec) -> Commands:
    """The commands for a BFDProfile, and for a peer that names it."""
    words = {
        "receiveInterval": "receive-interval",
        "transmitInterval": "transmit-interval",
        "echoInterval": "echo-interval",
        "detectMultiplier": "detect-multiplier",
        "minimumTtl": "minimum-ttl",
    }
    timers = [f"{word} {spec[key]}" for key, word in words.items() if key in spec]
    modes = [word for key, word in (("echoMode", "echo-mode"), ("passiveMode", "passive-mode")) if spec.get(key)]
    return Commands(bfdd=("bfd", f"profile {name}", *timers, *modes))


def _session(spec: Spec) -> Iterator[str]:
    if spec.get("routerID"):
        yield f"bgp router-id {spec['routerID']}"
    if spec.get("restartTime") is not None:
        yield f"bgp graceful-restart restart-time {_seconds(spec['restartTime'])}"
    remote = spec.get("dynamicASN") or spec.get("peerASN", 0)
    neighbor = f"neighbor {_neighbor(spec)}"
    yield f"{neighbor} {'interface ' if spec.get('interface') else ''}remote-as {remote}"
    if spec.get("localASN") is not None:
        yield f"{neighbor} local-as {spec['localASN']} no-prepend replace-as"
    if spec.get("peerPort") is not None:
        yield f"{neighbor} port {spec['peerPort']}"
    if spec.get("sourceAddress"):
        yield f"{neighbor} update-source {spec['sourceAddress']}"
    yield from _timers(neighbor, spec)
    yield from _options(neighbor, spec)
    for family in ("ipv4", "ipv6") if spec.get("dualStackAddressFamily") else ("ipv4",):
        yield f"address-family {family} unicast"
        yield f"{neighbor} activate"
        yield "exit-address-family"


def _neighbor(spec: Spec) -> str:
    return spec.get("interface") or spec.get("peerAddress") or ""


def _options(neighbor: str, spec: Spec) -> Iterator[str]:
    if spec.get("password"):
        yield f"{neighbor} password {spec['password']}"
    if spec.get("ebgpMultiHop"):
        yield f"{neighbor} ebgp-multihop"
    if spec.get("ttlSecurityHops") is not None:
        yield f"{neighbor} ttl-security hops {spec['ttlSecurityHops']}"
    if spec.get("description"):
        yield f"{neighbor} description {_BLANKS.sub(' ', spec['description']).strip(' ')}"
    if spec.get("shutdown"):
        yield f"{neighbor} shutdown"
    yield f"{neighbor} graceful-restart{'' if spec.get('enableGracefulRestart') else '-disable'}"
    if spec.get("bfdProfile"):
        yield f"{neighbor} bfd"
        yield f"{neighbor} bfd profile {spec['bfdProfile']}"


def _timers(neighbor: str, spec: Spec) -> Iterator[str]:
    hold, keepalive = spec.get("holdTime"), spec.get("keepaliveTime")
    if hold is not None or keepalive is not None:
        yield f"{neighbor} timers {_keepalive(hold, keepalive)} {_hold(hold, keepalive)}"
    if spec.get("connectTime") is not None:
        yield f"{neighbor} timers connect {_seconds(spec['connectTime'])}"


def _hold(hold: str | None, keepalive: str | None) -> str:
    return _seconds(hold) if hold is not None else _seconds(keepalive or "0s", times=3)


def _keepalive(hold: str | None, keepalive: str | None) -> str:
    if keepalive is not None:
        return _seconds(keepalive)
    third = _seconds(hold or "0s")
    return str(int(third) // 3) if third.isdigit() else third


def _seconds(duration: str, *, times: int = 1) -> str:
    """Whole seconds, as MetalLB makes them; what is no duration stays as it is."""
    try:
        return str(int(times * seconds_of(duration)))
    except DurationError:
        return duration


def _named(word: str, name: str | None) -> str:
    return f"{word} {name}" if name else ""
