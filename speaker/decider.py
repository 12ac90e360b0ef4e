"""Decides what this node announces, whenever the cluster, the living speakers or the interfaces change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Protocol

from allocator.core.addresses import Address
from allocator.logs import EventLog
from allocator.reflector import Change, Key
from speaker.contest import Contest
from speaker.fence import clock
from speaker.interfaces import Interface
from speaker.links import LinkMemory
from speaker.liveness import Liveness
from speaker.metrics import SpeakerMetrics
from speaker.scope import Scope
from speaker.statement import Link, Statement
from speaker.tenure import Surroundings, Tenancy, Tenure
from speaker.view import View

log = EventLog("decider")

PROTOCOL = "layer2"

REJOIN_SECONDS = 1.2
"""How long a node that was cut off listens for the others before it takes anything. The nodes' kernels ask for each
other's hardware address once a second; until that is answered no heartbeat passes."""


class Announces(Protocol):
    """What carries out a decision."""

    def announce(
        self,
        wanted: Mapping[Address, Scope],
        *,
        unheld: AbstractSet[Address],
        lent: Mapping[Address, Mapping[str, bytes]],
    ) -> None:
        """Announce exactly this from now on; what is new and `unheld` only once nobody turns out to have it.

        What is `lent` is answered with another's hardware address, by interface, and not announced unasked.
        """
        ...

    def announce_again(self) -> None:
        """Tell the LAN anew about everything announced."""
        ...

    def answered(self) -> frozenset[Address]:
        """What is answered for now: not what still has to be asked for, or what another host turned out to have."""
        ...


