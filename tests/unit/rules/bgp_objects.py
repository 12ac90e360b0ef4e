"""Objects of the kinds for BGP, sound and unsound, as hypothesis makes them: every field, at and beyond its edges."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.unit.commands.bgp_manifests import bgp_advertisement, peer, profile
from tests.unit.commands.manifests import Object
from tests.unit.objects.labels_oracle import SELECTORS

PASSWORD = "Xq7-hunter2-Zw9"
"""In every password, and in nothing else."""

ADDRESSES = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "127.0.0.1", "router"]
TEXTS = st.sampled_from(
    ["", "a", "eth0", "red", "a'b", "default", "x" * 16, "x" * 65, "a b", "a/b", "a | b", "a\nb", "ä", "\0", "\ud800"]
)
DURATIONS = st.sampled_from(
    [
        "",
        "0",
        "0s",
        "1s",
        "2s",
        "3s",
        "9s",
        "-1s",
        "1.5s",
        "900ms",
        "90s",
        "1m30s",
        "65535s",
        "65536s",
        "9" * 70,
        "soon",
    ]
)
NUMBERS = st.sampled_from([0, 1, 2, 23456, 64500, 64501, 64502, 65535, (1 << 32) - 1])
COMMUNITIES = st.sampled_from(
    ["1:1", "1:2", "65536:1", "large:1:2:3", "large:1:2", "no-export", "blue", "1", ":", " ", "a:b:c:d:e", "9" * 40]
)
LENGTHS = st.sampled_from([-1, 0, 1, 23, 24, 25, 32, 33, 64, 120, 128, 129])
NAMES = st.lists(st.sampled_from(["main", "tor", "a", "b"]), max_size=3)
SELECTOR_LISTS = st.lists(SELECTORS, max_size=2)

PEER_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "myASN": NUMBERS,
    "peerASN": NUMBERS,
    "dynamicASN": st.sampled_from(["internal", "external"]),
    "localASN": NUMBERS,
    "peerAddress": st.sampled_from(ADDRESSES),
    "interface": TEXTS,
    "sourceAddress": st.sampled_from(ADDRESSES),
    "peerPort": st.sampled_from([0, 1, 179, 16384, 16385]),
    "holdTime": DURATIONS,
    "keepaliveTime": DURATIONS,
    "connectTime": DURATIONS,
    "restartTime": DURATIONS,
    "routerID": st.sampled_from(ADDRESSES),
    "nodeSelectors": SELECTOR_LISTS,
    "password": st.sampled_from([PASSWORD, f"{PASSWORD} ", f"{PASSWORD}\n", f"{PASSWORD}\ud800", PASSWORD * 6]),
    "passwordSecret": st.fixed_dictionaries({}, optional={"name": TEXTS, "namespace": TEXTS}),
    "bfdProfile": TEXTS,
    "enableGracefulRestart": st.booleans(),
    "ebgpMultiHop": st.booleans(),
    "ttlSecurityHops": st.sampled_from([0, 1, 2, 254, 255]),
    "shutdown": st.booleans(),
    "description": TEXTS,
    "vrf": TEXTS,
    "disableMP": st.booleans(),
    "dualStackAddressFamily": st.booleans(),
}
ADVERTISEMENT_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "aggregationLength": LENGTHS,
    "aggregationLengthV6": LENGTHS,
    "localPref": NUMBERS,
    "med": NUMBERS,
    "asPathPrepend": st.sampled_from([0, 1, 10, 11]),
    "communities": st.lists(COMMUNITIES, max_size=4),
    "ipAddressPools": NAMES,
    "ipAddressPoolSelectors": SELECTOR_LISTS,
    "nodeSelectors": SELECTOR_LISTS,
    "serviceSelectors": SELECTOR_LISTS,
    "peers": NAMES,
}
PROFILE_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("receiveInterval", "transmitInterval", "echoInterval"), st.sampled_from([9, 10, 60000, 60001])),
    "detectMultiplier": st.sampled_from([1, 2, 255, 256]),
    "minimumTtl": st.sampled_from([0, 1, 254, 255]),
    "echoMode": st.booleans(),
    "passiveMode": st.booleans(),
}


def _community(name: str, entries: list[dict[str, str]]) -> Object:
    metadata = {"name": name, "namespace": "metallb-system"}
    spec = {"communities": entries}
    return {"apiVersion": "metallb.io/v1beta1", "kind": "Community", "metadata": metadata, "spec": spec}


_NAMED = st.sampled_from(["tor", "a", "b", "x" * 65])
PEERS = st.builds(lambda name, spec: peer(name, **spec), _NAMED, st.fixed_dictionaries({}, optional=PEER_FIELDS))
ADVERTISEMENTS = st.builds(
    lambda name, spec: bgp_advertisement(name, **spec),
    _NAMED,
    st.fixed_dictionaries({}, optional=ADVERTISEMENT_FIELDS),
)
PROFILES = st.builds(
    lambda name, spec: profile(name, **spec), _NAMED, st.fixed_dictionaries({}, optional=PROFILE_FIELDS)
)
ENTRIES = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["", "blue", "red", "1:1"]), "value": COMMUNITIES}
)
ALIASES = st.builds(_community, _NAMED, st.lists(ENTRIES, max_size=3))
OBJECTS = st.one_of(PEERS, ADVERTISEMENTS, PROFILES, ALIASES)

_VISIBLE = st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_categories=["Cc", "Zs"])


@st.composite
def sound_peers(draw: st.DrawFn) -> Object:
    """BGPPeers most of which are admitted: every field within its bounds, whatever it says beside the others."""
    name = draw(st.text("abcdefgh", min_size=1, max_size=8))
    spec: dict[str, Any] = {
        "myASN": draw(st.sampled_from([64500, 4200000000])),
        "peerASN": draw(st.integers(1, (1 << 32) - 1)),
        "peerAddress": str(draw(st.ip_addresses(network=draw(st.sampled_from(["10.0.0.0/8", "2001:db8::/32"]))))),
        "peerPort": draw(st.integers(1, 16384)),
        "password": draw(st.text(_VISIBLE)),
        "description": draw(st.text(st.one_of(st.just(" "), _VISIBLE), max_size=40)).replace("|", ""),
        "bfdProfile": draw(st.from_regex(r"\A[a-z]([-a-z0-9.]{0,61}[a-z0-9])?\Z")),
        "enableGracefulRestart": draw(st.booleans()),
        "shutdown": draw(st.booleans()),
    }
    for field in ("holdTime", "connectTime", "restartTime"):
        if draw(st.booleans()):
            spec[field] = f"{draw(st.integers(1, 5_000))}s"
    if draw(st.booleans()):
        spec[draw(st.sampled_from(["ttlSecurityHops", "localASN"]))] = draw(st.integers(1, 254))
    if draw(st.booleans()):
        spec["vrf"] = draw(st.text(_VISIBLE, min_size=1, max_size=15))
    return peer(name, **spec)
