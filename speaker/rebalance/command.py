"""`admitlb rebalance`: show, and on request make, the moves that spread the announced addresses evenly again."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import click

from allocator import options
from allocator.commands.live import connected
from allocator.core.addresses import Address, AddressError
from allocator.core.listing import listed
from allocator.kube.access import Access
from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.kube.reflector import Key
from allocator.objects.document import annotations_of
from allocator.objects.names import IP_ALLOCATIONS, MOVE_TO_NODE_ANNOTATION
from speaker.rebalance.announcements import read_announcements, selected
from speaker.rebalance.spread import Group, Move, all_to, spread_evenly

_LOOK_SECONDS = 0.2
_LONGEST_SECONDS = 90.0
"""Longer than the reconciler keeps a request: what it has not ended by then nobody will."""
FAILED = 1


class AddressType(click.ParamType[Address]):
    """An IP address."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        try:
            return Address.parse(str(value))
        except AddressError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--apply", is_flag=True, help="Make the moves, one after the other; by default they are only shown.")
@click.option("--address", "addresses", type=AddressType(), multiple=True, help="Move only this address; repeatable.")
@click.option("--from", "source", metavar="NODE", help="Move only what this node announces.")
@click.option("--to", "target", metavar="NODE", help="Move it to this node, however much that announces already.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--announce-from",
    type=click.Choice(["subnet", "any"]),
    envvar="ADMITLB_ANNOUNCE_FROM",
    default="subnet",
    show_default=True,
    help="As the speakers have it.",
)
@options.lb_class
@options.admitlb_namespace
@options.cluster_access
def rebalance(
    apply: bool,
    addresses: tuple[Address, ...],
    source: str | None,
    target: str | None,
    output: str,
    announce_from: str,
    lb_class: str,
    admitlb_namespace: str,
    access: Access,
) -> None:
    """Spread the announced addresses over the nodes again.

    Addresses stay where they are announced, also when a node comes back: what has piled up is spread only by this.
    """
    if target and not addresses and not source:
        raise click.UsageError("--to moves what --address or --from names: add one of them")
    with connected(access) as cluster:
        found = read_announcements(
            cluster, namespace=admitlb_namespace, lb_class=lb_class, by_subnet=announce_from == "subnet"
        )
        if unknown := sorted(set(addresses) - found.services.keys()):
            raise click.UsageError(f"{', '.join(map(str, unknown))} is announced by no node, as far as the API shows")
        known = _counts(found.groups, ()).keys()
        if source and source not in known:
            raise click.UsageError(
                f"{source} announces nothing, and is no node that could; there are: {listed(sorted(known)) or 'none'}"
            )
        movable = selected(found.groups, addresses=addresses, source=source)
        moves = all_to(target, movable) if target else spread_evenly(found.groups, movable=movable)
        if output == "json":
            click.echo(json.dumps(_as_json(moves, found.groups), indent=2))
        else:
            _show(moves, found.groups, found.services)
        if target:
            _show_unmovable(target, movable)
        if apply and not _make(cluster, moves):
            sys.exit(FAILED)
    if moves and not apply and output == "text":
        click.echo("Nothing has been moved: add --apply.")


def _make(cluster: Cluster, moves: Sequence[Move]) -> bool:
    """Make one move after the other, whatever becomes of those before; return whether all succeeded."""
    failed = 0
    for number, move in enumerate(moves, start=1):
        began = time.monotonic()
        try:
            for address in move.addresses:
                body = {"metadata": {"annotations": {MOVE_TO_NODE_ANNOTATION: move.target}}}
                cluster.patch(IP_ALLOCATIONS, address.claim_name, body)
            problem = _await(cluster, move)
        except NotFound:
            problem = "it was released meanwhile"
        failed += bool(problem)
        result = f"not moved: {problem}" if problem else f"moved in {time.monotonic() - began:.1f} s"
        click.echo(f"[{number}/{len(moves)}] {_listed(move)}: {move.source} -> {move.target}, {result}", err=True)
    return not failed


def _await(cluster: Cluster, move: Move) -> str:
    """Wait until the target announces it all, or a request was ended; return why it does not, nothing if it does.

    Raises NotFound. Of other refusals the next look may show more: the move is under way.
    """
    end = time.monotonic() + _LONGEST_SECONDS
    unread = ""
    while time.monotonic() < end:
        try:
            claims = [cluster.get(IP_ALLOCATIONS, address.claim_name) for address in move.addresses]
        except NotFound:
            raise
        except ApiError as error:
            unread = f"; the API server says {error}"
        else:
            unread = ""
            if all(_announced_by(claim) == move.target for claim in claims):
                return ""
            if not any(MOVE_TO_NODE_ANNOTATION in annotations_of(claim) for claim in claims):
                return "its Services have an Event"
        time.sleep(_LOOK_SECONDS)
    return f"{move.target} does not announce it after {_LONGEST_SECONDS:g} s{unread}"


def _announced_by(claim: Object) -> str:
    return str(((claim.get("status") or {}).get("announcedBy") or {}).get("node") or "")


def _show(moves: Sequence[Move], groups: Iterable[Group], services: Mapping[Address, tuple[Key, ...]]) -> None:
    before, after = _counts(groups, ()), _counts(groups, moves)
    if not moves:
        click.echo("Nothing to move.")
    for move in moves:
        names = sorted({"/".join(key) for address in move.addresses for key in services.get(address, ())})
        click.echo(f"{_listed(move):<40} {move.source} -> {move.target}  ({', '.join(names)})")
    width = max((len(node) for node in before), default=0)
    for node in sorted(before):
        click.echo(f"{node:<{width}} {before[node]:>5} -> {after[node]:>5} addresses")


def _show_unmovable(target: str, groups: Iterable[Group]) -> None:
    for group in groups:
        if target not in group.nodes and group.holder != target:
            addresses = ", ".join(map(str, group.addresses))
            best = ", ".join(sorted(group.nodes)) or "none"
            click.echo(f"{addresses} stays: {target} is not among the nodes that announce it best ({best})", err=True)


def _counts(groups: Iterable[Group], moves: Iterable[Move]) -> Counter[str]:
    targets = {move.addresses: move.target for move in moves}
    counts: Counter[str] = Counter()
    for group in groups:
        counts.update(dict.fromkeys(group.nodes, 0))
        counts[targets.get(group.addresses, group.holder)] += len(group.addresses)
        counts.setdefault(group.holder, 0)
    return counts


def _as_json(moves: Sequence[Move], groups: Sequence[Group]) -> Object:
    return {
        "moves": [
            {"addresses": [str(one) for one in move.addresses], "from": move.source, "to": move.target}
            for move in moves
        ],
        "before": dict(sorted(_counts(groups, ()).items())),
        "after": dict(sorted(_counts(groups, moves).items())),
    }


def _listed(move: Move) -> str:
    return ", ".join(map(str, move.addresses))