class Peers(Protocol):
    """What the other speakers are told and asked through."""

    def set_peers(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Exchange heartbeats with these nodes from now on."""
        ...

    def renewed(self, node: str) -> None:
        """The node's Lease was seen to be renewed."""
        ...

    def serve(self) -> None:
        """This node knows enough of the cluster to announce."""
        ...

    def state(self, statement: Statement) -> None:
        """Tell what this node announces and where it can."""
        ...

    def unfence(self) -> None:
        """What is known of the others has been acted upon."""
        ...


class Hosts(Protocol):
    """What watches nodes without a speaker."""

    def watch(self, hosts: Mapping[str, str]) -> None:
        """Watch exactly these, by name and address; returns at once."""
        ...


class Reports(Protocol):
    """What tells people."""

    def report(self, view: View, contests: Iterable[Contest], tenancy: Tenancy) -> None:
        """This node announces that from now on; returns at once."""
        ...


class Decider:
    """Applies changes in order, on one thread that alone owns the view and the tenure.

    `_changes`, `_liveness`, `_links`, `_gone`, `_answered`, `_memory`, `_synced` and `_stopping` are guarded by
    `_wake`; all else belongs to the thread. News of the living and of the interfaces comes first: a takeover never
    waits for a backlog of watch events.
    """

    def __init__(
        self,
        *,
        node: str,
        view: View,
        announcer: Announces,
        peers: Peers,
        hosts: Hosts,
        reports: Reports,
        metrics: SpeakerMetrics,
    ) -> None:
        self._node = node
        self._view = view
        self._announcer = announcer
        self._peers = peers
        self._hosts = hosts
        self._reports = reports
        self._metrics = metrics
        self._tenure = Tenure(node)
        self._wake = threading.Condition()
        self._changes: list[Change] = []
        self._liveness: Liveness | None = None
        self._links: tuple[Link, ...] | None = None
        self._gone: frozenset[str] | None = None
        self._answered = False
        self._memory = LinkMemory()
        self._synced = False
        self._stopping = False
        self._around = Surroundings(frozenset())
        self._rejoins_at: float | None = None
        self._unreachable: frozenset[str] = frozenset()
        self._known: dict[str, tuple[str, ...]] | None = None
        self._renewals: dict[str, str] = {}
        # Replaced whole by the thread, read by any.
        self._named: Mapping[Address, str] = {}
        self._staying: frozenset[str] = frozenset()
        self._tenancy = Tenancy()
        self._shown: dict[Address, frozenset[Key]] = {}
        self._macs: dict[bytes, str] = {}
        self._given_away = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decider", daemon=True)

    def start(self) -> None:
        """Begin deciding."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is announced stays announced until the announcer stops."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def whose(self, mac: bytes) -> str | None:
        """Return the node whose speaker announces with this hardware address."""
        return self._macs.get(mac)

    def services_of(self, address: Address) -> str | None:
        """Name the Services that have, or just had, an address announced here: `namespace/name`, comma-joined."""
        return self._named.get(address)

    def wait_given_away(self, timeout_seconds: float) -> bool:
        """Wait until nothing is announced here any more; tell whether that came to be."""
        return self._given_away.wait(timeout_seconds)

    def on_change(self, change: Change) -> None:
        """Take note of a change in the cluster (called by the reflectors)."""
        with self._wake:
            self._changes.append(change)
            self._wake.notify()

    def on_synced(self) -> None:
        """Every reflector has delivered its first list: what is known is the whole cluster."""
        with self._wake:
            self._synced = True
            self._wake.notify()

    def on_liveness(self, liveness: Liveness) -> None:
        """Take note of who is alive (called by the heartbeats)."""
        with self._wake:
            unseen = self._liveness is not None and self._liveness.shaken
            self._liveness = replace(liveness, shaken=liveness.shaken or unseen)
            self._wake.notify()

    def on_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Take note of the node's interfaces (called by their watch)."""
        with self._wake:
            self._links = self._memory.links(interfaces)
            self._wake.notify()

    def on_gone(self, nodes: frozenset[str]) -> None:
        """Take note of the nodes without a speaker that do not run any more (called by the host watch)."""
        with self._wake:
            self._gone = nodes
            self._wake.notify()

    def on_answered(self) -> None:
        """Take note that something that had to be asked for is answered for now (called by the announcer)."""
        with self._wake:
            self._answered = True
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(self._has_news, self._patience())
                if self._stopping:
                    return
                liveness, self._liveness = self._liveness, None
                links, self._links = self._links, None
                gone, self._gone = self._gone, None
                answered, self._answered = self._answered, False
                urgent = answered or (liveness, links, gone) != (None, None, None) or self._overdue()
                changes: list[Change] = []
                if not urgent and self._synced:
                    changes, self._changes = self._changes, changes
            if gone is not None:
                self._unreachable = gone
            if urgent:
                self._move(liveness, links)
            else:
                self._follow(changes)

    def _has_news(self) -> bool:
        cluster = self._synced and (bool(self._changes) or self._known is None)
        urgent = (self._liveness, self._links, self._gone) != (None, None, None)
        return self._stopping or urgent or self._answered or cluster

    def _patience(self) -> float | None:
        return None if (deadline := self._deadline()) is None else max(0.0, deadline - clock())

    def _overdue(self) -> bool:
        return (deadline := self._deadline()) is not None and deadline <= clock()

    def _deadline(self) -> float | None:
        deadlines = (self._tenancy.deadline, self._rejoins_at)
        return min((each for each in deadlines if each is not None), default=None)

    def _move(self, liveness: Liveness | None, links: tuple[Link, ...] | None) -> None:
        begun = time.monotonic()
        around = self._around
        before = around.alive
        if liveness is not None:
            # Kept when a speaker restarts: it announces before it has told its interfaces to everybody.
            macs = {link.mac: node for node, stated in liveness.statements.items() for link in stated.links}
            self._macs = {**self._macs, **macs}
            around = replace(
                around,
                alive=liveness.alive,
                unheard=liveness.unheard,
                statements=liveness.statements,
                leaving=liveness.leaving,
            )
        if links is not None:
            if self._was_cut_off(links, around.alive):
                self._rejoins_at = clock() + REJOIN_SECONDS
            around = replace(around, links=links)
        self._around = around
        self._act(lost=frozenset(before) - frozenset(around.alive))
        if liveness is None:
            return
        if before != around.alive:
            self._metrics.decision_seconds.observe(time.monotonic() - begun)
        if liveness.shaken:
            for address, node in sorted(self._tenancy.contested.items()):
                log.warning("address.announced-twice", ip=address, service=self._named.get(address), also=node)
                self._metrics.double_announcers.inc()
        if not liveness.fenced:
            self._peers.unfence()
        if liveness.shaken:
            self._announcer.announce_again()

    def _follow(self, changes: list[Change]) -> None:
        for change in changes:
            self._view.apply(change)
        staying = self._view.staying()
        if self._view.refresh() or (staying != self._staying and self._tenancy.loans):
            self._staying = staying
            self._act()
        self._staying = staying
        peers = self._view.peers()
        if peers != self._known:
            first = self._known is None
            self._known = peers
            self._metrics.peers_known.set(len(peers))
            self._peers.set_peers(peers)
            if first:
                self._peers.serve()
        renewals = self._view.renewals()
        for node, renewed in renewals.items():
            if node in self._renewals and renewed != self._renewals[node]:
                self._peers.renewed(node)
        self._renewals = renewals

    def _act(self, *, lost: frozenset[str] = frozenset()) -> None:
        before = self._tenancy
        if self._rejoins_at is not None and (clock() >= self._rejoins_at or not self._is_alone(self._around.alive)):
            self._rejoins_at = None
        around = replace(
            self._around,
            alive=self._around.alive if self._rejoins_at is None else frozenset(),
            answered=self._announcer.answered(),
            doubtful=self._doubtful(),
        )
        tenancy = self._tenure.decide(self._view.contests(), around, clock())
        self._tenancy = tenancy
        self._name(tenancy, before)
        # Answer first: the others go by the claim, and whoever had the address until now stops at its word.
        lent = {address: loan.macs for address, loan in tenancy.loans.items()}
        self._announcer.announce(tenancy.scopes, unheld=tenancy.unheld, lent=lent)
        self._peers.state(tenancy.statement(self._around.links))
        lenders = {address: loan.lender for address, loan in tenancy.loans.items()}
        self._unreachable &= frozenset(lenders.values())
        known = self._known or {}
        self._hosts.watch({node: known[node][0] for node in lenders.values() if known.get(node)})
        if tenancy.scopes:
            self._given_away.clear()
        else:
            self._given_away.set()
        taken = tenancy.scopes.keys() - before.scopes.keys()
        if taken:
            reason = "lost" if lost else "handed-over"
            new = len(taken & tenancy.unheld)
            self._metrics.takeovers.labels("new").inc(new)
            self._metrics.takeovers.labels(reason).inc(len(taken) - new)
        self._show(tenancy)
        # Before it serves, and once it leaves, this node has no say; the next holder puts right what is left.
        if self._node in around.alive:
            self._reports.report(self._view, self._view.contests(), tenancy)

    def _was_cut_off(self, links: Iterable[Link], alive: Iterable[str]) -> bool:
        """Whether an interface is back after every peer fell silent: more likely it was this node that was gone."""
        before = {link.name for link in self._around.links if not link.lost}
        back = {link.name for link in links if not link.lost} - before
        return bool(back and self._around.links) and self._is_alone(alive)

    def _is_alone(self, alive: Iterable[str]) -> bool:
        return len(self._known or ()) > 1 and not frozenset(alive) - {self._node}

    def _name(self, tenancy: Tenancy, before: Tenancy) -> None:
        """Note whose the addresses are; of one that is about to be withdrawn, whose it was."""
        named = {address: service for address, service in self._named.items() if address in before.scopes}
        current: dict[Address, list[str]] = {}
        for contest in self._view.contests():
            for key, address in contest.services:
                if address in tenancy.scopes:
                    current.setdefault(address, []).append("/".join(key))
        self._named = {**named, **{address: ",".join(sorted(services)) for address, services in current.items()}}

    def _doubtful(self) -> frozenset[str]:
        """The nodes that may not go on forwarding while their speaker is away."""
        lenders = {loan.lender for loan in self._tenancy.loans.values()}
        return self._unreachable | ((lenders | set(self._around.leaving)) - self._staying)

    def _show(self, tenancy: Tenancy) -> None:
        shown: dict[Address, frozenset[Key]] = {}
        for contest in self._view.contests():
            for key, address in contest.services:
                if address in tenancy.claims:
                    shown[address] = shown.get(address, frozenset()) | {key}
        before = {(key, address) for address, keys in self._shown.items() for key in keys}
        after = {(key, address) for address, keys in shown.items() for key in keys}
        for key, address in before - after:
            self._metrics.announced.remove(*self._labels(key, address))
        for key, address in after - before:
            self._metrics.announced.labels(*self._labels(key, address)).set(1)
        self._shown = shown

    def _labels(self, key: Key, address: Address) -> tuple[str, str, str, str]:
        return "/".join(key), PROTOCOL, self._node, str(address)
