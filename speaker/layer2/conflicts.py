"""Claims that others make on our addresses, and what they amount to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from allocator.core.addresses import Address

REPORT_SECONDS = 10.0
"""At most one report, and one defence, of an address in this time (RFC 5227 1.1, DEFEND_INTERVAL)."""

HANDOVER_SECONDS = 1.0
"""How long another of our speakers may claim what this one announces: while an address moves, both do."""

MOST_RIVALS = 8
"""How many of our speakers are remembered to claim one address, the latest: a host that speaks for all nodes about
thousands of addresses is to take no memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One frame that says an address is at `mac`, as heard on the interface of that name."""

    address: Address
    interface: str
    mac: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A host that is none of ours has an address of ours.

    `yielded` says that it had it first, so that this node does not announce it; else both do.
    """

    address: Address
    interface: str
    mac: bytes
    yielded: bool


def _ignore(*_: object) -> None:
    return


def _nobodys(_: bytes) -> str | None:
    return None


def _unnamed(_: Address) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictListener:
    """Who gets reports of conflicts, and who knows our own. Called by several threads, so each must be quick.

    `on_conflict` gets the address, our interface and the MAC of a host that is none of ours, at most once in
    REPORT_SECONDS an address; `on_over` the address when the host is gone or the address withdrawn. `whose` returns
    which of our nodes has a MAC; `on_rival` gets the address and the node whose speaker goes on claiming what this
    one announces. `on_answered` is called when addresses that had to be asked for are answered for at last.
    `on_refused` gets all addresses for which the kernel refuses what is needed, with what it refused, whenever they
    are others than before. `services_of` names the Services that have an address, for whoever reads the log by it.
    """

    on_conflict: Callable[[Address, str, bytes], None] = _ignore
    on_over: Callable[[Address], None] = _ignore
    on_rival: Callable[[Address, str], None] = _ignore
    whose: Callable[[bytes], str | None] = _nobodys
    on_answered: Callable[[], None] = _ignore
    on_refused: Callable[[Mapping[Address, str]], None] = _ignore
    services_of: Callable[[Address], str | None] = _unnamed


class Conflicts:
    """Which claims are to be reported. Pure: every method takes the time. Owned by whoever announces."""

    def __init__(self) -> None:
        self._conflicts: dict[Address, Conflict] = {}
        self._reported: dict[Address, float] = {}
        self._rivals: dict[Address, dict[str, tuple[float, float]]] = {}

    def current(self) -> tuple[Conflict, ...]:
        """The conflicts there are, by address."""
        return tuple(self._conflicts[address] for address in sorted(self._conflicts))

    def knows(self, address: Address) -> bool:
        """Return whether there is a conflict about the address."""
        return address in self._conflicts

    def claimed(self, claim: Claim, *, yielded: bool, now: float) -> bool:
        """Take note of a foreign host's claim; return whether to report (and, unless yielded, answer) it."""
        self._conflicts[claim.address] = Conflict(
            address=claim.address, interface=claim.interface, mac=claim.mac, yielded=yielded
        )
        # Another claimant is no new conflict: two hosts that fight over the address take turns with every frame.
        if now - self._reported.get(claim.address, float("-inf")) < REPORT_SECONDS:
            return False
        self._reported[claim.address] = now
        return True

    def rivalled(self, claim: Claim, node: str, now: float) -> bool:
        """Take note that our own speaker on `node` claims the address, too; return whether it has for too long."""
        rivals = self._rivals.setdefault(claim.address, {})
        if node not in rivals and len(rivals) == MOST_RIVALS:
            del rivals[min(rivals, key=lambda each: rivals[each][1])]
        first, last = rivals.get(node, (now, now))
        if now - last > REPORT_SECONDS:
            first = now
        overdue = now - first >= HANDOVER_SECONDS
        rivals[node] = (now, now) if overdue else (first, now)
        return overdue

    def over(self, address: Address) -> Conflict | None:
        """Forget the conflict about an address; return it if there was one."""
        self._rivals.pop(address, None)
        self._reported.pop(address, None)
        return self._conflicts.pop(address, None)
