"""Headless Chromium: what it makes of a page, and what it complains of. Debian's package brings it.

`python -m tests.walkthroughs.chromium` has it there before the lab starts, which has no network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.command_log import CommandFailed, CommandLog
from tests.lab.system_programs import MissingPrograms, which

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Visit:
    """One page load: the document as the browser has it, its console, and a picture as PNG."""

    dom: str
    console: str
    screenshot: bytes


def chromium() -> Path:
    """Return the browser, installed from Debian where it is missing and that is possible.

    Raises MissingPrograms and CommandFailed.
    """
    if found := which("chromium"):
        return found
    if os.geteuid() != 0 or which("apt-get") is None:
        raise MissingPrograms("chromium not found; on Debian: sudo apt-get install --yes chromium")
    log = CommandLog(Path(tempfile.gettempdir()) / "admitlb-chromium.log")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log.run("apt-get", "update", "-q", env=env)
    log.run("apt-get", "install", "--yes", "-q", "--no-install-recommends", "chromium", "fonts-dejavu-core", env=env)
    return Path("/usr/bin/chromium")


def visit(url: str, *, size: tuple[int, int] = (1120, 860)) -> Visit:
    """Load a page in a browser of its own."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as home:
        picture = Path(home) / "page.png"
        window = f"--window-size={size[0]},{size[1]}"
        _run(home, window, f"--screenshot={picture}", url)
        done = _run(home, window, "--dump-dom", url)
        console = "\n".join(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
        return Visit(done.stdout, console, picture.read_bytes())


def _run(home: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [chromium(), *_FLAGS, f"--user-data-dir={home}/profile", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        env={**os.environ, "HOME": home},
    )
    assert done.returncode == 0, done.stderr
    return done


def main() -> int:
    """Find or install it; print where it is."""
    try:
        print(f"  {'chromium':24} {chromium()}")
    except (MissingPrograms, CommandFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
