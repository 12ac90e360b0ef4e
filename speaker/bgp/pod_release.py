"""Which release of AdmitLB a node's Pod of FRR is of: its supervisor leaves that beside the sockets.

The DaemonSet `frr` is renewed by hand, and so may be older than the speakers for long.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

RELEASE: Final = "0.1"
"""Major and minor number of this release, as in pyproject.toml, which the image of FRR has not."""

_FILE: Final = "release"
_LONGEST_BYTES: Final = 16
_NUMBERS = re.compile(rb"\d{1,4}\.\d{1,4}")


def write(folder: Path) -> None:
    """Leave this release in the folder of sockets. Raises OSError."""
    new = folder / f".{_FILE}"
    new.write_text(RELEASE)
    new.chmod(0o644)
    new.replace(folder / _FILE)


def read(folder: Path) -> str:
    """Return what was left there; empty where there is nothing of the kind, as with an FRR of another's."""
    try:
        # The daemons may write in the folder: neither a link nor a pipe is to lead or hold us elsewhere.
        found = os.open(folder / _FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            text = os.read(found, _LONGEST_BYTES)
        finally:
            os.close(found)
    except OSError:
        return ""
    return text.decode() if _NUMBERS.fullmatch(text) else ""
