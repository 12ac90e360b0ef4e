"""FRR's daemons for tests, in the releases of Debian 12 and 13, and BIRD as another vendor's router.

`python -m tests.lab.frr_programs` has them there before the lab starts, which has no network. It succeeds also where
they are not to be had: the tests that need them then skip, and say why. With the word `reload` it fetches what the
bench compares with as well.
"""

from __future__ import annotations

import sys

from tests.lab import frr_image
from tests.lab.debian_root import DebianRoot, NoDebianRoot, find_root, make_root
from tests.lab.progress import Reporter

SUITES = {"8.4": "bookworm", "10.3": "trixie"}
"""The Debian suite of each release of FRR."""

RELOAD_PACKAGES = ("frr", "frr-pythontools")
"""With frr-reload.py, by which MetalLB configures FRR: what our way is compared with."""

_PACKAGES = ("frr",)
_GROUPS = ("frr", "frrvty")
BIRD = "2.0.12"
"""The router of the tests."""
BIRD_SUITES = {BIRD: "bookworm", "2.17": "trixie"}
"""The Debian suite of each release of BIRD."""

_BIRD_PACKAGES = ("bird2",)


def find_frr(release: str) -> DebianRoot | None:
    """Return the root file system with a release's daemons, None where set-up could not fetch it."""
    return find_root(SUITES[release], _PACKAGES)


def find_bird(release: str = BIRD) -> DebianRoot | None:
    """Return the root file system with BIRD, None where set-up could not fetch it."""
    return find_root(BIRD_SUITES[release], _BIRD_PACKAGES)


def main() -> int:
    """Fetch what is missing; print what there is."""
    with Reporter() as progress:
        for release, suite in SUITES.items():
            _fetch(f"FRR {release}", suite, _PACKAGES, _GROUPS, progress)
            if "reload" in sys.argv[1:]:
                _fetch(f"frr-reload.py {release}", suite, RELOAD_PACKAGES, _GROUPS, progress)
        _fetch("FRR's image", frr_image.SUITE, frr_image.PACKAGES, _GROUPS, progress)
        for release, suite in BIRD_SUITES.items():
            if release == BIRD or "reload" in sys.argv[1:]:
                _fetch(f"BIRD {release}", suite, _BIRD_PACKAGES, ("bird",), progress)
    return 0


def _fetch(name: str, suite: str, packages: tuple[str, ...], groups: tuple[str, ...], progress: Reporter) -> None:
    try:
        told = str(make_root(suite, packages, groups=groups, progress=progress).path)
    except NoDebianRoot as error:
        told = f"not to be had, tests against it will be skipped: {error}"
    print(f"  {name:24} {told}")


if __name__ == "__main__":
    sys.exit(main())
