"""What a Service asks for, free of how it was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from allocator.core.addresses import Address, Family
from allocator.core.claims import Holder, Port
from allocator.core.pools import Applicant


class FamilyPolicy(StrEnum):
    """spec.ipFamilyPolicy."""

    SINGLE = "SingleStack"
    PREFER_DUAL = "PreferDualStack"
    REQUIRE_DUAL = "RequireDualStack"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRequest:
    """One Service's wish. `families` lists what it can use, primary first: one entry on a single stack."""

    applicant: Applicant
    name: str
    """Empty while the Service is being created by generateName."""
    generate_name: str = ""
    uid: str | None = None
    ports: frozenset[Port] = frozenset()
    sharing_key: str = ""
    backend_key: str = ""
    local_traffic: bool = False
    families: tuple[Family, ...] = (Family.IPV4,)
    policy: FamilyPolicy = FamilyPolicy.SINGLE
    pins: tuple[Address, ...] = ()
    pool_name: str | None = None
    status_addresses: tuple[Address, ...] = ()
    """What the Service's status lists now. Held addresses among these win over others it holds, and those no
    claim stands on are adopted."""
    annotated_addresses: tuple[Address, ...] = field(default=(), compare=False)
    """What the Service says it was admitted with. Anybody can write that: of several addresses it holds and does not
    show, these win; it means nothing else."""
    recorded_pools: tuple[str, ...] = field(default=(), compare=False)
    """The pools that served the Service, as annotated: where an address in its status is in no pool any more."""
    malformed: str = ""
    """Why what the Service asks for cannot be read; then it asks for nothing, and keeps what it has."""

    @property
    def namespace(self) -> str:
        """The Service's namespace."""
        return self.applicant.namespace

    @property
    def label(self) -> str:
        """How messages name the Service: `namespace/name`, or `namespace/prefix*` before it has a name."""
        return f"{self.namespace}/{self.name or self.generate_name + '*'}"

    def as_holder(self) -> Holder:
        """The Service as a holder of whatever it is given."""
        return Holder(
            namespace=self.namespace,
            name=self.name,
            uid=self.uid,
            generate_name="" if self.name else self.generate_name,
            ports=self.ports,
            backend_key=self.backend_key,
        )
