"""Why an address was taken, and which Services are shown as announced."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE
from speaker.election.announcement_metrics import AnnouncementMetrics
from speaker.election.claim_index import ClaimIndex
from speaker.election.holder_state import HolderState
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState, Claim
from speaker.metrics import SpeakerMetrics
from tests.unit.speaker.simulated import candidates

VIP = Address.parse("192.0.2.1")
REASONS = ("new", "lost", "handed-over")


class Counted:
    """The metrics and what they have counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.kept = AnnouncementMetrics("node-1", SpeakerMetrics(self.registry))
        self.now = HolderState()

    def take(self, liveness: Liveness, state: HolderState) -> None:
        group = candidates(VIP, ["node-1", "node-2"])
        claims = ClaimIndex("node-1")
        claims.update(liveness)
        self.kept.count(
            [VIP],
            liveness,
            state,
            before=self.now,
            group_of={VIP: group}.get,
            last_claims=claims.last_claims,
        )
        self.now = state

    def reasons(self) -> dict[str, float | None]:
        name = "admitlb_takeovers_total"
        return {reason: self.registry.get_sample_value(name, {"reason": reason}) for reason in REASONS}

    def shown(self) -> float | None:
        labels = {"service": f"default/{VIP}", "protocol": "layer2", "node": "node-1", "ip": str(VIP)}
        return self.registry.get_sample_value("metallb_speaker_announced", labels)


@pytest.fixture
def counted() -> Counted:
    return Counted()


HELD = HolderState(scopes={VIP: EVERYWHERE}, claims={VIP: Claim(term=9)})


@pytest.mark.parametrize(
    ("claims", "alive", "leaving", "reason"),
    [
        pytest.param({"node-2": 7}, {"node-1"}, (), "lost", id="its holder fell silent"),
        pytest.param({"node-2": 7}, {"node-1"}, ("node-2",), "handed-over", id="its holder said that it leaves"),
        pytest.param({"node-2": 7}, {"node-1", "node-2"}, (), "handed-over", id="its holder lives"),
        pytest.param(
            {"node-2": 7, "node-3": 8}, {"node-1", "node-3"}, (), "handed-over", id="the dead had it before"
        ),
        pytest.param({}, {"node-1"}, (), "handed-over", id="nobody says that it has it any more"),
    ],
)
def test_a_takeover_is_counted_by_what_became_of_the_last_holder(
    counted: Counted, claims: Mapping[str, int], alive: set[str], leaving: tuple[str, ...], reason: str
) -> None:
    states = {node: AdvertisedState(claims={VIP: Claim(term=term)}) for node, term in claims.items()}
    counted.take(Liveness(alive=frozenset(alive), states=states, leaving=frozenset(leaving)), HELD)
    assert counted.reasons() == {each: float(each == reason) for each in REASONS}
    counted.take(Liveness(alive=frozenset(alive)), HELD)
    assert sum(filter(None, counted.reasons().values())) == 1.0, "what is kept is not counted"


def test_what_nobody_had_is_new_and_shown_once_it_is_claimed(counted: Counted) -> None:
    alone = Liveness(alive=frozenset({"node-1"}))
    counted.take(alone, HolderState(scopes={VIP: EVERYWHERE}, probing=frozenset({VIP})))
    assert (counted.reasons()["new"], counted.shown()) == (0.0, None)
    counted.take(alone, HELD)
    assert (counted.reasons()["new"], counted.shown()) == (1.0, 1.0)
    assert counted.registry.get_sample_value("admitlb_announced_addresses") == 1.0
    counted.take(alone, HolderState())
    assert counted.shown() is None
    assert counted.registry.get_sample_value("admitlb_announced_addresses") == 0.0
