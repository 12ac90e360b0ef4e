"""Faults that users of MetalLB, kube-vip, PureLB and Cilium reported in public, each with an input of our own.

`metallb#1774` is https://github.com/metallb/metallb/issues/1774, and so on. Reports that need processes, packets or a
live API server have tests in tests/cluster, tests/wire and tests/endtoend.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner

from allocator.cli import main
from tests.unit.commands.manifests import Object, Ran, advertisement, deleted, namespace, plan, pool, service

DUAL = ("--cluster-families", "IPv4,IPv6")
ALL = advertisement("all")
KEY = {"allow-shared-ip": "dns"}
UDP = [{"port": 53, "protocol": "UDP"}]
TCP = [{"port": 53, "protocol": "TCP"}]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Documents as a user of another load balancer had them, and what becomes of the Services here."""

    source: str
    fault: str
    """What the other load balancer did."""
    documents: tuple[Object, ...]
    addresses: dict[str, list[str]]
    """By Service: none for one that waits or is left alone."""
    says: tuple[str, ...] = ()
    """What the answers say, in part; none of it may be left out of a message, a warning or a Service's message."""
    options: tuple[str, ...] = field(default=())


def _local(name: str, ports: list[Object], app: str) -> Object:
    return service(name, annotations=KEY, ports=ports, externalTrafficPolicy="Local", selector={"app": app})


