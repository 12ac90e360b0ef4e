"""Does a reconciler lead?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from allocator.doctor.facts import Facts
from allocator.doctor.finding import Finding, error
from allocator.kube.resource import LEASES
from allocator.objects.lease import renewal
from allocator.objects.names import RECONCILER_LEASE

_LATE = timedelta(seconds=15)
"""Renewed every second; a follower takes over after six."""


def check_leadership(facts: Facts) -> Iterator[Finding]:
    """Find that nobody leads: nothing is released, repaired or assigned that admission did not assign."""
    lease = facts.named(LEASES, RECONCILER_LEASE)
    logs = f"kubectl logs -n {facts.namespace} -l component=controller -c reconciler --tail=50"
    renewed = renewal(lease) if lease is not None else None
    if lease is None or renewed is None or not (lease.get("spec") or {}).get("holderIdentity"):
        yield error(f"Lease {RECONCILER_LEASE}", "no reconciler leads", logs)
    elif facts.now - renewed > _LATE:
        holder, seconds = lease["spec"]["holderIdentity"], int((facts.now - renewed).total_seconds())
        yield error(f"Lease {RECONCILER_LEASE}", f"{holder} has not renewed it for {seconds} s", logs)
