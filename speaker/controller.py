"""Decides what this node announces, whenever the cluster, the living speakers or the interfaces change."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice

from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from allocator.process.logs import EventLog
from speaker.address_questions import AddressQuestions
from speaker.cluster.next_addresses import NextChange
from speaker.cluster.observation import Observation
from speaker.cluster.state import View
from speaker.decision_facts import DecisionFacts
from speaker.election.address_book import AddressBook
from speaker.election.announcement_metrics import AnnouncementMetrics
from speaker.election.groups import Groups
from speaker.election.holder import Holder, HolderState
from speaker.election.inputs import Inputs
from speaker.event_queue import EventQueue, Urgent
from speaker.membership.fence import clock
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState
from speaker.metrics import SpeakerMetrics
from speaker.netdev.interfaces import Interface
from speaker.ports import Announces, Hosts, Peers, Reports, Routes

log = EventLog("controller")

_AT_ONCE_SECONDS = 0.01
"""How long to go on with what can wait before seeing whether anything is urgent."""
_SERVICES_AT_ONCE = 50


_Seen = tuple[Observation | None, NextChange | None]
"""One change of the cluster: as far as it concerns what is announced, and what the LAN is asked about."""


class _Budget:
    """Whether there is time left for more; at least one thing is always done, however late it is asked."""

    def __init__(self) -> None:
        self._until = time.monotonic() + _AT_ONCE_SECONDS
        self._begun = False

    def __call__(self) -> bool:
        begun, self._begun = self._begun, True
        return not begun or time.monotonic() < self._until


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
        routes: Routes | None = None,
        on_known: Callable[[], None] = lambda: None,
    ) -> None:
        """`protocol` names what the announcer speaks.

        `by_subnet` ranks nodes without an interface in an address's subnet behind those that have one; `questions`
        has the LAN asked about addresses that nobody has yet; `routes` announces the same Services by routes.
        `on_known` is called once, when the whole cluster is known and before this node serves.
        """
        self._questions = questions
        self._routes = routes
        self._on_known = on_known
        self._node = node
        self._view = view
        self._announcer = announcer
        self._peers = peers
        self._hosts = hosts
        self._reports = reports
        self._metrics = metrics
        self._queue: EventQueue[_Seen] = EventQueue()
        self._book = AddressBook()
        self._announced = AnnouncementMetrics(node, metrics)
        self._groups = Groups(view)
        self._holder = Holder(node, by_subnet=by_subnet)
        self._facts = DecisionFacts(
            node=node,
            protocol=protocol,
            view=view,
            holder=self._holder,
            announced_otherwise=routes is not None,
        )
        self._backlog: deque[_Seen] = deque()
        self._regrouped: set[Address] = set()
        self._unreported: set[Address] = set()
        self._to_report_anew: dict[Address, None] = {}
        self._reported_heard: frozenset[str] | None = None
        self._state = HolderState()
        self._stated: AdvertisedState | None = None
        self._inputs = Inputs()
        self._shaken = False
        self._let_go: frozenset[Address] = frozenset()
        self._twice: deque[tuple[Address, str]] = deque()
        self._fenced = False
        self._unreachable: frozenset[str] = frozenset()
        self._staying: frozenset[str] = frozenset()
        self._known: dict[str, tuple[str, ...]] | None = None
        self._unacted = False
        self._moved_at: float | None = None
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
        """Wait until nothing is announced here any more; return whether that came to be."""
        return self._given_away.wait(timeout_seconds)

    def on_change(self, change: Change) -> None:
        """Take note of a change in the cluster (called by the reflectors)."""
        seen = self._view.read(change)
        ahead = None if self._questions is None else self._questions.read(change)
        if seen is not None or ahead is not None:
            self._queue.put_change((seen, ahead))

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
        while True:
            deadline = None if self._fenced else self._state.deadline
            event = self._queue.take(deadline, busy=self._busy)
            if event is None:
                return
            if isinstance(event, Urgent):
                self._move(event)
            else:
                self._backlog.extend(event)
                self._follow()
                self._log_twice()

    @property
    def _busy(self) -> bool:
        return bool(self._backlog or self._to_report_anew or self._twice) or self._view.pending

    def _move(self, event: Urgent) -> None:
        liveness = event.liveness
        if event.gone is not None:
            self._unreachable = event.gone
        if liveness is not None:
            if self._inputs.liveness.alive != liveness.alive:
                self._moved_at = time.monotonic()
            self._book.note_nodes(liveness.states, self._known or ())
            # What shakes, is let go or fences is acted upon once.
            acted_on = replace(liveness, shaken=False, let_go=frozenset(), fenced=False)
            self._inputs = replace(self._inputs, liveness=acted_on)
            self._shaken = self._shaken or liveness.shaken
            self._let_go |= liveness.let_go
            self._fenced = liveness.fenced
            self._unacted = True
        if event.refused is not None:
            self._inputs = replace(self._inputs, refused=event.refused)
        if event.links is not None:
            self._inputs = replace(self._inputs, links=event.links)
        self._act()
        self._ask_ahead()
        if self._unacted and not self._fenced and not self._state.pending:
            self._conclude()

    def _conclude(self) -> None:
        """What is known of the other speakers has been acted upon."""
        self._unacted = False
        if self._moved_at is not None:
            self._metrics.decision_seconds.observe(time.monotonic() - self._moved_at)
            self._moved_at = None
        self._peers.unfence()
        if self._shaken:
            self._shaken = False
            self._announcer.announce_again()
            self._metrics.double_announcers.inc(len(self._state.contested))
            self._twice.extend(sorted(self._state.contested.items()))

    def _log_twice(self) -> None:
        """Log which addresses others announced, too: some at a time, for after a cut there may be thousands."""
        for _ in range(min(len(self._twice), _SERVICES_AT_ONCE)):
            address, node = self._twice.popleft()
            log.warning("address.announced-twice", ip=address, service=self.services_of(address), also=node)

    def _follow(self) -> None:
        """Follow the cluster, as far as there is time before it is to be seen whether anything is urgent."""
        may_go_on = _Budget()
        while self._backlog and may_go_on():
            seen, ahead = self._backlog.popleft()
            if seen is not None:
                self._view.apply(seen)
            if ahead is not None and self._questions is not None:
                self._questions.apply(ahead)
        if self._known is None and self._backlog:
            # Nothing is decided before the whole cluster is known.
            return
        changes = self._view.refresh(at_most=_SERVICES_AT_ONCE)
        if self._routes is not None and changes.seen:
            self._routes.follow(self._view, changes.seen)
        if changes:
            self._regrouped |= changes.addresses
            self._holder.elect(self._groups.update(changes))
        stays_changed = self._view.nodes.take_staying_changed()
        if stays_changed:
            self._staying = self._view.nodes.staying()
        left_out_changed = self._report_who_is_left_out()
        if changes or left_out_changed or (stays_changed and self._state.help):
            self._act()
        self._ask_ahead()
        # Whoever serves knows the whole cluster.
        if (self._known is not None or not self._view.pending) and self._view.nodes.take_peers_changed():
            self._know_peers()

    def _report_who_is_left_out(self) -> bool:
        """Have who is left out reported anew of some that are announced here, where that may have changed.

        Nothing else is to be decided about those; return whether there are any.
        """
        if self._view.take_left_out_changed():
            self._to_report_anew.update(dict.fromkeys(self._state.claims))
        some = list(islice(self._to_report_anew, _SERVICES_AT_ONCE))
        for address in some:
            del self._to_report_anew[address]
        self._unreported.update(some)
        return bool(some)

    def _know_peers(self) -> None:
        first = self._known is None
        self._known = self._view.nodes.peers()
        self._metrics.peers_known.set(len(self._known))
        self._peers.set_peers(self._known, hosts=self._view.nodes.hosts())
        if first:
            self._on_known()
            if self._routes is not None:
                self._routes.on_known()
            self._peers.serve()

    def _act(self) -> None:
        if self._fenced:
            # What is known is from before a standstill: nothing is answered, and nothing decided.
            return
        before = self._state
        liveness = self._inputs.liveness
        inputs = replace(
            self._inputs,
            answered=self._announcer.answered(before.probing),
            unforwarding=self._unforwarding(),
            unreachable=self._unreachable,
            subnets_by_lease=self._view.nodes.subnets() if liveness.alone else {},
            let_go=self._let_go,
        )
        self._let_go = frozenset()
        state = self._state = self._holder.decide(inputs, clock(), may_go_on=_Budget())
        if self._holder.take_outside_changed():
            self._to_report_anew.update(dict.fromkeys(state.claims))
        regrouped, self._regrouped = self._regrouped, set()
        touched = state.touched | regrouped
        self._book.note_services(touched, state.scopes, self._holder.group_of)
        # Answer first: the others go by the claim, and whoever had the address until now stops for it.
        macs = {address: help_.macs for address, help_ in state.help.items()}
        self._announcer.announce(state.scopes, unheld=state.probing, helped=macs)
        stated = state.advertised(self._inputs.links)
        if stated != self._stated:
            # Mostly nothing of it has changed, and each call wakes the heartbeats' thread.
            self._stated = stated
            self._peers.advertise(stated)
        if state.regained:
            self._announcer.announce_again(state.regained)
        self._watch_hosts(state, liveness)
        if state.scopes:
            self._given_away.clear()
        else:
            self._given_away.set()
        self._announced.count(
            touched,
            liveness,
            state,
            before=before,
            group_of=self._holder.group_of,
            last_claims=self._holder.last_claims,
        )
        # Before it serves, and once it leaves, this node has no say; the next holder puts right what is left.
        if self._node in liveness.alive:
            unreported, self._unreported = self._unreported, set()
            changed, heard = self._facts.changed(touched | unreported, inputs, state), liveness.heard
            if changed or heard != self._reported_heard:
                self._reported_heard = heard
                self._reports.report(changed, heard=heard | {self._node})
        else:
            self._unreported |= touched

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
