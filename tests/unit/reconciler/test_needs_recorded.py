"""What a holder needs now is recorded before anybody joins it: it may have changed while no reconciler led."""

from __future__ import annotations

from allocator.allocation.proposal import Occasion
from allocator.reconciler.adoption import Adoption
from tests.unit.core.builders import HTTPS, ask
from tests.unit.reconciler.test_handing_over import ADDRESS, Cluster


def test_a_new_leader_records_what_changed_before_it_assigns_anything() -> None:
    cluster = Cluster()
    shared = ask("web", uid="web", sharing_key="k", status_addresses=(ADDRESS,))
    cluster.replica.claims.secure(shared)
    cluster.shows("web")  # its key is gone by now
    joins = ask("joins", uid="joins", sharing_key="k", ports=HTTPS)
    with cluster.replica.claims.propose(joins, Occasion.SEEN) as proposal:
        assert [str(place.address) for place in proposal.decision.placements] == [ADDRESS], "by what is recorded"

    Adoption(cluster.securing.secure).run(list(cluster.services.values()))

    assert [str(place.address) for place in cluster.replica.claims.bind(joins).placements] == ["10.0.0.1"]
    assert cluster.holders() == [("web", "Bound")]


def test_what_has_not_changed_is_not_written_again() -> None:
    cluster = Cluster()
    cluster.shows("web")
    service = cluster.services[("prod", "web")]
    cluster.securing.secure(service)
    cluster.stored.calls.clear()

    cluster.securing.secure(service)

    assert cluster.stored.calls == []
