"""How events become announcements: order, and who is told what."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import ENDPOINT_SLICES_V1, LEASES, NODES, SERVICES, Resource
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from allocator.rules.left_out import NO_SUBNET
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.cluster.state import View
from speaker.controller import _AT_ONCE_SECONDS, Controller, _Budget
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import NOTHING, AdvertisedState, Claim
from speaker.metrics import SpeakerMetrics
from speaker.netdev.interfaces import Interface
from speaker.status.facts import Announced, Fact, Subject, Unannounced
from speaker.status.reporter import Reporter
from speaker.status.statement import Contested
from tests.lab.waiting import wait_until
from tests.unit.speaker.objects import advertisement, endpoint, endpoint_slice, lease, node, pool, service

VIP = Address.parse("10.0.0.1")  # node-b ranks first, node-a second
NODE = "node-a"
HelpedMacs = Mapping[Address, Mapping[str, bytes]]
UP, NO_CARRIER = 0x10003, 0x1003
LINKS = (Link(name="eth0", mac=b"\x02\x00\x00\x00\x00\x0b"),)


@dataclass
class Neighbours:
    """Takes down what the controller tells each of its neighbours, in one order."""

    said: list[object] = field(default_factory=list)
    announced: dict[Address, Scope] = field(default_factory=dict)
    squatted: set[Address] = field(default_factory=set)
    unheld: set[Address] = field(default_factory=set)
    helped: dict[Address, Mapping[str, bytes]] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    existing: dict[str, Sequence[str]] = field(default_factory=dict)
    stated: AdvertisedState = NOTHING
    statements: int = 0
    on_answered: Callable[[], None] = lambda: None
    going: threading.Event = field(default_factory=threading.Event)
    waiting: bool = False

    def __post_init__(self) -> None:
        self.going.set()

    def announce(self, wanted: Mapping[Address, Scope], *, unheld: AbstractSet[Address], helped: HelpedMacs) -> None:
        self.waiting = not self.going.is_set()
        assert self.going.wait(10)
        self.waiting = False
        asked_for = unheld & wanted.keys() - self.announced.keys() - self.squatted
        self.announced = dict(wanted)
        self.unheld |= unheld
        self.helped = dict(helped)
        self.said.append(sorted(str(address) for address in wanted))
        if asked_for:
            self.on_answered()

    def answered(self, among: Iterable[Address]) -> frozenset[Address]:
        return frozenset(among) & self.announced.keys() - self.squatted

    def announce_again(self, addresses: Iterable[Address] | None = None) -> None:
        self.said.append("again" if addresses is None else f"again {', '.join(map(str, addresses))}")

    def set_peers(
        self, addresses: Mapping[str, Sequence[str]], *, hosts: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.said.append(dict(addresses))
        self.existing = dict(hosts or {})

    def serve(self) -> None:
        self.said.append("serve")

    def advertise(self, state: AdvertisedState) -> None:
        self.stated = state
        self.statements += 1

    def unfence(self) -> None:
        self.said.append("unfence")

    def record(self, service: Object, *, reason: str, message: str, normal: bool = True) -> None:
        self.said.append(f"{service['metadata']['name']}: {reason}: {message}")
        assert normal == (reason != "announceFailed")

    def watch(self, hosts: Mapping[str, str]) -> None:
        self.hosts = dict(hosts)

    def says(self, sentence: object) -> None:
        wait_until(lambda: sentence in self.said, 5, f"{sentence} in {self.said}")


class Statuses:
    """Takes down what is to be shown on objects."""

    def __init__(self) -> None:
        self.facts: dict[str, Fact] = {}
        self.heard: AbstractSet[str] = frozenset()

    def report(self, changed: Mapping[Subject, Fact | None], *, heard: AbstractSet[str]) -> None:
        assert NODE in heard
        self.heard = heard
        for subject, fact in changed.items():
            name = f"{'/'.join(subject.service)} {subject.address}"
            self.facts.pop(name, None)
            if fact is not None:
                self.facts[name] = fact

    def contest(self, address: Address, contested: Contested) -> None:
        raise AssertionError(f"{address} is not contested here: {contested}")


class Rig:
    """A controller that is told about a cluster of one Service served by two nodes."""

    def __init__(self) -> None:
        self.around = Neighbours()
        self.statuses = Statuses()
        self.states: dict[str, AdvertisedState] = {}
        self.registry = CollectorRegistry()
        self.controller = Controller(
            node=NODE,
            view=View(),
            announcer=self.around,
            peers=self.around,
            hosts=self.around,
            reports=Reporter(node=NODE, events=self.around, statuses=self.statuses),
            metrics=SpeakerMetrics(self.registry),
            protocol="layer2",
        )
        self.around.on_answered = self.controller.on_answered
        self.controller.start()
        self.interfaces("eth0")
        self.put(NODES, node("node-a", address="203.0.113.1"))
        self.put(NODES, node("node-b", address="203.0.113.2"))
        self.put(IP_ADDRESS_POOLS, pool(addresses=["10.0.0.0/24"]))
        self.put(L2_ADVERTISEMENTS, advertisement())
        self.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a")))
        self.put(SERVICES, service(str(VIP)))
        for name in ("node-a", "node-b"):
            self.put(LEASES, lease(name))

    def interfaces(self, *up: str, down: Sequence[str] = ()) -> None:
        self.controller.on_interfaces(
            [
                Interface(index=1, name=name, mac=bytes(6), flags=UP if name in up else NO_CARRIER)
                for name in (*up, *down)
            ]
        )

    def put(self, resource: Resource, obj: Object) -> None:
        key = (obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
        self.controller.on_change(Change(resource, key, None, obj, "1"))

    def alive(
        self,
        *nodes: str,
        shaken: bool = False,
        fenced: bool = False,
        holding: Sequence[str] = (),
        leaving: Sequence[str] = (),
        sides: Mapping[str, int] | None = None,
        silent: Sequence[str] = (),
        links: tuple[Link, ...] = LINKS,
    ) -> None:
        """These are alive; of the others those `holding` announce the address."""
        for name in nodes:
            if name != NODE:
                claims = {VIP: Claim(term=5)} if name in holding else {}
                self.states[name] = AdvertisedState(claims=claims, links=links)
        self.controller.on_liveness(
            Liveness(
                alive=frozenset(nodes),
                heard=frozenset(nodes) - {NODE},
                steady=frozenset(nodes),
                shaken=shaken,
                fenced=fenced,
                leaving=frozenset(leaving),
                states=dict(self.states),
                sides={**dict.fromkeys(nodes, len(nodes)), **(sides or {})},
                alone=frozenset(nodes) <= {NODE},
                silent=frozenset(silent),
            )
        )

    def gauge(self) -> float | None:
        labels = {"service": "default/web", "protocol": "layer2", "node": NODE, "ip": str(VIP)}
        return self.registry.get_sample_value("metallb_speaker_announced", labels)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.controller.stop()
    assert not rig.controller.alive


def test_nothing_is_decided_before_the_whole_cluster_is_known(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    assert rig.around.said[-2:] == [{"node-a": ("203.0.113.1",), "node-b": ("203.0.113.2",)}, "serve"]


def test_the_loss_of_the_announcing_node_moves_its_addresses_here(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b")
    rig.alive("node-a")
    wait_until(lambda: rig.around.announced == {VIP: EVERYWHERE}, 5, "node-a takes over")
    rig.around.says('web: nodeAssigned: announcing from node "node-a" with protocol "layer2"')
    assert rig.gauge() == 1
    assert rig.statuses.facts == {f"default/web {VIP}": Announced(uid="uid-of-web")}


def test_what_is_advertised_is_handed_on_once_whatever_else_is_decided(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    before = rig.around.statements
    for number in range(10):
        rig.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a" if number % 2 else "node-b")))
        rig.alive("node-a", sides={"node-b": number})
    rig.alive("node-a", shaken=True)
    rig.around.says("again")
    assert rig.around.statements == before


def test_a_winner_that_claims_nothing_is_passed_over_after_a_moment(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b")
    wait_until(lambda: rig.around.announced == {VIP: EVERYWHERE}, 5, "node-a takes the address")


def test_the_kernels_of_those_for_which_only_their_leases_speak_are_asked(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    assert rig.around.hosts == {}
    rig.alive("node-a", silent=["node-b"])
    wait_until(lambda: rig.around.hosts == {"node-b": "203.0.113.2"}, 5, "node-b is asked")
    rig.alive("node-a", "node-b")
    wait_until(lambda: rig.around.hosts == {}, 5, "nobody is")


def test_every_node_there_is_may_be_heard(rig: Rig) -> None:
    rig.put(NODES, node("node-c", address="203.0.113.3"))
    rig.controller.on_synced()
    rig.around.says("serve")
    assert rig.around.existing["node-c"] == ("203.0.113.3",)


def test_its_return_takes_nothing_back(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    rig.alive("node-a", "node-b", shaken=True)
    rig.around.says("again")
    assert rig.around.announced == {VIP: EVERYWHERE}


def test_an_address_is_kept_until_its_next_holder_is_heard_to_announce_it(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b", holding=["node-b"])
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    assert rig.around.stated.claims == {VIP: Claim(term=6)}, "a term above the former holder's"
    assert rig.around.unheld == set(), "nobody else can have it: it was ours all along"
    # This node leaves: it no longer counts itself.
    rig.alive("node-b", shaken=True, holding=())
    rig.around.says("again")
    assert rig.around.announced == {VIP: EVERYWHERE}
    assert not rig.controller.wait_given_away(0)
    rig.alive("node-b", holding=["node-b"])
    assert rig.controller.wait_given_away(5)
    wait_until(lambda: rig.around.announced == {}, 5, "node-a stops")


def standing_in(rig: Rig) -> None:
    """Let node-b, the announcer, restart its speaker."""
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b", holding=["node-b"])
    rig.alive("node-a", leaving=["node-b"])
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    wait_until(lambda: rig.around.stated.helped == {VIP: "node-b"}, 5, "it says for whom")


def test_for_a_speaker_that_leaves_a_sound_node_its_successor_says_what_it_would_say(rig: Rig) -> None:
    standing_in(rig)
    assert rig.around.helped == {VIP: {"eth0": LINKS[0].mac}}
    wait_until(lambda: rig.around.hosts == {"node-b": "203.0.113.2"}, 5, "the node itself is watched")
    rig.alive("node-a", "node-b")
    rig.alive("node-a", "node-b", holding=["node-b"])
    wait_until(lambda: rig.around.announced == {}, 5, "it is back and has the address again")
    wait_until(lambda: rig.around.hosts == {}, 5, "and needs no watching")


def test_when_the_node_itself_goes_its_successor_speaks_for_itself(rig: Rig) -> None:
    standing_in(rig)
    rig.controller.on_gone(frozenset({"node-b"}))
    wait_until(lambda: rig.around.helped == {}, 5, "the address is answered with this node's own MAC")
    assert rig.around.announced == {VIP: EVERYWHERE}
    wait_until(lambda: rig.around.stated.helped == {}, 5, "for good")
    rig.alive("node-a", "node-b")
    rig.alive("node-a", "node-b", shaken=True)
    rig.around.says("again")
    assert rig.around.announced == {VIP: EVERYWHERE}, "it takes nothing back"


@pytest.mark.parametrize(
    "going",
    [node("node-b", address="203.0.113.2", cordoned=True), node("node-b", address="203.0.113.2", ready=False)],
    ids=["cordoned", "not ready"],
)
def test_a_node_about_to_go_lends_nothing(rig: Rig, going: Object) -> None:
    rig.put(NODES, going)
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b", holding=["node-b"])
    rig.alive("node-a", leaving=["node-b"])
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    assert rig.around.helped == {}


def test_a_node_that_is_cordoned_while_its_speaker_is_away_gets_no_more_traffic(rig: Rig) -> None:
    standing_in(rig)
    rig.put(NODES, node("node-b", address="203.0.113.2", cordoned=True))
    wait_until(lambda: rig.around.helped == {}, 5, "the address is answered with this node's own MAC")
    assert rig.around.announced == {VIP: EVERYWHERE}


def test_an_address_that_its_next_holder_never_takes_is_let_go_after_a_while(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    rig.alive("node-b")
    wait_until(lambda: rig.around.announced == {}, 5, "node-a stops")


def test_an_address_that_nobody_was_ever_heard_to_announce_is_probed_for_first(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    assert rig.around.unheld == {VIP}


def test_a_lost_carrier_ends_the_announcement_at_once_and_the_others_are_told(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    rig.interfaces(down=["eth0"])
    wait_until(lambda: rig.around.announced == {}, 5, "node-a stops")
    wait_until(lambda: [link.lost for link in rig.around.stated.links] == [True], 5, "it says why")
    assert rig.around.stated.claims == {}
    rig.around.says(
        f'web: announceFailed: the interfaces specified by LB IP "{VIP}" doesn\'t exist in assigned node "node-a" '
        'with protocol "layer2"'
    )


def test_answering_is_allowed_again_only_after_what_was_learned_is_acted_upon(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    rig.around.said.clear()
    rig.alive("node-a", fenced=True)
    rig.alive("node-a", "node-b", holding=["node-b"], shaken=True, sides={"node-a": 0})
    rig.around.says("unfence")
    assert rig.around.said.index([]) < rig.around.said.index("unfence")


def test_two_announcers_after_a_partition_are_counted(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    rig.alive("node-a", "node-b", holding=["node-b"], shaken=True, sides={"node-b": 3})
    wait_until(lambda: rig.around.announced == {}, 5, "the larger side keeps it")
    rig.around.says("again")
    wait_until(lambda: rig.registry.get_sample_value("admitlb_double_announcers_total") == 1, 5, "it is counted")


def test_thousands_of_them_are_logged_when_nothing_else_is_to_be_done(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Rendering and queueing a line takes ten microseconds: answering is not to wait for five thousand."""
    rig.controller.on_synced()
    rig.around.says("serve")
    logged = [0]
    follow = rig.controller._follow

    def lines() -> int:
        return sum(record.getMessage() == "address.announced-twice" for record in caplog.records)

    def looked() -> None:
        logged.append(lines())
        follow()

    rig.controller._follow = looked  # type: ignore[method-assign]
    rig.controller._twice.extend((Address(VIP.family, VIP.value + number), "node-b") for number in range(200))
    rig.alive("node-a")
    wait_until(lambda: lines() == 200, 5, "all are logged")
    assert max(later - before for before, later in itertools.pairwise(logged)) <= 50


