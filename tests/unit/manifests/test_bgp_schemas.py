"""The schemas of the kinds for BGP take whatever MetalLB's take, with its defaults, and its columns first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.manifests.documents import named

UINT32 = {"type": "integer", "minimum": 0, "maximum": 4294967295}
TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
OFF = {"type": "boolean", "default": False}
LIST = {"type": "array"}
MILLISECONDS = {"type": "integer", "minimum": 10, "maximum": 60000}
METALLB: dict[str, tuple[list[str], dict[str, dict[str, Any]]]] = {
    "bgppeers.metallb.io": (
        ["Address", "ASN", "BFD Profile", "Multi Hops"],
        {
            **dict.fromkeys(("myASN", "peerASN"), UINT32),
            "localASN": {"type": "integer", "minimum": 1, "maximum": 4294967295},
            "dynamicASN": {"type": "string", "enum": ["internal", "external"]},
            **dict.fromkeys(("peerAddress", "interface", "sourceAddress", "routerID", "vrf", "bfdProfile"), TEXT),
            **dict.fromkeys(("holdTime", "keepaliveTime", "connectTime", "password"), TEXT),
            "peerPort": {"type": "integer", "minimum": 1, "maximum": 16384, "default": 179},
            "nodeSelectors": LIST,
            "passwordSecret": {"type": "object"},
            **dict.fromkeys(("enableGracefulRestart", "ebgpMultiHop"), FLAG),
            **dict.fromkeys(("disableMP", "dualStackAddressFamily"), OFF),
        },
    ),
    "bgpadvertisements.metallb.io": (
        ["IPAddressPools", "IPAddressPool Selectors", "Peers", "Node Selectors"],
        {
            "aggregationLength": {"type": "integer", "minimum": 1, "default": 32},
            "aggregationLengthV6": {"type": "integer", "default": 128},
            "localPref": UINT32,
            **dict.fromkeys(("communities", "ipAddressPools", "peers"), LIST),
            **dict.fromkeys(("ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors"), LIST),
        },
    ),
    "bfdprofiles.metallb.io": (
        ["Passive Mode", "Transmit Interval", "Receive Interval", "Multiplier"],
        {
            **dict.fromkeys(("receiveInterval", "transmitInterval", "echoInterval"), MILLISECONDS),
            "detectMultiplier": {"type": "integer", "minimum": 2, "maximum": 255},
            "minimumTtl": {"type": "integer", "minimum": 1, "maximum": 254},
            **dict.fromkeys(("echoMode", "passiveMode"), FLAG),
        },
    ),
    "communities.metallb.io": ([], {"communities": LIST}),
}


@pytest.mark.parametrize("kind", METALLB)
def test_what_metallbs_schema_takes_is_taken_with_its_defaults(kind: str) -> None:
    (version,) = named("CustomResourceDefinition", kind)["spec"]["versions"]
    columns, fields = METALLB[kind]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]

    assert [column["name"] for column in version.get("additionalPrinterColumns", ())][: len(columns)] == columns
    assert spec.get("required", []) == (["myASN"] if kind.startswith("bgppeers") else [])
    for name, theirs in fields.items():
        ours = spec["properties"][name]
        assert (name, ours["type"], ours.get("default")) == (name, theirs["type"], theirs.get("default"))
        assert (name, ours.get("enum")) == (name, theirs.get("enum"))
        assert ours.get("minimum", -1) <= theirs.get("minimum", -1), name
        assert ours.get("maximum", 1 << 64) >= theirs.get("maximum", 1 << 64), name
        assert {"pattern", "maxLength", "minLength", "maxItems", "minItems"}.isdisjoint(ours), name


@pytest.mark.parametrize("kind", METALLB)
def test_our_own_fields_are_optional_and_have_no_default(kind: str) -> None:
    (version,) = named("CustomResourceDefinition", kind)["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

    assert [name for name in properties.keys() - METALLB[kind][1].keys() if "default" in properties[name]] == []
