"""`admitlb pools`: how much of every pool is in use, now."""

from __future__ import annotations

import json
from typing import Any

import click

from allocator import options
from allocator.commands.explanation import claims_from, pools_from
from allocator.commands.live import connected
from allocator.commands.tables import print_conflicts, print_pools
from allocator.core.claims import Claim
from allocator.kube.access import Access
from allocator.objects import names
from allocator.offline.plan_result import PoolResult, count_pools


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.admitlb_namespace
@options.cluster_access
def pools(output: str, admitlb_namespace: str, access: Access) -> None:
    """Show how much of every pool is in use, and which addresses other hosts have."""
    with connected(access) as cluster:
        stored = cluster.list(names.IP_ADDRESS_POOLS, admitlb_namespace).get("items") or ()
        allocations = cluster.list(names.IP_ALLOCATIONS).get("items") or ()
    claims = claims_from(allocations)
    counted: list[PoolResult] = count_pools(pools_from(stored), claims)
    conflicted = sorted((one for one in claims if one.foreign_host is not None), key=lambda one: one.address)
    if output == "json":
        conflicts = [_as_json(claim) for claim in conflicted]
        click.echo(json.dumps({"pools": [pool.as_json() for pool in counted], "conflicts": conflicts}, indent=2))
    elif counted:
        print_pools(counted)
        if conflicted:
            click.echo("\nNot handed out, because other hosts answer for them:")
            print_conflicts(conflicted)
    else:
        click.echo(f"There are no pools in {admitlb_namespace}.")


def _as_json(claim: Claim) -> dict[str, Any]:
    host = claim.foreign_host
    return {
        "ip": str(claim.address),
        "pool": claim.pool,
        "hardwareAddress": host.mac if host is not None else "",
        "node": host.node if host is not None else "",
        "interface": host.interface if host is not None else "",
        "since": claim.conflicted_at,
    }
