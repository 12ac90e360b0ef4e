"""What pools, advertisements, the configuration as a whole and Services say of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from allocator.kube.client import NotFound, Object
from allocator.kube.resource import EVENTS, LEASES, NAMESPACES, NODES, SERVICES, Resource
from allocator.kube.timestamps import write_time
from allocator.objects.names import (
    CONFIGURATION_STATES,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    L2_ADVERTISEMENTS,
    QUOTA_ANNOTATION,
    SPEAKER_SUBNETS_ANNOTATION,
)
from allocator.rules.service_report import IP_ASSIGNED
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciler, Reconciling, advertisement, conditions, kstatus
from tests.lab.waiting import wait_until


@pytest.fixture(scope="module")
def leader(reconciling: Reconciling) -> Reconciler:
    reconciler = reconciling.start()
    reconciler.wait_leading()
    return reconciler


@pytest.fixture
def admitlb(reconciling: Reconciling, leader: Reconciler) -> Iterator[Reconciling]:
    """Our kinds and one reconciler, which leads. No webhook: anything can be stored."""
    yield reconciling
    assert leader.process.alive
    reconciling.clear()


def add_pool(admitlb: Reconciling, name: str, *addresses: str, **spec: object) -> None:
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool(name, *addresses, **spec), DEFAULT_NAMESPACE)


def when(admitlb: Reconciling, resource: Resource, name: str, holds: Callable[[Object], object], what: str) -> Object:
    """Wait until the object is as described and return it."""

    def found() -> Object | None:
        obj = admitlb.cluster.get(resource, name, "default" if resource is SERVICES else DEFAULT_NAMESPACE)
        return obj if holds(obj) else None

    return wait_until(found, 10, what)


def events_about(admitlb: Reconciling, name: str) -> list[tuple[str, str]]:
    """What AdmitLB has reported; Kubernetes' own controllers report now and then, too."""
    items = admitlb.cluster.list(EVENTS, "default")["items"]
    ours = [one for one in items if one["source"].get("component") == "metallb-controller"]
    about = [one for one in ours if one["involvedObject"]["name"] == name]
    return [(one["reason"], one["message"]) for one in sorted(about, key=lambda one: int(_version(one)))]


def speaker_lease(node: str, subnet: str) -> Object:
    return {
        "metadata": {"name": f"speaker-{node}", "annotations": {SPEAKER_SUBNETS_ANNOTATION: subnet}},
        "spec": {"holderIdentity": node, "leaseDurationSeconds": 30, "renewTime": write_time(datetime.now(UTC))},
    }


def _version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


