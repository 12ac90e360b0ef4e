"""Winners that do not take what they won: what they know of the cluster is older than what everybody else does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from allocator.core.addresses import Address
from speaker.membership.state_sync import Statement

NEGLECT_SECONDS = 1.0
"""How long an address waits for its winner to ask for it or claim it. Speakers learn of a Service within
milliseconds of each other; one that does not in a second has lost its way to the API server."""
RECHECK_SECONDS = 1.0
"""When to look again at a winner that is not heard well enough to be judged."""


class Neglect:
    """Remembers since when each winner leaves what it won. Owned by one thread.

    A speaker that is heard by all may yet know nothing of a new Service: the API server is out of its reach, or its
    watch hangs. It would win the address and never answer for it. So it is passed over there, until it says that it
    has the address. Nothing is taken from it: whoever was elected instead claims, and holders stay. One that is not
    heard itself, only vouched for by others, may well have said so and is not passed over.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[Address, str], float] = {}
        self._until_now: Mapping[tuple[Address, str], float] = {}

    def begin(self) -> None:
        """Look at every winner anew; what is not found to be neglected again is forgotten."""
        self._until_now, self._since = self._since, {}

    def is_due(
        self,
        addresses: Iterable[Address],
        node: str,
        *,
        statements: Mapping[str, Statement],
        heard: Collection[str],
        now: float,
    ) -> bool:
        """Tell whether the peer that wins these addresses has left one of them for too long, though it is `heard`."""
        stated = statements.get(node)
        left = None if stated is None else next((each for each in addresses if not stated.has(each)), None)
        if left is None:
            return False
        since = self._since[left, node] = self._until_now.get((left, node), now)
        return since + NEGLECT_SECONDS <= now and node in heard

    def suspects(self) -> frozenset[str]:
        """The peers that leave something: to judge them, they must be heard."""
        return frozenset(node for _, node in self._since)

    def deadlines(self, now: float) -> list[float]:
        """When to look again at those that leave something."""
        ends = (since + NEGLECT_SECONDS for since in self._since.values())
        return [end if end > now else now + RECHECK_SECONDS for end in ends]
