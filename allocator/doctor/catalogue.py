"""Every check: what it looks at, what it needs to have been read, and the function that finds.

`python -m tests.unit.reference.pages` writes this table to docs/reference/doctor.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from allocator.doctor.checks.announcements import (
    check_announcements,
    check_announcers,
    check_foreign_hosts,
    check_spread,
)
from allocator.doctor.checks.bgp_routes import check_bgp_routes
from allocator.doctor.checks.bgp_sessions import check_bgp_sessions, check_bgp_versions
from allocator.doctor.checks.configuration import (
    check_address_ranges,
    check_advertising_nodes,
    check_lan_addresses,
    check_objects,
    check_pool_coverage,
)
from allocator.doctor.checks.kube_proxy import check_kube_proxy
from allocator.doctor.checks.leadership import check_leadership
from allocator.doctor.checks.load_balancers import check_load_balancers
from allocator.doctor.checks.services import check_external_ips, check_services
from allocator.doctor.checks.speaker_leases import check_speaker_leases
from allocator.doctor.checks.stored_versions import check_stored_versions
from allocator.doctor.checks.webhook_registration import check_webhook_registration
from allocator.doctor.checks.workloads import check_versions, check_workloads
from allocator.doctor.facts import CONFIG_MAPS, CRDS, DAEMON_SETS, DEPLOYMENTS, PODS, STATIC_PODS, Facts
from allocator.doctor.finding import Finding, Severity, warning
from allocator.kube.resource import (
    ENDPOINT_SLICES_V1,
    LEASES,
    MUTATING_WEBHOOKS,
    NODES,
    SERVICES,
    VALIDATING_WEBHOOKS,
    Resource,
)
from allocator.objects import names


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check; `needs` are the kinds without which it would find what is not there."""

    name: str
    looks_at: str
    needs: tuple[Resource, ...]
    find: Callable[[Facts], Iterable[Finding]]

    def unread(self, facts: Facts) -> list[Resource]:
        """Return what it needs and could not be read; it is made where that is nothing."""
        return [kind for kind in self.needs if kind not in facts.objects]


_OF_A_NAMESPACE: Final = re.compile(r"\badmitlb (?:bgp roll|bgp|pools|who-has|install)\b")
_OF_A_CLASS: Final = re.compile(r"\badmitlb (?:explain|rebalance)\b")
"""Commands that remedies name, by what they have to know of the installation."""