REPORTS = (
    Report(
        source="metallb#1774, metallb#2443, metallb#2479",
        fault="after a restart a Service that waited is given the address of another",
        documents=(ALL, pool("lan", "198.51.100.7"), service("waits"), service("holds", shows=("198.51.100.7",))),
        addresses={"waits": [], "holds": ["198.51.100.7"]},
        says=("prod/waits: no IPv4 address left (lan: full)",),
    ),
    Report(
        source="metallb#1591, metallb#2076",
        fault="a pool is deleted under its Services, and its address given twice",
        documents=(
            ALL,
            pool("a", "198.51.100.0/31"),
            pool("b", "198.51.100.8/31"),
            service("web"),
            deleted(pool("a", "198.51.100.0/31")),
            service("api"),
        ),
        addresses={"web": ["198.51.100.0"], "api": ["198.51.100.1"]},
        says=("its deletion takes away 198.51.100.0 (prod/web)",),
    ),
    Report(
        source="metallb#1755",
        fault="a pool gets other addresses, and its Services keep the old ones silently",
        documents=(ALL, pool("lan", "198.51.100.52"), service("web"), pool("lan", "198.51.100.53")),
        addresses={"web": ["198.51.100.52"]},
        says=("the change takes away 198.51.100.52 (prod/web)", "Drain", "Reassign"),
    ),
    Report(
        source="metallb#321, metallb#1586",
        fault="a Service that waits for an address does not get it when that is released",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            service("old", annotations={"loadBalancerIPs": "198.51.100.9"}),
            service("new", annotations={"loadBalancerIPs": "198.51.100.9"}),
            deleted(service("old")),
        ),
        addresses={"new": ["198.51.100.9"]},
    ),
    Report(
        source="metallb#190",
        fault="a Service that becomes a NodePort keeps its address",
        documents=(ALL, pool("lan", "198.51.100.7"), service("web"), service("web", type="NodePort"), service("api")),
        addresses={"web": [], "api": ["198.51.100.7"]},
    ),
    Report(
        source="metallb#2887, metallb#2971",
        fault="the status that another controller wrote is taken away",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28", autoAssign=False),
            service("rancher", shows=("203.0.113.3",)),
        ),
        addresses={"rancher": []},
        says=("its status shows 203.0.113.3 of no pool", "it is left alone"),
    ),
    Report(
        source="metallb#2971",
        fault="nothing says that a pool with autoAssign: false has to be asked for",
        documents=(ALL, pool("lan", "198.51.100.0/28", autoAssign=False), service("web")),
        addresses={"web": []},
        says=("only on request (autoAssign: false)", "ask for pool lan by annotation metallb.io/address-pool"),
    ),
    Report(
        source="metallb#1431",
        fault="a status entry without an address keeps a Service from being served",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            {**service("web"), "status": {"loadBalancer": {"ingress": [{}, {"ip": ""}]}}},
        ),
        addresses={"web": ["198.51.100.0"]},
    ),
    Report(
        source="metallb#1431",
        fault="a Service with more than two addresses in its status stops the controller",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            service("web", shows=("198.51.100.3", "198.51.100.4", "198.51.100.5")),
            service("api"),
        ),
        addresses={"web": ["198.51.100.3"], "api": ["198.51.100.0"]},
    ),
    Report(
        source="metallb#2656",
        fault="a pool with a priority and no selector serves nobody",
        documents=(ALL, pool("lan", "198.51.100.7", serviceAllocation={"priority": 5}), service("web")),
        addresses={"web": ["198.51.100.7"]},
    ),
    Report(
        source="metallb#1339, metallb#1776, metallb#2482",
        fault="PreferDualStack gets nothing where pools have one family",
        documents=(
            ALL,
            pool("lan", "198.51.100.7"),
            service("web", ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv6", "IPv4"]),
        ),
        addresses={"web": ["198.51.100.7"]},
        says=("PreferDualStack gets IPv4 only",),
        options=DUAL,
    ),
    Report(
        source="metallb#1156",
        fault="two pools of one family each do not serve a dual-stack Service",
        documents=(
            ALL,
            pool("four", "198.51.100.7"),
            pool("six", "2001:db8::7"),
            service("web", ipFamilyPolicy="RequireDualStack"),
        ),
        addresses={"web": ["198.51.100.7", "2001:db8::7"]},
        options=DUAL,
    ),
    Report(
        source="metallb#2724",
        fault="on a single-stack cluster a pool of both families gives both",
        documents=(ALL, pool("lan", "2001:db8::7", "198.51.100.7"), service("web", ipFamilyPolicy="PreferDualStack")),
        addresses={"web": ["198.51.100.7"]},
    ),
    Report(
        source="cilium: a user's pool of 192.168.100.200/28; metallb#1589 has 1.1.1.1/24",
        fault="a CIDR written by an address within gives out addresses before it",
        documents=(ALL, pool("lan", "198.51.100.40/28"), service("web")),
        addresses={"web": ["198.51.100.32"]},
        says=("'198.51.100.40/28' is 198.51.100.32-198.51.100.47", "write 198.51.100.32/28, or 198.51.100.40-"),
    ),
    Report(
        source="cilium: the same, in what is left out",
        fault="more is left out than was written",
        documents=(ALL, pool("lan", "2001:db8::/120", excludeAddresses=["2001:db8::f/124"])),
        addresses={},
        says=("spec.excludeAddresses[0]: '2001:db8::f/124' is 2001:db8::-2001:db8::f",),
    ),
    Report(
        source="metallb#1696",
        fault="a misspelt annotation is passed over silently",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            service("web", annotations={"metallb.universe.tf/allow-shared": "dns"}),
        ),
        addresses={"web": ["198.51.100.0"]},
        says=("metallb.universe.tf/allow-shared is unknown and has no effect; did you mean metallb.io/allow",),
    ),
    Report(
        source="a user's chart with the legacy key beside the new one",
        fault="one of two keys that differ is passed over silently",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            service(
                "web",
                annotations={
                    "loadBalancerIPs": "198.51.100.4",
                    "metallb.universe.tf/loadBalancerIPs": "198.51.100.5",
                },
            ),
        ),
        addresses={"web": ["198.51.100.4"]},
        says=("metallb.universe.tf/loadBalancerIPs: '198.51.100.5' is not read beside metallb.io/loadBalancerIPs",),
    ),
    Report(
        source="metallb#801, metallb#788, metallb#1499",
        fault="two Services with one key wait or part, and nothing says why",
        documents=(ALL, pool("lan", "198.51.100.7"), _local("web", TCP, "web"), _local("dns", UDP, "dns")),
        addresses={"web": ["198.51.100.7"], "dns": []},
        says=("under key 'dns' 198.51.100.7 is held by prod/web (ports 53/TCP), whose selector differs",),
    ),
    Report(
        source="cilium#38766, cilium#48867",
        fault="Services that differ in their traffic policy get two addresses, and nothing says why",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            service("tcp", annotations=KEY, ports=TCP),
            _local("udp", UDP, "dns"),
        ),
        addresses={"tcp": ["198.51.100.0"], "udp": ["198.51.100.1"]},
        says=("does not share under key 'dns'", "whose externalTrafficPolicy is Cluster, not Local"),
    ),
    Report(
        source="pihole-kubernetes#59",
        fault="TCP and UDP of one set of Pods under Local do not share",
        documents=(ALL, pool("lan", "198.51.100.7"), _local("tcp", TCP, "dns"), _local("udp", UDP, "dns")),
        addresses={"tcp": ["198.51.100.7"], "udp": ["198.51.100.7"]},
    ),
    Report(
        source="metallb#2403",
        fault="of two sharers that change one after the other one waits without end",
        documents=(
            ALL,
            pool("lan", "198.51.100.7"),
            service("tcp", annotations=KEY, ports=TCP, selector={"app": "dns"}),
            service("udp", annotations=KEY, ports=UDP, selector={"app": "dns"}),
            _local("tcp", TCP, "dns"),
            _local("udp", UDP, "dns"),
        ),
        addresses={"tcp": ["198.51.100.7"], "udp": ["198.51.100.7"]},
    ),
    Report(
        source="cilium#41947",
        fault="of a shared pair of addresses one alone is shared",
        documents=(
            ALL,
            pool("lan", "198.51.100.7", "2001:db8::7"),
            service("tcp", annotations=KEY, ports=TCP, ipFamilyPolicy="PreferDualStack"),
            service("udp", annotations=KEY, ports=UDP, ipFamilyPolicy="PreferDualStack"),
        ),
        addresses={"tcp": ["198.51.100.7", "2001:db8::7"], "udp": ["198.51.100.7", "2001:db8::7"]},
        options=DUAL,
    ),
    Report(
        source="kube-vip#51, kube-vip#283, kube-vip#1006",
        fault="two Services show one address and the same port",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            service("web", shows=("198.51.100.1",)),
            service("api", shows=("198.51.100.1",)),
        ),
        addresses={"web": ["198.51.100.1"], "api": ["198.51.100.0"]},
    ),
    Report(
        source="purelb#1",
        fault="an IPv6 address that is asked for is not found in a pool that has both families",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28", "2001:db8::/112"),
            service("web", ipFamilies=["IPv6"], loadBalancerIP="2001:DB8:0::5"),
        ),
        addresses={"web": ["2001:db8::5"]},
        options=DUAL,
    ),
    Report(
        source="purelb#2",
        fault="several addresses in one entry are an error that does not say how to write them",
        documents=(ALL, pool("lan", "198.51.100.29,198.51.100.34")),
        addresses={},
        says=("write 2 entries: 198.51.100.29, 198.51.100.34",),
    ),
    Report(
        source="metallb#2711",
        fault="an address of no pool that another controller writes is fought over",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            service("web", loadBalancerIP="203.0.113.8", shows=("203.0.113.8",)),
        ),
        addresses={"web": []},
        says=("it is left alone",),
    ),
    Report(
        source="metallb#996, metallb#685",
        fault="a Service of another class is served",
        documents=(ALL, pool("lan", "198.51.100.0/28"), service("web", loadBalancerClass="example.com/other")),
        addresses={"web": []},
        says=("loadBalancerClass example.com/other is not served here",),
    ),
    Report(
        source="metallb#2723",
        fault="an address changes when another Service is deleted",
        documents=(
            ALL,
            pool("lan", "198.51.100.0/28"),
            service("first"),
            service("second"),
            deleted(service("first")),
            service("second", labels={"changed": "yes"}),
        ),
        addresses={"second": ["198.51.100.1"]},
    ),
    Report(
        source="metallb: labels that come after the Service",
        fault="a Service waits although its Namespace has the label by now",
        documents=(
            ALL,
            namespace("prod"),
            pool("lan", "198.51.100.7", serviceAllocation={"namespaceSelectors": [{"matchLabels": {"lb": "yes"}}]}),
            service("web"),
            namespace("prod", lb="yes"),
        ),
        addresses={"web": ["198.51.100.7"]},
    ),
    Report(
        source="metallb#1154, metallb#1561",
        fault="an address is assigned and nobody announces it, as there is no advertisement",
        documents=(pool("lan", "198.51.100.7"), service("web")),
        addresses={"web": ["198.51.100.7"]},
        says=("no L2Advertisement or BGPAdvertisement covers pool lan",),
    ),
)


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: f"{report.source}: {report.fault}")
def test_the_fault_is_not_ours(report: Report) -> None:
    ran = plan(*report.documents, options=report.options)
    assert ran.ips == report.addresses
    for said in report.says:
        assert said in _all_that_is_said(ran)


