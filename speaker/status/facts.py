"""What a node has to say of the addresses of Services: the facts that are reported, one for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from allocator.core.addresses import Address
from allocator.kube.reflector import Key


class Subject(NamedTuple):
    """What a fact is about: one address of one Service, by one protocol."""

    protocol: str
    service: Key
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """This node announces it, on these interfaces (empty: on all). `uid` is the Service's, in every fact.

    `left_out` has the nodes that may not, or only after others, and why (`allocator.rules.left_out.few_by_reason`).
    `traffic` is whether the Service gets any: not where externalTrafficPolicy is Local and others that share the
    address have their endpoints here, but it has none.
    """

    uid: str
    interfaces: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    traffic: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """It is for this node to announce, which asks the network first whether a host has the address."""

    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """Another node is about to announce it, of which this one had something else to say before."""

    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Another node announces it, of which this one had something else to say before."""

    uid: str
    node: str
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unannounced:
    """No node is heard to announce it, and why.

    `reason` is one word in the form of a condition's, `message` a sentence without a subject, `nobody serves`. All
    nodes find the same, and one of them says it; unless the fact is this node's `own`, which no other node knows.
    """

    uid: str
    reason: str
    message: str
    own: bool = False


Fact = Announced | Asked | Awaited | Elsewhere | Unannounced
