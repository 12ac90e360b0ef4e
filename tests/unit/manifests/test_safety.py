"""What an installation may not do to the cluster it is installed in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.manifests.documents import named, shipped

WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def containers() -> list[dict[str, Any]]:
    workloads = shipped("Deployment") + shipped("DaemonSet")
    return [container for workload in workloads for container in workload["spec"]["template"]["spec"]["containers"]]


def rules() -> list[dict[str, Any]]:
    return [rule for role in shipped("ClusterRole") + shipped("Role") for rule in role["rules"]]


def test_a_webhook_that_is_down_blocks_no_service() -> None:
    (services,) = named("MutatingWebhookConfiguration", "metallb-webhook-configuration")["webhooks"]

    assert services["failurePolicy"] == "Ignore"
    assert services["timeoutSeconds"] <= 3
    assert services["sideEffects"] == "NoneOnDryRun"


def test_nothing_but_our_own_kinds_waits_for_a_webhook_that_must_answer() -> None:
    webhooks = named("ValidatingWebhookConfiguration", "metallb-webhook-configuration")["webhooks"]

    demanding = [rule for webhook in webhooks if webhook["failurePolicy"] == "Fail" for rule in webhook["rules"]]

    assert {group for rule in demanding for group in rule["apiGroups"]} == {"metallb.io"}
    assert {operation for rule in demanding for operation in rule["operations"]} == {"CREATE", "UPDATE"}
    assert {webhook["failurePolicy"] for webhook in webhooks} == {"Fail", "Ignore"}


def test_our_own_services_do_not_wait_for_our_own_webhook() -> None:
    (services,) = named("MutatingWebhookConfiguration", "metallb-webhook-configuration")["webhooks"]
    (requirement,) = services["namespaceSelector"]["matchExpressions"]
    (namespace,) = shipped("Namespace")

    assert requirement["operator"] == "NotIn"
    assert namespace["metadata"]["labels"][requirement["key"]] in requirement["values"]


def test_no_registration_carries_a_certificate_or_a_path() -> None:
    kinds = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    webhooks = [webhook for kind in kinds for obj in shipped(kind) for webhook in obj["webhooks"]]

    assert [webhook["name"] for webhook in webhooks if "caBundle" in webhook["clientConfig"]] == []
    assert [webhook["name"] for webhook in webhooks if "path" in webhook["clientConfig"]["service"]] == []


def test_kubelets_ask_the_monitoring_port_and_never_that_of_admissions() -> None:
    probed = {
        container[probe]["httpGet"]["port"]
        for workload in shipped("Deployment")
        for container in workload["spec"]["template"]["spec"]["containers"]
        for probe in ("readinessProbe", "livenessProbe")
    }

    assert probed == {"metrics-webhook", "metrics-recon"}


def test_no_rule_is_a_wildcard() -> None:
    assert [rule for rule in rules() if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]] == []


def test_secrets_can_be_read_and_changed_by_name_only() -> None:
    open_verbs = {
        verb
        for rule in rules()
        if "secrets" in rule["resources"] and "resourceNames" not in rule
        for verb in rule["verbs"]
    }

    assert open_verbs == {"create"}


def test_the_speaker_writes_nothing_but_its_lease_and_what_it_reports() -> None:
    speaker = [named("ClusterRole", "metallb-system:speaker"), named("Role", "speaker")]
    written = {
        resource
        for role in speaker
        for rule in role["rules"]
        if WRITES & set(rule["verbs"])
        for resource in rule["resources"]
    }

    assert written == {
        "events",
        "leases",
        "servicel2statuses",
        "servicel2statuses/status",
        "ipallocations/status",
        "ipaddresspools/status",
    }


@pytest.mark.parametrize("container", containers(), ids=lambda container: str(container["name"]))
def test_a_container_has_no_more_rights_than_it_needs(container: dict[str, Any]) -> None:
    context = container["securityContext"]

    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"]["drop"] == ["ALL"]
    assert context["capabilities"].get("add", []) == (["NET_RAW"] if container["name"] == "speaker" else [])


@pytest.mark.parametrize("container", containers(), ids=lambda container: str(container["name"]))
def test_a_container_is_probed_and_only_the_speaker_outlives_its_monitoring_port(container: dict[str, Any]) -> None:
    assert "readinessProbe" in container
    assert ("livenessProbe" in container) == (container["name"] != "speaker")


def test_a_rollout_never_leaves_the_webhook_without_a_replica() -> None:
    deployment = named("Deployment", "controller")["spec"]

    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_every_port_names_its_protocol_as_server_side_apply_on_old_clusters_demands() -> None:
    ports = [port for service in shipped("Service") for port in service["spec"]["ports"]]
    ports += [port for container in containers() for port in container.get("ports", [])]

    assert [port["name"] for port in ports if "protocol" not in port] == []
