"""Has the LAN asked about addresses before they are to be announced: works out which, and by this node."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from speaker.cluster.next_addresses import AskedAddresses, NextAddresses, NextChange, Question
from speaker.cluster.state import View
from speaker.election.inputs import Inputs
from speaker.election.next_holder import NextHolder
from speaker.ports import AsksAhead, FollowsPools


class AddressQuestions:
    """`_next` and what was asked last belong to the controller's thread; `_holder` to the one that calls `choose`."""

    def __init__(
        self, *, node: str, lb_class: str, by_subnet: bool, prober: AsksAhead, reports: FollowsPools
    ) -> None:
        self._next = NextAddresses(lb_class=lb_class)
        self._holder = NextHolder(node, by_subnet=by_subnet)
        self._prober = prober
        self._reports = reports
        self._asked = AskedAddresses()
        self._inputs: Inputs | None = None

    def read(self, change: Change) -> NextChange | None:
        """Read a watch event; None where it is of no interest. Any thread may."""
        return self._next.read(change)

    def apply(self, change: NextChange) -> None:
        """Take in one change of the cluster."""
        self._next.apply(change)

    def follow(self, view: View, inputs: Inputs) -> None:
        """Ask anew if anything has changed that decides what this node asks; returns at once."""
        if view.rules_changed:
            view.rules_changed = False
            self._next.forget_rules()
        asked = self._next.refresh(*view.rules())
        if asked is None and inputs is self._inputs:
            return
        self._inputs = inputs
        before = self._asked
        if asked is not None:
            self._asked = asked
            if asked.pools != before.pools:
                self._reports.follow(asked.pools)
        now = self._asked
        self._prober.ask(lambda: self._choose(now, inputs), at_once=not now.claimed <= before.claimed)

    def _choose(self, asked: AskedAddresses, inputs: Inputs) -> Mapping[Address, Question]:
        mine = self._holder.would_hold(asked.service_addresses, inputs)
        return {
            address: Question(scope=scope, companions=asked.companions[address], claimed=address in asked.claimed)
            for address, scope in mine.items()
        }
