"""`admitlb plan`: what every Service would end up with, without a cluster or as a change to a live one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from allocator import options
from allocator.commands import answers
from allocator.commands.bgp_tables import BgpChanges, bgp_as_json, print_bgp
from allocator.commands.offline import documents_in, new_replay, offline_options
from allocator.commands.tables import print_effects, print_pools, print_services
from allocator.kube.access import Access
from allocator.offline.bgp_plan import bgp_plan, nodes_for, replayed_bgp, route_changes, session_changes
from allocator.offline.plan_result import PoolResult, ServiceResult, State, count_pools, service_results
from allocator.offline.pruning import deletions
from allocator.offline.replay import Answer

if TYPE_CHECKING:
    from allocator.commands.against_cluster import ChangePlan


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="markdown is for the comment of a pull request, with --against-cluster.",
)
@click.option("--against-cluster", is_flag=True, help="Show what the documents change for a live cluster's Services.")
@click.option(
    "--before",
    metavar="PATH",
    multiple=True,
    type=click.Path(allow_dash=True),
    help="What is there already; documents of PATH are changes of it. Shows which BGP routes and sessions change.",
)
@click.option("--prune", is_flag=True, help="Delete what --before has and PATH has not, as GitOps tools do.")
@offline_options
@options.cluster_access
def plan(
    paths: tuple[str, ...],
    output: str,
    against_cluster: bool,
    before: tuple[str, ...],
    prune: bool,
    access: Access,
    lb_class: str,
    **cluster: Any,
) -> None:
    """Replay files, folders or - (stdin) and show what every Service and pool ends up with.

    Documents are taken in order, as the cluster would get them: one of a name that came before is an update, one
    with metadata.deletionTimestamp a deletion; a Service with addresses in its status keeps them. Exit code 0: all
    are served; 1: something denied or pending; 2: unreadable input.

    With --against-cluster they are changes to what the cluster has now, which is read and never written. Exit code 1
    then means that a document is denied, or that a Service loses an address, moves, is no longer announced or waits.
    """
    if prune and not before:
        raise click.UsageError("--prune deletes what --before has and PATH has not: name --before, too")
    if against_cluster:
        if before and not prune:
            raise click.UsageError("with --against-cluster, --before is only compared with by --prune: add that")
        _show_change(_change(paths, before, access=access, lb_class=lb_class, **cluster), output)
    if output == "markdown":
        raise click.UsageError("-o markdown is for a change: add --against-cluster")
    there, documents = documents_in(before), documents_in(paths)
    replay = new_replay(lb_class=lb_class, **cluster)
    replay.run(there)
    bgp_before = replayed_bgp(replay, lb_class=lb_class)
    gone = deletions(there, documents, default_namespace=cluster["namespace"]) if prune else ()
    given = replay.run([*documents, *gone])
    bgp_after = replayed_bgp(replay, lb_class=lb_class)
    nodes = nodes_for(bgp_before, bgp_after)
    bgp, changes = bgp_plan(bgp_after, nodes), None
    if before:
        changes = BgpChanges(
            routes=list(route_changes(bgp_plan(bgp_before, nodes), bgp)),
            sessions=session_changes(bgp_before.objects, bgp_after.objects, nodes),
        )
    services = service_results(replay, lb_class=lb_class)
    pools = count_pools(replay.pools(), replay.services.ledger)
    if output == "json":
        answer = {
            "documents": answers.as_json(given),
            "services": [service.as_json() for service in services],
            "pools": [pool.as_json() for pool in pools],
            "bgp": bgp_as_json(bgp, changes),
        }
        click.echo(json.dumps(answer, indent=2))
    else:
        _show(given, services, pools)
        print_bgp(bgp, changes)
    unserved = any(service.state in (State.PENDING, State.DENIED) for service in services)
    sys.exit(1 if unserved or answers.denied(given) else 0)


def _show(given: list[Answer], services: list[ServiceResult], pools: list[PoolResult]) -> None:
    for line in answers.as_text(given):
        click.echo(line)
    click.echo()
    print_services(services)
    click.echo()
    print_pools(pools)


def _change(paths: tuple[str, ...], before: tuple[str, ...], *, access: Access, **cluster: Any) -> ChangePlan:
    # Imported here: a plan without a cluster does without.
    from allocator.commands.against_cluster import plan_against_cluster  # noqa: PLC0415

    source = click.get_current_context().get_parameter_source("cluster_families")
    # By default the cluster's own, not what a plan without one assumes.
    cluster["cluster_families"] = None if source is ParameterSource.DEFAULT else cluster["cluster_families"]
    return plan_against_cluster(paths, before, access=access, **cluster)


def _show_change(found: ChangePlan, output: str) -> NoReturn:
    match output:
        case "json":
            click.echo(json.dumps(found.as_json(), indent=2))
        case "markdown":
            from allocator.commands.markdown import as_markdown  # noqa: PLC0415

            click.echo(as_markdown(found), nl=False)
        case _:
            for line in answers.as_text(found.given):
                click.echo(line)
            click.echo()
            print_effects(found.change)
            click.echo()
            print_pools(found.pools)
            print_bgp(found.bgp, found.bgp_changes)
    sys.exit(found.exit_code)
