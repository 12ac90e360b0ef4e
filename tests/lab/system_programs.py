"""Programs the operating system has to bring, found also where a plain user's PATH does not look."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.lab.command_log import CommandLog
from tests.lab.progress import Progress

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")

REQUIRED = {
    "ip": "iproute2",
    "iptables": "iptables",
    "ip6tables": "iptables",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
"""What the cluster in a box cannot do without, and the Debian package of each."""

USEFUL = {"conntrack": "conntrack"}
"""What kube-proxy likes to have (it forgets stale UDP flows with it); never the cause of a failure."""


class MissingPrograms(Exception):
    """Programs are missing and may not be installed from here; the message is the command that would."""


def search_path() -> str:
    """Return PATH, with the folders of administration programs added."""
    folders = [*os.environ.get("PATH", os.defpath).split(":"), *_SYSTEM_FOLDERS]
    return ":".join(dict.fromkeys(folders))


def which(name: str) -> Path | None:
    """Return where the program is, or None."""
    found = shutil.which(name, path=search_path())
    return Path(found) if found else None


def install_missing(progress: Progress, log: CommandLog, *, also: Mapping[str, str] = MappingProxyType({})) -> None:
    """Have every required program there, `also` those: installed with apt-get where missing and we are root.

    Raises MissingPrograms where we are not, or where there is no apt-get; CommandFailed where apt-get fails.
    """
    required = {**REQUIRED, **also}
    missing = {program: package for program, package in required.items() if which(program) is None}
    wanted = sorted({package for program, package in {**required, **USEFUL}.items() if which(program) is None})
    may_install = os.geteuid() == 0 and which("apt-get") is not None
    if missing and not may_install:
        packages = " ".join(sorted(set(missing.values())))
        raise MissingPrograms(
            f"{', '.join(sorted(missing))} not found; on Debian: sudo apt-get install --yes {packages}"
        )
    if missing:
        progress(f"installing Debian packages: {' '.join(wanted)}")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        log.run("apt-get", "update", "-q", env=env)
        log.run("apt-get", "install", "--yes", "-q", "--no-install-recommends", *wanted, env=env)
