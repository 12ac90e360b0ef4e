"""prometheus and promtool, for tests of what is scraped: the machine's own, else those of Debian's package.

`python -m tests.lab.prometheus_programs` has them there before the lab starts, which has no network.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.binaries import cache_folder
from tests.lab.command_log import CommandFailed, CommandLog
from tests.lab.companions import NoCompanion
from tests.lab.debian import DebianArchive, NoDebianArchive
from tests.lab.progress import Progress, Reporter
from tests.lab.system_programs import which

_PACKAGE = "prometheus"
_NAMES = ("prometheus", "promtool")


@dataclass(frozen=True, slots=True)
class PrometheusPrograms:
    """Where the two programs are."""

    prometheus: Path
    promtool: Path


def find_prometheus(progress: Progress | None = None) -> PrometheusPrograms:
    """Return both from PATH or the cache, else unpacked from Debian's package into the cache (19 MB, once).

    Unpacked, not installed: the package's own installation would start a Prometheus of the machine's. Raises
    NoCompanion.
    """
    if progress is None:
        with Reporter() as reporter:
            return find_prometheus(reporter)
    cache = cache_folder() / "companions"
    found = {name: which(name) or cache / name for name in _NAMES}
    if not all(program.exists() for program in found.values()):
        progress("fetching prometheus from Debian's archive")
        _fetch(cache)
        found = {name: cache / name for name in _NAMES}
    return PrometheusPrograms(**found)


def _fetch(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=cache) as work:
            archive = DebianArchive(Path(work) / "debian", CommandLog(cache_folder() / "setup.log"))
            archive.open()
            archive.unpack([_PACKAGE], Path(work) / "root")
            for name in _NAMES:
                (Path(work) / "root" / "usr" / "bin" / name).rename(cache / name)
    except (NoDebianArchive, CommandFailed, OSError) as error:
        raise NoCompanion(
            f"prometheus: not on PATH, not to be had from Debian ({error}); install it (Debian: {_PACKAGE})"
        ) from error


def main() -> int:
    """Find or fetch both; print where they are."""
    try:
        found = find_prometheus()
    except NoCompanion as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"  {'prometheus':24} {found.prometheus}\n  {'promtool':24} {found.promtool}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
