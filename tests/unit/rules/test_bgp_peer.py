"""BGPPeers: what contradicts itself or FRR is refused with the field, what others may heal is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.kube.resource import Resource
from allocator.objects.names import BGP_PEERS
from allocator.rules.bgp_peer import review_peer
from allocator.rules.verdict import Rules, Verdict
from tests.unit.commands.bgp_manifests import judge, peer, profile
from tests.unit.commands.manifests import Object


def test_a_plain_peer_is_admitted_without_a_word() -> None:
    ran = judge(peer())
    assert (ran.codes, ran.warnings) == ([200], [])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"peerASN": None}, "spec.peerASN: is missing; write the peer's AS number"),
        ({"peerASN": 0}, "spec.peerASN: is missing"),
        ({"dynamicASN": "external"}, "spec.dynamicASN: external is set beside peerASN 64501; remove one"),
        ({"myASN": 0}, "spec.myASN: 0 is no AS number; write 1 to 4294967295"),
        ({"localASN": 64500}, "spec.localASN: 64500 is myASN already; remove it"),
        ({"localASN": 64501}, "spec.localASN: 64501 is peerASN"),
        ({"localASN": 1, "peerASN": 64500}, "spec.localASN: 1 is for peers of another AS"),
        ({"localASN": 1, "peerASN": None, "dynamicASN": "internal"}, "spec.localASN: 1 is for peers of another AS"),
        ({"peerAddress": None}, "spec.peerAddress: is missing"),
        ({"interface": "eth0"}, "spec.interface: 'eth0' is set beside peerAddress; remove one of the two"),
        ({"peerAddress": "192.0.2.01"}, "spec.peerAddress: '192.0.2.01' has leading zeros"),
        ({"peerAddress": "router"}, "spec.peerAddress: 'router' is not an IP address"),
        ({"peerAddress": "0.0.0.0"}, "spec.peerAddress: 0.0.0.0 is unspecified"),
        ({"peerAddress": "127.0.0.1"}, "spec.peerAddress: 127.0.0.1 is loopback"),
        ({"peerAddress": "224.0.0.5"}, "spec.peerAddress: 224.0.0.5 is multicast"),
        ({"peerAddress": "255.255.255.255"}, "spec.peerAddress: 255.255.255.255 is broadcast"),
        ({"peerAddress": "::ffff:192.0.2.1"}, "IPv4-mapped address; write 192.0.2.1"),
        ({"peerAddress": "fe80::1"}, "spec.peerAddress: fe80::1 is link-local, which names no interface"),
        ({"peerAddress": "fe80::1%eth0"}, "spec.peerAddress: 'fe80::1%eth0' names an interface behind '%'"),
        (
            {"sourceAddress": "2001:db8::1"},
            "sourceAddress: 2001:db8::1 is IPv6 and peerAddress 192.0.2.1 is IPv4",
        ),
        ({"sourceAddress": "::"}, "spec.sourceAddress: :: is unspecified"),
        ({"sourceAddress": "192.0.2.1"}, "spec.sourceAddress: 192.0.2.1 is peerAddress itself; write an address of"),
        (
            {"peerAddress": None, "interface": "eth0", "sourceAddress": "192.0.2.9"},
            "spec.sourceAddress: 192.0.2.9 does not fit a peer found on an interface",
        ),
        ({"routerID": "2001:db8::1"}, "spec.routerID: 2001:db8::1 is IPv6; a router ID is written like an IPv4"),
        ({"routerID": "0.0.0.0"}, "spec.routerID: 0.0.0.0 is no router ID"),
        ({"peerAddress": None, "interface": "a" * 16}, "spec.interface: 'aaaaaaaaaaaaaaaa' is too long"),
        ({"peerAddress": None, "interface": "a/b"}, "spec.interface: 'a/b' is no name of an interface"),
        ({"peerAddress": None, "interface": "a b"}, "spec.interface: 'a b' is no name of an interface"),
        ({"peerAddress": None, "interface": "192.0.2.1"}, "spec.interface: '192.0.2.1' is an address"),
        (
            {"peerAddress": None, "interface": "all"},
            "spec.interface: 'all' is no name of an interface",
        ),
        ({"peerAddress": None, "interface": "default"}, "spec.interface: 'default' is no name of an interface"),
        ({"vrf": "all"}, "spec.vrf: 'all' is no name of an interface; Linux and FRR have another meaning for it"),
        ({"vrf": "red/blue"}, "spec.vrf: 'red/blue' is no name of an interface"),
        ({"vrf": "r" * 16}, "spec.vrf: 'rrrrrrrrrrrrrrrr' is too long; Linux allows 15 bytes"),
        ({"vrf": "r'"}, """spec.vrf: "r'" has a quote, which FRR does not take; give the interface another name"""),
        ({"bfdProfile": "Fast"}, "spec.bfdProfile: 'Fast' is no name of an object; use lower-case letters"),
        ({"ebgpMultiHop": True, "peerASN": 64500}, "spec.ebgpMultiHop: true is for peers of another AS"),
        (
            {"ebgpMultiHop": True, "peerASN": None, "dynamicASN": "internal"},
            "spec.ebgpMultiHop: true is for peers of another AS",
        ),
        (
            {"ebgpMultiHop": True, "peerAddress": None, "interface": "eth0"},
            "spec.ebgpMultiHop: true needs a peerAddress",
        ),
        ({"ebgpMultiHop": True, "ttlSecurityHops": 2}, "spec.ttlSecurityHops: 2 is set beside ebgpMultiHop"),
        ({"peerAddress": None, "interface": "eth0", "ttlSecurityHops": 2}, "spec.ttlSecurityHops: 2 does not fit"),
        ({"holdTime": "2s"}, "spec.holdTime: 2s is too short; write 0s (no timers) or 3s or more"),
        ({"holdTime": "500ms"}, "spec.holdTime: 500ms is too short"),
        ({"holdTime": "-9s"}, "spec.holdTime: -9s is negative"),
        ({"holdTime": "65536s"}, "spec.holdTime: 65536s is too long; write 65535s or less"),
        ({"holdTime": "soon"}, "spec.holdTime: 'soon' is no duration; write it like 90s or 1m30s"),
        ({"holdTime": ""}, "spec.holdTime: '' is no duration"),
        ({"keepaliveTime": "10s"}, "spec.keepaliveTime: 10s is longer than holdTime 9s"),
        ({"keepaliveTime": "900ms"}, "spec.keepaliveTime: 900ms is less than a second"),
        ({"keepaliveTime": "0s"}, "spec.keepaliveTime: 0s sends no keepalives"),
        ({"keepaliveTime": "-1s"}, "spec.keepaliveTime: -1s is negative"),
        ({"holdTime": None, "keepaliveTime": "6h5m"}, "spec.keepaliveTime: 6h5m, which gives a hold time of 65700s"),
        ({"connectTime": "0s"}, "spec.connectTime: 0s does not fit; write whole seconds from 1s to 65535s"),
        ({"connectTime": "1500ms"}, "spec.connectTime: 1500ms does not fit"),
        ({"connectTime": "65536s"}, "spec.connectTime: 65536s does not fit"),
        ({"restartTime": "4096s"}, "spec.restartTime: 4096s does not fit; write whole seconds from 1s to 4095s"),
        ({"bfdProfile": "p" * 64}, "has 64 characters; a BFDProfile's name has 63 at most"),
        ({"description": "a | include b"}, "spec.description: 'a | include b' has a '|'"),
        ({"description": "one\ntwo"}, "has a line break or a control character; write one line"),
        ({"peerPort": 16385}, "spec.peerPort: 16385 is too large; use 16384 or less"),
    ],
    ids=str,
)
def test_a_contradiction_is_refused_with_its_field(spec: dict[str, Any], says: str) -> None:
    ran = judge(peer(**spec))
    assert ran.codes == [422]
    assert ran.messages[0].startswith("BGPPeer tor: ")
    assert says in ran.messages[0]


@pytest.mark.parametrize("disabled", [False, True])
def test_disable_mp_skips_no_check(disabled: bool) -> None:
    """MetalLB's webhook returns a warning for it, and checks nothing else."""
    assert judge(peer(peerASN=None, disableMP=disabled)).codes == [422]


