"""Has the LAN asked about addresses before they are to be announced: works out which, and by this node."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from speaker.cluster.next_addresses import (
    AskedAddresses,
    NextAddresses,
    NextChange,
    NextSnapshot,
    PoolReports,
    Question,
)
from speaker.cluster.state import View
from speaker.election.inputs import Inputs
from speaker.election.next_holder import NextHolder, what_decides
from speaker.ports import AsksAhead, FollowsPools


class AddressQuestions:
    """`_next`, `_snapshot` and `_decided_by` belong to the controller's thread, the rest to whoever calls `choose`.

    `_inputs` are replaced whole by the controller's thread and read by both: those of the last question would keep
    all that others claimed then.
    """

    def __init__(
        self, *, node: str, lb_class: str, by_subnet: bool, prober: AsksAhead, reports: FollowsPools
    ) -> None:
        self._next = NextAddresses(lb_class=lb_class)
        self._holder = NextHolder(node, by_subnet=by_subnet)
        self._prober = prober
        self._reports = reports
        self._snapshot: NextSnapshot | None = None
        self._inputs = Inputs()
        self._decided_by: object = None
        self._asked = AskedAddresses()
        self._reported: Mapping[str, PoolReports] | None = None

    def read(self, change: Change) -> NextChange | None:
        """Read a watch event; None where it is of no interest. Any thread may."""
        return self._next.read(change)

    def apply(self, change: NextChange) -> None:
        """Take in one change of the cluster."""
        self._next.apply(change)

    def follow(self, view: View, inputs: Inputs) -> None:
        """Ask anew if anything has changed that decides what this node asks; returns at once.

        What others claim, which is most of what changes, does not: nobody is woken for it.
        """
        if view.rules_changed:
            view.rules_changed = False
            self._next.forget_rules()
        new = self._next.snapshot(*view.rules())
        decided_by = self._decided_by if inputs is self._inputs else what_decides(inputs)
        changed = new is not None or decided_by != self._decided_by
        self._inputs, self._decided_by = inputs, decided_by
        before, now = self._snapshot, new or self._snapshot
        if now is None or not changed:
            return
        self._snapshot = now
        claimed = frozenset() if before is None else before.claimed_addresses
        self._prober.ask(lambda: self._choose(now), at_once=not now.claimed_addresses <= claimed)

    def _choose(self, snapshot: NextSnapshot) -> Mapping[Address, Question]:
        self._asked.update(snapshot)
        reports = self._asked.reports
        if reports != self._reported:
            self._reported = reports
            self._reports.follow(reports)
        return self._asked.questions(self._holder.would_hold(self._asked.service_addresses(), self._inputs))
