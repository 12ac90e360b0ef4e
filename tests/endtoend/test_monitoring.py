"""A real Prometheus scrapes the lab: what is shipped for it works, and what it is told is true."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from allocator.kube.client import Object
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from tests.bench.speaker_site import VIP, SpeakerSite, speaker_site
from tests.lab.lab import Lab
from tests.lab.prometheus import Prometheus
from tests.lab.prometheus_programs import find_prometheus
from tests.lab.waiting import wait_until
from tests.observability.component import (
    BGP_COMPONENT,
    COMPONENT,
    alerts,
    dashboard_queries,
    metrics_in,
    rule_groups,
    service_monitor,
)
from tests.observability.monitored import PROMETHEUS_RULES, SERVICE_MONITORS, component_documents, monitored
from tests.unit.monitoring.metrics_reference import names

_TESTS = Path(__file__).parents[1] / "observability"
RULE_TESTS = {COMPONENT: _TESTS / "alerts_test.yaml", BGP_COMPONENT: _TESTS / "alerts_bgp_test.yaml"}
CONFLICTS = "admitlb_address_conflicts_total"
"""Has no series before the first conflict; `tests/observability` makes one."""

OF_LOAD = ("AdmitLBSpeakerSlow", "AdmitLBAdmissionSlow")
"""May fire on a machine that is busy with other work."""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[SpeakerSite]:
    with speaker_site(lab) as site:
        # What other tests have made the speakers count is an alarm for ten minutes.
        for pod in lab.pods(DEFAULT_NAMESPACE, "component=speaker"):
            lab.kill_component(pod["metadata"]["name"], "speaker")
        site.steady()
        yield site


@pytest.fixture(scope="module")
def prometheus(site: SpeakerSite) -> Iterator[Prometheus]:
    with monitored(site.lab) as prometheus:
        yield prometheus


@pytest.fixture(params=RULE_TESTS, ids=lambda path: str(path.name))
def rules(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found = rule_groups(request.param)
    groups = [{**group, "rules": [{**rule, "annotations": {}} for rule in group["rules"]]} for group in found]
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump({"groups": groups}))
    (tmp_path / "alerts_test.yaml").write_text(RULE_TESTS[request.param].read_text())
    return tmp_path


@pytest.mark.parametrize("arguments", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")])
def test_promtool_finds_nothing_wrong(rules: Path, arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [find_prometheus().promtool, *arguments], cwd=rules, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("component", RULE_TESTS, ids=lambda path: str(path.name))
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(component: Path) -> None:
    tests = yaml.safe_load(RULE_TESTS[component].read_text())["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", ())]
    for fires in (True, False):
        assert {case["alertname"] for case in cases if bool(case["exp_alerts"]) is fires} == alerts(component).keys()


def test_the_api_server_stores_the_component_as_it_is(site: SpeakerSite, prometheus: Prometheus) -> None:
    cluster = site.lab.cluster()
    assert cluster.get(SERVICE_MONITORS, "metallb", DEFAULT_NAMESPACE)["spec"] == service_monitor()["spec"]
    assert cluster.get(PROMETHEUS_RULES, "metallb", DEFAULT_NAMESPACE)["spec"]["groups"] == rule_groups()
    assert {document["metadata"]["namespace"] for document in component_documents(site.lab)} == {DEFAULT_NAMESPACE}


def test_every_metric_that_an_alert_reads_has_data(prometheus: Prometheus) -> None:
    read = {metric for alert in alerts().values() for metric in metrics_in(alert["expr"])} - {CONFLICTS}
    for metric in sorted(read):
        wait_until(partial(prometheus.query, metric), 20, f"{metric} has data", interval_seconds=0.2)


def test_every_query_of_the_dashboard_returns_data(prometheus: Prometheus) -> None:
    for title, query in dashboard_queries():
        wait_until(partial(prometheus.query, query), 20, f"{title}: {query} returns data", interval_seconds=0.2)


def test_no_alert_fires_over_a_cluster_in_order(prometheus: Prometheus) -> None:
    for name, alert in alerts().items():
        if name in OF_LOAD:
            continue
        wait_until(partial(_quiet, prometheus, alert["expr"]), 30, f"{name} is quiet")


def test_every_metric_exported_is_on_the_reference_page(prometheus: Prometheus) -> None:
    exported = {sample.labels["__name__"] for sample in prometheus.query('{__name__=~"(metallb|admitlb)_.*"}')}
    # Of each counter the client library also tells when it began.
    assert {name for name in exported if not re.search(r"_created$", name)} <= names()


def test_the_pools_are_counted_as_they_are(site: SpeakerSite, prometheus: Prometheus) -> None:
    site.pool("counted", "198.51.100.0/29", "2001:db8:9::/126")
    site.service("counted-1")
    status = "metallb_allocator_ipv4_addresses_total"
    wait_until(lambda: prometheus.value(f'{status}{{pool="counted"}}') == 8, 20, "the pool of 8 is counted")

    def counted() -> bool:
        held = [claim["spec"] for claim in site.lab.cluster().list(IP_ALLOCATIONS)["items"]]
        for pool in site.lab.cluster().list(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE)["items"]:
            name, shown = pool["metadata"]["name"], pool["status"]
            mine = [
                claim for claim in held if claim["pool"] == name and claim["holders"] and claim["state"] != "Cooling"
            ]
            measured = {
                what: prometheus.value(f'metallb_allocator_{what}{{pool="{name}"}}')
                for what in (
                    "addresses_in_use_total",
                    "services_allocated_total",
                    "ipv4_addresses_total",
                    "ipv6_addresses_total",
                )
            }
            assert measured == {
                "addresses_in_use_total": len(mine),
                "services_allocated_total": len({claim["holders"][0]["name"] for claim in mine}),
                "ipv4_addresses_total": _offered(shown, "IPv4"),
                "ipv6_addresses_total": _offered(shown, "IPv6"),
            }
        assert prometheus.value("sum(metallb_allocator_addresses_in_use_total)") == 2
        return True

    wait_until(counted, 20, "metrics and truth agree", interval_seconds=0.2, retry_on=(AssertionError, KeyError))


def _offered(shown: Object, family: str) -> int:
    """All addresses of a pool: one that another host of the LAN has counts as well."""
    return sum(int(shown.get(f"{what}{family}", 0)) for what in ("assigned", "available", "conflicted"))


def test_the_announcing_node_is_the_one_that_says_so(site: SpeakerSite, prometheus: Prometheus) -> None:
    def announced() -> bool:
        (sample,) = prometheus.query(f'metallb_speaker_announced{{ip="{VIP}"}}')
        assert sample.value == 1
        # The operator's own label takes the name; whoever scrapes without it finds ours in its place.
        assert sample.labels["service"] == "speaker-monitoring"
        assert (sample.labels["exported_service"], sample.labels["protocol"]) == ("default/web", "layer2")
        assert sample.labels["node"] == site.announcer().name
        return True

    wait_until(announced, 20, "Prometheus knows the announcer", retry_on=(AssertionError, ValueError))


def _quiet(prometheus: Prometheus, expression: str) -> bool:
    return not prometheus.query(expression)
