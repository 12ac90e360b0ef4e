"""Fourteen ways in which assigning addresses at admission goes wrong, each with the test that shows it does not.

Those that other modules have already are named here and not repeated:

 5. two replicas choose one address       test_races.py, thirty clients on two webhooks
 9. an address is handed out again at     test_assignment.py, a_released_address_cools_and_returns_to_the_same_name
    once
10. an update drops our annotations       test_assignment.py, a_replace_that_drops_the_annotations_keeps_the_address
11. what others assigned is not imported  test_survival.py, existing_services_keep_what_another_controller_gave_them
13. claims and Services of different age  test_survival.py, a_restored_backup_... and claims_deleted_by_hand_...
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from allocator.kube.client import AlreadyExists, ApiError, Conflict
from allocator.kube.resource import EVENTS, SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from tests.cluster.installation import TENTATIVE_AGE_SECONDS, Installation, ingress, pool, service
from tests.lab.waiting import wait_until

FIRST, SECOND = "192.0.2.10", "192.0.2.11"
COLLECTED_SECONDS = TENTATIVE_AGE_SECONDS + 10


@pytest.fixture
def admitlb(installed: Installation) -> Iterator[Installation]:
    """The same, with one small pool that both webhooks know, and nothing held."""
    installed.add_pool(pool("small", f"{FIRST}-192.0.2.13"))
    yield installed
    for document in installed.cluster.list(SERVICES, "default")["items"]:
        if document["spec"]["type"] == "LoadBalancer":
            installed.cluster.delete(SERVICES, document["metadata"]["name"], "default")
    wait_until(lambda: not installed.claims(), 30, "every claim is gone")
    for document in installed.cluster.list(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE)["items"]:
        # Refused while the webhook asked has not seen the last claim go.
        wait_until(lambda name=document["metadata"]["name"]: _deleted(installed, name), 10, "the pool is deleted")  # type: ignore[misc]


def _deleted(admitlb: Installation, pool_name: str) -> bool:
    try:
        admitlb.cluster.delete(IP_ADDRESS_POOLS, pool_name, DEFAULT_NAMESPACE)
    except Conflict:
        return False
    return True


def _frozen(admitlb: Installation) -> ExitStack:
    """Freeze both webhooks for the length of a block."""
    frozen = ExitStack()
    for replica in admitlb.webhooks:
        replica.process.sigstop()
        frozen.callback(replica.process.sigcont)
    return frozen


def _together(*calls: Callable[[], object]) -> list[object]:
    """Make all calls at one instant; return their results, ApiErrors among them."""
    gate = threading.Barrier(len(calls))

    def made(call: Callable[[], object]) -> object:
        gate.wait(timeout=10)
        try:
            return call()
        except ApiError as error:
            return error

    with ThreadPoolExecutor(max_workers=len(calls)) as threads:
        return list(threads.map(made, calls))


def _counted(admitlb: Installation, pattern: str) -> Counter[str]:
    """Sum up the API server's samples whose name and labels match, by the pattern's groups."""
    text = admitlb.control_plane.kubectl("get", "--raw", "/metrics").stdout
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    counted: Counter[str] = Counter()
    for name, value in samples:
        if found := re.search(pattern, name):
            counted[" ".join(found.groups())] += int(float(value))
    return counted


def test_01_a_request_that_fails_after_us_leaks_no_claim(admitlb: Installation) -> None:
    """Whoever comes after a mutating webhook may still refuse the request, and nobody tells the webhook."""
    # An update this time; test_assignment.py has the create.
    admitlb.cluster.create(SERVICES, service("web"), "default")
    admitlb.wait_assigned("default", "web")
    change = {
        "metadata": {"annotations": {"metallb.io/loadBalancerIPs": "192.0.2.13"}},
        "spec": {"ports": [{"name": "http", "port": 80}, {"name": "Not_A_Name", "port": 81}]},
    }
    with pytest.raises(ApiError, match=r"spec.ports\[\d\].name"):
        admitlb.cluster.patch(SERVICES, "web", change, "default")
    assert admitlb.holders("192.0.2.13") == ["default/web"], "nothing was reserved, so nothing is tested"
    wait_until(lambda: set(admitlb.claims()) == {FIRST}, COLLECTED_SECONDS, "what was reserved is collected")
    assert ingress(admitlb.service("default", "web")) == [FIRST]


def test_02_a_name_used_again_takes_its_claim_over_with_another_uid(admitlb: Installation) -> None:
    """A Service deleted and made again at once is another object under the same claim; nobody may see it released."""
    uids = []
    for _ in range(5):
        created = admitlb.cluster.create(SERVICES, service("web"), "default")
        uids.append(created["metadata"]["uid"])
        admitlb.cluster.delete(SERVICES, "web", "default")
    uids.append(admitlb.cluster.create(SERVICES, service("web"), "default")["metadata"]["uid"])
    shown = admitlb.wait_assigned("default", "web")

    def settled() -> bool:
        claims = admitlb.claims()
        holders = [one.get("uid") for claim in claims.values() for one in claim["holders"]]
        return holders == [uids[-1]] and list(claims) == ingress(admitlb.service("default", "web"))

    wait_until(settled, COLLECTED_SECONDS, f"one claim, bound to the last one ({shown})")


def test_03_one_request_seen_twice_is_one_reservation(admitlb: Installation) -> None:
    """Reinvocation and retries call us again for one request, each time under another request uid."""
    answers = [
        admitlb.ask(replica, service("web"), uid=str(number))
        for number, replica in enumerate(admitlb.webhooks * 2, start=1)
    ]
    assert [answer["patch"] for answer in answers] == [answers[0]["patch"]] * 4
    assert list(admitlb.claims()) == [FIRST]
    created = admitlb.cluster.create(SERVICES, service("web"), "default")
    assert created["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] == FIRST
    with pytest.raises(AlreadyExists):
        admitlb.cluster.create(SERVICES, service("web"), "default")
    assert list(admitlb.claims()) == [FIRST]


def test_04_an_answer_that_comes_too_late_leaks_no_claim(admitlb: Installation) -> None:
    """The API server stops waiting, goes on without us, and we reserve all the same."""
    with _frozen(admitlb):
        created = admitlb.cluster.create(SERVICES, service("web"), "default")
        assert ASSIGNED_IPS_ANNOTATION not in created["metadata"].get("annotations", {})
        shown = admitlb.wait_assigned("default", "web")
    wait_until(
        lambda: list(admitlb.claims()) == shown and admitlb.holders(shown[0]) == ["default/web"],
        COLLECTED_SECONDS,
        "only what the Service shows is claimed",
    )
    assert ingress(admitlb.service("default", "web")) == shown


def test_06_two_families_are_claimed_together_or_not_at_all(admitlb: Installation) -> None:
    """A dual-stack Service takes two claims; the first must not stay behind when the second cannot be had."""
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("six", "2001:db8::1"), DEFAULT_NAMESPACE)
    dual = [service(f"dual-{number}", ipFamilyPolicy="RequireDualStack") for number in range(4)]
    _together(*(lambda one=one: admitlb.cluster.create(SERVICES, one, "default") for one in dual))

    def served() -> list[list[str]]:
        names = [one["metadata"]["name"] for one in dual]
        return [shown for name in names if (shown := ingress(admitlb.service("default", name)))]

    wait_until(lambda: len(served()) == 1, 10, "one has both")
    wait_until(lambda: len(admitlb.claims()) == 2, COLLECTED_SECONDS, "the others hold nothing")
    assert sorted(admitlb.claims()) == sorted(served()[0])
    assert "2001:db8::1" in served()[0]


def test_07_sharers_that_join_at_once_all_stand_in_the_claim(admitlb: Installation) -> None:
    """A shared claim is read, changed and written; of two writers the second must not wipe out the first."""
    request = {"metallb.io/allow-shared-ip": "k", "metallb.io/loadBalancerIPs": FIRST}
    sharers = [
        service(f"share-{port}", request, ports=[{"port": port, "protocol": "TCP"}]) for port in range(8000, 8008)
    ]
    _together(*(lambda one=one: admitlb.cluster.create(SERVICES, one, "default") for one in sharers))
    names = [one["metadata"]["name"] for one in sharers]
    assert [admitlb.wait_assigned("default", name) for name in names] == [[FIRST]] * 8
    assert sorted(admitlb.holders(FIRST)) == [f"default/{name}" for name in names]
    wait_until(
        lambda: all(one.get("uid") for one in admitlb.claims()[FIRST]["holders"]), 10, "each is bound by its uid"
    )


def test_08_a_change_of_type_releases_only_once_it_has_happened(admitlb: Installation) -> None:
    """The update that gives an address up may be refused after us, so admission must not release anything."""
    admitlb.cluster.create(SERVICES, service("web"), "default")
    # Not the lowest for certain: the eight Services before lost races for one address.
    (address,) = admitlb.wait_assigned("default", "web")
    nameless = {"spec": {"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}, {"port": 81}]}}
    with pytest.raises(ApiError, match=r"spec.ports\[\d\].name"):
        admitlb.cluster.patch(SERVICES, "web", nameless, "default")
    # Whatever follows the refused changes follows this one, too.
    admitlb.cluster.create(SERVICES, service("next"), "default")
    admitlb.wait_assigned("default", "next")
    assert admitlb.holders(address) == ["default/web"]
    admitlb.cluster.patch(SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default")
    admitlb.wait_released(address)
    admitlb.cluster.delete(SERVICES, "web", "default")


def test_12_two_spellings_of_one_address_are_one_claim(admitlb: Installation) -> None:
    """An object name cannot hold `:`, and a name made from text would let one address be claimed twice."""
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("six", "2001:db8::/64"), DEFAULT_NAMESPACE)
    six = {"ipFamilies": ["IPv6"]}
    short = {"metallb.io/loadBalancerIPs": "2001:db8::ab"}
    long = {"metallb.io/loadBalancerIPs": "2001:0DB8:0:0:0:0:0:00AB"}
    admitlb.cluster.create(SERVICES, service("short", short, **six), "default")
    assert admitlb.wait_assigned("default", "short") == ["2001:db8::ab"]
    admitlb.cluster.create(SERVICES, service("long", long, **six), "default")
    names = [one["metadata"]["name"] for one in admitlb.cluster.list(IP_ALLOCATIONS)["items"]]
    assert names == ["2001-0db8-0000-0000-0000-0000-0000-00ab"]
    admitlb.cluster.delete(SERVICES, "short", "default")
    assert admitlb.wait_assigned("default", "long") == ["2001:db8::ab"]


def test_14_writing_status_does_not_call_the_webhook(admitlb: Installation) -> None:
    """A webhook that is called for what the reconciler writes to status makes the two wait for each other."""
    admitlb.cluster.create(SERVICES, service("web"), "default")
    admitlb.wait_assigned("default", "web")
    pattern = r'^apiserver_admission_webhook_admission_duration_seconds_count\{.*name="[^"]*service'
    before = _counted(admitlb, pattern)
    assert before, "the webhook's calls are counted under another name"
    for number in range(3):
        note = {"metadata": {"annotations": {"example.com/note": str(number)}}}
        admitlb.cluster.patch(SERVICES, "web", note, "default", subresource="status")
    assert _counted(admitlb, pattern) == before
    admitlb.cluster.patch(SERVICES, "web", {"metadata": {"labels": {"touched": "yes"}}}, "default")
    assert (_counted(admitlb, pattern) - before).total() == 1


def _counted_when_quiet(admitlb: Installation, pattern: str) -> Counter[str]:
    """Count once nothing has been added for a second: Events of an earlier test are written behind its back."""
    counts = [_counted(admitlb, pattern)]

    def quiet() -> bool:
        counts.append(_counted(admitlb, pattern))
        return counts[-1] == counts[-2]

    wait_until(quiet, 20, "nothing is written", interval_seconds=1.0)
    return counts[-1]


def test_a_service_costs_at_most_six_writes_from_creation_to_collection(admitlb: Installation) -> None:
    """create claim, bind, status, Event, cool, delete claim: counted by the API server itself."""
    cooling = pool("cooling", "198.51.100.0/24", reuseDelaySeconds=2)
    admitlb.add_pool(cooling)
    request = {"metallb.io/address-pool": "cooling"}
    names = [f"life-{number}" for number in range(20)]
    # Counters in a pool's status are written once a second, however many Services come and go. What is refused is
    # not written: a webhook that has not seen yet what the other has just claimed tries the next address.
    ours = (
        r'^apiserver_request_total\{(?=.*verb="(POST|PUT|PATCH|APPLY|DELETE)")(?=.*code="2)'
        r'(?=.*resource="(ipallocations|services)")(?!.*resource="services".*subresource="")'
    )
    before = _counted_when_quiet(admitlb, ours)
    for name in names:
        admitlb.cluster.create(SERVICES, service(name, request), "default")
    for name in names:
        admitlb.wait_assigned("default", name)
    for name in names:
        admitlb.cluster.delete(SERVICES, name, "default")
    wait_until(lambda: not admitlb.claims(), 30, "every claim has cooled and is gone")
    writes = _counted(admitlb, ours) - before
    # Others write Events too, so these are counted by who wrote them.
    events = admitlb.cluster.list(EVENTS, "default")["items"]
    mine = [one for one in events if one["source"].get("component") == "metallb-controller"]
    writes["events"] = sum(one["involvedObject"]["name"] in names for one in mine)
    assert writes["events"] == len(names)
    assert 5 <= writes.total() / len(names) <= 6, writes
