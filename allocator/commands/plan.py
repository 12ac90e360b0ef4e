"""`admitlb plan`: what every Service would end up with, without a cluster."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from allocator.commands import answers
from allocator.commands.offline import offline_options, replayed
from allocator.commands.tables import print_pools, print_services
from allocator.offline.plan_result import PoolResult, ServiceResult, State, count_pools, service_results
from allocator.offline.replay import Answer


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@offline_options
def plan(paths: tuple[str, ...], output: str, lb_class: str, **cluster: Any) -> None:
    """Replay files, folders or - (stdin) and show what every Service and pool ends up with.

    Documents are taken in order, as the cluster would get them: one of a name that came before is an update, one
    with metadata.deletionTimestamp a deletion; a Service with addresses in its status keeps them. Exit code 0: all
    are served; 1: something denied or pending; 2: unreadable input.
    """
    replay, given = replayed(paths, lb_class=lb_class, on_unreadable=lambda _: None, **cluster)
    services = service_results(replay, lb_class=lb_class)
    pools = count_pools(replay.pools(), replay.services.ledger)
    if output == "json":
        answer = {
            "documents": answers.as_json(given),
            "services": [service.as_json() for service in services],
            "pools": [pool.as_json() for pool in pools],
        }
        click.echo(json.dumps(answer, indent=2))
    else:
        _show(given, services, pools)
    unserved = any(service.state in (State.PENDING, State.DENIED) for service in services)
    sys.exit(1 if unserved or answers.denied(given) else 0)


def _show(given: list[Answer], services: list[ServiceResult], pools: list[PoolResult]) -> None:
    for line in answers.as_text(given):
        click.echo(line)
    click.echo()
    print_services(services)
    click.echo()
    print_pools(pools)