class TestPools:
    def test_a_new_pool_is_ready_within_a_second(self, admitlb: Reconciling) -> None:
        created = time.monotonic()
        add_pool(admitlb, "fine", "192.0.2.0/28")
        found = when(admitlb, IP_ADDRESS_POOLS, "fine", conditions, "it has conditions")
        assert time.monotonic() - created < 1
        assert kstatus(found) == "Current"
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        assert list(conditions(found)) == ["Ready"]
        assert found["status"]["availableIPv4"] == 16

    def test_a_changed_pool_is_observed_and_ready_keeps_its_time(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "fine", "192.0.2.0/28")
        before = when(admitlb, IP_ADDRESS_POOLS, "fine", conditions, "it has conditions")
        wider = {"spec": {"addresses": ["192.0.2.0/27"]}}
        changed = admitlb.cluster.patch(IP_ADDRESS_POOLS, "fine", wider, DEFAULT_NAMESPACE)
        generation = changed["metadata"]["generation"]
        after = when(
            admitlb,
            IP_ADDRESS_POOLS,
            "fine",
            lambda obj: obj["status"]["observedGeneration"] == generation,
            "the change is observed",
        )
        assert after["status"]["availableIPv4"] == 32
        assert conditions(after)["Ready"]["lastTransitionTime"] == conditions(before)["Ready"]["lastTransitionTime"]

    def test_an_unreadable_pool_is_stalled_with_every_problem_until_it_is_mended(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "odd", "10.0.0.9-10.0.0.1", "127.0.0.0/8")
        found = when(admitlb, IP_ADDRESS_POOLS, "odd", conditions, "it has conditions")
        assert kstatus(found) == "Failed"
        assert conditions(found)["Ready"]["status"] == "False"
        assert "spec.addresses[0]" in conditions(found)["Stalled"]["message"]
        mended = {"spec": {"addresses": ["10.0.0.1-10.0.0.9"]}}
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "odd", mended, DEFAULT_NAMESPACE)
        found = when(admitlb, IP_ADDRESS_POOLS, "odd", lambda obj: kstatus(obj) == "Current", "it is ready")
        assert "Stalled" not in conditions(found)

    def test_of_two_overlapping_pools_the_later_is_stalled(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "first", "192.0.2.0/28")
        when(admitlb, IP_ADDRESS_POOLS, "first", conditions, "it has conditions")
        # Creation times have whole seconds; within one of them the name decides.
        add_pool(admitlb, "second", "192.0.2.8-192.0.2.20")
        found = when(admitlb, IP_ADDRESS_POOLS, "second", conditions, "it has conditions")
        assert kstatus(found) == "Failed"
        assert conditions(found)["Stalled"]["reason"] == "Overlap"
        assert "192.0.2.8-192.0.2.20 overlaps 192.0.2.0/28 of pool first" in conditions(found)["Stalled"]["message"]
        assert kstatus(admitlb.cluster.get(IP_ADDRESS_POOLS, "first", DEFAULT_NAMESPACE)) == "Current"
        admitlb.cluster.create(SERVICES, service("web", {"metallb.io/address-pool": "second"}), "default")
        found = when(admitlb, SERVICES, "web", conditions, "it has a condition")
        assert conditions(found)[IP_ASSIGNED]["reason"] == "UnknownPool", "nothing is assigned from it meanwhile"
        admitlb.cluster.delete(SERVICES, "web", "default")
        admitlb.cluster.delete(IP_ADDRESS_POOLS, "first", DEFAULT_NAMESPACE)
        when(admitlb, IP_ADDRESS_POOLS, "second", lambda obj: kstatus(obj) == "Current", "it is alone and ready")

    def test_a_pool_says_which_addresses_are_still_used_outside_it(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "shrinking", "192.0.2.1-192.0.2.2", shrinkPolicy="Drain")
        admitlb.cluster.create(SERVICES, service("web"), "default")
        when(admitlb, SERVICES, "web", ingress, "it has an address")
        shrunk = {"spec": {"addresses": ["192.0.2.2"]}}
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "shrinking", shrunk, DEFAULT_NAMESPACE)
        found = when(
            admitlb,
            IP_ADDRESS_POOLS,
            "shrinking",
            lambda obj: conditions(obj) and conditions(obj)["Ready"]["reason"] == "Draining",
            "it drains",
        )
        assert "192.0.2.1 (default/web)" in conditions(found)["Ready"]["message"]
        assert kstatus(found) == "Current"

    def test_nothing_is_written_while_nothing_changes(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "fine", "192.0.2.0/28")
        admitlb.cluster.create(L2_ADVERTISEMENTS, advertisement("all"), DEFAULT_NAMESPACE)
        admitlb.cluster.create(SERVICES, service("web"), "default")
        counted = {"assignedIPv4": 1}
        when(
            admitlb,
            IP_ADDRESS_POOLS,
            "fine",
            lambda obj: counted.items() <= obj.get("status", {}).items(),
            "it is counted",
        )

        def versions() -> list[str]:
            kinds = ((IP_ADDRESS_POOLS, "fine"), (L2_ADVERTISEMENTS, "all"), (CONFIGURATION_STATES, "controller"))
            found = [_version(admitlb.cluster.get(kind, name, DEFAULT_NAMESPACE)) for kind, name in kinds]
            return [*found, _version(admitlb.cluster.get(SERVICES, "web", "default"))]

        def quiet_for_three_seconds() -> bool:
            # What the last change brought may still be on its way to some of them, the first time round.
            before = versions()
            until = time.monotonic() + 3
            wait_until(lambda: time.monotonic() > until or versions() != before, 5, "three seconds pass")
            return versions() == before

        wait_until(quiet_for_three_seconds, 10, "nothing is written any more")

    def test_conditions_come_back_when_somebody_wipes_them(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "fine", "192.0.2.0/28")
        when(admitlb, IP_ADDRESS_POOLS, "fine", conditions, "it has conditions")
        wiped = {"status": {"conditions": None, "observedGeneration": None}}
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "fine", wiped, DEFAULT_NAMESPACE, subresource="status")
        when(admitlb, IP_ADDRESS_POOLS, "fine", conditions, "it has conditions again")