@pytest.mark.parametrize(
    "spec",
    [
        {"holdTime": "0s"},
        {"holdTime": "0"},
        {"holdTime": "0s", "keepaliveTime": "0s"},
        {"holdTime": "3.5s"},
        {"holdTime": "18h12m15s"},
        {"holdTime": None, "keepaliveTime": "1s"},
        {"holdTime": "3s", "keepaliveTime": "3s"},
        {"connectTime": "1s"},
        {"connectTime": "65535s"},
        {"enableGracefulRestart": True, "restartTime": "1h8m15s"},
        {"peerAddress": "169.254.0.1"},
        {"peerAddress": "2001:db8::1", "sourceAddress": "2001:db8::2"},
        {"peerASN": None, "dynamicASN": "internal", "peerAddress": None, "interface": "eth0.100"},
        {"peerASN": 64500},
        {"localASN": 1, "peerASN": None, "dynamicASN": "external"},
        {"ttlSecurityHops": 254},
        {"peerAddress": None, "interface": "eth0", "ttlSecurityHops": 1},
        {"password": "p" * 80},
        {"password": "ä" * 40},
        {"passwordSecret": {"name": "tor"}},
        {"description": "top of rack 1, port 12"},
        {"vrf": "red", "shutdown": True, "routerID": "255.255.255.255", "peerPort": 16384},
    ],
    ids=str,
)
def test_what_frr_takes_and_means_something_is_admitted(spec: dict[str, Any]) -> None:
    ran = judge(peer(**spec))
    assert (ran.codes, ran.messages) == ([200], [""])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"password": "s3cret-s3cret"}, "spec.password: can be read by whoever may read this object"),
        ({"passwordSecret": {"name": "s", "namespace": "other"}}, "spec.passwordSecret.namespace: other is not read"),
        ({"disableMP": True}, "spec.disableMP: has no effect"),
        ({"myASN": 23456}, "spec.myASN: 23456 is reserved"),
        ({"peerASN": 65535}, "spec.peerASN: 65535 is reserved"),
        ({"localASN": 4294967295}, "spec.localASN: 4294967295 is reserved"),
        ({"holdTime": None}, "a dead node's routes stay for holdTime 180s"),
        ({"holdTime": "0s"}, "a dead node's routes stay without end"),
        ({"enableGracefulRestart": True}, "spec.enableGracefulRestart: without bfdProfile the router keeps"),
        ({"restartTime": "30s"}, "spec.restartTime: has no effect without enableGracefulRestart"),
    ],
    ids=str,
)
def test_what_may_surprise_is_warned_of(spec: dict[str, Any], says: str) -> None:
    ran = judge(peer(**spec))
    assert ran.codes == [200]
    (warning,) = ran.warnings
    assert warning.startswith("BGPPeer tor: ")
    assert says in warning


