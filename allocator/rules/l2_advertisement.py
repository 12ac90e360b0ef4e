"""What admission answers for an L2Advertisement."""

from __future__ import annotations

from collections.abc import Collection

from allocator.objects.document import Document, InvalidDocument
from allocator.objects.l2_advertisement import PREFERENCES, SELECTORS, check_l2_advertisement
from allocator.objects.selectors import repeated_in
from allocator.rules.verdict import Verdict, denied


def review_l2_advertisement(new: Document, *, pools: Collection[str]) -> Verdict:
    """Answer the creation or change of an L2Advertisement; `pools` has the names of those that exist."""
    try:
        check_l2_advertisement(new)
        repeated_in(new, (*SELECTORS, PREFERENCES)).raise_if_any()
    except InvalidDocument as error:
        return denied(422, f"L2Advertisement {new['metadata']['name']}: {error}")
    listed = (new.get("spec") or {}).get("ipAddressPools") or ()
    missing = [name for name in listed if name not in pools]
    return Verdict(
        warnings=tuple(
            f"L2Advertisement {new['metadata']['name']}: there is no pool {name} (yet); it announces nothing of it"
            for name in missing
        )
    )