class TestAdvertisements:
    def test_it_says_which_pools_it_announces_and_from_where(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "a", "192.0.2.0/28")
        add_pool(admitlb, "b", "192.0.2.16/28")
        when(admitlb, IP_ADDRESS_POOLS, "b", conditions, "both pools are known")
        created = time.monotonic()
        admitlb.cluster.create(L2_ADVERTISEMENTS, advertisement("all"), DEFAULT_NAMESPACE)
        found = when(admitlb, L2_ADVERTISEMENTS, "all", conditions, "it has conditions")
        assert time.monotonic() - created < 1
        assert kstatus(found) == "Current"
        assert conditions(found)["Ready"]["message"] == "announces pools a, b from all nodes"

    def test_it_waits_for_a_pool_that_is_not_there_yet(self, admitlb: Reconciling) -> None:
        admitlb.cluster.create(L2_ADVERTISEMENTS, advertisement("early", ipAddressPools=["late"]), DEFAULT_NAMESPACE)
        found = when(admitlb, L2_ADVERTISEMENTS, "early", conditions, "it has conditions")
        assert kstatus(found) == "InProgress"
        assert conditions(found)["Ready"]["message"] == "there is no pool late (yet); nothing is announced"
        add_pool(admitlb, "late", "192.0.2.0/28")
        when(admitlb, L2_ADVERTISEMENTS, "early", lambda obj: kstatus(obj) == "Current", "it is ready")

    def test_it_works_for_the_pools_that_are_there_and_names_the_others(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "here", "192.0.2.0/28")
        partly = advertisement("partly", ipAddressPools=["here", "typo"])
        admitlb.cluster.create(L2_ADVERTISEMENTS, partly, DEFAULT_NAMESPACE)
        found = when(admitlb, L2_ADVERTISEMENTS, "partly", conditions, "it has conditions")
        assert kstatus(found) == "Current"
        assert conditions(found)["Ready"]["reason"] == "PoolMissing"
        assert "announces pool here from all nodes; there is no pool typo (yet)" in str(conditions(found))

    def test_it_follows_the_nodes_labels(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "a", "192.0.2.0/28")
        edge = advertisement("edge", nodeSelectors=[{"matchLabels": {"zone": "edge"}}])
        admitlb.cluster.create(L2_ADVERTISEMENTS, edge, DEFAULT_NAMESPACE)
        found = when(admitlb, L2_ADVERTISEMENTS, "edge", conditions, "it has conditions")
        assert conditions(found)["Reconciling"]["reason"] == "NoNode"
        admitlb.cluster.create(NODES, {"metadata": {"name": "node-1", "labels": {"zone": "edge"}}})
        try:
            found = when(admitlb, L2_ADVERTISEMENTS, "edge", lambda obj: kstatus(obj) == "Current", "it is ready")
            assert conditions(found)["Ready"]["message"] == "announces pool a from node node-1"
        finally:
            admitlb.cluster.delete(NODES, "node-1")

    def test_it_names_the_nodes_that_do_not_have_the_subnet(self, admitlb: Reconciling) -> None:
        for name, subnet in (("node-1", "192.0.2.0/24"), ("node-2", "198.51.100.0/24")):
            admitlb.cluster.create(NODES, {"metadata": {"name": name}})
            admitlb.cluster.create(LEASES, speaker_lease(name, subnet), DEFAULT_NAMESPACE)
        try:
            add_pool(admitlb, "a", "192.0.2.0/28")
            admitlb.cluster.create(L2_ADVERTISEMENTS, advertisement("all"), DEFAULT_NAMESPACE)
            reason = "no interface in a subnet of pool a, comes after those that have one"
            message = f"announces pool a from all nodes but node-2 ({reason})"
            when(
                admitlb,
                L2_ADVERTISEMENTS,
                "all",
                lambda obj: conditions(obj) and conditions(obj)["Ready"]["message"] == message,
                "it names node-2",
            )
        finally:
            for name in ("node-1", "node-2"):
                admitlb.cluster.delete(NODES, name)
                admitlb.cluster.delete(LEASES, f"speaker-{name}", DEFAULT_NAMESPACE)

    def test_a_malformed_one_is_stalled(self, admitlb: Reconciling) -> None:
        twice = advertisement("twice", ipAddressPools=["a", "a"])
        admitlb.cluster.create(L2_ADVERTISEMENTS, twice, DEFAULT_NAMESPACE)
        found = when(admitlb, L2_ADVERTISEMENTS, "twice", conditions, "it has conditions")
        assert kstatus(found) == "Failed"
        assert "spec.ipAddressPools[1]" in conditions(found)["Stalled"]["message"]


