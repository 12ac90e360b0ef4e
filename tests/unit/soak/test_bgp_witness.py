"""What the witness makes of what BIRD and FRR say of their sessions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.lab.route_monitor import RouteChange
from tests.lab.routers import BIRD, FRR
from tests.soak.bgp.expectation import Expectation
from tests.soak.bgp.place import Place
from tests.soak.bgp.witness import Witness

NODES = ("node-1", "node-2")
BIRDS = """2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     10:03:00.100
 kernel1    Kernel     master4    up     10:03:00.100
{}0000
"""
UP = " node{}      BGP        ---        up     {}  Established\n"
DOWN = " node{}      BGP        ---        start  {}  Passive\n"


@dataclass
class Routers:
    """Both routers, as they answer; None for one that does not."""

    birds: str | None = BIRDS.format(UP.format(1, "10:03:01.562") + UP.format(2, "10:04:01.999"))
    established: dict[str, int] | None = field(default_factory=lambda: {"10.0.0.1": 1, "10.0.0.2": 3})

    @property
    def bird(self) -> Any:
        return SimpleNamespace(ask=self._ask)

    def _ask(self, _: str) -> str:
        if self.birds is None:
            raise ConnectionRefusedError
        return self.birds

    def ask_frr(self, _: str) -> str:
        if self.established is None:
            raise ConnectionRefusedError
        peers = {
            address: {"state": "Established" if count else "Active", "connectionsEstablished": count}
            for address, count in self.established.items()
        }
        return json.dumps({"peers": peers})


@pytest.fixture
def routers() -> Routers:
    return Routers()


@pytest.fixture
def expectation() -> Expectation:
    return Expectation(lambda: 0.0)


@pytest.fixture
def witness(routers: Routers, expectation: Expectation) -> Witness:
    addresses = dict(zip(NODES, ("10.0.0.1", "10.0.0.2"), strict=True))
    lab = SimpleNamespace(node=lambda name: SimpleNamespace(addresses=[addresses[name]]))
    found = Witness(cast(Place, SimpleNamespace(routers=routers, expectation=expectation, nodes=NODES, lab=lab)))
    found.look_at_sessions()
    return found


def test_sessions_that_go_on_are_no_finding(witness: Witness, routers: Routers) -> None:
    # BIRD works out anew since when, and may be a millisecond off.
    routers.birds = BIRDS.format(UP.format(1, "10:03:01.563") + UP.format(2, "10:04:02.000"))
    witness.look_at_sessions()
    assert witness.findings == []


def test_session_that_ends_or_is_another_is_found_once(witness: Witness, routers: Routers) -> None:
    routers.birds = BIRDS.format(DOWN.format(1, "10:05:01.562") + UP.format(2, "10:05:01.999"))
    routers.established = {"10.0.0.1": 2, "10.0.0.2": 0}
    for _ in range(3):
        witness.look_at_sessions()
    assert sorted(finding.partition(" ")[2] for finding in witness.findings) == [
        f"the session of {BIRD} with node-1 ended without a reason",
        f"the session of {BIRD} with node-2 was reset without a reason",
        f"the session of {FRR} with node-1 was reset without a reason",
        f"the session of {FRR} with node-2 ended without a reason",
    ]


def test_router_that_does_not_answer_is_asked_again_and_judged_then(witness: Witness, routers: Routers) -> None:
    before = routers.birds
    routers.birds = None
    witness.look_at_sessions()
    routers.birds = before
    witness.look_at_sessions()
    assert witness.findings == []
    routers.established = None
    witness.look_at_sessions()
    routers.established = {"10.0.0.1": 2, "10.0.0.2": 3}
    witness.look_at_sessions()
    (finding,) = witness.findings
    assert finding.endswith(f"the session of {FRR} with node-1 was reset without a reason")


def test_route_that_is_entered_again_as_it_is_is_no_finding_and_any_other_is(witness: Witness) -> None:
    def came(at: float, *hops: str) -> RouteChange:
        return RouteChange("2001:db8:101::10/128", True, at, frozenset(hops))

    def went(at: float, *hops: str) -> RouteChange:
        return RouteChange("2001:db8:101::10/128", False, at, frozenset(hops))

    witness.look_at_changes(BIRD, [came(1.0, "fe80::1")])
    witness.findings.clear()
    witness.look_at_changes(BIRD, [came(2.0, "fe80::1"), came(2.1, "fe80::1")])
    assert witness.findings == []
    witness.look_at_changes(BIRD, [came(3.0, "fe80::1", "fe80::2"), went(4.0, "fe80::1"), went(5.0, "fe80::2")])
    assert [finding.partition(" at ")[2].partition(" (")[0] for finding in witness.findings] == [
        f"{BIRD} without a reason, from fe80::1 to fe80::1 and fe80::2",
        f"{BIRD} without a reason, from fe80::1 and fe80::2 to fe80::2",
        f"{BIRD} without a reason, from fe80::2 to nowhere",
    ]
