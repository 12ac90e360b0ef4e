"""What this node is to announce and how far it is with each address: being probed for, answered, in conflict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.layer2.conflicts import Claim, Conflict, Conflicts
from speaker.layer2.gratuitous import AnnouncementSchedule, Reason
from speaker.layer2.probing import Probation
from speaker.persistent_map import changed_keys

AsksFrom = Callable[[Address, Scope], float]
"""From when on a question for an address on the interfaces of a scope reaches somebody."""


def _always(*_: object) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What a step has brought about: addresses answered from now on, no longer, and conflicts that are over."""

    taken: tuple[Address, ...] = ()
    released: tuple[Address, ...] = ()
    settled: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that has run out: send a probe, or (with a reason) an announcement."""

    address: Address
    reason: Reason | None


class AddressStates:
    """The life of each address from decision to answer. Pure: every method that needs it takes the time. One owner.

                    new to all of ours              clear
        (not wanted) ---------------> probed for ----------> answered
              |                         ^    | claimed          ^  | claimed: a conflict, announced all the same,
              |                         |    v                  |  | and probed for until it is clear again
              |                     yielded, a conflict         +--+
              +----------------------------------------------> answered
                    one of ours had it

    Invariant: an address that another host had first is never answered until a round of probes finds it free.
    """

    def __init__(self, *, refresh_seconds: float, retry_seconds: float) -> None:
        self.wanted: Mapping[Address, Scope] = {}
        self._retry_seconds = retry_seconds
        self._held_back: set[Address] = set()
        self._schedule = AnnouncementSchedule(refresh_seconds=refresh_seconds)
        self._probation = Probation()
        self._conflicts = Conflicts()

    def answered(self) -> frozenset[Address]:
        """The addresses to answer for."""
        return frozenset(self.wanted.keys() - self._held_back)

    def conflicts(self) -> tuple[Conflict, ...]:
        """The conflicts with hosts that are none of ours."""
        return self._conflicts.current()

    def is_answered(self, address: Address) -> bool:
        """Whether to answer for the address."""
        return address in self.wanted and address not in self._held_back

    def want(
        self,
        wanted: Mapping[Address, Scope],
        *,
        unheld: AbstractSet[Address],
        now: float,
        asks_from: AsksFrom = _always,
    ) -> tuple[list[Address], Transition]:
        """Hold exactly `wanted` from now on; what is new and among `unheld` is probed for first.

        Return the addresses for which that changes anything, with the transition.
        """
        before, self.wanted = self.wanted, wanted
        changed = sorted(changed_keys(before, wanted))
        gone = [address for address in changed if address not in wanted]
        released = [address for address in gone if address not in self._held_back]
        for address in gone:
            self._schedule.release(address)
            self._probation.end(address)
        self._held_back.difference_update(gone)
        taken = []
        for address in changed:
            if address not in wanted:
                continue
            if address not in before and address in unheld:
                self._held_back.add(address)
                self._probation.begin(address, max(now, asks_from(address, wanted[address])))
            elif address not in self._held_back:
                self._schedule.start(address, Reason.TAKEN)
                taken.append(address)
        settled = [address for address in gone if self._conflicts.over(address)]
        transition = Transition(taken=tuple(taken), released=tuple(released), settled=tuple(settled))
        return changed, transition

    def announce_again(self, addresses: Iterable[Address], reason: Reason) -> None:
        """Begin a new burst for those of the addresses that are answered."""
        for address in addresses:
            if address not in self._held_back:
                self._schedule.start(address, reason)

    def claimed(self, claim: Claim, now: float) -> bool:
        """Take note that a host that is none of ours claims an address; return whether it is to be reported.

        A reported claim on an answered address is also to be contradicted (RFC 5227 2.4 (b), but never given up:
        the cluster assigned the address to us).
        """
        address = claim.address
        if address not in self.wanted:
            return False
        yielded = address in self._held_back
        self._probation.put_off(address, now + self._retry_seconds)
        return self._conflicts.claimed(claim, yielded=yielded, now=now)

    def rivalled(self, claim: Claim, node: str, now: float) -> bool:
        """Take note that another speaker of ours claims an address; return whether it has for too long.

        That nobody answers for the address yet is as good as a handover.
        """
        return self.is_answered(claim.address) and self._conflicts.rivalled(claim, node, now)

    def ask_from(self, addresses: Iterable[Address], asks_from: AsksFrom, now: float) -> None:
        """Begin the rounds of probes before a first answer again: other interfaces are there, or heard."""
        for address in self._held_back.intersection(addresses):
            self._probation.begin(address, max(now, asks_from(address, self.wanted[address])))

    def ask_anew(self, now: float) -> None:
        """Begin every round of probes that is under way again: what was sent or heard of it may be lost."""
        self._probation.restart(now)

    def found_vacant(self, address: Address) -> Transition:
        """Answer for an address that is held back until the LAN has been asked, for it has been asked elsewhere."""
        if address not in self._held_back or self._conflicts.knows(address):
            return Transition()
        self._probation.end(address)
        return self._clear([address])

    def next_timer(self) -> float | None:
        """When `pop` may next bring anything, None if never; a time long past means now."""
        times = [due for due in (self._schedule.next_timer(), self._probation.next_timer()) if due is not None]
        return min(times, default=None)

    def pop(self, now: float, *, may_clear: bool = True) -> Timer | Transition | None:
        """Return the next thing to send, or a transition that time has brought, None if nothing is due.

        Without `may_clear` what turned out to be free stays to be answered later.
        """
        # Whoever waits for a first announcement has it sent at once; a probe only delays what nobody had yet.
        if self._schedule.next_timer() != 0.0:
            cleared = self._probation.pop_cleared(now) if may_clear else []
            if cleared:
                return self._clear(cleared)
            probed = self._probation.pop_probe(now)
            if probed is not None:
                return Timer(probed, None)
        announced = self._schedule.pop(now)
        return None if announced is None else Timer(*announced)

    def _clear(self, addresses: list[Address]) -> Transition:
        taken = [address for address in addresses if address in self._held_back]
        self._held_back.difference_update(taken)
        for address in taken:
            self._schedule.start(address, Reason.TAKEN)
        settled = [address for address in addresses if self._conflicts.over(address)]
        return Transition(taken=tuple(taken), settled=tuple(settled))