class TestConfigurationState:
    def state(self, admitlb: Reconciling, holds: Callable[[Object], object]) -> Object:
        def found() -> Object | None:
            obj = admitlb.cluster.get(CONFIGURATION_STATES, "controller", DEFAULT_NAMESPACE)
            return obj if holds(obj.get("status") or {}) else None

        return wait_until(found, 10, "the configuration state", retry_on=(NotFound,))

    def test_it_is_valid_as_metallb_writes_it(self, admitlb: Reconciling) -> None:
        found = self.state(admitlb, lambda status: status.get("result") == "Valid")
        assert found["metadata"]["labels"] == {"metallb.io/component-type": "controller"}
        condition = conditions(found)["poolReconcilerValid"]
        assert (condition["status"], condition["reason"], condition["message"]) == ("True", "Reconciled", "no errors")
        assert "errorSummary" not in found["status"]
        owners = {entry["manager"]: entry["operation"] for entry in found["metadata"]["managedFields"]}
        assert owners == {"poolReconciler": "Apply"}

    def test_it_names_what_is_wrong_and_recovers(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "odd", "10.0.0.9-10.0.0.1")
        twice = advertisement("twice", ipAddressPools=["a", "a"])
        admitlb.cluster.create(L2_ADVERTISEMENTS, twice, DEFAULT_NAMESPACE)
        found = self.state(admitlb, lambda status: status.get("errorSummary", "").count("\n") == 1)
        assert found["status"]["result"] == "Invalid"
        assert conditions(found)["poolReconcilerValid"]["reason"] == "ConfigurationError"
        lines = found["status"]["errorSummary"].splitlines()
        assert [line.split(":")[0] for line in lines] == ["IPAddressPool odd", "L2Advertisement twice"]
        printed = admitlb.control_plane.kubectl("get", "configurationstates", "-n", DEFAULT_NAMESPACE).stdout
        assert printed.splitlines()[0].split() == ["NAME", "RESULT", "ERRORSUMMARY", "AGE"]
        admitlb.cluster.delete(IP_ADDRESS_POOLS, "odd", DEFAULT_NAMESPACE)
        admitlb.cluster.delete(L2_ADVERTISEMENTS, "twice", DEFAULT_NAMESPACE)
        found = self.state(admitlb, lambda status: status["result"] == "Valid")
        assert "errorSummary" not in found["status"]

    def test_it_comes_back_when_deleted(self, admitlb: Reconciling) -> None:
        before = self.state(admitlb, lambda status: status.get("result"))
        admitlb.cluster.delete(CONFIGURATION_STATES, "controller", DEFAULT_NAMESPACE)
        after = self.state(admitlb, lambda status: status.get("result") == "Valid")
        assert after["metadata"]["uid"] != before["metadata"]["uid"]

    def test_a_malformed_quota_is_reported_and_counts_as_none_until_it_is_mended(self, admitlb: Reconciling) -> None:
        def message(status: Object) -> str:
            return str(conditions({"status": status}).get("poolReconcilerValid", {}).get("message", ""))

        add_pool(admitlb, "fine", "192.0.2.0/28")
        metadata = {"name": "limited", "annotations": {QUOTA_ANNOTATION: "many"}}
        admitlb.cluster.create(NAMESPACES, {"metadata": metadata})
        try:
            reported = "Namespace limited: metadata.annotations[admitlb.io/ip-quota]: 'many'"
            status = self.state(admitlb, lambda status: reported in message(status))["status"]
            # A tenant's own doing: the configuration of the cluster is none the worse for it.
            assert (status["result"], status.get("errorSummary")) == ("Valid", None)
            admitlb.cluster.create(SERVICES, service("web"), "limited")
            wait_until(
                lambda: ingress(admitlb.cluster.get(SERVICES, "web", "limited")), 10, "the Service has an address"
            )
            mended = {"metadata": {"annotations": {QUOTA_ANNOTATION: "1"}}}
            admitlb.cluster.patch(NAMESPACES, "limited", mended)
            self.state(admitlb, lambda status: message(status) == "no errors")
        finally:
            admitlb.cluster.delete(NAMESPACES, "limited")


