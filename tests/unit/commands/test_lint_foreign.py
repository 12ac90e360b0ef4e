"""`admitlb lint` of what is none of ours, is ours no more, or is not where it should be."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from allocator.cli import main
from tests.unit.commands.manifests import Object, advertisement, lint, pool, service

MAIN = pool("main", "192.0.2.0/28")


def of_kind(kind: str, version: str = "metallb.io/v1beta1", **fields: Any) -> Object:
    metadata = {"name": "one", "namespace": "metallb-system"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


@pytest.mark.parametrize(
    ("document", "successor"),
    [
        (of_kind("AddressPool"), "write an IPAddressPool, and an L2Advertisement"),
        (of_kind("AddressPool", "metallb.io/v1alpha1"), "write an IPAddressPool, and an L2Advertisement"),
        (of_kind("IPAddresspool"), "did you mean IPAddressPool?"),
        (of_kind("IpAddressPool"), "did you mean IPAddressPool?"),
        (of_kind("IPAdressPool"), "did you mean IPAddressPool?"),
        (of_kind("L2advertisement"), "did you mean L2Advertisement?"),
        (of_kind("L2Advertisment"), "did you mean L2Advertisement?"),
        (of_kind("BgpPeer", "metallb.io/v1beta2"), "did you mean BGPPeer?"),
        (of_kind("IPAllocations", "admitlb.io/v1alpha1"), "did you mean IPAllocation?"),
        (of_kind("Nonsense"), "there are BFDProfile, "),
        (of_kind("ConfigMap", "v1", data={"config": "address-pools:\n- name: default\n"}), "write an IPAddressPool"),
        (of_kind("ConfigMap", "v1", data={"lb.yaml": "bgp-communities: {}\n"}), "not read since MetalLB 0.13"),
    ],
)
def test_a_kind_that_does_not_exist_is_not_found_and_its_successor_named(document: Object, successor: str) -> None:
    ran = lint(MAIN, document)
    assert (ran.code, ran.codes) == (1, [200, 404])
    assert successor in ran.messages[1]
    assert len(ran.messages[1]) < 500


@pytest.mark.parametrize(
    "document",
    [
        of_kind("MetalLB"),
        of_kind("ConfigMap", "v1", data={"excludel2.yaml": "announcedInterfacesToExclude: [^docker.*]\n"}),
        of_kind("ConfigMap", "v1", data={"config": "address: pools"}) | {"metadata": {"name": "config"}},
        of_kind("ConfigMap", "v1"),
        of_kind("AddressPool", "crd.example.org/v1"),
        of_kind("BGPSessionState", "frrk8s.metallb.io/v1beta1"),
        {"kind": "AddressPool"},
    ],
)
def test_what_is_somebody_elses_passes(document: Object) -> None:
    ran = lint(MAIN, document)
    assert (ran.code, len(ran.documents)) == (0, 1)


def test_an_old_configuration_is_known_by_its_place_as_well() -> None:
    document = of_kind("ConfigMap", "v1", data={"config": "peers: []"})
    document["metadata"] = {"name": "config", "namespace": "metallb-system"}
    assert lint(document).codes == [404]


def test_a_headless_load_balancer_is_refused_before_it_gets_an_address() -> None:
    for spec in ({"clusterIP": "None"}, {"clusterIPs": ["None"]}, {"clusterIP": "None", "clusterIPs": ["None"]}):
        ran = lint(MAIN, service("web", **spec))
        assert ran.codes == [200, 422]
        assert "None makes the Service headless" in ran.messages[1]


@pytest.mark.parametrize("document", [pool("p", "10.0.0.1"), advertisement("a")])
def test_a_missing_namespace_is_told_as_missing(document: Object) -> None:
    del document["metadata"]["namespace"]
    (message,) = lint(document).messages
    assert "metadata.namespace: is missing, and kubectl would create it in default" in message
    assert "write namespace: metallb-system here or in the kustomization that includes it" in message
    written = {**document, "metadata": {**document["metadata"], "namespace": "default"}}
    assert "metadata.namespace: default is not read by AdmitLB" in lint(written).messages[0]


def test_an_advertisement_whose_pool_comes_later_is_no_warning() -> None:
    assert lint(advertisement("a", ipAddressPools=["main"]), MAIN).warnings == []
    (said, _) = lint(advertisement("a", ipAddressPools=["other"]), MAIN).warnings
    assert "there is no pool other" in said


def test_notes_go_to_stderr_and_change_nothing_else() -> None:
    stream = "apiVersion: v1\nkind: ConfigMap\na: {{ x }}\n---\n" + (
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n"
        "metadata: {name: one, namespace: metallb-system}\nspec: {addresses: [192.0.2.1]}\n"
    )
    for form in ("text", "json"):
        result = CliRunner().invoke(main, ["lint", "-", "-o", form], input=stream)
        assert result.exit_code == 0
        assert result.stderr.startswith("Note: -:3: is a chart's template")
        assert result.stderr.endswith("it is passed over\n")
        assert "template" not in result.stdout
    github = CliRunner().invoke(main, ["lint", "-", "-o", "github"], input=stream)
    assert github.stdout.startswith("::notice line=3,title=AdmitLB::is a chart's template")


def test_a_bad_label_key_is_told_with_its_line() -> None:
    stream = (
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: a, namespace: metallb-system}\n"
        "spec:\n  nodeSelectors:\n  - matchLabels:\n      fine: x\n      bad key!: x\n"
    )
    result = CliRunner().invoke(main, ["lint", "-"], input=stream)
    assert result.stdout.startswith(
        "-:8: error 422: L2Advertisement a: spec.nodeSelectors[0].matchLabels[bad key!]: "
    )
