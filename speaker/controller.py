"""Decides what this node announces, whenever the cluster, the living speakers or the interfaces change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from allocator.process.logs import EventLog
from speaker.address_questions import AddressQuestions
from speaker.cluster.state import View
from speaker.decision_facts import DecisionFacts
from speaker.election.address_book import AddressBook
from speaker.election.announcement_metrics import AnnouncementMetrics
from speaker.election.candidates import Candidates, candidates
from speaker.election.holder import Holder, HolderState
from speaker.election.inputs import Inputs
from speaker.event_queue import EventQueue, Urgent
from speaker.membership.fence import clock
from speaker.membership.liveness import Liveness
from speaker.metrics import SpeakerMetrics
from speaker.netdev.interfaces import Interface
from speaker.ports import Announces, Hosts, Peers, Reports

log = EventLog("controller")


class Controller:
    """Acts upon events, one after the other, on one thread that alone owns the view and the holder.

    Events come in through `_queue` and names go out through `_book`, from and to any thread; all else belongs to the
    thread, but for `_given_away`, for which others wait.
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
        protocol: str,
        by_subnet: bool = True,
        questions: AddressQuestions | None = None,
    ) -> None:
        """`protocol` names what the announcer speaks.

        `by_subnet` ranks nodes without an interface in an address's subnet behind those that have one; `questions`
        has the LAN asked about addresses that nobody has yet.
        """
        self._questions = questions
        self._node = node
        self._view = view
        self._announcer = announcer
        self._peers = peers
        self._hosts = hosts
        self._reports = reports
        self._metrics = metrics
        self._queue = EventQueue()
        self._book = AddressBook()
        self._announced = AnnouncementMetrics(node, metrics)
        self._facts = DecisionFacts(node=node, protocol=protocol)
        self._holder = Holder(node, by_subnet=by_subnet)
        self._groups: tuple[Candidates, ...] = ()
        self._state = HolderState()
        self._inputs = Inputs()
        self._shaken = False
        self._fenced = False
        self._unreachable: frozenset[str] = frozenset()
        self._staying: frozenset[str] = frozenset()
        self._known: dict[str, tuple[str, ...]] | None = None
        self._host_addresses: dict[str, tuple[str, ...]] = {}
        self._given_away = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)

    def start(self) -> None:
        """Begin deciding."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is announced stays announced until the announcer stops."""
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def whose(self, mac: bytes) -> str | None:
        """Return the node whose speaker announces with this hardware address."""
        return self._book.whose(mac)

    def services_of(self, address: Address) -> str | None:
        """Name the Services that have, or just had, an address announced here: `namespace/name`, comma-joined."""
        return self._book.services_of(address)

    def wait_given_away(self, timeout_seconds: float) -> bool:
        """Wait until nothing is announced here any more; tell whether that came to be."""
        return self._given_away.wait(timeout_seconds)

    def on_change(self, change: Change) -> None:
        """Take note of a change in the cluster (called by the reflectors)."""
        self._queue.put_change(change)

    def on_synced(self) -> None:
        """Every reflector has delivered its first list: what is known is the whole cluster."""
        self._queue.put_synced()

    def on_liveness(self, liveness: Liveness) -> None:
        """Take note of who is alive (called by the heartbeats)."""
        self._queue.put_liveness(liveness)

    def on_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Take note of the node's interfaces (called by their watch)."""
        self._queue.put_interfaces(interfaces)

    def on_gone(self, nodes: frozenset[str]) -> None:
        """Take note of the watched nodes whose kernels do not answer any more (called by the host watch)."""
        self._queue.put_gone(nodes)

    def on_refused(self, addresses: Iterable[Address]) -> None:
        """Take note of the addresses that the kernel does not let this node answer for (called by the announcer)."""
        self._queue.put_refused(frozenset(addresses))

    def on_answered(self) -> None:
        """Take note that something that had to be asked for is answered for now (called by the announcer)."""
        self._queue.put_answered()

    def _run(self) -> None:
        while (event := self._queue.take(None if self._fenced else self._state.deadline)) is not None:
            if isinstance(event, Urgent):
                self._move(event)
            else:
                self._follow(event)

    def _move(self, event: Urgent) -> None:
        begun = time.monotonic()
        before = self._inputs.liveness.alive
        liveness = event.liveness
        if event.gone is not None:
            self._unreachable = event.gone
        if liveness is not None:
            self._book.note_nodes(liveness.states, self._known or ())
            # What shakes or fences is acted upon here, once; the decision is the same.
            self._inputs = replace(self._inputs, liveness=replace(liveness, shaken=False, fenced=False))
            self._shaken = self._shaken or liveness.shaken
            self._fenced = liveness.fenced
        if event.refused is not None:
            self._inputs = replace(self._inputs, refused=event.refused)
        if event.links is not None:
            self._inputs = replace(self._inputs, links=event.links)
        self._act()
        self._ask_ahead()
        if liveness is None or self._fenced:
            return
        if before != liveness.alive:
            self._metrics.decision_seconds.observe(time.monotonic() - begun)
        shaken, self._shaken = self._shaken, False
        if shaken:
            for address, node in sorted(self._state.contested.items()):
                log.warning("address.announced-twice", ip=address, service=self.services_of(address), also=node)
                self._metrics.double_announcers.inc()
        self._peers.unfence()
        if shaken:
            self._announcer.announce_again()

    def _follow(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._view.apply(change)
            if self._questions is not None:
                self._questions.apply(change)
        stayed, self._staying = self._staying, self._view.staying()
        changed = self._view.refresh()
        if changed:
            self._groups = candidates(self._view.service_addresses())
        if changed or (self._staying != stayed and self._state.help):
            self._act()
        self._ask_ahead()
        peers, hosts = self._view.peers(), self._view.hosts()
        if (peers, hosts) != (self._known, self._host_addresses):
            first = self._known is None
            self._known, self._host_addresses = peers, hosts
            self._metrics.peers_known.set(len(peers))
            self._peers.set_peers(peers, hosts=hosts)
            if first:
                self._peers.serve()

    def _act(self) -> None:
        if self._fenced:
            # What is known is from before a standstill: nothing is answered, and nothing decided.
            return
        before = self._state
        liveness = self._inputs.liveness
        inputs = replace(
            self._inputs,
            answered=self._announcer.answered(),
            unforwarding=self._unforwarding(),
            unreachable=self._unreachable,
            subnets_by_lease=self._view.subnets() if liveness.alone else {},
        )
        state = self._state = self._holder.decide(self._groups, inputs, clock())
        self._book.note_services(self._groups, state.scopes, until_now=before.scopes)
        # Answer first: the others go by the claim, and whoever had the address until now stops for it.
        macs = {address: help_.macs for address, help_ in state.help.items()}
        self._announcer.announce(state.scopes, unheld=state.probing, helped=macs)
        self._peers.advertise(state.advertised(self._inputs.links))
        if state.regained:
            self._announcer.announce_again(state.regained)
        self._watch_hosts(state, liveness)
        if state.scopes:
            self._given_away.clear()
        else:
            self._given_away.set()
        self._announced.count(self._groups, liveness, state, before=before)
        # Before it serves, and once it leaves, this node has no say; the next holder puts right what is left.
        if self._node in liveness.alive:
            self._reports.report(
                self._facts.changed(self._view, self._groups, inputs, state), heard=liveness.heard | {self._node}
            )

    def _ask_ahead(self) -> None:
        if self._questions is not None:
            self._questions.follow(self._view, self._inputs)

    def _watch_hosts(self, state: HolderState, liveness: Liveness) -> None:
        """Ask the kernels of the nodes that this one helps, and of those for which only their Leases speak."""
        known = self._known or {}
        asked = {help_.node for help_ in state.help.values()}
        asked |= liveness.silent
        self._hosts.watch({node: known[node][0] for node in asked if known.get(node)})

    def _unforwarding(self) -> frozenset[str]:
        """The nodes that may not go on forwarding while their speaker restarts."""
        helped = {help_.node for help_ in self._state.help.values()}
        leaving = set(self._inputs.liveness.leaving)
        return self._unreachable | ((helped | leaving) - self._staying)
