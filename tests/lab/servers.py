"""The Kubernetes servers, which must be of one version: the ways to get them, and the cache the last two fill."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import build, official_release
from tests.lab.command_log import CommandFailed, CommandLog
from tests.lab.debian import NoDebianArchive
from tests.lab.progress import Progress
from tests.lab.system_programs import which

NAMES = build.SERVERS
ASSETS = "KUBEBUILDER_ASSETS"

_ANSWER_SECONDS = 30
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
_BUILT = f"{build.VERSION}-built"


class WayFailed(Exception):
    """One way to the servers led nowhere; the message says why."""


@dataclass(frozen=True, slots=True)
class Servers:
    """One version's server programs."""

    kube_apiserver: Path
    kube_controller_manager: Path
    kube_proxy: Path
    version: tuple[int, int, int]


def from_assets(cache: Path, log: CommandLog, progress: Progress) -> Servers:
    """What KUBEBUILDER_ASSETS holds; what it lacks from PATH, or from the release of the API server's version."""
    folder = assets_folder()
    if folder is None:
        raise WayFailed(f"{ASSETS} is not set")
    if not (folder / NAMES[0]).exists():
        raise WayFailed(f"{ASSETS}={folder} has no {NAMES[0]}")
    paths = {name: folder / name if (folder / name).exists() else which(name) for name in NAMES}
    missing = tuple(name for name, path in paths.items() if path is None)
    if missing:
        version = "v" + ".".join(map(str, _version(folder / NAMES[0])))
        beside = cache / version
        if not beside.exists():
            try:
                _fill(
                    beside, lambda into: official_release.download(NAMES, into, progress, version=version), progress
                )
            except official_release.NoRelease as error:
                raise WayFailed(
                    f"{ASSETS}={folder} has no {', '.join(missing)}, nor has PATH, nor the release site ({error})"
                ) from error
        paths.update({name: beside / name for name in missing})
    return _servers({name: path for name, path in paths.items() if path is not None})


def from_cache(cache: Path, log: CommandLog, progress: Progress) -> Servers:
    """The newest version that an earlier run left in the cache; of the release that was chosen, where one was."""
    release = _chosen()
    complete = [folder for folder in cache.glob("v*") if all((folder / name).exists() for name in NAMES)]
    if release is not None:
        complete = [folder for folder in complete if folder.name in (release.version, f"{release.version}-built")]
    if not complete:
        raise WayFailed(f"nothing in {cache} yet" if release is None else f"no {release.version} in {cache} yet")
    return _servers_in(max(complete, key=lambda folder: _parse(folder.name)))


def from_download(cache: Path, log: CommandLog, progress: Progress) -> Servers:
    """The release that was chosen, else the default one, downloaded once."""
    version = (_chosen() or official_release.RELEASES["default"]).version
    target = cache / version
    if not target.exists():
        try:
            _fill(target, lambda into: official_release.download(NAMES, into, progress, version=version), progress)
        except official_release.NoRelease as error:
            raise WayFailed(str(error)) from error
    return _servers_in(target)


def from_build(cache: Path, log: CommandLog, progress: Progress) -> Servers:
    """Kubernetes built from Debian's source package, once."""
    release = _chosen()
    if release is not None and release.version != build.VERSION:
        raise WayFailed(f"Debian has {build.VERSION}, not {release.version}")
    target = cache / _BUILT
    if not target.exists():
        try:
            _fill(target, lambda into: _build_into(into, log, progress), progress)
        except (build.CannotBuild, NoDebianArchive, CommandFailed) as error:
            raise WayFailed(str(error)) from error
    return _servers_in(target)


def _chosen() -> official_release.Release | None:
    try:
        return official_release.chosen()
    except official_release.NoRelease as error:
        raise WayFailed(str(error)) from error


def assets_folder() -> Path | None:
    """The folder KUBEBUILDER_ASSETS names, if it is set."""
    value = os.environ.get(ASSETS)
    return Path(value).absolute() if value else None


def _build_into(incoming: Path, log: CommandLog, progress: Progress) -> None:
    log.path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=incoming, ignore_cleanup_errors=True) as work:
        made = build.build(Path(work), log, progress)
        for name in NAMES:
            shutil.move((made / name).resolve(), incoming / name)
        progress("removing what the build no longer needs")


def _fill(target: Path, make: Callable[[Path], None], progress: Progress) -> None:
    """Have `make` fill a folder that becomes `target` only once all its programs run.

    One process at a time: a second one waits for the first and takes its result.
    """
    cache = target.parent
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another run that fills {cache}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        for left_over in cache.glob("incoming-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        incoming = cache / f"incoming-{target.name}"
        incoming.mkdir()
        try:
            make(incoming)
            for name in NAMES:
                _version(incoming / name)
            incoming.rename(target)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def _servers_in(folder: Path) -> Servers:
    return _servers({name: folder / name for name in NAMES})


def _servers(paths: dict[str, Path]) -> Servers:
    version = _version(paths["kube-apiserver"])
    return Servers(paths["kube-apiserver"], paths["kube-controller-manager"], paths["kube-proxy"], version)


def _version(program: Path) -> tuple[int, int, int]:
    """Ask a program for its version, which also shows that it runs here."""
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise WayFailed(f"{program} does not run: {error}") from error
    return _parse(answer.stdout)


def _parse(text: str) -> tuple[int, int, int]:
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
