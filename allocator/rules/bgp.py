"""What admission answers for the kinds that only BGP needs."""

from __future__ import annotations

from collections.abc import Callable

from allocator.objects.document import Document, InvalidDocument
from allocator.objects.selectors import repeated_in
from allocator.rules.verdict import Verdict, denied


def review_bgp(
    kind: str, new: Document, *, check: Callable[[Document], object] = lambda _: None, selectors: tuple[str, ...] = ()
) -> Verdict:
    """Answer the creation or change of an object that only BGP would need: checked, kept, and not acted on.

    `check` raises InvalidDocument; `selectors` names the fields of its spec that list label selectors.
    """
    label = f"{kind} {new['metadata'].get('name') or '(new)'}"
    try:
        check(new)
        repeated_in(new, selectors).raise_if_any()
    except InvalidDocument as error:
        return denied(422, f"{label}: {error}")
    text = "AdmitLB does not speak BGP; the object is kept without effect, announce pools by an L2Advertisement"
    return Verdict(warnings=(f"{label}: {text}",))
