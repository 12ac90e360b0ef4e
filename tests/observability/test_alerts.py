"""Every alert is made to fire once, by what it is there for, and is over when that is."""

from __future__ import annotations

import json
import socket

import pytest

from allocator.kube.client import Object
from allocator.kube.resource import SECRETS
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, WEBHOOK_CERTIFICATE_SECRET
from speaker.membership.heartbeat import Heartbeat, Phase
from tests.bench import speaker_failover
from tests.bench.speaker_site import BACKEND, VIP, SpeakerSite
from tests.lab.pod_status import PODS
from tests.lab.prometheus import Alert, Prometheus
from tests.lab.waiting import wait_until
from tests.lab.workloads import DEPLOYMENTS
from tests.observability import misfortunes
from tests.observability.component import alerts
from tests.observability.monitored import wait_all_up

pytestmark = pytest.mark.timeout(300)

SECONDS = 40.0
FIRED: dict[str, Alert] = {}
"""Filled by the tests, in order; the last one looks at all of it."""


def fires(prometheus: Prometheus, name: str, timeout_seconds: float = SECONDS, **labels: str) -> None:
    FIRED[name] = prometheus.wait_firing(name, timeout_seconds, **labels)


def test_a_pool_that_is_full_and_a_service_that_waits(site: SpeakerSite, prometheus: Prometheus) -> None:
    names = [f"full-{number}" for number in range(5)]
    few = "203.0.113.60-203.0.113.63"
    with misfortunes.pool(site.lab, "few", few), misfortunes.services(site.lab, *names, address_pool="few"):
        for percent in (75, 85, 95):
            fires(prometheus, f"MetalLBAddressPoolUsage{percent}Percent", pool="few")
        fires(prometheus, "MetalLBAddressPoolExhausted", pool="few")
        fires(prometheus, "AdmitLBServicesPending")
        fires(prometheus, "AdmitLBAddressesUnannounced")
    for name in ("MetalLBAddressPoolExhausted", "AdmitLBServicesPending", "AdmitLBAddressesUnannounced"):
        prometheus.wait_quiet(name, SECONDS)


def test_a_wrong_pool_that_nobody_checked(site: SpeakerSite, prometheus: Prometheus) -> None:
    backwards: Object = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "backwards"},
        "spec": {"addresses": ["192.0.2.9-192.0.2.1"]},
    }
    with misfortunes.unchecked(site.lab):
        site.lab.cluster().create(IP_ADDRESS_POOLS, backwards, DEFAULT_NAMESPACE)
        fires(prometheus, "MetalLBStaleConfig", namespace=DEFAULT_NAMESPACE)
        site.lab.cluster().delete(IP_ADDRESS_POOLS, "backwards", DEFAULT_NAMESPACE)
        prometheus.wait_quiet("MetalLBStaleConfig", SECONDS)


def test_a_controller_that_may_not_claim(site: SpeakerSite, prometheus: Prometheus) -> None:
    with misfortunes.forbidden(site.lab, "create", "ipallocations"), misfortunes.services(site.lab, "unclaimed"):
        fires(prometheus, "AdmitLBWebhookErrors", outcome="undecided")
        fires(prometheus, "AdmitLBRepairErrors")


def test_an_api_server_that_cannot_store(site: SpeakerSite, prometheus: Prometheus) -> None:
    etcd = site.lab.control_plane.processes["etcd"]
    decided = "sum(admitlb_admission_duration_seconds_count)"
    before = prometheus.value(decided)
    with misfortunes.frozen(etcd):
        creation = misfortunes.create_without_waiting(site.lab, "slow")
        wait_until(lambda: prometheus.value(decided) != before, 20, "the webhook has answered")
    creation.wait(60)
    site.lab.kubectl("delete", "service", "slow", "--ignore-not-found")
    fires(prometheus, "AdmitLBAdmissionSlow", path="/mutate-v1-service")


def test_an_address_that_a_host_of_the_lan_has(site: SpeakerSite, prometheus: Prometheus) -> None:
    taken = "203.0.113.33"
    with (
        misfortunes.squatter(site.lab, taken),
        misfortunes.services(site.lab, "squatted", app="web", loadBalancerIPs=taken),
    ):
        fires(prometheus, "AdmitLBAddressConflict", ip=taken, claimant="host")


def test_heartbeats_that_do_not_arrive(site: SpeakerSite, prometheus: Prometheus) -> None:
    node = site.lab.node(BACKEND)
    with misfortunes.deaf(node):
        fires(prometheus, "AdmitLBHeartbeatsBlocked")
    prometheus.wait_quiet("AdmitLBHeartbeatsBlocked", SECONDS)


def test_heartbeats_signed_with_another_key(site: SpeakerSite, prometheus: Prometheus) -> None:
    forged = Heartbeat(sender="node-1", phase=Phase.SERVING, incarnation=1, challenge=1, echo=1, sequence=1)
    target = (site.lab.node(BACKEND).addresses[0], 7946)
    with site.lab.client().host.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(forged.encode(b"another key"), target)
    fires(prometheus, "AdmitLBHeartbeatsForged", instance=f"{target[0]}:9122")


