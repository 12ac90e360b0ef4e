"""What is to be written so that the API says who announces what: what is wanted, compared with what is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Key
from allocator.objects.document import labels_of

NODE_LABEL = "metallb.io/node"
NAME_LABEL = "metallb.io/service-name"
NAMESPACE_LABEL = "metallb.io/service-namespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """That this node announces an address, on which interfaces (empty: on all), since when."""

    interfaces: tuple[str, ...]
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contested:
    """Whether another host claims an address: what is known of it, and since when it is so."""

    claimed: bool
    message: str
    since: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What this node says on an IPAllocation."""

    announcement: Announcement | None = None
    contested: Contested | None = None


@dataclass(frozen=True, slots=True)
class Show:
    """Say this on the address's IPAllocation."""

    address: Address
    shown: Shown


@dataclass(frozen=True, slots=True)
class Tell:
    """Say this in the Service's ServiceL2Status of that name; make one where there is none."""

    service: Key
    name: str | None
    said: Object


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete the ServiceL2Status of that name."""

    name: str


Step = Show | Tell | Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What is to be said and what is said: `shown` on IPAllocations by this node, `statuses` as stored, by anyone."""

    node: str
    wanted: Mapping[tuple[Key, Address], Announcement] = field(default_factory=dict)
    contested: Mapping[Address, Contested] = field(default_factory=dict)
    shown: Mapping[Address, Shown] = field(default_factory=dict)
    statuses: tuple[Object, ...] = ()


def steps(books: Books) -> Iterator[Step]:
    """Yield every write there is to do, what people look for first: conflicts, then what moved last. Pure.

    Every address comes on its IPAllocation before any Service's status: that is what `kubectl get` shows.
    """
    announced: dict[Address, Announcement] = {}
    services: dict[Key, dict[Address, Announcement]] = {}
    # A stable sort: what moved together stays in the order of the Services.
    for (key, address), announcement in sorted(sorted(books.wanted.items()), key=_since, reverse=True):
        announced.setdefault(address, announcement)
        services.setdefault(key, {})[address] = announcement
    for address in dict.fromkeys([*books.contested, *announced, *books.shown]):
        shown = Shown(announced.get(address), books.contested.get(address))
        if books.shown.get(address, Shown()) != shown:
            yield Show(address, shown)
    own, surplus = _sorted_out(books, services)
    for key, announcements in services.items():
        for status in surplus.pop(key, ()):
            yield Drop(status["metadata"]["name"])
        said = _status(books.node, key, announcements)
        if key not in own:
            yield Tell(key, None, said)
        elif told(own[key]) != said and not _refuses(own[key], said):
            yield Tell(key, own[key]["metadata"]["name"], said)
    for statuses in surplus.values():
        for status in statuses:
            yield Drop(status["metadata"]["name"])


def told(status: Object) -> Object:
    """What a ServiceL2Status says."""
    return dict(status.get("status") or {})


def _since(entry: tuple[tuple[Key, Address], Announcement]) -> str:
    return entry[1].since


def _sorted_out(books: Books, services: Iterable[Key]) -> tuple[dict[Key, Object], dict[Key, list[Object]]]:
    """Part the statuses into one of ours for each Service and those to go: of a former holder, a second of ours, or
    of what we no longer announce. Those of others, of what others announce, are in neither."""
    wanted = set(services)
    own: dict[Key, Object] = {}
    surplus: dict[Key, list[Object]] = {}
    for status in books.statuses:
        labels = labels_of(status)
        key = (labels.get(NAMESPACE_LABEL, ""), labels.get(NAME_LABEL, ""))
        ours = labels.get(NODE_LABEL) == books.node
        if key in wanted and ours and key not in own:
            own[key] = status
        elif key in wanted or ours:
            surplus.setdefault(key, []).append(status)
    return own, surplus


def _status(node: str, key: Key, announcements: Mapping[Address, Announcement]) -> Object:
    ordered = dict(sorted(announcements.items()))
    first = next(iter(ordered.values()))
    return {
        "node": node,
        "serviceName": key[1],
        "serviceNamespace": key[0],
        "interfaces": [{"name": name} for name in first.interfaces],
        "addresses": [str(address) for address in ordered],
        "since": min(each.since for each in ordered.values()),
    }


def _refuses(status: Object, said: Object) -> bool:
    """Tell whether the API server has dropped fields: its CRD is MetalLB's own."""
    heard = told(status)
    return bool(heard) and all(heard.get(name) == said[name] for name in heard) and "addresses" not in heard