def test_a_profile_that_is_not_there_is_a_warning_and_refused_under_strict() -> None:
    says = "BGPPeer tor: spec.bfdProfile: there is no BFDProfile fast (yet)"
    ran = judge(peer(bfdProfile="fast"))
    assert ran.codes == [200]
    assert ran.warnings[0].startswith(says)
    strict = judge(peer(bfdProfile="fast"), strict=True)
    assert strict.codes == [422]
    assert strict.messages[0].startswith(says)
    for documents in ([profile(), peer(bfdProfile="fast")], [peer(bfdProfile="fast"), profile()]):
        assert judge(*documents, strict=True).codes == [200, 200], "its own input brings it"


@pytest.mark.parametrize(
    ("echoing", "says"),
    [
        (peer(bfdProfile="fast", peerAddress="2001:db8::1"), "over IPv6 echo packets work between two FRR only"),
        (peer(bfdProfile="fast", ebgpMultiHop=True), "the peer is several hops away"),
        (peer(bfdProfile="fast", ttlSecurityHops=2), "the peer is several hops away"),
    ],
)
def test_echo_where_it_cannot_work_is_warned_of_whichever_object_comes_last(echoing: Object, says: str) -> None:
    for documents in ([profile(echoMode=True), echoing], [profile(), echoing, profile(echoMode=True)]):
        ran = judge(*documents)
        assert set(ran.codes) == {200}
        assert any(says in warning for warning in ran.documents[-1]["warnings"])
    assert not any("echo" in warning for warning in judge(profile(echoMode=True), peer(bfdProfile="fast")).warnings)


