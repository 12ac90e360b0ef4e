"""Are objects stored in a version that the CRDs of AdmitLB lack?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from allocator.doctor.facts import CRDS, Facts
from allocator.doctor.finding import Finding, error
from allocator.objects import names

VERSIONS: Final = {
    f"{kind.plural}.{kind.group}": kind.version
    for kind in (
        names.IP_ADDRESS_POOLS,
        names.L2_ADVERTISEMENTS,
        names.SERVICE_L2_STATUSES,
        names.CONFIGURATION_STATES,
        *names.BGP_KINDS,
        names.SERVICE_BGP_STATUSES,
    )
}
"""The one version of each kind of MetalLB's, by the name of its CRD."""


def check_stored_versions(facts: Facts) -> Iterator[Finding]:
    """Find what MetalLB stored in an older version: the API server refuses a CRD without a version that is stored."""
    for crd in facts.all(CRDS):
        name = crd["metadata"]["name"]
        stored = (crd.get("status") or {}).get("storedVersions") or ()
        if older := sorted(version for version in stored if version != VERSIONS.get(name, version)):
            yield error(
                f"CRD {name}",
                f"objects may be stored as {', '.join(older)}, which the CRD of AdmitLB lacks: it cannot be applied",
                "docs/migration.md, 'BGPPeers stored as v1beta1', has the commands that have them stored anew",
            )
