"""Decides what this node announces, whenever the cluster, the living speakers or the interfaces change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from allocator.process.logs import EventLog
from speaker.cluster.state import View
from speaker.election.announcement_metrics import Tally
from speaker.election.directory import Directory
from speaker.election.holder import Surroundings, Tenancy, Tenure
from speaker.event_queue import Inbox, Urgent
from speaker.membership.fence import clock
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import Link
from speaker.metrics import SpeakerMetrics
from speaker.netdev.interfaces import Interface
from speaker.ports import Announces, Hosts, Peers, Reports

log = EventLog("decider")

REJOIN_SECONDS = 1.2
"""How long a node that was cut off listens for all the others before it takes anything. The nodes' kernels ask for
each other's hardware address once a second; until that is answered no heartbeat passes. Less than the hand-over takes
at most (`tenure.HANDOVER_SECONDS`): what it claims meanwhile it keeps."""


class Decider:
    """Acts upon news, one piece after the other, on one thread that alone owns the view and the tenure.

    News comes in through `_inbox` and names go out through `_directory`, from and to any thread; all else belongs to
    the thread, but for `_given_away`, for which others wait.
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
        self._inbox = Inbox()
        self._directory = Directory()
        self._tally = Tally(node, metrics)
        self._tenure = Tenure(node)
        self._tenancy = Tenancy()
        self._around = Surroundings(frozenset())
        self._rejoins_at: float | None = None
        self._unreachable: frozenset[str] = frozenset()
        self._staying: frozenset[str] = frozenset()
        self._known: dict[str, tuple[str, ...]] | None = None
        self._renewals: dict[str, str] = {}
        self._given_away = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decider", daemon=True)

    def start(self) -> None:
        """Begin deciding."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is announced stays announced until the announcer stops."""
        self._inbox.close()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def whose(self, mac: bytes) -> str | None:
        """Return the node whose speaker announces with this hardware address."""
        return self._directory.whose(mac)

    def services_of(self, address: Address) -> str | None:
        """Name the Services that have, or just had, an address announced here: `namespace/name`, comma-joined."""
        return self._directory.services_of(address)

    def wait_given_away(self, timeout_seconds: float) -> bool:
        """Wait until nothing is announced here any more; tell whether that came to be."""
        return self._given_away.wait(timeout_seconds)

    def on_change(self, change: Change) -> None:
        """Take note of a change in the cluster (called by the reflectors)."""
        self._inbox.put_change(change)

    def on_synced(self) -> None:
        """Every reflector has delivered its first list: what is known is the whole cluster."""
        self._inbox.put_synced()

    def on_liveness(self, liveness: Liveness) -> None:
        """Take note of who is alive (called by the heartbeats)."""
        self._inbox.put_liveness(liveness)

    def on_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Take note of the node's interfaces (called by their watch)."""
        self._inbox.put_interfaces(interfaces)

    def on_gone(self, nodes: frozenset[str]) -> None:
        """Take note of the nodes without a speaker that do not run any more (called by the host watch)."""
        self._inbox.put_gone(nodes)

    def on_answered(self) -> None:
        """Take note that something that had to be asked for is answered for now (called by the announcer)."""
        self._inbox.put_answered()

    def _run(self) -> None:
        while (news := self._inbox.take(self._deadline())) is not None:
            if isinstance(news, Urgent):
                self._move(news)
            else:
                self._follow(news)

    def _deadline(self) -> float | None:
        deadlines = (self._tenancy.deadline, self._rejoins_at)
        return min((each for each in deadlines if each is not None), default=None)

    def _move(self, news: Urgent) -> None:
        begun = time.monotonic()
        liveness = news.liveness
        around = self._around
        before = around.alive
        if news.gone is not None:
            self._unreachable = news.gone
        if liveness is not None:
            self._directory.note_nodes(liveness.statements, self._known or ())
            around = replace(
                around,
                alive=liveness.alive,
                unheard=liveness.unheard,
                statements=liveness.statements,
                leaving=liveness.leaving,
            )
        if news.links is not None:
            if self._is_back(news.links) and (self._rejoins_at is not None or self._is_alone(around.alive)):
                self._rejoins_at = clock() + REJOIN_SECONDS
            around = replace(around, links=news.links)
        self._around = around
        self._act()
        if liveness is None:
            return
        if before != around.alive:
            self._metrics.decision_seconds.observe(time.monotonic() - begun)
        if liveness.shaken:
            for address, node in sorted(self._tenancy.contested.items()):
                log.warning("address.announced-twice", ip=address, service=self.services_of(address), also=node)
                self._metrics.double_announcers.inc()
        if not liveness.fenced:
            self._peers.unfence()
        if liveness.shaken:
            self._announcer.announce_again()

    def _follow(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._view.apply(change)
        stayed, self._staying = self._staying, self._view.staying()
        if self._view.refresh() or (self._staying != stayed and self._tenancy.loans):
            self._act()
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

    def _act(self) -> None:
        before = self._tenancy
        if self._rejoins_at is not None and (clock() >= self._rejoins_at or self._is_complete()):
            self._rejoins_at = None
        around = replace(
            self._around,
            alive=self._around.alive if self._rejoins_at is None else frozenset(),
            answered=self._announcer.answered(),
            doubtful=self._doubtful(),
            heard=self._peers.hearing(self._tenancy.suspects),
        )
        contests = self._view.contests()
        tenancy = self._tenancy = self._tenure.decide(contests, around, clock())
        self._directory.note_services(contests, tenancy.scopes, until_now=before.scopes)
        # Answer first: the others go by the claim, and whoever had the address until now stops at its word.
        lent = {address: loan.macs for address, loan in tenancy.loans.items()}
        self._announcer.announce(tenancy.scopes, unheld=tenancy.unheld, lent=lent)
        self._peers.state(tenancy.statement(self._around.links))
        lenders = {address: loan.lender for address, loan in tenancy.loans.items()}
        known = self._known or {}
        self._hosts.watch({node: known[node][0] for node in lenders.values() if known.get(node)})
        if tenancy.scopes:
            self._given_away.clear()
        else:
            self._given_away.set()
        # Who is to be judged when the time is up must be heard by then.
        self._peers.hearing(tenancy.suspects)
        self._tally.count(contests, around, tenancy, before=before)
        # Before it serves, and once it leaves, this node has no say; the next holder puts right what is left.
        if self._node in around.alive:
            self._reports.report(self._view, contests, tenancy)

    def _is_back(self, links: Iterable[Link]) -> bool:
        before = {link.name for link in self._around.links if not link.lost}
        back = {link.name for link in links if not link.lost} - before
        return bool(back and self._around.links)

    def _is_alone(self, alive: Iterable[str]) -> bool:
        """Whether every peer has fallen silent: more likely it was this node that was gone."""
        return len(self._known or ()) > 1 and not frozenset(alive) - {self._node}

    def _is_complete(self) -> bool:
        return frozenset(self._known or ()) <= {*self._around.alive, self._node}

    def _doubtful(self) -> frozenset[str]:
        """The nodes that may not go on forwarding while their speaker is away."""
        lenders = {loan.lender for loan in self._tenancy.loans.values()}
        return self._unreachable | ((lenders | set(self._around.leaving)) - self._staying)
