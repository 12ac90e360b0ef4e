"""FRR's daemons for tests, in the releases of Debian 12 and 13.

`python -m tests.lab.frr_programs` has them there before the lab starts, which has no network. It succeeds also where
they are not to be had: the tests that need them then skip, and say why.
"""

from __future__ import annotations

import sys

from tests.lab.debian_root import DebianRoot, NoDebianRoot, find_root, make_root
from tests.lab.progress import Reporter

SUITES = {"8.4": "bookworm", "10.3": "trixie"}
"""The Debian suite of each release of FRR."""

_PACKAGES = ("frr",)
_GROUPS = ("frr", "frrvty")


def find_frr(release: str) -> DebianRoot | None:
    """Return the root file system with a release's daemons, None where set-up could not fetch it."""
    return find_root(SUITES[release], _PACKAGES)


def main() -> int:
    """Fetch what is missing; print what there is."""
    with Reporter() as progress:
        for release, suite in SUITES.items():
            try:
                told = str(make_root(suite, _PACKAGES, groups=_GROUPS, progress=progress).path)
            except NoDebianRoot as error:
                told = f"not to be had, tests against it will be skipped: {error}"
            print(f"  {f'FRR {release}':24} {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
