"""What a Service asks for, free of how it was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim, Holder, Port
from allocator.core.ledger import Ledger
from allocator.core.pools import Applicant


class FamilyPolicy(StrEnum):
    """spec.ipFamilyPolicy."""

    SINGLE = "SingleStack"
    PREFER_DUAL = "PreferDualStack"
    REQUIRE_DUAL = "RequireDualStack"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequest:
    """What one Service asks for. `families` lists what it can use, primary first: one entry on a single stack."""

    applicant: Applicant
    name: str
    """Empty while the Service is being created by generateName."""
    generate_name: str = ""
    uid: str | None = None
    ports: frozenset[Port] = frozenset()
    sharing_key: str = ""
    sharing_namespaces: frozenset[str] | None = None
    backend_key: str = ""
    local_traffic: bool = False
    families: tuple[Family, ...] = (Family.IPV4,)
    policy: FamilyPolicy = FamilyPolicy.SINGLE
    pins: tuple[Address, ...] = ()
    pool_name: str | None = None
    status_addresses: tuple[Address, ...] = ()
    """What the Service's status lists now. Held addresses among these win over others it holds, and those no
    claim is on are adopted."""
    yields_to: frozenset[tuple[Address, str, str]] = field(default=frozenset(), compare=False)
    """Addresses that this Service holds and does not show, with the namespaces and names of sharers that do: it does
    not come to show one beside a younger sharer that it may not share it with."""
    annotated_addresses: tuple[Address, ...] = field(default=(), compare=False)
    """What the Service says it was admitted with. Anybody can write that, and gains nothing beyond the reservations
    of the namespace: of several addresses it holds and does not show, these win; and an unnamed reservation there is
    its own (`holder_in`)."""
    recorded_pools: tuple[str, ...] = field(default=(), compare=False)
    """The pools that served the Service, as annotated: where an address in its status is in no pool any more."""
    malformed: str = ""
    """Why what the Service asks for cannot be read; then it asks for nothing, and keeps what it has."""

    @property
    def namespace(self) -> str:
        """The Service's namespace."""
        return self.applicant.namespace

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name; the name is empty while the Service is being created by generateName."""
        return self.namespace, self.name

    @property
    def label(self) -> str:
        """How messages name the Service: `namespace/name`, or `namespace/prefix*` before it has a name."""
        return f"{self.namespace}/{self.name or self.generate_name + '*'}"

    def holder_in(self, claim: Claim) -> Holder | None:
        """Return the holder of the claim that is this Service, or None.

        Admission is called again for one request when another webhook changes the object (reinvocationPolicy), and
        the Service has no name yet or has got it since: then its reservation is the unnamed one of its namespace and
        generateName on an address that it shows.
        """
        named = claim.holder(self.namespace, self.name)
        if named is not None or not self.generate_name or claim.address not in self.annotated_addresses:
            return named
        return next(
            (
                holder
                for holder in claim.holders
                if not holder.name
                and holder.uid is None
                and (holder.namespace, holder.generate_name) == (self.namespace, self.generate_name)
            ),
            None,
        )

    def joins_anew(self, holder: Holder) -> bool:
        """Return whether the Service has no right to the place among sharers of the holder that bears its name.

        The holder was another Service of the name, which was bound and is gone (a Service that is being created has
        no uid yet: whoever was bound under its name must be gone, or the creation fails). Or it is a reservation for
        other needs than the Service has: nobody was shown the address under either's.
        """
        if holder.uid is not None:
            return holder.uid != self.uid
        kept = (holder.sharing_key, holder.local_traffic, holder.backend_key)
        return kept != (self.sharing_key, self.local_traffic, self.backend_key) or not self.ports <= holder.ports

    def is_recorded_in(self, holder: Holder) -> bool:
        """Return whether the holder is this Service with what it brings to a sharing now."""
        return holder.uid == self.uid and (
            holder.ports,
            holder.sharing_key,
            holder.local_traffic,
            holder.backend_key,
            holder.sharing_namespaces,
        ) == (self.ports, self.sharing_key, self.local_traffic, self.backend_key, self.sharing_namespaces)

    def others_in(self, claim: Claim) -> tuple[Holder, ...]:
        """Return the holders of the claim that are not this Service."""
        mine = self.holder_in(claim)
        return tuple(holder for holder in claim.holders if holder is not mine)

    def claims_in(self, ledger: Ledger) -> list[Claim]:
        """Return the claims in use that this Service holds, those by its name first."""
        named = ledger.held_by(self.namespace, self.name)
        if not self.generate_name:
            return named
        shown = (ledger.at(address) for address in self.annotated_addresses)
        unnamed = [claim for claim in shown if claim is not None and claim.in_use and claim not in named]
        return named + [claim for claim in unnamed if self.holder_in(claim) is not None]

    def as_holder(self, *, since: str = "", seen: bool = True) -> Holder:
        """The Service as a holder of whatever it is given; until it is `seen`, it holds without uid."""
        return Holder(
            namespace=self.namespace,
            name=self.name,
            uid=self.uid if seen else None,
            generate_name="" if self.name else self.generate_name,
            ports=self.ports,
            sharing_key=self.sharing_key,
            local_traffic=self.local_traffic,
            backend_key=self.backend_key,
            sharing_namespaces=self.sharing_namespaces,
            since=since,
        )