def test_an_event_is_written_only_when_the_announcing_node_changes(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")
    rig.put(SERVICES, service(str(VIP), labels={"touched": "yes"}))
    rig.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-b")))
    rig.put(SERVICES, service(str(VIP), "10.0.0.2"))
    wait_until(lambda: len(rig.around.announced) == 2, 5, "the second address is announced too")
    assert sum("nodeAssigned" in str(sentence) for sentence in rig.around.said) == 1


def test_after_a_shake_the_lan_is_told_anew_even_though_nothing_moved(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a")
    rig.alive("node-a", shaken=True)
    rig.around.says("again")
    assert rig.around.announced == {VIP: EVERYWHERE}


def test_a_takeover_does_not_wait_for_a_backlog_of_changes(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b")
    rig.around.going.clear()
    rig.put(NODES, node("node-c"))
    wait_until(lambda: rig.around.waiting, 5, "the controller is held up in an announcement")
    before = len(rig.around.said)
    # The backlog gives the Service a second address; the loss of node-b is told after it.
    rig.put(SERVICES, service(str(VIP), "10.0.0.2"))
    rig.alive("node-a")
    rig.around.going.set()
    wait_until(lambda: len(rig.around.announced) == 2, 5, "all is done")
    lists = [sentence for sentence in rig.around.said[before:] if isinstance(sentence, list) and sentence]
    assert [each for each, _ in itertools.groupby(lists)] == [[str(VIP)], [str(VIP), "10.0.0.2"]]


def test_a_thread_that_comes_late_gets_on_all_the_same() -> None:
    budget = _Budget()
    time.sleep(2 * _AT_ONCE_SECONDS)
    assert [budget(), budget()] == [True, False]


def test_services_that_share_an_address_announce_it_once(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.put(SERVICES, service(str(VIP), name="sharer"))
    rig.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a"), of="sharer", name="sharer-1"))
    rig.alive("node-a")
    wait_until(lambda: sum("nodeAssigned" in str(sentence) for sentence in rig.around.said) == 2, 5, "both")
    assert rig.around.announced == {VIP: EVERYWHERE}


def test_who_is_left_out_is_reported_anew_though_nothing_is_announced_otherwise(rig: Rig) -> None:
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b", holding=["node-b"])
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")

    def left_out() -> list[str]:
        return [nodes for fact in rig.statuses.facts.values() for nodes, _ in getattr(fact, "left_out", ())]

    rig.put(NODES, node("node-c", labels={EXCLUDE_FROM_LB_LABEL: ""}))
    wait_until(lambda: left_out() == ["node-c"], 5, "node-c is left out")
    rig.put(NODES, node("node-d", labels={EXCLUDE_FROM_LB_LABEL: ""}))
    wait_until(lambda: left_out() == ["node-c, node-d"], 5, "node-d is left out, too")
    rig.put(NODES, node("node-a", labels={"lan": "front"}))
    rig.put(NODES, node("node-b"))
    wait_until(lambda: left_out() == ["node-c, node-d"], 5, "node-b is left out no longer")
    rig.put(L2_ADVERTISEMENTS, advertisement(nodeSelectors=[{"matchLabels": {"lan": "front"}}]))
    wait_until(lambda: left_out() == ["node-b, node-c, node-d"], 5, "none of the others is selected")


def test_who_lacks_the_subnet_is_reported_anew_though_nothing_is_announced_otherwise(rig: Rig) -> None:
    here, elsewhere = Subnet.parse("10.0.0.0/24"), Subnet.parse("198.51.100.0/24")
    own = Interface(index=1, name="eth0", mac=bytes(6), flags=UP, subnets=frozenset({here}))
    rig.controller.on_interfaces([own])
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b", holding=["node-b"])
    rig.alive("node-a")
    wait_until(lambda: rig.gauge() == 1, 5, "node-a announces")

    def left_out() -> list[tuple[str, str]]:
        return [each for fact in rig.statuses.facts.values() for each in getattr(fact, "left_out", ())]

    assert left_out() == []
    for subnet, expected in ((elsewhere, [("node-b", NO_SUBNET)]), (here, [])):
        rig.alive("node-a", "node-b", links=(Link(name="eth0", mac=bytes(6), subnets=(subnet,)),))
        wait_until(lambda expected=expected: left_out() == expected, 5, f"{expected} is reported")  # type: ignore[misc]
    assert rig.gauge() == 1


def test_who_is_heard_is_reported_though_nothing_is_announced_otherwise(rig: Rig) -> None:
    rig.put(SERVICES, service())
    rig.controller.on_synced()
    rig.around.says("serve")
    rig.alive("node-a", "node-b")
    wait_until(lambda: rig.statuses.heard == {"node-a", "node-b"}, 5, "node-b is heard")
    rig.alive("node-a")
    wait_until(lambda: rig.statuses.heard == {"node-a"}, 5, "it is not any more")


def test_that_the_last_speaker_that_may_announce_has_gone_is_reported_by_another(rig: Rig) -> None:
    rig.put(NODES, node("node-b", address="203.0.113.2", labels={"edge": "y"}))
    rig.put(L2_ADVERTISEMENTS, advertisement(nodeSelectors=[{"matchLabels": {"edge": "y"}}]))
    rig.controller.on_synced()
    rig.around.says("serve")
    web = f"default/web {VIP}"

    def reason() -> str:
        fact = rig.statuses.facts.get(web)
        return fact.reason if isinstance(fact, Unannounced) else ""

    rig.alive("node-a", "node-b", holding=["node-b"])
    wait_until(lambda: rig.statuses.heard == {"node-a", "node-b"}, 5, "node-b is heard")
    assert reason() == ""
    rig.alive("node-a")
    wait_until(lambda: reason() == "NoSpeaker", 5, "nobody is left")
    rig.alive("node-a", "node-b", holding=["node-b"])
    wait_until(lambda: reason() == "", 5, "node-b is back")
