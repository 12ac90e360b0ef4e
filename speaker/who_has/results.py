"""What the answers mean: who has an address, whether it is one host, and what to do where it is not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from allocator.core.addresses import Address
from speaker.who_has.asking import Answer
from speaker.who_has.facts import ClusterFacts, Record


class State(StrEnum):
    """Who answers for an address."""

    ANSWERED = "Answered"
    """One host."""
    SILENT = "Silent"
    """Nobody."""
    SEVERAL = "Several"
    """More than one host on one LAN."""


EXIT_CODES: Mapping[State, int] = {State.ANSWERED: 0, State.SILENT: 1, State.SEVERAL: 3}
"""The worst of all addresses counts; 2 is that nothing could be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Whose a hardware address is: `nodes` by those that answer for one node's own address, `own` this machine's.

    `proxies` answer for the addresses of several nodes.
    """

    nodes: Mapping[str, str]
    proxies: frozenset[str]
    own: tuple[tuple[str, str], ...]
    """Hardware address and interface."""
    here: str
    """The node that this machine is, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One that answers; `node` is empty for a host that is no node of the cluster, or where no cluster is known.

    `here` is this machine: it does not hear itself, so that there is no time.
    """

    mac: str
    interface: str
    node: str = ""
    proxy: bool = False
    here: bool = False
    milliseconds: float = 0.0
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One address; `message` says what to do, or what the API says beside it."""

    address: Address
    state: State
    hosts: tuple[Host, ...]
    asked_on: tuple[str, ...]
    record: Record | None
    message: str

    def as_json(self) -> dict[str, Any]:
        """Return the entry in the JSON output."""
        record = self.record or Record()
        return {
            "address": str(self.address),
            "state": str(self.state),
            "askedOn": list(self.asked_on),
            "answers": [
                {
                    "hardwareAddress": host.mac,
                    "node": host.node,
                    "interface": host.interface,
                    "milliseconds": round(host.milliseconds, 3),
                    "count": host.count,
                    "thisMachine": host.here,
                    "proxy": host.proxy,
                }
                for host in self.hosts
            ],
            "services": list(record.services),
            "pool": record.pool,
            "announcedBy": record.announced_by,
            "message": self.message,
        }


def identities(
    answers: Iterable[Answer],
    facts: ClusterFacts,
    *,
    own: Sequence[tuple[str, str]],
    own_addresses: Iterable[Address],
) -> Identities:
    """Say whose each hardware address is, by who answers for the nodes' own addresses."""
    by_mac: dict[str, set[str]] = {}
    for answer in answers:
        if answer.address in facts.nodes:
            by_mac.setdefault(answer.mac, set()).add(facts.nodes[answer.address])
    here = next((facts.nodes[address] for address in own_addresses if address in facts.nodes), "")
    nodes = {mac: next(iter(names)) for mac, names in by_mac.items() if len(names) == 1}
    return Identities(
        nodes={**nodes, **({mac: here for mac, _ in own} if here else {})},
        proxies=frozenset(mac for mac, names in by_mac.items() if len(names) > 1),
        own=tuple(own),
        here=here,
    )


def result_of(
    address: Address,
    answers: Iterable[Answer],
    *,
    asked_on: Sequence[str],
    itself_on: Sequence[str],
    who: Identities,
    facts: ClusterFacts,
) -> Result:
    """Judge the answers for one address; `itself_on` are this machine's interfaces that have it."""
    record = facts.records.get(address)
    hosts = [
        Host(
            mac=answer.mac,
            interface=answer.interface,
            node=who.nodes.get(answer.mac, ""),
            proxy=answer.mac in who.proxies,
            milliseconds=answer.after_seconds * 1000,
            count=answer.count,
        )
        for answer in answers
        if answer.address == address
    ]
    # A machine does not hear itself. Where another node answers, the address has moved there and the report is late.
    moved = any(host.node not in ("", who.here) for host in hosts)
    announces_here = record is not None and bool(who.here) and record.announced_by == who.here and not moved
    for mac, interface in who.own:
        if interface in itself_on or (announces_here and interface in asked_on):
            hosts.insert(0, Host(mac=mac, interface=interface, node=who.here, here=True))
    state = _state(hosts)
    return Result(
        address=address,
        state=state,
        hosts=tuple(hosts),
        asked_on=tuple(asked_on),
        record=record,
        message=_message(state, hosts, record, facts, who),
    )


def exit_code(results: Iterable[Result]) -> int:
    """Return the worst of the states' codes."""
    return max((EXIT_CODES[result.state] for result in results), default=0)


def _state(hosts: Sequence[Host]) -> State:
    by_interface: dict[str, set[str]] = {}
    for host in hosts:
        by_interface.setdefault(host.interface, set()).add(host.node or host.mac)
    if any(len(names) > 1 for names in by_interface.values()):
        return State.SEVERAL
    return State.ANSWERED if hosts else State.SILENT


def _message(state: State, hosts: Sequence[Host], record: Record | None, facts: ClusterFacts, who: Identities) -> str:
    if state is State.SILENT:
        return _silent(record, facts)
    if any(host.proxy for host in hosts):
        return "a router answers for others (proxy ARP): turn that off for the addresses of pools"
    if not facts.known:
        several = "several hosts have one address, and traffic goes to either: take it off all but one"
        return several if state is State.SEVERAL else ""
    announcer = record.announced_by if record is not None else ""
    strangers = [host.mac for host in hosts if not host.node and not host.here]
    if len(strangers) == 1 and announcer and announcer not in who.nodes.values():
        return (
            f"no node has an address of its own at {strangers[0]}: compare that with `ip link` on {announcer}, which "
            "announces it as the API says"
        )
    if strangers and (state is State.SEVERAL or record is not None):
        whose = f" of {', '.join(record.services)}" if record is not None and record.services else ""
        return (
            f"{', '.join(strangers)}, no node of this cluster, has the address{whose}: take it off that host, or out "
            "of the pool with spec.excludeAddresses"
        )
    if state is State.SEVERAL:
        return (
            "several nodes answer: speakers settle this within seconds of hearing each other; if it stays, "
            "kube-proxy answers as well (`admitlb doctor` says), or see event=address.conflict in the speakers' logs"
        )
    if record is None:
        return "no Service has it"
    nodes = {host.node for host in hosts}
    if announcer and announcer not in nodes:
        return f"the API says that {announcer} announces it: it has just moved, or that report is late"
    return ""


def _silent(record: Record | None, facts: ClusterFacts) -> str:
    if not facts.known:
        return "nobody has it, this machine is not on its LAN, or this machine itself announces it"
    if record is None:
        return "no Service has it"
    if record.announced_by:
        return (
            f"the API says that {record.announced_by} announces it: ask from another machine of its LAN (VLAN, port "
            "isolation, filters on the switch)"
        )
    return f"announced by no node: {record.not_announced or 'no speaker says why'}"
