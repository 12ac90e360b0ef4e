"""Several speakers report to a real API server, under their real role: in the end every status is right, and soon."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from allocator.core.addresses import Address
from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.events import EventRecorder
from allocator.kube.reflector import Key
from allocator.kube.resource import EVENTS, LEASES, NODES, Resource
from allocator.objects.names import (
    DEFAULT_NAMESPACE,
    IP_ALLOCATIONS,
    SERVICE_L2_STATUSES,
    SPEAKER_LEASE_PREFIX,
)
from allocator.rules.conditions import READY
from speaker import layer2
from speaker.membership.lease import LeaseKeeper
from speaker.status.allocation_status import AllocationStatuses
from speaker.status.facts import Announced, Asked, Awaited, Elsewhere, Fact, Subject, Unannounced
from speaker.status.report_state import SETTLE_SECONDS
from speaker.status.reporting import Reporting
from speaker.status.statement import Holder, Statement
from tests.bench.speaker_writes import USER, Writes
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.crd import status_subresource
from tests.lab.waiting import wait_until

MANIFESTS = Path(__file__).parents[2] / "manifests"
SOON_SECONDS = 1.0
"""Of what a status may take where no object is waited for; a busy machine's own delay comes on top."""
_numbers = itertools.count(1)


class Speaker:
    """All of a node's speaker that reports, under the speakers' role."""

    def __init__(self, control_plane: ControlPlane, name: str) -> None:
        self.name = name
        cluster = Cluster.from_environment(str(control_plane.kubeconfig_for(DEFAULT_NAMESPACE, "speaker")))
        events = EventRecorder(cluster, component="metallb-speaker", host=name)
        self.reporting = Reporting(cluster, node=name, namespace=DEFAULT_NAMESPACE, events=events)
        self._lease = LeaseKeeper(cluster, node=name, namespace=DEFAULT_NAMESPACE, on_stored=self.reporting.on_lease)
        self._lease.serve(True, hears=1, alone=False)
        self._parts = (self._lease, self.reporting.stored, events, self.reporting.writer)
        for part in self._parts:
            part.start()

    def report(self, subject: Subject, fact: Fact | None, *heard: str) -> None:
        self.reporting.reporter.report({subject: fact}, heard=frozenset({self.name, *heard}))

    def renew(self) -> None:
        """Write the Lease now, as it does every ten seconds."""
        self._lease.reach_at((f"192.0.2.{next(_numbers) % 250 + 1}",), ())

    def stop(self) -> None:
        for part in reversed(self._parts):
            assert part.alive
            part.stop()


