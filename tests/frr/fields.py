"""Every field of the kinds for BGP with the values at its edges, and why some are refused that FRR takes.

One table: `tests/frr/test_fields.py` asks AdmitLB's rules and real daemons of each release about every row.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import Any

LINUX = "Linux has no interface of that name"
SENSE = "it cannot work, though FRR stores it"
OLDER = "FRR 8.4 refuses it"
SAFE = "it would go on in the next line of whatever it is written to"
SUBTRACTED = "FRR takes it for a difference to what is there"
METALLB = "MetalLB's schema has this limit"
BARE = {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1"}
UNNUMBERED = {"myASN": 64500, "dynamicASN": "external", "interface": "eth0"}
IBGP = {"peerASN": 64500}
INTERNAL = {"peerASN": None, "dynamicASN": "internal"}
PRINTABLE = [f"a{character}b" for character in string.punctuation if character not in "/:'|"]


@dataclass(frozen=True, slots=True)
class Row:
    """Values of fields; `why` says why they are refused where FRR takes them."""

    spec: dict[str, Any]
    why: str = ""
    beside: dict[str, Any] | None = None
    """Another BGPPeer on the same node."""
    base: dict[str, Any] | None = None


def _rows(field: str, values: Iterable[Any], why: str = "", base: dict[str, Any] | None = None) -> list[Row]:
    return [Row({field: value}, why, base=base) for value in values]


def _named(field: str, values: Iterable[str], why: str) -> list[Row]:
    """Of an interface or VRF, without an address beside it."""
    base = UNNUMBERED if field == "interface" else None
    return _rows(field, values, why, base)


_ASN = [1, 23456, 64512, 65535, 4294967295]
_DEVICES = ["eth0", "eth0.100", "a" * 15, "bond0@x", "1", "é", "é" * 7, 'a"b', "Ŵ$²<ŋ", *PRINTABLE]
_NO_DEVICES = ["a" * 16, "é" * 8, "a/b", "a:b", ".", "..", "all"]
PIPE = "FRR cuts a command at it where a blank comes next, as in a question about a VRF"
_PIPED_DEVICES = ["a|b", "|b"]
_QUOTED_DEVICES = ["a'b", "'a", "a'", "a']b", "Ŵ$'²<ŋ"]
"""FRR puts the names of route-maps into XPath as they are."""

PEER: dict[str, list[Row]] = {
    "myASN": [*_rows("myASN", [0, *_ASN, 4294967296])],
    "peerASN": [*_rows("peerASN", [0, *_ASN, 64500, 4294967296])],
    "dynamicASN": [Row({"dynamicASN": value, "peerASN": None}) for value in ("internal", "external", "any")],
    "localASN": [
        *_rows("localASN", [0, 1, 23456, 64500, 4294967295, 4294967296]),
        *_rows("localASN", [64501], OLDER),
        *(Row({"localASN": value, **IBGP}, OLDER) for value in (1, 4294967295)),
        *(Row({"localASN": value, **INTERNAL}, OLDER) for value in (1, 64501)),
        *(Row({"localASN": value, "peerASN": None, "dynamicASN": "external"}) for value in (1, 64500, 64501)),
    ],
    "peerAddress": [
        *_rows("peerAddress", ["192.0.2.9", "169.254.1.1", "240.0.0.1", "2001:db8::9", "fec0::1", "192.0.2.01", "x"]),
        *_rows("peerAddress", ["0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "127.0.0.1"], SENSE),
        *_rows("peerAddress", ["::", "::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"], SENSE),
        *_rows("peerAddress", ["fe80::1%eth0", "2001:db8::1%eth0"]),
    ],
    "interface": [
        *_named("interface", _DEVICES, ""),
        *_named("interface", [*_NO_DEVICES, "default"], LINUX),
        *_named("interface", ["a b", "192.0.2.1", "a|", "|", *_QUOTED_DEVICES], ""),
        *_named("interface", _PIPED_DEVICES, PIPE),
    ],
    "vrf": [
        *_named("vrf", [*_DEVICES, "default"], ""),
        *_named("vrf", _NO_DEVICES, LINUX),
        *_named("vrf", ["a b", *_QUOTED_DEVICES], ""),
        *_named("vrf", [*_PIPED_DEVICES, "a|"], PIPE),
    ],
    "peerPort": [*_rows("peerPort", [1, 179, 16384, 65536]), *_rows("peerPort", [0, 16385, 65535], METALLB)],
    "sourceAddress": [
        *_rows("sourceAddress", ["192.0.2.8"]),
        *_rows("sourceAddress", ["192.0.2.01", "lo"], "FRR takes it for the name of an interface"),
        *_rows("sourceAddress", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "2001:db8::8", "::ffff:192.0.2.8"], SENSE),
        *_rows("sourceAddress", ["2001:db8::8"], "", {**BARE, "peerAddress": "2001:db8::1"}),
        *_rows("sourceAddress", ["fe80::8", "::1", "192.0.2.8"], SENSE, {**BARE, "peerAddress": "2001:db8::1"}),
        *_rows("sourceAddress", ["192.0.2.8", "2001:db8::8"], base=UNNUMBERED),
    ],
    "holdTime": [
        *_rows("holdTime", ["0s", "3s", "3.9s", "180s", "65535s", "65536s", "1s", "2s", "2.9s", "-9s", "soon", ""]),
        *_rows("holdTime", ["900ms"], SENSE),
    ],
    "keepaliveTime": [
        *_rows("keepaliveTime", ["0s", "1s", "60s", "21845s", "21846s", "-1s", "soon"]),
        *_rows("keepaliveTime", ["900ms"]),
        *(Row({"keepaliveTime": value, "holdTime": "90s"}, SENSE) for value in ("0s", "900ms", "91s")),
        *(Row({"keepaliveTime": value, "holdTime": "90s"}) for value in ("1s", "89s", "90s", "-1s")),
        Row({"keepaliveTime": "65535s", "holdTime": "65535s"}),
    ],
    "connectTime": [
        *_rows("connectTime", ["0s", "1s", "65535s", "65536s", "-1s"]),
        *_rows("connectTime", ["1.5s"], SENSE),
    ],
    "restartTime": [
        *_rows("restartTime", ["1s", "4095s", "4096s", "-1s"]),
        *_rows("restartTime", ["0s", "1.5s"], SENSE),
    ],
    "routerID": [
        *_rows(
            "routerID",
            ["0.0.0.1", "10.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255", "2001:db8::1", "01.0.0.1"],
        ),
        *_rows("routerID", ["0.0.0.0"], SENSE),
    ],
    "password": [
        *_rows(
            "password", ["x", "p" * 80, "ä" * 40, "a?b", "a!b", "!a", "#a", "'a'", '"a"', "a\\b", "ab|", "|include"]
        ),
        *_rows("password", ["p" * 81, "ä" * 41, "a b", "a\tb"]),
        *_rows("password", [" a", "a "]),
        *_rows("password", ["a\x01b", "a\x7fb"], SAFE),
        *_rows("password", ["a\nb"]),
    ],
    "bfdProfile": [
        *_rows("bfdProfile", ["fast", "a.b-c", "p" * 63, "p" * 64, "p" * 65, "a b"]),
        *_rows("bfdProfile", ["a'b", "A", "a_b", "-a", "é"], "no object has such a name"),
    ],
    "enableGracefulRestart": _rows("enableGracefulRestart", [True, False]),
    "ebgpMultiHop": [
        Row({"ebgpMultiHop": True}),
        Row({"ebgpMultiHop": True, "peerASN": None, "dynamicASN": "external"}),
        Row({"ebgpMultiHop": True, **IBGP}, SENSE),
        Row({"ebgpMultiHop": True, **INTERNAL}, SENSE),
        Row({"ebgpMultiHop": True}, base=UNNUMBERED),
    ],
    "ttlSecurityHops": [
        *_rows("ttlSecurityHops", [0, 1, 2, 254, 255]),
        *_rows("ttlSecurityHops", [1, 2], base=UNNUMBERED),
        *(Row({"ttlSecurityHops": hops, **IBGP}) for hops in (1, 254)),
        Row({"ttlSecurityHops": 2, "ebgpMultiHop": True}),
    ],
    "shutdown": _rows("shutdown", [True, False]),
    "description": [
        *_rows(
            "description",
            ["x", "x" * 200, "top of rack 1", "é", "a?b", "!x", "# x", "no", "-", "a\\b", "$(x)", "'x'"],
        ),
        *_rows("description", ["x" * 201], "no router needs so many"),
        *_rows("description", ["a | b", "a| b", "a | include b"]),
        *_rows("description", ["a|b", "a|"], "FRR cuts a command at a '|' with a blank behind it"),
        *_rows("description", ["a  b", " a "]),
        *_rows("description", ["a\nb"]),
        *_rows("description", ["a\x07b"], SAFE),
    ],
    "dualStackAddressFamily": _rows("dualStackAddressFamily", [True, False]),
    "of one node": [
        Row({"peerAddress": "192.0.2.2"}, beside={}),
        Row({"peerAddress": "192.0.2.2", "myASN": 64502}, beside={}),
        Row({"peerAddress": "192.0.2.2", "myASN": 64502, "vrf": "red"}, beside={}),
        Row({"vrf": "red"}, beside={}),
        Row({"peerASN": 64502}, beside={}),
        Row({"peerAddress": "192.0.2.2", "routerID": "10.0.0.1"}, SENSE, beside={"routerID": "10.0.0.2"}),
        Row({"peerAddress": "192.0.2.2", "restartTime": "9s"}, SENSE, beside={"restartTime": "8s"}),
    ],
}
PEER_OTHERWISE = {
    "nodeSelectors": "chooses nodes, FRR has nothing of it",
    "passwordSecret": "names a Secret, whose content is a password",
    "disableMP": "has no effect",
}

ENDPOINTS: list[dict[str, Any]] = [
    {"peerAddress": "192.0.2.1"},
    {"peerAddress": "2001:db8::1"},
    {"interface": "eth0"},
]
REMOTES: list[dict[str, Any]] = [
    {"peerASN": 64501},
    {"peerASN": 64500},
    {"dynamicASN": "internal"},
    {"dynamicASN": "external"},
]
TYPICAL: list[dict[str, Any]] = [
    {"localASN": 65000},
    {"sourceAddress": "192.0.2.9"},
    {"sourceAddress": "2001:db8::9"},
    {"peerPort": 1790},
    {"holdTime": "9s"},
    {"keepaliveTime": "2s"},
    {"connectTime": "5s"},
    {"restartTime": "60s"},
    {"routerID": "10.0.0.1"},
    {"password": "x"},
    {"bfdProfile": "fast"},
    {"enableGracefulRestart": True},
    {"ebgpMultiHop": True},
    {"ttlSecurityHops": 1},
    {"ttlSecurityHops": 2},
    {"shutdown": True},
    {"description": "rack 4"},
    {"dualStackAddressFamily": True},
    {"vrf": "red"},
]
"""A value of each field that fits by itself: what a BGPPeer can have together is tried two by two."""


def peers_of_two_fields() -> Iterator[dict[str, Any]]:
    """Yield a BGPPeer for every pair of fields, at each kind of endpoint and of remote AS."""
    for endpoint, remote in product(ENDPOINTS, REMOTES):
        for one, other in combinations_with_replacement(TYPICAL, 2):
            if one is other or one.keys() != other.keys():
                yield {"myASN": 64500, **endpoint, **remote, **one, **other}


ADVERTISEMENT: dict[str, list[Row]] = {
    "aggregationLength": [
        *_rows("aggregationLength", [1, 24, 32, 33, -1]),
        *_rows("aggregationLength", [0], METALLB),
    ],
    "aggregationLengthV6": [
        *_rows("aggregationLengthV6", [1, 64, 128, 129, -1]),
        *_rows("aggregationLengthV6", [0], "a default route is nobody's pool"),
    ],
    "localPref": [*_rows("localPref", [0, 1, 4294967295, 4294967296]), *_rows("localPref", [-1], SUBTRACTED)],
    "med": [*_rows("med", [0, 1, 4294967295, 4294967296]), *_rows("med", [-1], SUBTRACTED)],
    "asPathPrepend": [
        *_rows("asPathPrepend", [0, 1, 10]),
        *_rows("asPathPrepend", [11], "routers refuse or cut long paths"),
    ],
    "communities": [
        *(Row({"communities": [text]}) for text in ("0:0", "1:1", "65535:65535", "65535:666", "1:65536", "65536:1")),
        *(Row({"communities": [text]}) for text in ("large:0:0:0", "large:4294967295:4294967295:4294967295")),
        *(Row({"communities": [text]}) for text in ("large:4294967296:1:1", "large:1:1:4294967296", "large:1:1")),
        *(
            Row({"communities": [text]})
            for text in ("no-export", "NO-EXPORT", "local-AS", "llgr-stale", "no-peer", "01:1")
        ),
        Row({"communities": [f"1:{number}" for number in range(63)]}),
        Row({"communities": [f"1:{number}" for number in range(64)]}, "MetalLB's limit for one prefix"),
        Row({"communities": [f"large:1:1:{number}" for number in range(63)]}),
        Row({"communities": [f"1:{number}" for number in range(300)]}),
    ],
}
ADVERTISEMENT_OTHERWISE = {
    **dict.fromkeys(("ipAddressPools", "ipAddressPoolSelectors"), "choose pools"),
    **dict.fromkeys(("nodeSelectors", "serviceSelectors", "peers"), "choose where to announce"),
}

_INTERVALS = [0, 9, 10, 300, 60000]
PROFILE: dict[str, list[Row]] = {
    **{
        name: [*_rows(name, [*_INTERVALS, 4294968]), *_rows(name, [60001, 4294967], OLDER)]
        for name in ("receiveInterval", "transmitInterval", "echoInterval")
    },
    "detectMultiplier": [*_rows("detectMultiplier", [0, 2, 255, 256]), *_rows("detectMultiplier", [1], OLDER)],
    "minimumTtl": _rows("minimumTtl", [0, 1, 254, 255]),
    "echoMode": _rows("echoMode", [True, False]),
    "passiveMode": _rows("passiveMode", [True, False]),
    "metadata.name": [
        *_rows("name", ["p", "a.b-c", "p" * 63, "p" * 65, "p'q"]),
        *_rows("name", ["p" * 64], "bgpd cuts the name of the peer's profile to 63"),
    ],
}
