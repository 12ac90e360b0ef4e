"""The network policy lets through what the controllers listen on and ask for, to those who need it."""

from __future__ import annotations

from typing import Any

import yaml

from tests.unit.manifests.documents import ROOT, named, shipped

POLICY = ROOT / "kustomize" / "components" / "network-policy" / "controller.yaml"


def policy() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(POLICY.read_text())["spec"]
    return document


def ports_of(rule: dict[str, Any]) -> set[tuple[int, str]]:
    return {(port["port"], port["protocol"]) for port in rule["ports"]}


def test_it_covers_the_controllers_in_both_directions() -> None:
    template = named("Deployment", "controller")["spec"]["template"]["metadata"]["labels"]

    assert policy()["podSelector"]["matchLabels"].items() <= template.items()
    assert set(policy()["policyTypes"]) == {"Ingress", "Egress"}


def test_the_webhook_is_open_to_api_servers_wherever_they_are() -> None:
    (service,) = (each for each in shipped("Service") if each["metadata"]["name"] == "metallb-webhook-service")
    (container,) = (
        each
        for each in named("Deployment", "controller")["spec"]["template"]["spec"]["containers"]
        if each["name"] == "webhook"
    )
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    target = service["spec"]["ports"][0]["targetPort"]
    open_to_all = {port for rule in policy()["ingress"] if "from" not in rule for port in ports_of(rule)}

    assert open_to_all == {(ports.get(target, target), "TCP")}


def test_metrics_are_for_the_monitoring_alone() -> None:
    scraped = {
        (port["targetPort"], "TCP")
        for service in shipped("Service")
        if service["metadata"]["name"] in ("webhook-monitoring", "reconciler-monitoring")
        for port in service["spec"]["ports"]
    }
    (rule,) = (rule for rule in policy()["ingress"] if "from" in rule)
    containers = named("Deployment", "controller")["spec"]["template"]["spec"]["containers"]
    names = {port["name"]: port["containerPort"] for each in containers for port in each["ports"]}

    assert ports_of(rule) == {(names.get(port, port), protocol) for port, protocol in scraped}
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_the_controllers_reach_the_api_server_and_each_other() -> None:
    anywhere = {port for rule in policy()["egress"] if "to" not in rule for port in ports_of(rule)}
    among_ourselves = [
        rule for rule in policy()["egress"] if rule.get("to") == [{"podSelector": policy()["podSelector"]}]
    ]

    assert anywhere == {(443, "TCP"), (6443, "TCP")}
    assert [ports_of(rule) for rule in among_ourselves] == [{(9443, "TCP")}]