CHECKS: Final = (
    Check(
        name="workloads",
        looks_at="controller and speaker are there, all their Pods scheduled and Ready, none fails, and none was "
        "restarted five times with the last within a day",
        needs=(DEPLOYMENTS, DAEMON_SETS, PODS),
        find=check_workloads,
    ),
    Check(
        name="versions", looks_at="all Pods run one image, and of that one build", needs=(PODS,), find=check_versions
    ),
    Check(
        name="stored-versions",
        looks_at="no object is stored in a version that the CRDs of AdmitLB lack, as MetalLB's BGPPeers may be",
        needs=(CRDS,),
        find=check_stored_versions,
    ),
    Check(
        name="leadership",
        looks_at="a reconciler renews the Lease it leads by",
        needs=(LEASES,),
        find=check_leadership,
    ),
    Check(
        name="webhook-registration",
        looks_at="both webhook configurations have every webhook of the manifests, and lead to this webhook, with a "
        "path token and an authority that has not expired; the Service has ready endpoints",
        needs=(MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, ENDPOINT_SLICES_V1),
        find=check_webhook_registration,
    ),
    Check(
        name="speaker-leases",
        looks_at="every speaker renews its Lease and hears all others (UDP heartbeats); those of nodes that an "
        "L2Advertisement selects have a LAN to announce on",
        needs=(LEASES, PODS),
        find=check_speaker_leases,
    ),
    Check(
        name="objects",
        looks_at="pools, advertisements and objects for BGP are sound, say so in their conditions, "
        "and are in the namespace that is read",
        needs=(names.IP_ADDRESS_POOLS, names.L2_ADVERTISEMENTS),
        find=check_objects,
    ),
    Check(
        name="pool-coverage",
        looks_at="there are pools, and an advertisement covers each",
        needs=(names.IP_ADDRESS_POOLS, names.L2_ADVERTISEMENTS, names.BGP_ADVERTISEMENTS),
        find=check_pool_coverage,
    ),
    Check(
        name="advertising-nodes",
        looks_at="every advertisement has a node that may announce what it covers",
        needs=(names.L2_ADVERTISEMENTS, NODES),
        find=check_advertising_nodes,
    ),
    Check(
        name="address-ranges",
        looks_at="no pool overlaps addresses of nodes, Pods or Services",
        needs=(names.IP_ADDRESS_POOLS, NODES),
        find=check_address_ranges,
    ),
    Check(
        name="lan-addresses",
        looks_at="no pool for layer 2 has the network or broadcast address of a node's LAN",
        needs=(names.IP_ADDRESS_POOLS, names.L2_ADVERTISEMENTS, LEASES),
        find=check_lan_addresses,
    ),
    Check(
        name="announcements",
        looks_at="a node announces every assigned address",
        needs=(names.IP_ALLOCATIONS, NODES),
        find=check_announcements,
    ),
    Check(
        name="foreign-hosts",
        looks_at="no host outside the cluster has an address of a pool, and no router answers for them (proxy ARP)",
        needs=(names.IP_ALLOCATIONS,),
        find=check_foreign_hosts,
    ),
    Check(
        name="announcers",
        looks_at="of each address one node says that it announces it on layer 2",
        needs=(names.SERVICE_L2_STATUSES,),
        find=check_announcers,
    ),
    Check(
        name="bgp-sessions",
        looks_at="FRR runs on its nodes, and every session with a router is up",
        needs=(names.BGP_NODE_STATUSES, DAEMON_SETS),
        find=check_bgp_sessions,
    ),
    Check(
        name="bgp-routes",
        looks_at="every address for BGP goes to a router, and each node announces and has sent what objects say",
        needs=(
            names.BGP_NODE_STATUSES,
            *names.BGP_KINDS,
            names.IP_ADDRESS_POOLS,
            SERVICES,
            ENDPOINT_SLICES_V1,
            NODES,
        ),
        find=check_bgp_routes,
    ),
    Check(
        name="bgp-versions",
        looks_at="all nodes run one release of FRR",
        needs=(names.BGP_NODE_STATUSES,),
        find=check_bgp_versions,
    ),
    Check(
        name="spread",
        looks_at="no node announces far more addresses than the others that may announce on layer 2",
        needs=(names.IP_ALLOCATIONS, LEASES),
        find=check_spread,
    ),
    Check(
        name="services",
        looks_at="what Services show is held for them; none shows another controller's address; which wait, "
        "and which a finalizer keeps from being deleted",
        needs=(SERVICES, names.IP_ALLOCATIONS, names.IP_ADDRESS_POOLS),
        find=check_services,
    ),
    Check(
        name="external-ips",
        looks_at="no Service has an address of a pool in spec.externalIPs",
        needs=(SERVICES, names.IP_ALLOCATIONS, names.IP_ADDRESS_POOLS),
        find=check_external_ips,
    ),
    Check(
        name="kube-proxy",
        looks_at="kube-proxy in mode ipvs has strictARP, by its ConfigMap or by its arguments",
        needs=(CONFIG_MAPS,),
        find=check_kube_proxy,
    ),
    Check(
        name="load-balancers",
        looks_at="k3s ServiceLB, kube-vip, MetalLB, Cilium, PureLB and OpenELB do not serve Services of the same "
        "class",
        needs=(DAEMON_SETS, DEPLOYMENTS, STATIC_PODS),
        find=check_load_balancers,
    ),
)


def diagnose(facts: Facts, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """Run the checks; the worst findings come first. What could not be looked at is a finding as well."""
    found = [
        replace(finding, check=check.name, remedy=_for_installation(finding.remedy, facts))
        for check in checks
        for finding in _run(check, facts)
    ]
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _for_installation(remedy: str, facts: Facts) -> str:
    """The remedy with the options that our commands need where AdmitLB is not installed as they assume."""
    options = [f"--admitlb-namespace {facts.namespace}"] if facts.namespace != names.DEFAULT_NAMESPACE else []
    with_class = [*options, f"--lb-class {facts.lb_class}"] if facts.lb_class else options
    remedy = _OF_A_NAMESPACE.sub(lambda call: " ".join((call[0], *options)), remedy)
    return _OF_A_CLASS.sub(lambda call: " ".join((call[0], *with_class)), remedy)


def _run(check: Check, facts: Facts) -> Iterator[Finding]:
    missing = check.unread(facts)
    if not missing:
        yield from check.find(facts)
        return
    why = "; ".join(f"{kind.plural}: {facts.unread.get(kind, 'not read')}" for kind in missing)
    yield warning(f"check {check.name}", f"was not made: {why}", "run it as somebody who may list these")
