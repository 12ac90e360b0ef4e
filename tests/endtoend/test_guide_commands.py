"""Every kubectl command of the guide behind tests/guide, as written there, shows what the guide says it shows.

Placeholders (`<service-name>`, `<namespace>`) are filled in with a Service that is served.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from allocator.kube.client import Object
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ALLOCATIONS
from tests.endtoend.transcripts import shell
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

CONFIGURATION = "tests/guide/complete-production-configuration-example.yaml"
IN_USE = "10.10.10.100"
NO_COOLING = ("--type=merge", "--patch", '{"spec": {"reuseDelaySeconds": 0}}')

SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: production
spec:
  type: LoadBalancer
  selector:
    app: web
  ports:
    - port: 80
      targetPort: 8080
"""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Lab]:
    """The guide's production configuration, and one Service of namespace production that it serves."""
    lab.install()
    # After tests that cut nodes off the API server may have dead connections to a webhook, one for each kind.
    wait_until(lambda: _configured(lab), 60, "the configuration is applied")
    lab.deploy_http("web", "production")
    lab.kubectl("apply", "-f", "-", stdin=SERVICE)
    yield lab
    # The next test must not wait for the address to cool.
    lab.kubectl("patch", "ipaddresspool", "internal-production", "-n", DEFAULT_NAMESPACE, *NO_COOLING)
    lab.kubectl("delete", "service", "web", "-n", "production")
    lab.kubectl("delete", "deployment", "web", "-n", "production")
    wait_until(lambda: IN_USE not in names(lab, IP_ALLOCATIONS.plural), 30, "the address is free")
    wait_until(lambda: _unconfigured(lab), 10, "the pools are deleted", interval_seconds=0.2)


def _configured(lab: Lab) -> bool:
    return lab.kubectl("apply", "-f", CONFIGURATION, check=False).returncode == 0


def _unconfigured(lab: Lab) -> bool:
    # Admission knows of the release a moment after it, and until then protects the pool.
    done = lab.kubectl("delete", "--ignore-not-found", "-f", CONFIGURATION, check=False)
    return done.returncode == 0


def names(lab: Lab, kind: str) -> list[str]:
    return lab.kubectl("get", kind, "-o", "jsonpath={.items[*].metadata.name}").stdout.split()


def shows(site: Lab, command: str, *wanted: str) -> str:
    """Run the command until it succeeds and every pattern is in what it prints, and return that."""

    def told() -> str:
        done = shell(site, command)
        assert done.returncode == 0, done.stdout
        for pattern in wanted:
            assert re.search(pattern, done.stdout, re.M), f"{pattern} is not in\n{done.stdout}"
        return done.stdout

    return wait_until(told, 30, command, interval_seconds=0.2, retry_on=(AssertionError,))


def test_wait_for_metallb_pods_to_be_ready(site: Lab) -> None:
    command = """kubectl wait --namespace metallb-system \\
  --for=condition=ready pod \\
  --selector=app=metallb \\
  --timeout=90s"""
    met = shows(site, command, r"^pod/controller-\S+ condition met$", r"^pod/speaker-\S+ condition met$")
    assert len(met.splitlines()) == 2 + len(site.nodes)


def test_check_the_status_of_ip_pools(site: Lab) -> None:
    shows(
        site,
        "kubectl get ipaddresspools -n metallb-system",
        r"^NAME +AUTO ASSIGN +AVOID BUGGY IPS +ADDRESSES ",
        r'^external-production +true +true +\["203\.0\.113\.10-203\.0\.113\.50"\]',
        r'^internal-production +true +false +\["10\.10\.10\.100-10\.10\.10\.200"\] +1 +100 +0 +0 +True ',
    )


def test_view_detailed_pool_information(site: Lab) -> None:
    shows(
        site,
        "kubectl describe ipaddresspool -n metallb-system",
        r"^Name: +internal-production$",
        r"^ +10\.10\.10\.100-10\.10\.10\.200$",
        r"(?i)^ +assigned ?ipv4: +1$",
        r"^ +Type: +Ready$",
    )


def test_list_services_with_their_assigned_external_ips(site: Lab) -> None:
    shows(
        site,
        "kubectl get services -A -o wide | grep LoadBalancer",
        r"^production +web +LoadBalancer +\S+ +10\.10\.10\.100 +80:\d+/TCP +\S+ +app=web$",
    )


def test_view_detailed_service_events(site: Lab) -> None:
    shows(
        site,
        "kubectl describe service web -n production",
        r"^LoadBalancer Ingress: +10\.10\.10\.100\b",
        r'Normal +IPAllocated +\S+ +metallb-controller +Assigned IP \["10\.10\.10\.100"\]',
        r'Normal +nodeAssigned +.* metallb-speaker +announcing from node "node-\d" with protocol "layer2"',
    )


def test_check_speaker_pods_for_l2_advertisement_activity(site: Lab) -> None:
    shows(
        site,
        "kubectl logs -n metallb-system -l app=metallb,component=speaker --tail=100",
        r"event=address\.announced ip=10\.10\.10\.100 service=production/web protocol=layer2",
    )


