"""One thing that can be asked for, with what is there before."""

from __future__ import annotations

from dataclasses import dataclass

from allocator.core.addresses import Family
from tests.unit.commands.manifests import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The last document is the one that is answered; those before it are there already."""

    title: str
    documents: tuple[Object, ...]
    families: tuple[Family, ...] = (Family.IPV4,)


def case(title: str, *documents: Object, families: tuple[Family, ...] = (Family.IPV4,)) -> Case:
    return Case(title=title, documents=documents, families=families)