class Site:
    """Two speakers, and the addresses of Services that they announce."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.control_plane = control_plane
        self.cluster = control_plane.cluster()
        control_plane.kubectl("apply", "-f", str(MANIFESTS / "namespace.yaml"))
        control_plane.kubectl("apply", "-f", str(MANIFESTS / "crds"), "-f", str(MANIFESTS / "rbac-speaker.yaml"))
        for name in ("node-a", "node-b"):
            self.cluster.create(NODES, {"metadata": {"name": name}})
        self.speakers = {name: Speaker(control_plane, name) for name in ("node-a", "node-b")}
        self.claiming: dict[Subject, set[str]] = {}
        wait_until(lambda: len(self.lease_versions()) == 2, 10, "both have a Lease")
        self.soon_seconds = SOON_SECONDS + max(self.first_announcement_seconds() for _ in range(5))

    def first_announcement_seconds(self) -> float:
        """How long the simplest of all takes: nobody has announced the address before."""
        subject = self.subject()
        self.announces("node-a", subject)
        return seconds_until(lambda: self.says(subject)[0] == "node-a", "the first node announces it")

    def lease_versions(self) -> set[str]:
        """The present version of each speaker's Lease."""
        leases = self.cluster.list(LEASES, DEFAULT_NAMESPACE)["items"]
        names = {f"{SPEAKER_LEASE_PREFIX}{name}" for name in ("node-a", "node-b")}
        return {one["metadata"]["resourceVersion"] for one in leases if one["metadata"]["name"] in names}

    def subject(self, *, claimed: bool = True, service: str = "") -> Subject:
        """An address of its own, of a Service of its own, with its IPAllocation."""
        number = next(_numbers)
        address = Address.parse(f"203.0.{number // 250}.{number % 250 + 1}")
        if claimed:
            since = "2026-01-01T00:00:00.000000Z"
            holder = {"namespace": "default", "name": f"web-{number}", "since": since, "ports": []}
            spec = {"address": str(address), "pool": "p", "state": "Bound", "holders": [holder], "since": since}
            document = {"apiVersion": IP_ALLOCATIONS.api_version, "kind": IP_ALLOCATIONS.kind, "spec": spec}
            self.cluster.create(IP_ALLOCATIONS, {**document, "metadata": {"name": address.claim_name}})
        return Subject(layer2.PROTOCOL, ("default", service or f"web-{number}"), address)

    def announces(self, name: str, subject: Subject) -> None:
        """The node announces it from now on, whoever else does."""
        if subject not in self.claiming:
            self.speakers[name].report(subject, Asked(uid=""), *self.speakers)
        claiming = self.claiming.setdefault(subject, set())
        claiming.add(name)
        self.speakers[name].report(subject, announced(), *self.speakers)
        for other in self.speakers.keys() - claiming:
            self.speakers[other].report(subject, Elsewhere(uid="", node=name), *self.speakers)

    def withdraws(self, name: str, subject: Subject) -> None:
        """The node announces it no more; who still does compares anew. With nobody left there is no endpoint."""
        claiming = self.claiming[subject]
        claiming.discard(name)
        if claiming:
            (other,) = claiming
            self.speakers[name].report(subject, Elsewhere(uid="", node=other), *self.speakers)
            self.speakers[other].report(subject, announced(), *self.speakers)
            return
        for speaker in self.speakers.values():
            speaker.report(subject, idle(), *self.speakers)

    def status(self, subject: Subject) -> Object:
        stored: Object = self.cluster.get(IP_ALLOCATIONS, subject.address.claim_name).get("status") or {}
        return stored

    def says(self, subject: Subject) -> tuple[str, str]:
        """Return the node that is named and Ready's reason."""
        status = self.status(subject)
        reasons = [one["reason"] for one in status.get("conditions") or () if one["type"] == READY]
        return (status.get("announcedBy") or {}).get("node") or "", "".join(reasons)

    def tells(self, subject: Subject, holder: str) -> bool:
        """Whether all there is says that this node announces it, or for an empty name that none does."""
        reason = "Announced" if holder else "NoEndpoint"
        return self.says(subject) == (holder, reason) and self.announcers(subject) == ([holder] if holder else [])

    def statuses(self, service: Key) -> list[Object]:
        labels = f"metallb.io/service-name={service[1]},metallb.io/service-namespace={service[0]}"
        found = self.cluster.list(SERVICE_L2_STATUSES, DEFAULT_NAMESPACE, label_selector=labels)["items"]
        return [one for one in found if one.get("status")]

    def announcers(self, subject: Subject) -> list[str]:
        return sorted(one["status"]["node"] for one in self.statuses(subject.service))

    def interfaces(self, subject: Subject) -> list[str]:
        return [each["name"] for one in self.statuses(subject.service) for each in one["status"]["interfaces"]]


def announced(interface: str = "eth0") -> Announced:
    return Announced(uid="", interfaces=(interface,))


def idle(uid: str = "") -> Unannounced:
    return Unannounced(uid=uid, reason="NoEndpoint", message="no endpoint of the Service serves")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("announcements")
    with ControlPlane(find(), directory, audited_users=[USER]) as control_plane:
        site = Site(control_plane)
        yield site
        for speaker in site.speakers.values():
            speaker.stop()


def seconds_until(condition: Callable[[], object], what: str) -> float:
    begun = time.monotonic()
    wait_until(condition, 10, what, interval_seconds=0.02)
    return time.monotonic() - begun


LIVES = [
    order
    for places in itertools.combinations(range(4), 2)
    for order in [tuple("a" if place in places else "b" for place in range(4))]
]
ORDERS = sorted({order[:end] for order in LIVES for end in range(1, 5)})
"""Every order in which two nodes announce and withdraw, each once, and every beginning of one."""