def test_the_second_of_two_notes_does_not_name_the_service_again() -> None:
    ran = plan(
        ALL,
        pool("lan", "198.51.100.0/28", "2001:db8::/120"),
        service(
            "tcp",
            annotations={**KEY, "loadBalancerIPs": "198.51.100.9,2001:db8::9"},
            ipFamilyPolicy="PreferDualStack",
        ),
        service("udp", annotations=KEY, ports=UDP, ipFamilyPolicy="PreferDualStack"),
        options=DUAL,
    )
    message = ran.services["prod/udp"]["message"]
    assert message.count("does not share under key 'dns'") == 2
    assert message.startswith("prod/udp: ")
    assert message.count("prod/udp") == 1


def test_a_pool_that_has_no_room_is_not_proposed() -> None:
    ran = plan(
        ALL,
        pool("lan", "198.51.100.7"),
        pool("reserved", "203.0.113.7", autoAssign=False),
        service("first"),
        service("second", annotations={"address-pool": "reserved"}),
        service("web"),
    )
    assert ran.services["prod/web"]["message"].endswith("; release addresses or extend a pool")


def test_an_exchange_of_addresses_goes_by_a_third_one() -> None:
    """docs/limits.md and docs/faq.md: both keep what they have, until one asks for a third address."""

    def asks(name: str, last: int) -> Object:
        return service(name, annotations={"loadBalancerIPs": f"198.51.100.{last}"})

    before = (ALL, pool("lan", "198.51.100.0/28"), asks("web", 1), asks("api", 2), asks("web", 2), asks("api", 1))
    assert plan(*before).ips == {"web": ["198.51.100.1"], "api": ["198.51.100.2"]}
    assert plan(*before, asks("web", 3)).ips == {"web": ["198.51.100.3"], "api": ["198.51.100.1"]}
    assert plan(*before, asks("web", 3), asks("web", 2)).ips == {"web": ["198.51.100.2"], "api": ["198.51.100.1"]}


def test_a_key_that_a_chart_writes_twice_is_warned_of() -> None:
    """openelb#322: charts rendered one annotation twice, and the address changed without end."""
    text = """\
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations:
    metallb.io/loadBalancerIPs: 198.51.100.4
    metallb.io/loadBalancerIPs: 198.51.100.5
spec:
  type: LoadBalancer
  ports: [{port: 80}]
"""
    result = CliRunner().invoke(main, ["lint", "-"], input=text)
    assert (
        "-:6: warning: default/web: metadata.annotations[metallb.io/loadBalancerIPs]: is written twice, and the last "
        "one counts; remove one\n"
    ) in result.output
    assert "198.51.100.5 is in no pool" in result.output


def _all_that_is_said(ran: Ran) -> str:
    return "\n".join((*ran.messages, *ran.warnings, *(one["message"] for one in ran.told["services"])))
