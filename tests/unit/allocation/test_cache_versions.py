"""What a process knows of claims, in whatever order answers and events come in."""

from typing import Any, cast

from allocator.allocation.cache import ClaimCache
from allocator.core.addresses import Address
from allocator.kube.client import Cluster
from allocator.kube.reflector import Change
from allocator.objects.names import IP_ALLOCATIONS

ADDRESS = Address.parse("192.0.2.1")


def stored(version: int, holder: str = "web", state: str = "Bound") -> dict[str, Any]:
    spec = {
        "address": "192.0.2.1",
        "pool": "small",
        "state": state,
        "since": "2026-01-01T00:00:00Z",
        "holders": [{"namespace": "prod", "name": holder, "uid": "1", "since": "2026-01-01T00:00:00Z"}],
    }
    return {"metadata": {"name": "192.0.2.1", "resourceVersion": str(version)}, "spec": spec}


def cache() -> ClaimCache:
    # Never started, so nothing is asked of the API server.
    return ClaimCache(cast(Cluster, None), namespace="metallb-system")


def seen(known: ClaimCache, new: dict[str, Any] | None, version: int) -> None:
    known._take_claim(Change(IP_ALLOCATIONS, ("", "192.0.2.1"), None, new, str(version)))


def test_an_older_event_does_not_undo_what_a_write_returned() -> None:
    known = cache()
    known.record(stored(7, "new"))
    seen(known, stored(5, "old"), 5)
    assert [claim.address for claim in known.held_by("prod", "new")] == [ADDRESS]


def test_a_deletion_seen_late_does_not_wipe_a_claim_made_since() -> None:
    known = cache()
    known.record(stored(9, "new"))
    seen(known, None, 7)
    assert known.held_by("prod", "new")


def test_an_answer_overtaken_by_its_own_deletion_does_not_revive_the_claim() -> None:
    known = cache()
    read_before_the_deletion = stored(5, state="Cooling")
    seen(known, read_before_the_deletion, 5)
    seen(known, None, 6)
    known.record(read_before_the_deletion)
    assert known.claim_at(ADDRESS) is None
    known.record(stored(8, "next"))
    assert known.held_by("prod", "next")


def test_what_this_process_deleted_stays_gone_though_older_events_come_in() -> None:
    known = cache()
    claim = known.record(stored(5))
    known.forget(claim)
    seen(known, stored(5), 5)
    assert known.claim_at(ADDRESS) is None