@pytest.mark.parametrize("pause_seconds", [0.0, 0.1, SETTLE_SECONDS + 0.1, 0.7])
def test_in_whatever_order_two_nodes_announce_and_withdraw_the_status_is_right_a_second_later(
    site: Site, pause_seconds: float
) -> None:
    took = []
    subjects = {order: site.subject() for order in ORDERS}
    for place in range(4):
        for order, subject in subjects.items():
            if place >= len(order):
                continue
            name = f"node-{order[place]}"
            first = order[: place + 1].count(order[place]) == 1
            (site.announces if first else site.withdraws)(name, subject)
        time.sleep(pause_seconds)
    for order, subject in subjects.items():
        claiming = site.claiming[subject]
        if len(claiming) > 1:
            # Both still claim it: neither is wrong.
            continue
        (holder,) = claiming or {""}
        took.append(seconds_until(partial(site.tells, subject, holder), f"{order} ends with {holder or 'nobody'}"))
    assert statistics.median(took) < site.soon_seconds
    # It stays so: nobody has anything left to say.
    time.sleep(2.5)
    for order, subject in subjects.items():
        if len(site.claiming[subject]) < 2:
            (holder,) = site.claiming[subject] or {""}
            assert site.says(subject)[0] == holder, order


def test_an_address_handed_over_to_a_node_that_has_just_lost_it_names_that_node(site: Site) -> None:
    subject = site.subject()
    site.announces("node-b", subject)
    wait_until(lambda: site.says(subject)[0] == "node-b", 10, "node-b is named")
    site.announces("node-a", subject)
    site.withdraws("node-b", subject)
    wait_until(lambda: site.says(subject)[0] == "node-a", 10, "node-a is named", interval_seconds=0.01)
    site.announces("node-b", subject)
    site.withdraws("node-a", subject)
    assert seconds_until(lambda: site.says(subject)[0] == "node-b", "node-b again") < site.soon_seconds
    time.sleep(2.5)
    assert site.says(subject) == ("node-b", "Announced")


def test_why_nobody_announces_it_is_there_within_a_second_and_in_one_event(site: Site) -> None:
    subject = site.subject()
    site.announces("node-a", subject)
    wait_until(lambda: site.announcers(subject) == ["node-a"], 10, "it is announced")
    for speaker in site.speakers.values():
        speaker.report(subject, idle(uid="u1"), *site.speakers)
    took = seconds_until(
        lambda: site.says(subject) == ("", "NoEndpoint") and not site.announcers(subject), "nobody announces it"
    )
    assert took < site.soon_seconds
    (ready,) = (one for one in site.status(subject)["conditions"] if one["type"] == READY)
    assert ready["status"] == "False"
    assert ready["message"] == "announced by no node: no endpoint of the Service serves"
    wait_until(lambda: events(site, "u1"), 10, "the Service's users hear of it")
    time.sleep(3)
    assert events(site, "u1") == [f"{subject.address} is announced by no node: no endpoint of the Service serves"]


def events(site: Site, uid: str) -> list[str]:
    found = site.cluster.list(EVENTS, "default")["items"]
    return [event["message"] for event in found if event["involvedObject"].get("uid") == uid]


def test_what_is_announced_by_nobody_from_the_beginning_is_told_by_one_node(site: Site) -> None:
    subject = site.subject()
    for speaker in site.speakers.values():
        speaker.report(subject, idle(uid="u2"), *site.speakers)
    wait_until(lambda: site.says(subject) == ("", "NoEndpoint"), 10, "it is told")
    time.sleep(3)
    assert len(events(site, "u2")) == 1


def written(site: Site) -> Counter[str]:
    """What the speakers have written so far but for their Leases, refused writes included, by kind."""
    counts: Counter[str] = Counter()
    for (_, kind), times in Writes(site.control_plane.directory / "audit.jsonl").so_far().items():
        if not kind.endswith("leases"):
            counts[kind] += times
    return counts


def _shows(site: Site, subject: Subject, holders: list[str]) -> bool:
    return site.announcers(subject) == holders and [site.says(subject)[0]] == (holders or [""])


