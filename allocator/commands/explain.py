"""`admitlb explain`: why a Service has its addresses, or none."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from allocator import options
from allocator.commands.bgp_lines import bgp_lines
from allocator.commands.explanation import Explanation, Facts, HeldAddress, explanation_of, last_seen
from allocator.commands.live import age, connected
from allocator.commands.printable import printable
from allocator.commands.said_once import said_once
from allocator.core.pools import PriorityOrder
from allocator.kube import resource
from allocator.kube.access import Access
from allocator.objects import names
from allocator.objects.document import Document
from allocator.rules.left_out import summary

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from allocator.kube.client import Cluster, Object

NOT_FOUND = 1
_BY_NO_NODE = "announced by no node, as far as the API shows"


class ServiceName(click.ParamType[tuple[str, str]]):
    """A Service as `NAME` or `NAMESPACE/NAME`; completed with the LoadBalancer Services of the cluster.

    Its value is namespace and name; the namespace is empty where none is written.
    """

    name = "service"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        namespace, slash, name = str(value).partition("/")
        if not slash:
            namespace, name = "", namespace
        if (slash and not namespace) or not name or "/" in name:
            self.fail(f"{value!r} is neither NAME nor NAMESPACE/NAME", param, ctx)
        return namespace, name

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002  click's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        try:
            access = Access(ctx.params.get("kubeconfig") or "", ctx.params.get("context") or "")
            cluster = access.cluster(timeout_seconds=2.0)
            services = cluster.list(resource.SERVICES).get("items") or ()
        except Exception:
            # A shell that completes has nowhere to show an error.
            return []
        within = ctx.params.get("namespace")
        found = (
            service["metadata"]["name"]
            if within
            else f"{service['metadata']['namespace']}/{service['metadata']['name']}"
            for service in services
            if service["spec"].get("type") == "LoadBalancer" and within in {None, service["metadata"]["namespace"]}
        )
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]


@click.command()
@click.argument("service", metavar="[NAMESPACE/]NAME", type=ServiceName())
@click.option(
    "-n", "--namespace", help="The Service's namespace; by default the one of the current kubeconfig context."
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.lb_class
@options.take_over_foreign
@options.pool_priority
@options.admitlb_namespace
@options.cluster_access
def explain(
    service: tuple[str, str],
    namespace: str | None,
    output: str,
    lb_class: str,
    take_over_foreign: bool,
    pool_priority: str,
    admitlb_namespace: str,
    access: Access,
) -> None:
    """Say why a Service is pending, or who announces its addresses, where and since when."""
    written, name = service
    if written and namespace and written != namespace:
        raise click.UsageError(f"{written}/{name} is not in namespace {namespace}: leave one of the two out")
    with connected(access) as cluster:
        within = written or namespace or access.namespace()
        facts = _facts(cluster, within, name, installed_in=admitlb_namespace)
    if facts is None:
        click.echo(f"Error: there is no Service {within}/{name}", err=True)
        sys.exit(NOT_FOUND)
    order = PriorityOrder(pool_priority)
    found = explanation_of(facts, lb_class=lb_class, order=order, take_over_foreign=take_over_foreign)
    if output == "json":
        click.echo(json.dumps(found.as_json(), indent=2))
    elif sys.stdout.isatty():
        _show_on_terminal(said_once(found))
    else:
        _show(said_once(found))


def _facts(cluster: Cluster, namespace: str, name: str, *, installed_in: str) -> Facts | None:
    from allocator.allocation.cluster_families import cluster_families  # noqa: PLC0415
    from allocator.commands.bgp_facts import bgp_facts  # noqa: PLC0415
    from allocator.kube.client import NotFound  # noqa: PLC0415
    from allocator.rules.silent_speakers import renewed  # noqa: PLC0415

    try:
        service = cluster.get(resource.SERVICES, name, namespace)
    except NotFound:
        return None
    leases = cluster.list(resource.LEASES, installed_in).get("items") or ()
    return Facts(
        service=service,
        namespace=cluster.get(resource.NAMESPACES, namespace),
        pools=cluster.list(names.IP_ADDRESS_POOLS, installed_in).get("items") or (),
        allocations=cluster.list(names.IP_ALLOCATIONS).get("items") or (),
        announcements=_announcements(cluster, namespace, name, installed_in),
        advertisements=cluster.list(names.L2_ADVERTISEMENTS, installed_in).get("items") or (),
        nodes=cluster.list(resource.NODES).get("items") or (),
        leases=renewed(leases, datetime.now(UTC)),
        events=_events(cluster, service),
        families=cluster_families(cluster),
        bgp=bgp_facts(cluster, service, installed_in=installed_in, leases=leases),
    )


def _announcements(cluster: Cluster, namespace: str, name: str, installed_in: str) -> list[Object]:
    """The Service's ServiceL2Status objects, where the cluster has the kind."""
    from allocator.kube.client import NotFound  # noqa: PLC0415

    labels = f"metallb.io/service-name={name},metallb.io/service-namespace={namespace}"
    try:
        return list(cluster.list(names.SERVICE_L2_STATUSES, installed_in, label_selector=labels).get("items") or ())
    except NotFound:
        return []


