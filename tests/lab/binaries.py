"""The control-plane programs of the cluster in a box: found, or made once and kept.

`python -m tests.lab.binaries` does all set-up that needs time or the network, and prints what the lab will use.

Four ways lead to the servers, tried in this order; ADMITLB_CONTROL_PLANE names one to be taken alone:
`assets` (the folder KUBEBUILDER_ASSETS names), `cache` (of an earlier run), `download` (the official release,
where its site answers within 2 s), `build` (from Debian's source package, 4 minutes, or what an earlier build left).
ADMITLB_KUBERNETES chooses which release that is (`official_release.RELEASES`).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab import official_release, servers
from tests.lab.command_log import CommandFailed, CommandLog
from tests.lab.companions import NoCompanion, find_etcd, find_kubectl
from tests.lab.progress import Progress, Reporter
from tests.lab.servers import Servers, WayFailed
from tests.lab.system_programs import MissingPrograms, install_missing

FORCE = "ADMITLB_CONTROL_PLANE"

_WAYS = {
    "assets": servers.from_assets,
    "cache": servers.from_cache,
    "download": servers.from_download,
    "build": servers.from_build,
}


class NoControlPlane(Exception):
    """No way led to the servers; the message names all four and why each did not."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs are, which Kubernetes version the servers are of, and by which way they were found."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_proxy: Path
    kubectl: Path
    server_version: tuple[int, int, int]
    way: str


def find(progress: Progress | None = None) -> Binaries:
    """Return the programs, made first where there are none yet (which `progress` tells; standard error if None).

    Raises NoControlPlane or NoCompanion.
    """
    if progress is None:
        with Reporter() as reporter:
            return find(reporter)
    cache = cache_folder()
    log = CommandLog(cache / "setup.log")
    way, found = _find_servers(cache / "control-plane", progress)
    assets = servers.assets_folder()
    # Companions in the folder of a way that was not taken may be of any age: they are PATH's to give then.
    folders = [assets] if assets is not None and way == "assets" else []
    return Binaries(
        etcd=find_etcd(folders, cache / "companions", log, progress, at_least=_release().etcd),
        kube_apiserver=found.kube_apiserver,
        kube_controller_manager=found.kube_controller_manager,
        kube_proxy=found.kube_proxy,
        kubectl=find_kubectl(folders, cache / "companions", log, progress),
        server_version=found.version,
        way=way,
    )


def _release() -> official_release.Release:
    """The release that was chosen, whose servers have been found; else the default one."""
    return official_release.chosen() or official_release.RELEASES["default"]


def cache_folder() -> Path:
    """Where everything is kept that a later run need not make again."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "admitlb"


def _find_servers(cache: Path, progress: Progress) -> tuple[str, Servers]:
    forced = os.environ.get(FORCE)
    if forced and forced not in _WAYS:
        raise NoControlPlane(f"{FORCE}={forced}: must be one of {', '.join(_WAYS)}")
    failures = []
    log = CommandLog(cache / "build.log")
    for way, take in _WAYS.items():
        if forced and way != forced:
            failures.append(f"{way}: not tried, {FORCE}={forced}")
            continue
        try:
            return way, take(cache, log, progress)
        except WayFailed as error:
            failures.append(f"{way}: {error}")
            if way == "assets" and servers.assets_folder() is not None:
                progress(f"KUBEBUILDER_ASSETS is set but not used: {error}")
    reasons = "".join(f"\n  {failure}" for failure in failures)
    raise NoControlPlane(f"no way leads to {', '.join(servers.NAMES)}:{reasons}")


def main() -> int:
    """Do all set-up; print what was found."""
    try:
        with Reporter() as progress:
            install_missing(progress, CommandLog(cache_folder() / "setup.log"))
            found = find(progress)
    except (NoControlPlane, NoCompanion, MissingPrograms, CommandFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Kubernetes {'.'.join(map(str, found.server_version))} ({found.way})")
    for name in ("kube_apiserver", "kube_controller_manager", "kube_proxy", "etcd", "kubectl"):
        print(f"  {name.replace('_', '-'):24} {getattr(found, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
