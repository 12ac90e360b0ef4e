"""What admission answers for a Community, its deletion included."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from allocator.core.addresses import quoted
from allocator.core.listing import listed
from allocator.objects import names
from allocator.objects.bgp_community import alias_owners, aliases_from
from allocator.objects.document import Document, InvalidDocument, Problem, name_of
from allocator.rules.cluster_context import ClusterContext
from allocator.rules.verdict import Verdict, denied


def review_community(new: Document, old: Document | None, *, context: ClusterContext) -> Verdict:
    """Answer the creation or change of a Community: no name is given twice, or taken from its users."""
    label = f"Community {name_of(new)}"
    try:
        aliases = aliases_from(new)
        others = [one for one in context.objects(names.COMMUNITIES) if name_of(one) != name_of(new)]
        if problems := repeated_aliases(new, alias_owners(others)):
            raise InvalidDocument(problems)
    except InvalidDocument as error:
        return denied(422, f"{label}: {error}")
    lost = _aliases(old) - aliases.keys()
    users = _users(lost, others, context)
    if users:
        return denied(409, f"{label}: the change takes away {_listed(users)}; {_REMEDY}")
    return Verdict()


def review_community_deletion(old: Document, *, context: ClusterContext) -> Verdict:
    """Answer the deletion of a Community: refused while a BGPAdvertisement uses one of its names."""
    others = [one for one in context.objects(names.COMMUNITIES) if name_of(one) != name_of(old)]
    users = _users(_aliases(old), others, context)
    if not users:
        return Verdict()
    return denied(409, f"Community {name_of(old)}: its deletion takes away {_listed(users)}; {_REMEDY}")


def repeated_aliases(document: Document, owners: dict[str, str]) -> list[Problem]:
    """List the names that another Community gives as well; `owners` says which one."""
    entries = (document.get("spec") or {}).get("communities") or ()
    return [
        Problem(
            f"spec.communities[{index}].name",
            f"{quoted(name)} is given by Community {owners[name]} already; write another name, or remove one",
        )
        for index, entry in enumerate(entries)
        if (name := entry.get("name") or "") in owners
    ]


_REMEDY = "write the community as numbers there, or another name, first"


def _aliases(document: Document | None) -> set[str]:
    try:
        return set(aliases_from(document)) if document is not None else set()
    except InvalidDocument:
        return set()


def _users(lost: Collection[str], others: Iterable[Document], context: ClusterContext) -> dict[str, list[str]]:
    """Who uses which of these names, where no other Community gives them."""
    lost = set(lost) - set(alias_owners(others))
    if not lost:
        return {}
    users: dict[str, list[str]] = {}
    for document in context.objects(names.BGP_ADVERTISEMENTS):
        if document["metadata"].get("deletionTimestamp"):
            continue
        for text in (document.get("spec") or {}).get("communities") or ():
            if text in lost:
                users.setdefault(text, []).append(name_of(document))
    return users


def _listed(users: dict[str, list[str]]) -> str:
    return listed(f"{quoted(name)} from BGPAdvertisement {listed(by)}" for name, by in sorted(users.items()))
