"""What answers mean, in every combination of who answers and what the API says."""

from __future__ import annotations

import itertools

import pytest

from allocator.core.addresses import Address
from speaker.who_has.asking import Answer
from speaker.who_has.facts import ClusterFacts, Record
from speaker.who_has.results import EXIT_CODES, Result, State, exit_code, identities, result_of

VIP = Address.parse("192.0.2.100")
NODES = {Address.parse("192.0.2.1"): "node-1", Address.parse("192.0.2.3"): "node-2", Address.parse("192.0.2.9"): "me"}
OWN = (("02:00:00:00:00:09", "eth0"),)
ONE, TWO, STRANGER = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:99"
NODE_ANSWERS = [
    Answer(address=Address.parse("192.0.2.1"), mac=ONE, interface="eth0", after_seconds=0.001),
    Answer(address=Address.parse("192.0.2.3"), mac=TWO, interface="eth0", after_seconds=0.001),
]


def judged(
    *macs: str,
    record: Record | None = None,
    known: bool = True,
    own_addresses: tuple[str, ...] = ("192.0.2.50",),
    itself_on: tuple[str, ...] = (),
    interfaces: tuple[str, ...] = ("eth0",),
    node_answers: list[Answer] = NODE_ANSWERS,
) -> Result:
    facts = ClusterFacts(known=known, nodes=NODES if known else {}, records={VIP: record} if record else {})
    answers = [
        *(node_answers if known else ()),
        *(
            Answer(address=VIP, mac=mac, interface=interface, after_seconds=0.0005, count=3)
            for mac, interface in zip(macs, itertools.cycle(interfaces))
        ),
    ]
    who = identities(answers, facts, own=OWN, own_addresses=map(Address.parse, own_addresses))
    return result_of(VIP, answers, asked_on=("eth0",), itself_on=itself_on, who=who, facts=facts)


HELD = Record(services=("shop/cart",), pool="lan", announced_by="node-1")


@pytest.mark.parametrize(
    ("macs", "record", "state", "nodes", "says"),
    [
        ((ONE,), HELD, State.ANSWERED, ["node-1"], ""),
        ((TWO,), HELD, State.ANSWERED, ["node-2"], "the API says that node-1 announces it"),
        ((ONE,), None, State.ANSWERED, ["node-1"], "no Service has it"),
        ((STRANGER,), None, State.ANSWERED, [""], "no Service has it"),
        (
            (STRANGER,),
            HELD,
            State.ANSWERED,
            [""],
            f"{STRANGER}, no node of this cluster, has the address of shop/cart",
        ),
        ((ONE, STRANGER), HELD, State.SEVERAL, ["node-1", ""], f"{STRANGER}, no node of this cluster"),
        ((ONE, STRANGER), None, State.SEVERAL, ["node-1", ""], f"{STRANGER}, no node of this cluster"),
        ((ONE, TWO), HELD, State.SEVERAL, ["node-1", "node-2"], "several nodes answer"),
        ((), HELD, State.SILENT, [], "the API says that node-1 announces it: ask from another machine"),
        ((), None, State.SILENT, [], "no Service has it"),
        ((), Record(services=("a/b",), not_announced="no endpoint"), State.SILENT, [], "no node: no endpoint"),
    ],
)
def test_who_answers_and_what_the_api_says(
    macs: tuple[str, ...], record: Record | None, state: State, nodes: list[str], says: str
) -> None:
    result = judged(*macs, record=record)
    assert (result.state, [host.node for host in result.hosts]) == (state, nodes)
    assert says in result.message
    assert bool(says) == bool(result.message)


def test_two_hosts_on_different_lans_are_no_conflict() -> None:
    assert judged(ONE, TWO, interfaces=("eth0", "eth1")).state is State.ANSWERED


def test_two_interfaces_of_one_node_are_no_conflict() -> None:
    second = Answer(address=Address.parse("192.0.2.1"), mac=STRANGER, interface="eth0", after_seconds=0.1)
    result = judged(ONE, STRANGER, record=HELD, node_answers=[*NODE_ANSWERS, second])
    assert (result.state, [host.node for host in result.hosts]) == (State.ANSWERED, ["node-1", "node-1"])


def test_who_answers_for_several_nodes_is_a_proxy_and_no_node() -> None:
    proxied = [
        Answer(address=address, mac=STRANGER, interface="eth0", after_seconds=0.1) for address in list(NODES)[:2]
    ]
    result = judged(STRANGER, record=HELD, node_answers=proxied)
    assert [(host.proxy, host.node) for host in result.hosts] == [(True, "")]
    assert "proxy ARP" in result.message


def test_a_node_whose_own_address_nobody_answers_for_is_not_accused() -> None:
    result = judged(STRANGER, record=HELD, node_answers=NODE_ANSWERS[1:])
    assert "no node of this cluster" not in result.message
    assert "compare that with `ip link` on node-1" in result.message


def test_without_a_cluster_nobody_is_accused() -> None:
    assert judged(STRANGER, known=False).message == ""
    assert judged(ONE, STRANGER, known=False).message.startswith("several hosts have one address")
    assert "this machine is not on its LAN" in judged(known=False).message


def test_this_machine_is_named_where_it_has_the_address_itself() -> None:
    result = judged(itself_on=("eth0",))
    assert [(host.here, host.mac) for host in result.hosts] == [(True, OWN[0][0])]
    assert result.state is State.ANSWERED
    assert judged(ONE, itself_on=("eth0",)).state is State.SEVERAL


def test_this_machine_is_named_where_its_speaker_announces_the_address() -> None:
    record = Record(services=("shop/cart",), pool="lan", announced_by="me")
    result = judged(record=record, own_addresses=("192.0.2.9",))
    assert [(host.here, host.node) for host in result.hosts] == [(True, "me")]
    assert result.message == ""
    assert judged(record=record).hosts == (), "another machine does not announce it"


@pytest.mark.parametrize(
    ("macs", "itself_on", "state", "nodes", "says"),
    [
        ((ONE,), (), State.ANSWERED, ["node-1"], "the API says that me announces it: it has just moved"),
        ((ONE, TWO), (), State.SEVERAL, ["node-1", "node-2"], "several nodes answer"),
        ((ONE,), ("eth0",), State.SEVERAL, ["me", "node-1"], "several nodes answer"),
        ((STRANGER,), (), State.SEVERAL, ["me", ""], f"{STRANGER}, no node of this cluster"),
        ((), (), State.ANSWERED, ["me"], ""),
    ],
)
def test_on_the_node_of_a_late_report_the_node_that_answers_has_the_address(
    macs: tuple[str, ...], itself_on: tuple[str, ...], state: State, nodes: list[str], says: str
) -> None:
    record = Record(services=("shop/cart",), pool="lan", announced_by="me")
    result = judged(*macs, record=record, own_addresses=("192.0.2.9",), itself_on=itself_on)
    assert (result.state, [host.node for host in result.hosts]) == (state, nodes)
    assert result.message.startswith(says)
    assert bool(says) == bool(result.message)


def test_the_worst_state_is_the_exit_code() -> None:
    assert set(EXIT_CODES) == set(State)
    assert 2 not in EXIT_CODES.values(), "that is: nothing could be asked"
    assert exit_code([]) == 0
    assert exit_code([judged(ONE), judged()]) == 1
    assert exit_code([judged(ONE, TWO), judged(), judged(ONE)]) == 3
