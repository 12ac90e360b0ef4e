"""Why an address was taken, and which Services are shown as announced."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE
from speaker.election.announcement_metrics import Tally
from speaker.election.holder import Surroundings, Tenancy
from speaker.membership.state_sync import Statement
from speaker.metrics import SpeakerMetrics
from tests.unit.speaker.simulated import contest

VIP = Address.parse("192.0.2.1")
REASONS = ("new", "lost", "handed-over")


class Counted:
    """A tally and what it has counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tally = Tally("node-1", SpeakerMetrics(self.registry))
        self.now = Tenancy()

    def take(self, around: Surroundings, tenancy: Tenancy) -> None:
        self.tally.count([contest(VIP, ["node-1", "node-2"])], around, tenancy, before=self.now)
        self.now = tenancy

    def reasons(self) -> dict[str, float | None]:
        name = "admitlb_takeovers_total"
        return {reason: self.registry.get_sample_value(name, {"reason": reason}) for reason in REASONS}

    def shown(self) -> float | None:
        labels = {"service": f"default/{VIP}", "protocol": "layer2", "node": "node-1", "ip": str(VIP)}
        return self.registry.get_sample_value("metallb_speaker_announced", labels)


@pytest.fixture
def counted() -> Counted:
    return Counted()


HELD = Tenancy(scopes={VIP: EVERYWHERE}, claims={VIP: 9})


@pytest.mark.parametrize(
    ("claims", "alive", "leaving", "reason"),
    [
        pytest.param({"node-2": 7}, {"node-1"}, (), "lost", id="its holder fell silent"),
        pytest.param({"node-2": 7}, {"node-1"}, ("node-2",), "handed-over", id="its holder said good-bye"),
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
    statements = {node: Statement(claims={VIP: term}) for node, term in claims.items()}
    counted.take(Surroundings(frozenset(alive), statements=statements, leaving=leaving), HELD)
    assert counted.reasons() == {each: float(each == reason) for each in REASONS}
    counted.take(Surroundings(frozenset(alive)), HELD)
    assert sum(filter(None, counted.reasons().values())) == 1.0, "what is kept is not counted"


def test_what_nobody_had_is_new_and_shown_once_it_is_claimed(counted: Counted) -> None:
    around = Surroundings(frozenset({"node-1"}))
    counted.take(around, Tenancy(scopes={VIP: EVERYWHERE}, unheld=frozenset({VIP})))
    assert (counted.reasons()["new"], counted.shown()) == (1.0, None)
    counted.take(around, HELD)
    assert (counted.reasons()["new"], counted.shown()) == (1.0, 1.0)
    counted.take(around, Tenancy())
    assert counted.shown() is None
