"""Which releases of the Pod of FRR a speaker works with: its own, and the two before it."""

from __future__ import annotations

from typing import Final

RELEASES: Final = ("0.1",)
"""All of AdmitLB by major and minor number, the oldest first; the last is this one."""

_SUPPORTED_BEFORE: Final = 2


def unsupported(release: str, *, releases: tuple[str, ...] = RELEASES) -> str:
    """Say that a node's Pod of FRR is of a release that these speakers do not work with, with the remedy; else empty.

    An empty `release` is not known, and nothing is said of it.
    """
    if not release or release in releases[-1 - _SUPPORTED_BEFORE :]:
        return ""
    own = releases[-1]
    if release in releases:
        return (
            f"the Pod of frr is of AdmitLB {release}, more than {_SUPPORTED_BEFORE} releases before the speaker's "
            f"{own}: renew it (admitlb bgp roll)"
        )
    return f"the Pod of frr is of AdmitLB {release}, which the speaker of {own} does not know: update the speakers"