def test_how_often_a_service_that_comes_and_moves_and_goes_is_written_about(site: Site) -> None:
    subjects = [site.subject() for _ in range(5)]

    def happen(what: Callable[[Subject], None], holder: str) -> Counter[str]:
        before = written(site)
        for subject in subjects:
            what(subject)
        for subject in subjects:
            expected = [holder] if holder else []
            wait_until(partial(_shows, site, subject, expected), 20, "the API follows")
        time.sleep(2.5)
        return written(site) - before

    def move(subject: Subject) -> None:
        site.announces("node-b", subject)
        site.withdraws("node-a", subject)

    patched, made = "patch ipallocations", "create servicel2statuses"
    come = {patched: 5, made: 5, "create events": 5}
    assert happen(lambda subject: site.announces("node-a", subject), "node-a") == come
    assert happen(move, "node-b") == {**come, "delete servicel2statuses": 5}
    gone = happen(lambda subject: site.speakers["node-b"].report(subject, None, *site.speakers), "")
    assert gone == {patched: 5, "delete servicel2statuses": 5}


class WithoutReading(Cluster):
    """A connection by which nothing is read."""

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        raise AssertionError(f"{resource.kind} {namespace}/{name} is read")


def test_a_new_address_costs_one_request_and_one_that_was_written_before_is_read_first(site: Site) -> None:
    subject = site.subject()
    since = "2026-01-01T00:00:00.000000Z"
    say = Statement(announcement=Holder(node="node-a", interfaces=("eth0",), since=since))
    kubeconfig = str(site.control_plane.kubeconfig_for(DEFAULT_NAMESPACE, "speaker"))
    statuses = AllocationStatuses(
        WithoutReading.from_environment(kubeconfig), node="node-a", namespace=DEFAULT_NAMESPACE
    )
    statuses.tell(subject.address, say, new=True, heard=frozenset())
    assert site.says(subject) == ("node-a", "Announced")
    with pytest.raises(AssertionError, match="is read"):
        statuses.tell(subject.address, say, new=True, heard=frozenset())


def test_a_status_is_written_by_whichever_crd_there_is_and_by_one_that_is_replaced(site: Site) -> None:
    before, during, after = (site.subject() for _ in range(3))

    def shown(subject: Subject) -> bool:
        return site.announcers(subject) == ["node-a"]

    site.announces("node-a", before)
    wait_until(partial(shown, before), 10, "it is shown")
    with status_subresource(site.control_plane, SERVICE_L2_STATUSES):
        site.announces("node-a", during)
        wait_until(partial(shown, during), 10, "it is shown where the status is a subresource")
        site.speakers["node-a"].report(before, announced("eth1"), *site.speakers)
        wait_until(lambda: site.interfaces(before) == ["eth1"], 10, "what there was is corrected there")
    site.speakers["node-a"].report(during, announced("eth1"), *site.speakers)
    wait_until(lambda: site.interfaces(during) == ["eth1"], 10, "it is corrected where it is none any more")
    site.announces("node-a", after)
    wait_until(partial(shown, after), 10, "it is shown where the status is none any more")


def test_an_object_that_is_refused_keeps_no_other_waiting(site: Site) -> None:
    missing = site.subject(claimed=False)
    unwritable = site.subject(service="x" * 70)
    for subject in (missing, unwritable):
        site.announces("node-a", subject)
    wait_until(lambda: site.says(unwritable)[0] == "node-a", 10, "what can be written is")
    time.sleep(1)
    others = [site.subject() for _ in range(5)]
    for subject in others:
        site.announces("node-a", subject)
    took = seconds_until(
        lambda: all(site.announcers(subject) == ["node-a"] for subject in others), "the others are written"
    )
    assert took < 2 * site.soon_seconds
    made = site.cluster.list(SERVICE_L2_STATUSES, DEFAULT_NAMESPACE)["items"]
    assert not [one for one in made if one["metadata"]["labels"]["metallb.io/service-name"].startswith("xx")]
    for subject in (missing, unwritable):
        site.withdraws("node-a", subject)