ONE, TWO = {"peerAddress": "192.0.2.1"}, {"peerAddress": "192.0.2.2"}


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (ONE, ONE, "spec.peerAddress: 192.0.2.1 is that of BGPPeer a on a node that both may choose"),
        (
            {"peerAddress": None, "interface": "eth0"},
            {"peerAddress": None, "interface": "eth0"},
            "spec.interface: eth0 is that of BGPPeer a",
        ),
        ({**ONE, "vrf": "red"}, {**ONE, "vrf": "red"}, "spec.peerAddress: 192.0.2.1 is that of BGPPeer a"),
        ({**ONE, "vrf": "default"}, ONE, "spec.peerAddress: 192.0.2.1 is that of BGPPeer a"),
        (ONE, {**TWO, "myASN": 64502}, "spec.myASN: 64502 differs from 64500 of BGPPeer a"),
        ({**ONE, "routerID": "10.0.0.1"}, TWO, "spec.routerID: no ID differs from 10.0.0.1 of BGPPeer a"),
        (
            {**ONE, "routerID": "10.0.0.1"},
            {**TWO, "routerID": "10.0.0.2", "vrf": "red"},
            "spec.routerID: 10.0.0.2 differs from 10.0.0.1",
        ),
        (
            {**ONE, "enableGracefulRestart": True, "restartTime": "10s"},
            {**TWO, "enableGracefulRestart": True, "restartTime": "20s"},
            "spec.restartTime: 20s differs from 10s of BGPPeer a",
        ),
    ],
    ids=str,
)
def test_two_peers_of_one_node_may_not_contradict(first: dict[str, Any], second: dict[str, Any], says: str) -> None:
    ran = judge(peer("a", **first), peer("b", **second))
    assert ran.codes == [200, 422]
    assert says in ran.messages[1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ONE, TWO),
        (ONE, {**ONE, "vrf": "red"}),
        (ONE, {**TWO, "vrf": "red", "myASN": 64502}),
        ({**ONE, "restartTime": "10s"}, TWO),
    ],
    ids=str,
)
def test_two_peers_that_one_node_can_have_are_admitted(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert judge(peer("a", **first), peer("b", **second)).codes == [200, 200]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"peerASN": 64502}, "spec.peerASN or dynamicASN"),
        ({"peerAddress": "192.0.2.9"}, "spec.peerAddress"),
        ({"enableGracefulRestart": True}, "spec.enableGracefulRestart"),
        ({"password": "new"}, "spec.password"),
        ({"shutdown": True}, "spec.shutdown"),
        ({"ttlSecurityHops": 1}, "spec.ttlSecurityHops"),
        ({"dualStackAddressFamily": True}, "spec.dualStackAddressFamily"),
        ({"bfdProfile": None}, "spec.bfdProfile"),
    ],
    ids=str,
)
def test_a_change_that_resets_the_sessions_is_announced(changed: dict[str, Any], field: str) -> None:
    ran = judge(profile(), peer(bfdProfile="fast"), peer(**{"bfdProfile": "fast", **changed}))
    assert ran.codes == [200, 200, 200]
    assert f"BGPPeer tor: its sessions reset: {field} changed" in ran.documents[2]["warnings"]


@pytest.mark.parametrize(
    "changed",
    [{"holdTime": "6s"}, {"connectTime": "5s"}, {"description": "x"}, {"bfdProfile": "slow"}, {"bfdProfile": "fast"}],
    ids=str,
)
def test_a_change_that_keeps_the_sessions_is_not(changed: dict[str, Any]) -> None:
    for before in ({}, {"bfdProfile": "fast"} if "bfdProfile" in changed else {}):
        ran = judge(profile(), profile("slow"), peer(**before), peer(**{**before, **changed}))
        assert not any("reset" in warning for warning in ran.documents[3]["warnings"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"holdTime": "6s"}, True),
        ({"keepaliveTime": "1s"}, True),
        ({"holdTime": "9s", "keepaliveTime": "3s"}, False),
        ({"holdTime": None}, True),
        ({"holdTime": "6s", "password": "new"}, False),
        ({"holdTime": "6s", "shutdown": True}, False),
        ({"connectTime": "5s"}, False),
    ],
    ids=str,
)
def test_timers_that_count_from_the_next_establishment_on_are_said_to(changed: dict[str, Any], said: bool) -> None:
    ran = judge(peer(), peer(**changed))
    assert any("until they are established again" in line for line in ran.documents[1]["warnings"]) is said


def test_graceful_restart_may_be_turned_off_and_on_again() -> None:
    ran = judge(*(peer(enableGracefulRestart=on) for on in (True, False, True)))
    assert ran.codes == [200, 200, 200]


def test_a_peer_elsewhere_is_refused() -> None:
    stray = peer()
    stray["metadata"]["namespace"] = "default"
    assert judge(stray).codes == [422]


def test_of_peers_that_contradict_one_another_each_can_be_mended_by_itself() -> None:
    """They came in while nothing checked them: what brings no new conflict is admitted, and says what is left."""
    stored = {name: peer(name, peerAddress=f"192.0.2.{n}", routerID=f"10.0.0.{n}") for n, name in enumerate("abc", 1)}

    def change(**spec: Any) -> Verdict:
        after = {**stored["a"], "spec": {**stored["a"]["spec"], **spec}}
        context: Any = Stored(list(stored.values()))
        return review_peer(after, stored["a"], context=context, rules=Rules())

    mended = change(routerID="10.0.0.2")
    assert mended.allowed
    assert any("spec.routerID: 10.0.0.2 differs from 10.0.0.3 of BGPPeer c" in line for line in mended.warnings)
    assert not any("BGPPeer b" in line for line in mended.warnings)
    assert change(holdTime="6s").allowed
    assert not change(myASN=64999).allowed


class Stored:
    """A cluster that has these BGPPeers and nothing else."""

    def __init__(self, peers: list[Object]) -> None:
        self._peers = peers

    def objects(self, kind: Resource) -> list[Object]:
        return self._peers if kind is BGP_PEERS else []

    def expected(self, _: Resource) -> list[Object]:
        return []

    def nodes(self) -> dict[str, dict[str, str]]:
        return {}
