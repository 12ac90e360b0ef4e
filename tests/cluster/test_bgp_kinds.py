"""The kinds for BGP on a real API server: what kubectl is told, what the objects say of themselves, what may go."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import yaml

from allocator.kube.client import ApiError, Object
from allocator.kube.resource import EVENTS, NODES, SECRETS, Resource
from allocator.objects.names import (
    BFD_PROFILES,
    BGP_ADVERTISEMENTS,
    BGP_KINDS,
    BGP_PEERS,
    COMMUNITIES,
    CONFIGURATION_STATES,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    WEBHOOK_CONFIGURATION,
)
from tests.cluster.installation import Installation, pool
from tests.cluster.reconciling import conditions
from tests.lab.waiting import wait_until
from tests.unit.commands.bgp_manifests import bgp_advertisement, community, peer, profile

PASSWORD = "Xq7-hunter2-Zw9"
WAITS = "there is no"


@pytest.fixture(scope="module")
def with_nodes(installed: Installation) -> Iterator[Installation]:
    """AdmitLB in a cluster with two nodes of different racks."""
    for name in ("a", "b"):
        installed.cluster.create(NODES, {"metadata": {"name": f"node-{name}", "labels": {"rack": name}}})
    yield installed
    for name in ("a", "b"):
        installed.cluster.delete(NODES, f"node-{name}")


@pytest.fixture
def admitlb(with_nodes: Installation) -> Iterator[Installation]:
    installed = with_nodes
    yield installed
    for kind in (BGP_ADVERTISEMENTS, BGP_PEERS, COMMUNITIES, BFD_PROFILES, IP_ADDRESS_POOLS):
        for document in installed.cluster.list(kind, DEFAULT_NAMESPACE)["items"]:
            installed.cluster.delete(kind, document["metadata"]["name"], DEFAULT_NAMESPACE)


def in_rack(name: str) -> list[Object]:
    return [{"matchLabels": {"rack": name}}]


def apply(admitlb: Installation, *documents: Object) -> str:
    """Apply documents in one go and return the warnings."""
    return admitlb.control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents)).stderr


def refusal(admitlb: Installation, kind: Resource, document: Object) -> ApiError:
    with pytest.raises(ApiError) as refused:
        admitlb.cluster.create(kind, document, DEFAULT_NAMESPACE)
    return refused.value


def reason(admitlb: Installation, kind: Resource, name: str, expected: str) -> Object:
    """Wait until the object's Ready has that reason, and return the condition."""

    def found() -> Object | None:
        ready = conditions(admitlb.cluster.get(kind, name, DEFAULT_NAMESPACE)).get("Ready")
        return ready if ready is not None and ready["reason"] == expected else None

    return wait_until(found, 15, f"{kind.kind} {name} says {expected}")


def test_a_contradiction_is_refused_with_its_field(admitlb: Installation) -> None:
    refused = refusal(admitlb, BGP_PEERS, peer(localASN=64500))
    assert refused.status == 422
    assert "spec.localASN: 64500 is myASN already; remove it" in str(refused)
    assert refusal(admitlb, BGP_ADVERTISEMENTS, bgp_advertisement(communities=["1:65536"])).status == 422
    assert refusal(admitlb, BFD_PROFILES, profile("p" * 64)).status == 422
    assert refusal(admitlb, COMMUNITIES, community(blue="1")).status == 422


def test_kubectl_shows_what_is_missing_and_the_conditions_say_it_too(admitlb: Installation) -> None:
    warnings = apply(
        admitlb,
        peer(bfdProfile="fast", passwordSecret={"name": "tor"}),
        bgp_advertisement(ipAddressPools=["main"], peers=["tor", "rot"], communities=["blue"]),
    )
    for missing in ("no BFDProfile fast (yet)", "no Secret tor (yet)", "no pool main (yet)", "no BGPPeer rot (yet)"):
        assert f"{WAITS} {missing.removeprefix('no ')}" in warnings
    assert "no Community gives the name 'blue' (yet)" in warnings
    reason(admitlb, BGP_PEERS, "tor", "BFDProfileMissing")
    reason(admitlb, BGP_ADVERTISEMENTS, "all", "NoPool")
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("main", "192.0.2.0/28"), DEFAULT_NAMESPACE)
    reason(admitlb, BGP_ADVERTISEMENTS, "all", "CommunityMissing")
    admitlb.cluster.create(BFD_PROFILES, profile(), DEFAULT_NAMESPACE)
    assert "no Secret tor" in reason(admitlb, BGP_PEERS, "tor", "SecretMissing")["message"]
    secret = {"metadata": {"name": "tor"}, "data": {"password": base64.b64encode(b"x").decode()}}
    admitlb.cluster.create(SECRETS, {**secret, "type": "kubernetes.io/basic-auth"}, DEFAULT_NAMESPACE)
    complete = peer(bfdProfile="fast", passwordSecret={"name": "tor"})
    warnings = apply(admitlb, profile(), community(blue="64512:7"), complete)
    assert WAITS not in warnings
    reason(admitlb, BGP_PEERS, "tor", "NoBGP")
    reason(admitlb, BGP_ADVERTISEMENTS, "all", "NoBGP")
    assert reason(admitlb, BFD_PROFILES, "fast", "Valid")["message"] == "used by BGPPeer tor"
    assert reason(admitlb, COMMUNITIES, "names", "Valid")["message"] == "gives the name blue"
    admitlb.cluster.delete(SECRETS, "tor", DEFAULT_NAMESPACE)


