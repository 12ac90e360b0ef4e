"""`admitlb who-has`: who on the LAN answers for an address, and who announces one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

import click

from allocator import options
from allocator.commands.printable import printable
from allocator.core.addresses import Address, AddressError, AddressRange, unusable_part
from allocator.kube.access import Access
from allocator.objects.names import DEFAULT_NAMESPACE
from speaker.netdev.interface_snapshot import read_interfaces
from speaker.netdev.interfaces import EXCLUDED_NAMES, Interface
from speaker.who_has.asking import Answer, ask
from speaker.who_has.asking_interfaces import AskingInterface, NoInterface, asking_interfaces, has_itself
from speaker.who_has.facts import ClusterFacts
from speaker.who_has.listening import Listener
from speaker.who_has.results import Identities, Result, exit_code, identities, result_of

Parsed = TypeVar("Parsed")

CANNOT_ASK = 2
_BROADCAST = Address.parse("255.255.255.255")
_ARTICLE = {"unspecified": "an"}
_ANSWER_SECONDS = 1.0
_API_SECONDS = 3.0
_NO_RAW_SOCKETS = (
    "raw sockets are refused: who-has needs the capability NET_RAW. Run it as root, or in a speaker's container: "
    f"kubectl exec -n {DEFAULT_NAMESPACE} ds/speaker -- admitlb who-has ADDRESS"
)


@click.command("who-has")
@click.argument("addresses", metavar="[ADDRESS]...", nargs=-1)
@click.option("--interface", "named", metavar="IF", multiple=True, help="Ask on this interface only; repeatable.")
@click.option("--listen", is_flag=True, help="Print who announces addresses of the pools, as it happens.")
@click.option(
    "--seconds",
    type=options.Seconds(min=0.1),
    help="How long to wait for answers (1 by default), or to listen (until interrupted).",
)
@click.option("--no-cluster", is_flag=True, help="Do not ask the API which nodes and Services there are.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.admitlb_namespace
@options.cluster_access
def who_has(
    addresses: tuple[str, ...],
    named: tuple[str, ...],
    listen: bool,
    seconds: float | None,
    no_cluster: bool,
    output: str,
    admitlb_namespace: str,
    access: Access,
) -> None:
    """Ask the LAN who answers for addresses, by ARP and neighbour discovery.

    To be run on a node, in a speaker's container, or on any machine of the LAN. Where the API can be asked, hardware
    addresses are named after the cluster's nodes. With --listen, ADDRESS may be a range; by default all pools are
    listened for. Exit code 0: one host answers for each; 1: nobody for one; 2: cannot ask; 3: several for one.
    """
    if not addresses and not listen:
        raise click.UsageError("name the addresses to ask for, or add --listen")
    wanted = () if listen else _parsed(addresses, _of_a_host)
    ranges = _parsed(addresses, AddressRange.parse) if listen else ()
    facts = ClusterFacts() if no_cluster else _facts(access, wanted, admitlb_namespace)
    try:
        # Excluded are those that never announce; one that is named is meant.
        interfaces = read_interfaces(excluded=() if named else EXCLUDED_NAMES)
        if listen:
            _listen(
                interfaces, named, ranges or _pool_ranges(facts), facts, seconds=seconds, as_json=output == "json"
            )
        else:
            _ask(interfaces, named, wanted, facts, seconds=seconds or _ANSWER_SECONDS, as_json=output == "json")
    except NoInterface as error:
        _fail(str(error))
    except PermissionError:
        _fail(_NO_RAW_SOCKETS)
    except OSError as error:
        _fail(f"the network refuses: {error.strerror or error}")


def _ask(
    interfaces: Sequence[Interface],
    named: Sequence[str],
    wanted: Sequence[Address],
    facts: ClusterFacts,
    *,
    seconds: float,
    as_json: bool,
) -> NoReturn:
    places = {address: asking_interfaces(address, interfaces, named=named) for address in wanted}
    places_of_nodes = _beside(places, interfaces, facts)
    answers = ask({**places_of_nodes, **places}, seconds=seconds)
    who = _identities(interfaces, facts, answers)
    results = [
        result_of(
            address,
            answers,
            asked_on=[place.interface.name for place in chosen],
            itself_on=[each.name for each in interfaces if has_itself(address, each)],
            who=who,
            facts=facts,
        )
        for address, chosen in places.items()
    ]
    if as_json:
        click.echo(json.dumps({"addresses": [result.as_json() for result in results]}, indent=2))
    else:
        for result in results:
            _show(result, facts)
    sys.exit(exit_code(results))


def _listen(
    interfaces: Sequence[Interface],
    named: Sequence[str],
    ranges: Sequence[AddressRange],
    facts: ClusterFacts,
    *,
    seconds: float | None,
    as_json: bool,
) -> None:
    if not ranges:
        _fail("there are no pools to listen for; name addresses or ranges, as in 203.0.113.0/24")
    samples = [Address(each.family, each.first) for each in ranges]
    places = {place.interface for sample in samples for place in asking_interfaces(sample, interfaces, named=named)}
    families = {each.family for each in ranges}
    nodes = {address: place for address, place in _beside({}, interfaces, facts, on=places).items() if place}
    with Listener(places, families) as listener:
        # Opened before the nodes are asked who they are: what is announced meanwhile waits.
        who = _identities(interfaces, facts, ask(nodes, seconds=_ANSWER_SECONDS) if nodes else ())
        try:
            for heard in listener.announcements(ranges, who, seconds=seconds):
                click.echo(json.dumps(heard.as_json()) if as_json else str(heard))
        except KeyboardInterrupt:
            return


def _beside(
    places: dict[Address, tuple[AskingInterface, ...]],
    interfaces: Sequence[Interface],
    facts: ClusterFacts,
    *,
    on: set[Interface] | None = None,
) -> dict[Address, tuple[AskingInterface, ...]]:
    """The nodes' own addresses on the LANs asked: whoever answers for one of them is that node."""
    asked = on if on is not None else {place.interface for chosen in places.values() for place in chosen}
    found = {}
    for address in facts.nodes:
        beside = [each for each in asked if any(address in subnet for subnet in each.subnets)]
        if beside and not any(has_itself(address, each) for each in interfaces):
            found[address] = asking_interfaces(address, beside)
    return found


