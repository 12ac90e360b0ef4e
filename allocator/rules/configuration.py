"""The configuration as a whole: which pools and advertisements are sound, and what is wrong with the others.

Admission refuses what is wrong; what is found here came in while nothing checked it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from allocator.core.pools import Pool
from allocator.objects.document import Document, InvalidDocument
from allocator.objects.l2_advertisement import check_l2_advertisement
from allocator.objects.pool import pool_from, pool_overlaps


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an object cannot work until somebody changes it."""

    reason: str
    message: str


@dataclass(slots=True)
class Configuration:
    """Every pool that can be read, and the faults by the object's name."""

    pools: dict[str, Pool] = field(default_factory=dict)
    pool_faults: dict[str, Fault] = field(default_factory=dict)
    advertisement_faults: dict[str, Fault] = field(default_factory=dict)

    def sound_pools(self) -> dict[str, Pool]:
        """Return the pools that may be used; of two that overlap only the older one."""
        return {name: pool for name, pool in self.pools.items() if name not in self.pool_faults}

    def errors(self) -> list[str]:
        """Say each fault in one line that names its object."""
        found = [("IPAddressPool", name, fault) for name, fault in sorted(self.pool_faults.items())]
        found += [("L2Advertisement", name, fault) for name, fault in sorted(self.advertisement_faults.items())]
        return [f"{kind} {name}: {fault.message}" for kind, name, fault in found]


def read(pools: Iterable[Document], advertisements: Iterable[Document]) -> Configuration:
    """Read all of it. Of two pools that overlap the one created later is at fault."""
    found = Configuration()
    for document in sorted(pools, key=_age):
        name = document["metadata"]["name"]
        try:
            pool = pool_from(document)
        except InvalidDocument as error:
            found.pool_faults[name] = Fault("Invalid", str(error))
            continue
        overlaps = pool_overlaps(pool, found.sound_pools().values())
        if overlaps:
            found.pool_faults[name] = Fault("Overlap", "; ".join(str(overlap) for overlap in overlaps))
        found.pools[name] = pool
    for document in advertisements:
        try:
            check_l2_advertisement(document)
        except InvalidDocument as error:
            found.advertisement_faults[document["metadata"]["name"]] = Fault("Invalid", str(error))
    return found


def _age(document: Document) -> tuple[str, str]:
    metadata = document["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"]
