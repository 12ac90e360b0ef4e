"""The picture the status page shows, as one value: pools, addresses, Services that wait, and recent moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from allocator.core.addresses import AddressError, Family
from allocator.core.claims import Claim
from allocator.core.usage import Usage, usage_of
from allocator.kube.client import Object
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, node_status_from
from allocator.objects.ip_allocation import claim_from
from allocator.rules.configuration import Configuration
from allocator.rules.pool_status import conditions, counters
from allocator.rules.service_report import stored_condition
from allocator.status_page.announcers import Announcers, NodeLine, announcers
from allocator.status_page.moves import Announcement, Move, holders_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyUse:
    """One family of a pool: how many addresses are held, and how many could still be given."""

    family: Family
    assigned: int
    available: int

    @property
    def share(self) -> float:
        """The part in use, 0 to 1."""
        return self.assigned / (self.assigned + self.available) if self.assigned else 0.0

    @property
    def is_full(self) -> bool:
        """Whether no other Service gets an address of its own here."""
        return self.assigned > 0 and self.available == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLine:
    """One pool; `trouble` says why it does not serve, empty when it does."""

    name: str
    addresses: tuple[str, ...]
    uses: tuple[FamilyUse, ...]
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressLine:
    """One claim: the address, who holds it, and which node answers for it."""

    ip: str
    pool: str
    state: str
    holders: str
    since: str
    announcement: Announcement
    by_bgp: bool = False
    """Whether BGP alone is to announce it."""
    silent: str = ""
    """Why nobody announces it, though a Service has it; empty where somebody does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingLine:
    """One Service without the address it wants, and why."""

    service: str
    message: str
    since: str

    @property
    def reason(self) -> str:
        """The message without the Service's name before it."""
        return self.message.removeprefix(f"{self.service}: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLine:
    """One BGPPeer on one node."""

    node: str
    session: SessionEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything the page shows, as one replica sees it at one moment."""

    at: datetime
    leading: bool
    problems: tuple[str, ...]
    pools: tuple[PoolLine, ...]
    addresses: tuple[AddressLine, ...]
    waiting: tuple[WaitingLine, ...]
    moves: tuple[Move, ...]
    sessions: tuple[SessionLine, ...] = ()
    """Those that are not up come first."""
    nodes: tuple[NodeLine, ...] = ()

    @property
    def silent(self) -> tuple[AddressLine, ...]:
        """The addresses that nobody announces."""
        return tuple(line for line in self.addresses if line.silent)


def picture_of(
    *,
    at: datetime,
    leading: bool,
    problems: Sequence[str],
    configuration: Configuration,
    pools: Iterable[Object],
    allocations: Iterable[Object],
    services: Iterable[Object],
    moves: tuple[Move, ...],
    bgp_node_statuses: Iterable[Object] = (),
    l2_advertisements: Sequence[Object] | None = None,
    bgp_advertisements: Sequence[Object] = (),
    nodes: Mapping[str, Mapping[str, str]] | None = None,
) -> Picture:
    """Put the picture together from cached objects; what cannot be read of them is left out.

    `l2_advertisements` and `nodes` (the labels of each) are None until they are listed.
    """
    claims = list(_claims(allocations))
    usage = usage_of(configuration.pools, (claim for claim, _ in claims))
    lines = [_pool(document, configuration, usage) for document in pools]
    statuses = tuple(map(node_status_from, bgp_node_statuses))
    known = announcers(
        at=at,
        pools=configuration.sound_pools(),
        layer2=l2_advertisements,
        bgp=bgp_advertisements,
        nodes=nodes,
        statuses=statuses,
    )
    addresses = tuple(_address(*pair, known) for pair in sorted(claims, key=lambda pair: pair[0].address))
    return Picture(
        at=at,
        leading=leading,
        problems=(*problems, *configuration.errors(), *configuration.remarks()),
        pools=tuple(sorted(lines, key=lambda line: line.name)),
        addresses=addresses,
        waiting=tuple(sorted(_waiting(services), key=lambda line: (line.since, line.service))),
        moves=moves,
        sessions=tuple(sorted(_sessions(statuses), key=_order)),
        nodes=known.node_lines(line.announcement.node for line in addresses),
    )


def _claims(allocations: Iterable[Object]) -> Iterator[tuple[Claim, Object]]:
    for document in allocations:
        try:
            yield claim_from(document), document
        except (AddressError, KeyError, ValueError):
            continue


def _address(claim: Claim, document: Object, known: Announcers) -> AddressLine:
    announcement = Announcement.of(document)
    return AddressLine(
        ip=str(claim.address),
        pool=claim.pool,
        state=str(claim.state),
        holders=holders_of(claim) or _foreign_host(claim),
        since=document["spec"].get("since") or "",
        announcement=announcement,
        by_bgp=not announcement.node and known.only_by_bgp(claim),
        silent=known.why_silent(document, claim, announcement),
    )


def _sessions(statuses: Iterable[BgpNodeStatus]) -> Iterator[SessionLine]:
    for status in statuses:
        for session in status.sessions:
            yield SessionLine(node=status.node, session=session)


def _order(line: SessionLine) -> tuple[bool, str, str]:
    return line.session.up, line.session.peer, line.node


def _pool(document: Object, configuration: Configuration, usage: dict[str, Usage]) -> PoolLine:
    name = document["metadata"]["name"]
    pool, used = configuration.pools.get(name), usage.get(name, Usage())
    counts = counters(pool, used)
    uses = tuple(
        FamilyUse(family=family, assigned=counts[f"assigned{family}"], available=counts[f"available{family}"])
        for family in Family
    )
    reported = conditions(
        pool,
        configuration.pool_faults.get(name),
        used,
        awaited=configuration.awaited.get(name, ""),
        not_announced=configuration.not_announced(name),
    )
    sound = any(one.type == "Ready" and one.status == "True" and one.reason == "Valid" for one in reported)
    return PoolLine(
        name=name,
        addresses=tuple(str(entry) for entry in document["spec"].get("addresses") or ()),
        uses=tuple(use for use in uses if use.assigned or use.available),
        trouble="" if sound else reported[0].message,
    )


def _foreign_host(claim: Claim) -> str:
    return f"another host, {claim.foreign_host}" if claim.foreign_host is not None else ""


def _waiting(services: Iterable[Object]) -> Iterator[WaitingLine]:
    for service in services:
        condition = stored_condition(service)
        if condition is not None and condition.get("status") == "False":
            metadata = service["metadata"]
            yield WaitingLine(
                service=f"{metadata['namespace']}/{metadata['name']}",
                message=str(condition.get("message") or condition.get("reason") or ""),
                since=str(condition.get("lastTransitionTime") or ""),
            )