def _identities(interfaces: Sequence[Interface], facts: ClusterFacts, answers: Sequence[Answer]) -> Identities:
    own_addresses = [Address.parse(text) for each in interfaces for text in sorted(each.addresses)]
    own = [(each.mac.hex(":"), each.name) for each in interfaces]
    return identities(answers, facts, own=own, own_addresses=own_addresses)


def _facts(access: Access, wanted: Sequence[Address], namespace: str) -> ClusterFacts:
    """What the API says; where it cannot be asked, a note, and nothing."""
    # Imported here: a machine of the LAN that has no kubeconfig does without.
    from allocator.kube.client import ApiError  # noqa: PLC0415
    from allocator.kube.package import ConfigException  # noqa: PLC0415
    from speaker.who_has.cluster_facts import read_facts  # noqa: PLC0415

    try:
        cluster = access.cluster(timeout_seconds=_API_SECONDS)
        return read_facts(cluster, wanted, namespace=namespace)
    except (ConfigException, ApiError) as error:
        click.echo(f"Note: hosts are not named, since the API cannot be asked: {_why(error)}", err=True)
        return ClusterFacts()


def _why(error: Exception) -> str:
    """Without the code and reason of the client's own, where there was no answer."""
    return str(getattr(error, "message", error))


def _pool_ranges(facts: ClusterFacts) -> tuple[AddressRange, ...]:
    return tuple(each for pool in facts.pools for each in pool.ranges)


def _parsed(texts: Sequence[str], parse: Callable[[str], Parsed]) -> tuple[Parsed, ...]:
    try:
        return tuple(dict.fromkeys(parse(text) for text in texts))
    except AddressError as error:
        raise click.UsageError(str(error)) from None


def _of_a_host(text: str) -> Address:
    address = Address.parse(text)
    kind, _ = unusable_part(AddressRange.parse(text)) or ("", "")
    if address == _BROADCAST:
        kind = "broadcast"
    # Link-local ones are asked for as any other.
    if kind and kind != "link-local":
        raise AddressError(
            text, f"is {_ARTICLE.get(kind, 'a')} {kind} address", "name the address of a host on the LAN"
        )
    return address


def _show(result: Result, facts: ClusterFacts) -> None:
    click.echo(f"{result.address}: {result.state}")
    for host in result.hosts:
        name = f"{host.node} ({host.mac})" if host.node else host.mac
        if host.here:
            click.echo(f"  this machine, {name}, has it on {host.interface}; no host hears itself")
            continue
        stranger = ", no known node," if facts.known and not host.node else ""
        click.echo(f"  {name}{stranger} answers on {host.interface} after {host.milliseconds:.1f} ms")
    if not result.hosts:
        click.echo(f"  nobody answers on {', '.join(result.asked_on)}")
    if result.record is not None and result.record.services:
        click.echo(printable(f"  held by {', '.join(result.record.services)} from pool {result.record.pool}"))
    if result.message:
        click.echo(printable(f"  {result.message}"))


def _fail(why: str) -> NoReturn:
    click.echo(f"Error: {why}", err=True)
    sys.exit(CANNOT_ASK)