def test_check_controller_logs_for_ip_assignment_issues(site: Lab) -> None:
    shows(
        site,
        "kubectl logs -n metallb-system -l app=metallb,component=controller --tail=100",
        r"ip=10\.10\.10\.100 .*service=production/web|service=production/web .*ip=10\.10\.10\.100",
    )


def test_check_if_there_are_available_ips_in_the_pools(site: Lab) -> None:
    shows(site, "kubectl get ipaddresspools -n metallb-system -o yaml", r"^ +availableIPv4: 100$")


def test_verify_the_services_namespace_matches_pool_allocation_rules(site: Lab) -> None:
    shows(
        site,
        "kubectl get service web -n production -o yaml",
        r"^  namespace: production$",
        r"^    metallb\.io/ip-allocated-from-pool: internal-production$",
        r"^    - ip: 10\.10\.10\.100$",
    )


def test_verify_speaker_pods_are_running_on_the_correct_nodes(site: Lab) -> None:
    printed = shows(site, "kubectl get pods -n metallb-system -o wide | grep speaker", r"^speaker-\S+ +1/1 +Running ")
    # Of a Pod that was restarted, newer kubectls say when: `1 (5m ago)`.
    rows = [re.sub(r" \(.* ago\)", "", line).split() for line in printed.splitlines()]
    assert {row[6] for row in rows} == set(site.nodes)


def test_check_if_arp_is_working_by_examining_speaker_logs(site: Lab) -> None:
    shows(
        site,
        "kubectl logs -n metallb-system -l component=speaker | grep -i arp",
        r"event=address\.announced ip=10\.10\.10\.100 .* answers=ARP interfaces=eth1",
    )


def test_list_all_assigned_ips_to_check_for_duplicates(site: Lab) -> None:
    command = (
        """kubectl get services -A -o jsonpath='{range .items[?(@.spec.type=="LoadBalancer")]}"""
        """{.metadata.namespace}/{.metadata.name}: {.status.loadBalancer.ingress[*].ip}{"\\n"}{end}'"""
    )
    printed = shows(site, command, r"^production/web: 10\.10\.10\.100$")
    addresses = [line.partition(": ")[2] for line in printed.splitlines()]
    assert len(addresses) == len(set(addresses))


def test_an_external_ip_that_is_reachable_is_answered_for_by_a_node(site: Lab) -> None:
    """The step after "External IP not reachable": on a machine of the LAN, which has the cluster's kubeconfig."""
    argv = [Path(sys.executable).with_name("admitlb"), "who-has", "--kubeconfig", site.control_plane.kubeconfig()]

    def answered() -> str:
        done = site.client().host.run(*map(str, argv), IN_USE, check=False, timeout_seconds=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told = wait_until(answered, 60, "a node answers", retry_on=(AssertionError,))
    lines = told.splitlines()
    assert lines[0] == f"{IN_USE}: Answered"
    assert re.fullmatch(r"  node-\d \([0-9a-f:]{17}\) answers on eth1 after \d+\.\d ms", lines[1])
    assert lines[2:] == ["  held by production/web from pool internal-production"]


def test_every_speakers_container_can_ask_the_lan_who_answers(site: Lab) -> None:
    """`kubectl exec`, from the node that announces the address too, which hears no answer of its own."""

    def printed(pod: Object) -> str:
        name = str(pod["metadata"]["name"])
        words = ("exec", "-n", DEFAULT_NAMESPACE, name, "--", "admitlb", "who-has", IN_USE)
        done = site.kubectl(*words, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith(f"{IN_USE}: Answered\n")
        return done.stdout

    pods = {str(pod["spec"]["nodeName"]): pod for pod in site.pods(DEFAULT_NAMESPACE, "component=speaker")}
    assert pods.keys() == set(site.nodes)
    by_node = {
        node: wait_until(partial(printed, pod), 60, f"{node} asks", retry_on=(AssertionError,))
        for node, pod in pods.items()
    }
    (holder,) = {
        name for text in by_node.values() for name in re.findall(r"^  (node-\d) .* answers on eth1 ", text, re.M)
    }
    assert f"  this machine, {holder} " in by_node[holder]


def test_the_metrics_the_guide_names_are_served(site: Lab) -> None:
    """But for metallb_bgp_session_up: there is no BGP, and a session that cannot exist is not reported as down."""

    def scraped(port: int) -> str:
        hosts = [pod["status"]["podIP"] for pod in site.pods("metallb-system", "app=metallb") if _serves(pod, port)]
        return "\n".join(site.client().http_get(f"http://{host}:{port}/metrics").text for host in hosts)

    wait_until(
        lambda: 'metallb_allocator_addresses_in_use_total{pool="internal-production"} 1.0' in scraped(9121),
        20,
        "the leader counts the address in use",
        interval_seconds=0.2,
    )
    assert 'metallb_allocator_addresses_total{pool="internal-production"} 101.0' in scraped(9121)
    site.client().who_has(IN_USE, "eth1")
    assert re.search(rf'^metallb_layer2_requests_received\S*{{ip="{re.escape(IN_USE)}"}} [1-9]', scraped(9122), re.M)


def _serves(pod: Object, port: int) -> bool:
    component = "speaker" if port == 9122 else "controller"
    return str(pod["metadata"]["labels"]["component"]) == component
