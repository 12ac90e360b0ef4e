"""Addresses that foreign hosts answer for: reported in a pool's status, marked by the reconciler, free in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from allocator.kube.client import NotFound, Object
from allocator.kube.resource import EVENTS, SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling
from tests.lab.waiting import wait_until

HOST = {"hardwareAddress": "02:00:00:00:00:01", "node": "node-1", "interface": "eth0"}


@pytest.fixture(scope="module")
def installed(reconciling: Reconciling) -> Reconciling:
    reconciling.start().wait_leading()
    return reconciling


@pytest.fixture
def admitlb(installed: Reconciling) -> Iterator[Reconciling]:
    installed.cluster.create(L2_ADVERTISEMENTS, advertisement(), DEFAULT_NAMESPACE)
    installed.cluster.create(
        IP_ADDRESS_POOLS, pool("p", "192.0.2.10-192.0.2.39", reuseDelaySeconds=0), DEFAULT_NAMESPACE
    )
    wait_until(lambda: status(installed).get("nextAddresses"), 10, "the next addresses are published")
    yield installed
    for name in ("web", "pinned"):
        with suppress(NotFound):
            installed.cluster.delete(SERVICES, name, "default")
    wait_until(lambda: set(states(installed).values()) <= {"Conflicted"}, 10, "the Services' claims are gone")
    for kind in (IP_ADDRESS_POOLS, L2_ADVERTISEMENTS):
        for one in installed.cluster.list(kind, DEFAULT_NAMESPACE)["items"]:
            installed.cluster.delete(kind, one["metadata"]["name"], DEFAULT_NAMESPACE)
    wait_until(lambda: not conflicted(installed), 10, "nothing is marked without pools")


def advertisement() -> Object:
    kind = L2_ADVERTISEMENTS
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "all"}, "spec": {}}


def status(admitlb: Reconciling, name: str = "p") -> Object:
    return dict(admitlb.cluster.get(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE).get("status") or {})


def report(admitlb: Reconciling, **hosts: Any) -> None:
    """Write what speakers do; a host of None is gone."""
    body = {"status": {"foreignHosts": {name.replace("_", "."): host for name, host in hosts.items()}}}
    admitlb.cluster.patch(IP_ADDRESS_POOLS, "p", body, DEFAULT_NAMESPACE, subresource="status")


def states(admitlb: Reconciling) -> dict[str, str]:
    return {ip: spec["state"] for ip, spec in admitlb.claims().items()}


def conflicted(admitlb: Reconciling) -> list[str]:
    return sorted(ip for ip, state in states(admitlb).items() if state == "Conflicted")


def shown(admitlb: Reconciling, name: str) -> list[str]:
    return ingress(admitlb.cluster.get(SERVICES, name, "default"))


def pool_event(admitlb: Reconciling, reason: str) -> str:
    found = [
        one["message"]
        for one in admitlb.cluster.list(EVENTS, DEFAULT_NAMESPACE)["items"]
        if one["involvedObject"]["kind"] == "IPAddressPool" and one["reason"] == reason
    ]
    return found[-1] if found else ""


def ready(admitlb: Reconciling) -> Object:
    (found,) = [one for one in status(admitlb)["conditions"] if one["type"] == "Ready"]
    return dict(found)


def test_it_is_marked_told_of_not_handed_out_and_free_again(admitlb: Reconciling) -> None:
    assert status(admitlb)["nextAddresses"] == [f"192.0.2.{number}" for number in range(10, 18)]

    report(admitlb, **{"192_0_2_10": HOST})
    wait_until(lambda: conflicted(admitlb) == ["192.0.2.10"], 10, "the address is marked")
    assert admitlb.claims()["192.0.2.10"]["foreignHost"] == HOST
    wait_until(lambda: status(admitlb).get("conflictedIPv4") == 1, 10, "the pool counts it")
    counted = status(admitlb)
    assert (counted["availableIPv4"], counted["assignedIPv4"]) == (29, 0)
    assert counted["nextAddresses"][0] == "192.0.2.11"
    assert (ready(admitlb)["status"], ready(admitlb)["reason"]) == ("True", "AddressConflict")
    wait_until(lambda: "192.0.2.10 is answered for" in pool_event(admitlb, "AddressConflict"), 10, "an Event")

    admitlb.cluster.create(SERVICES, service("web"), "default")
    wait_until(lambda: shown(admitlb, "web") == ["192.0.2.11"], 10, "the next one is given")

    report(admitlb, **{"192_0_2_10": None})
    wait_until(lambda: not conflicted(admitlb), 10, "the address is free")
    wait_until(lambda: status(admitlb)["nextAddresses"][0] == "192.0.2.10", 10, "and comes next")
    assert ready(admitlb)["reason"] == "Valid"


def test_who_asks_for_it_takes_it_over(admitlb: Reconciling) -> None:
    report(admitlb, **{"192_0_2_10": HOST})
    wait_until(lambda: conflicted(admitlb) == ["192.0.2.10"], 10, "the address is marked")

    asking = service("pinned", annotations={"metallb.io/loadBalancerIPs": "192.0.2.10"})
    admitlb.cluster.create(SERVICES, asking, "default")

    wait_until(lambda: shown(admitlb, "pinned") == ["192.0.2.10"], 10, "the Service has it")
    assert admitlb.claims()["192.0.2.10"]["state"] == "Bound"
    wait_until(lambda: "another host" in admitlb.event("pinned", "addressConflict"), 10, "its author is told")
    wait_until(lambda: not status(admitlb).get("foreignHosts"), 10, "what is claimed is not asked about")


def test_without_layer_2_and_without_the_pool_nothing_stays_marked(admitlb: Reconciling) -> None:
    report(admitlb, **{"192_0_2_10": HOST})
    wait_until(lambda: conflicted(admitlb) == ["192.0.2.10"], 10, "the address is marked")
    admitlb.cluster.delete(L2_ADVERTISEMENTS, "all", DEFAULT_NAMESPACE)
    wait_until(lambda: not conflicted(admitlb), 10, "nobody asks any more")

    admitlb.cluster.create(L2_ADVERTISEMENTS, advertisement(), DEFAULT_NAMESPACE)
    report(admitlb, **{"192_0_2_10": HOST})
    wait_until(lambda: conflicted(admitlb) == ["192.0.2.10"], 10, "the address is marked again")
    admitlb.cluster.delete(IP_ADDRESS_POOLS, "p", DEFAULT_NAMESPACE)
    wait_until(lambda: not conflicted(admitlb), 10, "the mark goes with the pool")


def test_a_router_with_proxy_arp_marks_nothing(admitlb: Reconciling) -> None:
    report(admitlb, **{f"192_0_2_{number}": HOST for number in range(10, 14)})

    wait_until(lambda: ready(admitlb)["reason"] == "AddressConflict", 10, "the pool's condition tells of it")
    assert "more than 3 free addresses" in ready(admitlb)["message"]
    assert conflicted(admitlb) == []
    wait_until(lambda: HOST["hardwareAddress"] in pool_event(admitlb, "ProxyARP"), 10, "an Event")


def test_what_nobody_was_asked_about_counts_for_nothing(admitlb: Reconciling) -> None:
    forged = {
        f"192_0_2_{number}": {**HOST, "hardwareAddress": f"02:00:00:00:01:{number}"} for number in range(20, 30)
    }
    elsewhere = {"203_0_113_1": HOST, "nonsense": HOST}
    report(admitlb, **forged, **elsewhere)

    wait_until(lambda: not status(admitlb).get("foreignHosts"), 10, "the reports are removed")
    assert conflicted(admitlb) == []


def test_a_mark_that_no_speaker_reports_anything_of_is_freed(admitlb: Reconciling) -> None:
    kind = IP_ALLOCATIONS
    spec = {
        "address": "192.0.2.15",
        "pool": "p",
        "state": "Conflicted",
        "since": "2026-01-02T03:04:05Z",
        "holders": [],
        "foreignHost": HOST,
    }
    admitlb.cluster.create(
        kind,
        {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": "192.0.2.15"},
            "spec": spec,
        },
    )
    wait_until(lambda: not conflicted(admitlb), 10, "it is freed")