def test_whether_two_peers_share_a_node_is_seen_from_the_nodes(admitlb: Installation) -> None:
    apply(admitlb, peer("a", routerID="10.0.0.1", nodeSelectors=in_rack("a")))
    apply(admitlb, peer("b", routerID="10.0.0.2", nodeSelectors=in_rack("b")))
    refused = refusal(admitlb, BGP_PEERS, peer("c", peerAddress="192.0.2.9", routerID="10.0.0.3"))
    assert "spec.routerID: 10.0.0.3 differs from 10.0.0.1 of BGPPeer a on node node-a" in str(refused)


def test_a_node_that_gets_another_label_shows_the_conflict_of_the_younger_peer(admitlb: Installation) -> None:
    apply(admitlb, peer("older", nodeSelectors=in_rack("a")))
    apply(admitlb, peer("younger", nodeSelectors=in_rack("c")))
    reason(admitlb, BGP_PEERS, "younger", "NoNode")
    admitlb.cluster.create(NODES, {"metadata": {"name": "node-c", "labels": {"rack": "c"}}})
    reason(admitlb, BGP_PEERS, "younger", "NoBGP")
    both = {"spec": {"nodeSelectors": [*in_rack("a"), *in_rack("d")]}}
    admitlb.cluster.patch(BGP_PEERS, "older", both, DEFAULT_NAMESPACE)
    apart = {"spec": {"nodeSelectors": [{"matchLabels": {"side": "north"}}]}}
    admitlb.cluster.patch(BGP_PEERS, "younger", apart, DEFAULT_NAMESPACE)
    admitlb.cluster.patch(NODES, "node-a", {"metadata": {"labels": {"side": "north"}}})
    fault = reason(admitlb, BGP_PEERS, "younger", "Conflict")
    assert "spec.peerAddress: 192.0.2.1 is that of BGPPeer older on node node-a" in fault["message"]
    admitlb.cluster.patch(NODES, "node-a", {"metadata": {"labels": {"side": None}}})
    reason(admitlb, BGP_PEERS, "younger", "NoNode")
    reason(admitlb, BGP_PEERS, "older", "NoBGP")
    admitlb.cluster.delete(NODES, "node-c")


def test_a_pool_is_not_narrowed_below_the_prefixes_made_of_it(admitlb: Installation) -> None:
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("main", "192.0.2.0/24"), DEFAULT_NAMESPACE)
    apply(admitlb, bgp_advertisement(aggregationLength=24))
    narrow = {"spec": {"addresses": ["192.0.2.0/28"]}}
    with pytest.raises(ApiError, match=r"narrower than the /24 that BGPAdvertisement all makes of it"):
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "main", narrow, DEFAULT_NAMESPACE)


def test_what_others_use_is_not_deleted(admitlb: Installation) -> None:
    apply(
        admitlb,
        profile(),
        community(blue="64512:7"),
        peer(bfdProfile="fast"),
        bgp_advertisement(communities=["blue"]),
    )
    for kind, name in ((BFD_PROFILES, "fast"), (COMMUNITIES, "names")):
        with pytest.raises(ApiError) as refused:
            admitlb.cluster.delete(kind, name, DEFAULT_NAMESPACE)
        assert refused.value.status == 409
    admitlb.cluster.delete(BGP_PEERS, "tor", DEFAULT_NAMESPACE)
    admitlb.cluster.delete(BGP_ADVERTISEMENTS, "all", DEFAULT_NAMESPACE)


def test_what_came_in_while_nothing_checked_it_is_at_fault_and_in_the_configuration_state(
    admitlb: Installation,
) -> None:
    webhooks = "validatingwebhookconfigurations"
    kept = admitlb.control_plane.kubectl("get", webhooks, WEBHOOK_CONFIGURATION, "-o", "yaml").stdout
    admitlb.control_plane.kubectl("delete", webhooks, WEBHOOK_CONFIGURATION)
    admitlb.cluster.create(BGP_PEERS, peer("a", password=f"{PASSWORD} "), DEFAULT_NAMESPACE)
    admitlb.cluster.create(BGP_ADVERTISEMENTS, bgp_advertisement(peers=["a", "a"]), DEFAULT_NAMESPACE)
    message = reason(admitlb, BGP_PEERS, "a", "Invalid")["message"]
    assert message == "spec.password: has a blank, a line break or a control character; use none of them"
    reason(admitlb, BGP_ADVERTISEMENTS, "all", "Invalid")

    def summary() -> str:
        state = admitlb.cluster.get(CONFIGURATION_STATES, "controller", DEFAULT_NAMESPACE)
        return str((state.get("status") or {}).get("errorSummary") or "")

    wait_until(lambda: "BGPPeer a: spec.password: " in summary(), 10, "ConfigurationState names the peer")
    assert "BGPAdvertisement all: spec.peers[1]: a is listed twice" in summary()
    admitlb.control_plane.kubectl("apply", "-f", "-", stdin=kept)


def test_a_password_is_in_no_log_event_or_status(admitlb: Installation) -> None:
    refusal(admitlb, BGP_PEERS, peer(password=f"{PASSWORD}\n"))
    apply(admitlb, peer(password=PASSWORD))
    reason(admitlb, BGP_PEERS, "tor", "NoBGP")
    for kind in (*BGP_KINDS, CONFIGURATION_STATES):
        for document in admitlb.cluster.list(kind, DEFAULT_NAMESPACE)["items"]:
            assert PASSWORD not in str(document.get("status"))
    assert PASSWORD not in str(admitlb.cluster.list(EVENTS, DEFAULT_NAMESPACE)["items"])
    logs = {path: path.read_text() for path in admitlb.directory.rglob("*.log")}
    assert len(logs) >= len(admitlb.webhooks + admitlb.reconcilers)
    assert [path for path, text in logs.items() if PASSWORD in text] == []
