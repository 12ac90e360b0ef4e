"""The examples of `examples/`: what each applies, and which addresses its `Gives:` lines say come of it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.reference.kinds import ROOT

FOLDER = ROOT / "examples"
POOL = FOLDER / "address-pool.yaml"
"""What the others take their addresses from."""
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
_GIVES = re.compile(r"^# Gives: (\S+) (.+)$", re.M)


def gives(path: Path) -> dict[str, list[str]]:
    """Return the addresses of each Service, by `namespace/name`, as the file's comments name them."""
    return {service: addresses.split() for service, addresses in _GIVES.findall(path.read_text())}