def test_a_node_that_may_live_is_left_named_and_one_that_is_gone_is_not(site: Site) -> None:
    subject = site.subject()
    lease = f"{SPEAKER_LEASE_PREFIX}node-c"
    document = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": {"name": lease}}
    spec = {"holderIdentity": "node-c", "renewTime": "2026-01-01T00:00:00.000000Z"}
    site.cluster.create(LEASES, {**document, "spec": spec}, DEFAULT_NAMESPACE)
    status = {"announcedBy": {"node": "node-c", "interfaces": [], "since": "2026-01-01T00:00:00Z"}}
    site.cluster.patch(IP_ALLOCATIONS, subject.address.claim_name, {"status": status}, subresource="status")
    nobody = Unannounced(uid="", reason="NoSpeaker", message="no speaker runs on a node that may announce it")
    for speaker in site.speakers.values():
        speaker.report(subject, nobody, *site.speakers)
    time.sleep(3)
    assert site.says(subject)[0] == "node-c"
    site.cluster.patch(LEASES, lease, {"spec": {"holderIdentity": None}}, DEFAULT_NAMESPACE)
    wait_until(lambda: site.says(subject) == ("", "NoSpeaker"), 30, "nobody is named once its speaker has ended")


def test_what_a_node_that_has_gone_has_left_goes_with_its_next_announcement(site: Site) -> None:
    subject = site.subject()
    gone = Speaker(site.control_plane, "node-b")
    site.speakers["node-b"].stop()
    try:
        gone.report(subject, announced(), "node-a")
        wait_until(lambda: site.announcers(subject) == ["node-b"], 10, "node-b announces it")
    finally:
        gone.stop()
    site.speakers["node-a"].report(subject, announced())
    took = seconds_until(
        lambda: site.says(subject)[0] == "node-a" and site.announcers(subject) == ["node-a"], "node-a does"
    )
    site.speakers["node-b"] = Speaker(site.control_plane, "node-b")
    assert took < 2 * site.soon_seconds
    # Node-b hears of it again.
    site.speakers["node-a"].report(subject, None, "node-b")


def test_a_service_that_is_gone_leaves_nothing_behind(site: Site) -> None:
    subject = site.subject()
    site.announces("node-a", subject)
    wait_until(lambda: site.announcers(subject) == ["node-a"], 10, "it is announced")
    site.speakers["node-a"].report(subject, None, *site.speakers)
    took = seconds_until(
        lambda: site.says(subject) == ("", "NoService") and not site.announcers(subject), "all is taken back"
    )
    assert took < site.soon_seconds


def test_what_another_is_about_to_announce_is_not_taken_back(site: Site) -> None:
    subject = site.subject()
    site.announces("node-a", subject)
    wait_until(lambda: site.says(subject)[0] == "node-a", 10, "it is announced")
    site.speakers["node-a"].report(subject, Awaited(uid=""), *site.speakers)
    time.sleep(1)
    assert site.says(subject) == ("node-a", "Announced")
    site.announces("node-b", subject)
    wait_until(lambda: site.says(subject)[0] == "node-b", 10, "the other has it")
    site.speakers["node-a"].report(subject, None, *site.speakers)


def renewed(site: Site) -> None:
    """Have every Lease renewed."""
    before = site.lease_versions()
    for speaker in site.speakers.values():
        speaker.renew()
    wait_until(lambda: not before & site.lease_versions(), 10, "every Lease is renewed")


def test_after_a_restore_of_etcd_everything_is_written_again(site: Site, tmp_path: Path) -> None:
    subject = site.subject()
    site.control_plane.back_up(tmp_path / "etcd")
    for number in range(30):
        # The version is to be well ahead of the snapshot's, as after hours of a cluster's life.
        site.cluster.patch(NODES, "node-a", {"metadata": {"labels": {"n": str(number)}}})
    site.announces("node-a", subject)
    wait_until(lambda: site.announcers(subject) == ["node-a"], 20, "it is announced")
    renewed(site)
    site.control_plane.restore(tmp_path / "etcd")
    assert "n" not in (site.cluster.get(NODES, "node-a")["metadata"].get("labels") or {})

    def written_again() -> bool:
        for speaker in site.speakers.values():
            speaker.renew()
        try:
            return site.says(subject)[0] == "node-a" and site.announcers(subject) == ["node-a"]
        except NotFound:
            return False

    wait_until(written_again, 40, "node-a is named again", interval_seconds=0.5)
