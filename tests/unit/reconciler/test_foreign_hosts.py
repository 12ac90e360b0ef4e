"""What the reconciler makes of speakers' reports: claims in the state Conflicted, gone again whatever happens."""

from __future__ import annotations

from typing import Any, cast

import pytest

from allocator.allocation.allocator import Allocator
from allocator.allocation.claim_writer import LostRace
from allocator.core.pools import Pool
from allocator.kube.client import Cluster, Object
from allocator.kube.events import EventRecorder
from allocator.kube.lease import NotLeading
from allocator.objects.pool import pool_from
from allocator.reconciler.foreign_hosts import STALE_SECONDS, ForeignHosts
from tests.unit.allocation.stored_claims import StoredClaims, cache_of, pool
from tests.unit.core.builders import ask, given

HOST = {"hardwareAddress": "02:00:00:00:00:01", "node": "node-1", "interface": "eth0", "lastHeard": "t1"}


class Recorded(EventRecorder):
    """Events as they would be posted."""

    def __init__(self) -> None:
        super().__init__(cast(Cluster, None), component="test")

    @property
    def reasons(self) -> list[tuple[str, str]]:
        events = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
        return [(event["involvedObject"]["kind"], event["reason"]) for event in events if event is not None]


class Site(StoredClaims):
    """One pool, its stored status, and the reconciler's part that reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.leading = True
        self.document = pool("main", "10.0.0.0/24")
        self.document["metadata"]["uid"] = "1"
        self.document["status"] = {"foreignHosts": {}}
        self.pool: Pool = pool_from(self.document)
        self.cache = cache_of(cast(Cluster, self), self.document)
        self.claims = Allocator(cast(Cluster, self), self.cache)
        self.recorded = Recorded()
        self.hosts = ForeignHosts(
            cast(Cluster, self),
            self.cache,
            self.claims,
            self.recorded,
            require_leadership=self._require,
            clock=lambda: self.now,
        )

    def _require(self) -> None:
        if not self.leading:
            raise NotLeading

    def patch(self, *_: Any, **__: Any) -> Object:
        self.calls.append("patch")
        body: Object = _[2]
        entries = self.document["status"]["foreignHosts"]
        for key, value in body["status"]["foreignHosts"].items():
            assert value is None
            entries.pop(key, None)
        return self.document

    def report(self, **hosts: Any) -> None:
        self.document["status"]["foreignHosts"] = {key.replace("_", "."): host for key, host in hosts.items()}

    def review(self, *, announced: bool = True) -> list[str]:
        self.hosts.review(self.document, self.pool, announced=announced)
        return self.conflicted()

    def conflicted(self) -> list[str]:
        return [name for name, one in self.allocations.items() if one["spec"]["state"] == "Conflicted"]


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_report_costs_one_write_and_the_same_report_none(site: Site) -> None:
    site.report(**{"10_0_0_0": HOST})
    assert site.review() == ["10.0.0.0"]
    assert site.review() == ["10.0.0.0"]
    assert site.writes() == ["create ipallocations"]
    assert site.recorded.reasons == [("IPAddressPool", "AddressConflict")]
    assert given(site.cache.decide(ask())) == ["10.0.0.1"]


def test_a_host_that_is_gone_frees_its_address(site: Site) -> None:
    site.report(**{"10_0_0_0": HOST})
    site.review()
    site.report()
    assert site.review() == []
    assert given(site.cache.decide(ask())) == ["10.0.0.0"]


def test_a_report_that_no_speaker_confirms_counts_no_more_and_is_not_taken_for_new(site: Site) -> None:
    site.report(**{"10_0_0_0": HOST})
    site.review()
    site.now = STALE_SECONDS - 1
    assert site.hosts.overdue() == frozenset()
    assert site.review() == ["10.0.0.0"]
    site.now = STALE_SECONDS + 1
    assert site.hosts.overdue() == {"main"}
    # It is neither marked any more nor of interest to anybody.
    assert site.review() == []
    assert site.document["status"]["foreignHosts"] == {}
    assert site.hosts.overdue() == frozenset()


def test_a_confirmed_report_goes_on_counting(site: Site) -> None:
    site.report(**{"10_0_0_0": HOST})
    site.review()
    site.now = STALE_SECONDS - 1
    site.report(**{"10_0_0_0": {**HOST, "lastHeard": "t2"}})
    site.review()
    site.now = STALE_SECONDS + 1
    assert site.review() == ["10.0.0.0"]


def test_a_pool_that_is_gone_takes_its_marks_along(site: Site) -> None:
    site.report(**{"10_0_0_0": HOST})
    site.review()
    site.hosts.free_orphans(["main"])
    assert site.conflicted() == ["10.0.0.0"]
    site.cache._pools = {}
    site.hosts.free_orphans([])
    assert site.conflicted() == []


def test_reports_of_addresses_that_nobody_was_asked_about_are_removed(site: Site) -> None:
    site.report(**{"10_0_0_200": HOST, "nonsense": HOST, "10_0_0_1": "no entry"})
    assert site.review() == []
    assert site.document["status"]["foreignHosts"] == {}
    assert site.writes() == ["patch"]


def test_a_claim_that_was_made_meanwhile_stays(site: Site) -> None:
    other = Allocator(cast(Cluster, site), cache_of(cast(Cluster, site), site.document))
    other.bind(ask("web", uid="u"))
    site.report(**{"10_0_0_0": HOST})
    with pytest.raises(LostRace):
        site.review()
    assert site.review() == []
    assert site.allocations["10.0.0.0"]["spec"]["state"] == "Bound"


def test_who_does_not_lead_writes_nothing(site: Site) -> None:
    site.report(**{"10_0_0_0": HOST})
    site.leading = False
    with pytest.raises(NotLeading):
        site.review()
    assert site.writes() == []
