"""`admitlb bgp`: what concerns sessions with routers, on a live cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from allocator import options
from allocator.commands.bgp_roll import roll
from allocator.commands.live import connected
from allocator.core.listing import listed
from allocator.kube.access import Access

if TYPE_CHECKING:
    from allocator.commands.bgp_live import LiveRoute
    from allocator.kube.client import Cluster
    from allocator.objects.bgp_node_status import BgpNodeStatus


@click.group(invoke_without_command=True)
@click.option("--prefixes", is_flag=True, help="Show which prefixes each router gets from which nodes as well.")
@click.option("--peer", default="", help="Of this BGPPeer alone.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.lb_class
@options.admitlb_namespace
@options.cluster_access
@click.pass_context
def bgp(
    ctx: click.Context,
    prefixes: bool,
    peer: str,
    output: str,
    lb_class: str,
    admitlb_namespace: str,
    access: Access,
) -> None:
    """Show the sessions of all nodes with routers, as the nodes report them."""
    if ctx.invoked_subcommand is not None:
        return
    from allocator.commands import bgp_facts  # noqa: PLC0415
    from allocator.commands.bgp_live import show  # noqa: PLC0415
    from allocator.kube.resource import LEASES  # noqa: PLC0415
    from allocator.rules.silent_speakers import silent_since  # noqa: PLC0415

    with connected(access) as cluster:
        statuses = _statuses(cluster, admitlb_namespace)
        silent = silent_since(bgp_facts.listed(cluster, LEASES, admitlb_namespace), datetime.now(UTC))
        routes = _routes(cluster, statuses, admitlb_namespace, lb_class) if prefixes else None
    if not statuses and output == "text":
        click.echo(f"No node speaks BGP: there is no BGPNodeStatus in {admitlb_namespace}.")
        return
    known = {session.peer for status in statuses for session in status.sessions}
    if peer and peer not in known:
        raise click.UsageError(
            f"no node reports a session with BGPPeer {peer}; there are: {listed(sorted(known)) or 'none'}"
        )
    show(statuses, routes, output=output, peer=peer, silent=silent)


def _statuses(cluster: Cluster, namespace: str) -> list[BgpNodeStatus]:
    from allocator.commands.bgp_facts import listed as listed_in  # noqa: PLC0415
    from allocator.objects.bgp_node_status import node_status_from  # noqa: PLC0415
    from allocator.objects.names import BGP_NODE_STATUSES  # noqa: PLC0415

    read = map(node_status_from, listed_in(cluster, BGP_NODE_STATUSES, namespace))
    return sorted(read, key=lambda status: status.node)


def _routes(cluster: Cluster, statuses: list[BgpNodeStatus], namespace: str, lb_class: str) -> list[LiveRoute]:
    from allocator.bgp.configured import configured  # noqa: PLC0415
    from allocator.bgp.object_values import node_value  # noqa: PLC0415
    from allocator.bgp.served_services import services_of  # noqa: PLC0415
    from allocator.commands.bgp_facts import listed as listed_in  # noqa: PLC0415
    from allocator.commands.bgp_facts import slices_kind  # noqa: PLC0415
    from allocator.commands.bgp_live import live_routes  # noqa: PLC0415
    from allocator.commands.explanation import pools_from  # noqa: PLC0415
    from allocator.kube import resource  # noqa: PLC0415
    from allocator.objects import names  # noqa: PLC0415
    from allocator.objects.node import node_from  # noqa: PLC0415

    pools = {pool.name: pool for pool in pools_from(listed_in(cluster, names.IP_ADDRESS_POOLS, namespace))}
    objects = configured({kind: listed_in(cluster, kind, namespace) for kind in names.BGP_KINDS}, pools.values())
    services = services_of(
        cluster.list(resource.SERVICES).get("items") or (),
        cluster.list(slices_kind(cluster)).get("items") or (),
        pools,
        lb_class,
    )
    nodes = [node_value(node_from(one)) for one in cluster.list(resource.NODES).get("items") or ()]
    return live_routes(objects, services, nodes, {status.node: status for status in statuses})


bgp.add_command(roll)