class TestServices:
    def test_an_assigned_service_names_address_and_pool(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "fine", "192.0.2.0/28")
        admitlb.cluster.create(SERVICES, service("web"), "default")
        found = when(admitlb, SERVICES, "web", ingress, "it has an address")
        condition = conditions(found)[IP_ASSIGNED]
        assert (condition["status"], condition["reason"]) == ("True", "Assigned")
        assert condition["message"] == "192.0.2.0 from pool fine"

    def test_a_pending_service_names_every_pool_and_is_told_once(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "tiny", "192.0.2.1")
        add_pool(admitlb, "closed", "192.0.2.2", serviceAllocation={"namespaces": ["elsewhere"]})
        # A pool that came to be known later would be told of as well.
        when(admitlb, IP_ADDRESS_POOLS, "closed", conditions, "both pools are known")
        admitlb.cluster.create(SERVICES, service("one"), "default")
        when(admitlb, SERVICES, "one", ingress, "the first has the address")
        admitlb.cluster.create(SERVICES, service("late"), "default")
        found = when(admitlb, SERVICES, "late", conditions, "it has a condition")
        condition = conditions(found)[IP_ASSIGNED]
        assert (condition["status"], condition["reason"]) == ("False", "Exhausted")
        assert "tiny: full" in condition["message"]
        assert "closed: not open to namespace default" in condition["message"]
        for number in range(3):
            labels = {"metadata": {"labels": {"touched": str(number)}}}
            admitlb.cluster.patch(SERVICES, "late", labels, "default")
        admitlb.cluster.delete(SERVICES, "one", "default")
        when(admitlb, SERVICES, "late", ingress, "it gets the address that became free")
        wait_until(lambda: len(events_about(admitlb, "late")) >= 2, 5, "it was told")
        events = events_about(admitlb, "late")
        assert [reason for reason, _ in events] == ["AllocationFailed", "IPAllocated"], events
        (_, why), (_, what) = events
        assert what == 'Assigned IP ["192.0.2.1"]'
        assert why.startswith('Failed to allocate IP for "default/late": no IPv4 address left (')

    def test_a_malformed_wish_is_a_load_balancer_failure(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "fine", "192.0.2.0/28")
        admitlb.cluster.create(SERVICES, service("bad", {"metallb.io/loadBalancerIPs": "nonsense"}), "default")
        found = when(admitlb, SERVICES, "bad", conditions, "it has a condition")
        assert conditions(found)[IP_ASSIGNED]["reason"] == "Malformed"
        wait_until(lambda: events_about(admitlb, "bad"), 5, "it was told")
        events = events_about(admitlb, "bad")
        assert [reason for reason, _ in events] == ["LoadBalancerFailed"], events
        message = events[0][1]
        assert message.startswith(
            "invalid requested loadbalancer IPs: metadata.annotations[metallb.io/loadBalancerIPs]"
        )

    def test_a_service_moved_by_its_pool_is_told_why(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "moving", "192.0.2.1-192.0.2.2", shrinkPolicy="Reassign")
        admitlb.cluster.create(SERVICES, service("moved"), "default")
        when(admitlb, SERVICES, "moved", ingress, "it has an address")
        shrunk = {"spec": {"addresses": ["192.0.2.2"]}}
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "moving", shrunk, DEFAULT_NAMESPACE)
        when(admitlb, SERVICES, "moved", lambda obj: ingress(obj) == ["192.0.2.2"], "it moves")
        wait_until(lambda: len(events_about(admitlb, "moved")) >= 3, 5, "it was told")
        reasons = [reason for reason, _ in events_about(admitlb, "moved")]
        assert reasons == ["IPAllocated", "ClearAssignment", "IPAllocated"]
        assert events_about(admitlb, "moved")[1][1] == (
            'current IP for "default/moved" not allowed by config, will attempt for new IP assignment: '
            "192.0.2.1 is not in pool moving"
        )

    def test_a_sharer_that_breaks_the_sharing_is_told_why(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "fine", "192.0.2.1-192.0.2.2")
        keyed = {"metallb.io/allow-shared-ip": "k"}
        admitlb.cluster.create(SERVICES, service("stays", keyed), "default")
        when(admitlb, SERVICES, "stays", ingress, "it has an address")
        admitlb.cluster.create(SERVICES, service("leaves", keyed, ports=[{"port": 81, "protocol": "TCP"}]), "default")
        when(admitlb, SERVICES, "leaves", lambda obj: ingress(obj) == ["192.0.2.1"], "they share")
        other = {"metadata": {"annotations": {"metallb.io/allow-shared-ip": "other"}}}
        admitlb.cluster.patch(SERVICES, "leaves", other, "default")
        when(admitlb, SERVICES, "leaves", lambda obj: ingress(obj) == ["192.0.2.2"], "it moves")
        wait_until(lambda: len(events_about(admitlb, "leaves")) >= 3, 5, "it was told")
        told = dict(events_about(admitlb, "leaves"))
        assert "gives up 192.0.2.1, because 192.0.2.1 is held by default/stays" in told["ClearAssignment"]
        assert ingress(admitlb.cluster.get(SERVICES, "stays", "default")) == ["192.0.2.1"]

    def test_a_missing_second_address_is_told_once(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "four", "192.0.2.1-192.0.2.2")
        dual = service("dual", ipFamilyPolicy="PreferDualStack")
        created = admitlb.cluster.create(SERVICES, dual, "default")
        assert len(created["spec"]["clusterIPs"]) == 2
        found = when(admitlb, SERVICES, "dual", conditions, "it has a condition")
        assert conditions(found)[IP_ASSIGNED]["reason"] == "AssignedInPart"
        for number in range(3):
            labels = {"metadata": {"labels": {"touched": str(number)}}}
            admitlb.cluster.patch(SERVICES, "dual", labels, "default")
        add_pool(admitlb, "six", "2001:db8::/64")
        when(admitlb, SERVICES, "dual", lambda obj: len(ingress(obj)) == 2, "it gets the second")
        wait_until(lambda: len(events_about(admitlb, "dual")) >= 3, 5, "it was told")
        reasons = sorted(reason for reason, _ in events_about(admitlb, "dual"))
        assert reasons == ["AdditionalAssignFailed", "IPAllocated", "IPAllocated"]
        assert ("IPAllocated", 'Assigned additional IP "2001:db8::1"') in events_about(admitlb, "dual")

    def test_a_service_that_wants_none_any_more_says_nothing(self, admitlb: Reconciling) -> None:
        add_pool(admitlb, "fine", "192.0.2.0/28")
        admitlb.cluster.create(SERVICES, service("web"), "default")
        when(admitlb, SERVICES, "web", ingress, "it has an address")
        admitlb.cluster.patch(SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default")
        when(admitlb, SERVICES, "web", lambda obj: not conditions(obj), "its condition goes")

    def test_conditions_of_others_stay(self, admitlb: Reconciling) -> None:
        created = admitlb.cluster.create(SERVICES, service("web"), "default")
        when(admitlb, SERVICES, "web", conditions, "it has a condition")
        foreign = {
            "type": "example.com/Checked",
            "status": "True",
            "reason": "Fine",
            "message": "",
            "lastTransitionTime": created["metadata"]["creationTimestamp"],
        }
        kept = conditions(admitlb.cluster.get(SERVICES, "web", "default"))[IP_ASSIGNED]
        both = {"status": {"conditions": [foreign, kept]}}
        admitlb.cluster.patch(SERVICES, "web", both, "default", subresource="status")
        add_pool(admitlb, "fine", "192.0.2.0/28")
        found = when(admitlb, SERVICES, "web", ingress, "it has an address")
        assert set(conditions(found)) == {IP_ASSIGNED, "example.com/Checked"}


class TestMetrics:
    def test_they_carry_metallbs_names(self, admitlb: Reconciling, leader: Reconciler) -> None:
        add_pool(admitlb, "four", "192.0.2.0/28")
        add_pool(admitlb, "six", "2001:db8::/64")
        admitlb.cluster.create(SERVICES, service("web"), "default")
        admitlb.cluster.create(SERVICES, service("waits", {"metallb.io/address-pool": "none"}), "default")
        when(admitlb, SERVICES, "web", ingress, "it has an address")
        when(admitlb, SERVICES, "waits", conditions, "it waits")
        wait_until(lambda: leader.metrics()["admitlb_pending_services"] == 1, 5, "one waits")
        seen = leader.metrics()
        assert seen['metallb_allocator_addresses_total{pool="four"}'] == 16
        assert seen['metallb_allocator_ipv4_addresses_total{pool="four"}'] == 16
        assert seen['metallb_allocator_ipv6_addresses_total{pool="six"}'] == 2**64
        assert seen['metallb_allocator_addresses_in_use_total{pool="four"}'] == 1
        assert seen['metallb_allocator_ipv6_addresses_in_use_total{pool="six"}'] == 0
        assert seen['admitlb_claims{state="Bound"}'] == 1
        assert seen["metallb_k8s_client_config_loaded_bool"] == 1
        assert seen["metallb_k8s_client_config_stale_bool"] == 0
        assert seen["metallb_k8s_client_updates_total"] > 0
        assert seen['admitlb_repairs_total{action="assigned"}'] > 0

    def test_a_pool_left_out_of_use_makes_the_configuration_stale(
        self, admitlb: Reconciling, leader: Reconciler
    ) -> None:
        add_pool(admitlb, "odd", "10.0.0.9-10.0.0.1")
        wait_until(
            lambda: leader.metrics()["metallb_k8s_client_config_stale_bool"] == 1, 5, "the configuration is stale"
        )