def _events(cluster: Cluster, service: Object) -> list[Object]:
    metadata = service["metadata"]
    fields = {"involvedObject.name": metadata["name"], "involvedObject.uid": metadata["uid"]}
    selector = ",".join(f"{field}={value}" for field, value in fields.items())
    path = f"/api/v1/namespaces/{metadata['namespace']}/events"
    return list(cluster.raw("GET", path, query={"fieldSelector": selector}).get("items") or ())


def _show_on_terminal(found: Explanation) -> None:
    # Only on a terminal: rich takes longer to import than the rest of a command to run.
    from rich.console import Console  # noqa: PLC0415

    from allocator.commands import explained  # noqa: PLC0415

    explained.show(found, Console())


def _show(found: Explanation) -> None:
    _print(f"{found.namespace}/{found.name}: {found.state}")
    if found.message:
        _print(f"  {found.message}")
    for held in found.addresses:
        _print(f"  {held.ip} from pool {held.pool}, {held.state}{_since(held.since)}")
        if held.layer2:
            _print(f"    {_announcement(held)}")
        if held.sharers:
            _print(f"    shared with {', '.join(held.sharers)}")
        if held.left_out:
            _print(f"    left out: {summary(dict(held.left_out))}")
        for line in bgp_lines(held.bgp):
            _print(f"    {line}")
    _section("Pools considered", [f"{pool}: {reason}" for pool, reason in found.considered])
    _section(
        "Conditions",
        [
            _with_message(f"{one.get('type')}={one.get('status')} {one.get('reason', '')}", one)
            for one in found.conditions
        ],
    )
    _section(
        "Events",
        [
            _with_message(f"{age(last_seen(one)):>4} {one.get('type')} {one.get('reason')}", one)
            for one in found.events
        ],
    )


def _print(line: str) -> None:
    # Whoever may write a condition or an Event writes what is shown here.
    click.echo(printable(line))


def _with_message(what: str, document: Document) -> str:
    message = document.get("message")
    return f"{what}: {message}" if message else what


def _announcement(held: HeldAddress) -> str:
    if not held.node:
        return f"announced by no node: {held.not_announced}" if held.not_announced else _BY_NO_NODE
    where = f" on {', '.join(held.interfaces)}" if held.interfaces else " on all interfaces"
    return f"announced by {held.node}{where}{_since(held.announced_since)}"


def _since(moment: str) -> str:
    return f" since {moment} ({age(moment)})" if moment else ""


def _section(title: str, lines: list[str]) -> None:
    if lines:
        _print(f"{title}:")
        for line in lines:
            _print(f"  {line}")
