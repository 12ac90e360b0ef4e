"""What admission answers for the kinds that only BGP needs."""

from __future__ import annotations

from allocator.objects.document import Document
from allocator.rules.verdict import Verdict


def review_bgp(kind: str, new: Document) -> Verdict:
    """Answer the creation or change of an object that only BGP would need: it is kept, and not acted on."""
    text = "AdmitLB does not speak BGP; the object is kept without effect, announce pools by an L2Advertisement"
    return Verdict(warnings=(f"{kind} {new['metadata'].get('name') or '(new)'}: {text}",))