def test_a_speaker_that_gets_no_cpu(site: SpeakerSite, prometheus: Prometheus) -> None:
    speaker = misfortunes.speaker_of(site.lab, BACKEND)
    instance = f"{site.lab.node(BACKEND).addresses[0]}:9122"

    def starved() -> bool:
        # Longer than a sample's interval, so that each time makes one late sample.
        with misfortunes.frozen(speaker):
            site.let_it_run(1.2)
        site.let_it_run(0.5)
        return any(alert.labels["instance"] == instance for alert in prometheus.firing("AdmitLBSpeakerSlow"))

    wait_until(starved, 60, "the speaker is late one time in a hundred")
    fires(prometheus, "AdmitLBSpeakerSlow", instance=instance)
    site.steady()


def test_nodes_that_hear_clients_but_not_each_other(site: SpeakerSite, prometheus: Prometheus) -> None:
    with misfortunes.nodes_apart(site):
        fires(prometheus, "AdmitLBAddressAnnouncedTwice", 90, ip=VIP)
    fires(prometheus, "AdmitLBPartitionHealed")
    prometheus.wait_quiet("AdmitLBAddressAnnouncedTwice", SECONDS)


def test_an_address_that_keeps_moving(site: SpeakerSite, prometheus: Prometheus) -> None:
    def moved_again() -> bool:
        speaker_failover.carrier_lost(site)
        return bool(prometheus.firing("AdmitLBTakeoverStorm"))

    wait_until(moved_again, 90, "the address has moved too often")
    fires(prometheus, "AdmitLBTakeoverStorm")


def test_a_node_that_is_lost(site: SpeakerSite, prometheus: Prometheus) -> None:
    announcer = site.announcer()
    with misfortunes.lost(site, announcer):
        fires(prometheus, "AdmitLBSpeakerDown")
        fires(prometheus, "AdmitLBTargetDown", job="speaker-monitoring", instance=f"{announcer.addresses[0]}:9122")
    prometheus.wait_quiet("AdmitLBSpeakerDown", SECONDS)


def test_no_speaker_at_all(site: SpeakerSite, prometheus: Prometheus) -> None:
    with misfortunes.no_speakers(site):
        fires(prometheus, "AdmitLBNoSpeaker")
    prometheus.wait_quiet("AdmitLBNoSpeaker", SECONDS)


def test_controllers_that_cannot_reach_the_api_server(site: SpeakerSite, prometheus: Prometheus) -> None:
    with misfortunes.controllers_without_api(site.lab):
        fires(prometheus, "MetalLBConfigNotLoaded")
        fires(prometheus, "AdmitLBWebhookNotReady")
        fires(prometheus, "AdmitLBWebhookDown")
        fires(prometheus, "AdmitLBNoLeader")
    for name in ("MetalLBConfigNotLoaded", "AdmitLBWebhookDown", "AdmitLBNoLeader"):
        prometheus.wait_quiet(name, SECONDS)


def test_a_certificate_that_ends_soon(site: SpeakerSite, prometheus: Prometheus) -> None:
    # One that lives for a day has less left than an overdue one of the usual length. Whoever serves by the old one
    # would put it back, so nobody may.
    short = {"name": "ADMITLB_CERTIFICATE_LIFETIME_SECONDS", "value": "86400"}
    containers = [{"name": "webhook", "env": [short]}]
    again = {"spec": {"replicas": 2, "template": {"spec": {"containers": containers}}}}
    change_controller(site, {"spec": {"replicas": 0}})
    wait_until(lambda: not controllers(site), 60, "no controller is left")
    site.lab.cluster().delete(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)
    change_controller(site, again)
    site.lab.wait_rolled_out(DEPLOYMENTS, "controller", timeout_seconds=150)
    fires(prometheus, "AdmitLBCertificateExpiry", 60)


def controllers(site: SpeakerSite) -> list[Object]:
    found = site.lab.cluster().list(PODS, DEFAULT_NAMESPACE, label_selector="component=controller")
    return list(found["items"])


def change_controller(site: SpeakerSite, patch: Object) -> None:
    site.lab.kubectl("patch", "deployment", "controller", "-n", DEFAULT_NAMESPACE, "-p", json.dumps(patch))


def test_everything_is_scraped_again_in_the_end(site: SpeakerSite, prometheus: Prometheus) -> None:
    wait_all_up(site.lab, prometheus)


@pytest.mark.parametrize("name", alerts())
def test_each_alert_has_fired_and_said_what_is_the_matter(name: str) -> None:
    alert = FIRED[name]
    rule = alerts()[name]
    assert alert.labels["severity"] == rule["labels"]["severity"]
    assert alert.annotations.keys() == rule["annotations"].keys()
    for text in alert.annotations.values():
        assert text
        assert "<no value>" not in text
        assert "{{" not in text
        assert "error expanding" not in text
