"""`admitlb pools`: how much of every pool is in use, now."""

from __future__ import annotations

import json

import click

from allocator import options
from allocator.commands.explanation import claims_from, pools_from
from allocator.commands.live import connected
from allocator.commands.tables import print_pools
from allocator.objects import names
from allocator.offline.plan_result import PoolResult, count_pools


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.admitlb_namespace
@options.kubeconfig
def pools(output: str, admitlb_namespace: str, kubeconfig: str | None) -> None:
    """Show how much of every pool is in use."""
    with connected(kubeconfig) as cluster:
        stored = cluster.list(names.IP_ADDRESS_POOLS, admitlb_namespace).get("items") or ()
        allocations = cluster.list(names.IP_ALLOCATIONS).get("items") or ()
    counted: list[PoolResult] = count_pools(pools_from(stored), claims_from(allocations))
    if output == "json":
        click.echo(json.dumps({"pools": [pool.as_json() for pool in counted]}, indent=2))
    elif counted:
        print_pools(counted)
    else:
        click.echo(f"There are no pools in {admitlb_namespace}.")
