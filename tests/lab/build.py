"""Kubernetes 1.20.2 built from Debian 12's source package: the oldest version supported, and no download site needed.

Only the upstream tarball of the package is used. One vendored library has to be replaced: modern-go/reflect2
1.0.1 walks maps through runtime internals that Go 1.18 changed, and crashes the API server within a minute.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.command_log import CommandLog
from tests.lab.debian import DebianArchive
from tests.lab.progress import Progress
from tests.lab.system_programs import search_path, which

SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-proxy")
VERSION = "v1.20.2"

_GO = "1.19"
_REFLECT2_FILES_OF_OLD = ("go_above_17.go", "go_below_17.go", "go_below_19.go")
_COMPILE_SECONDS = 3600


class CannotBuild(Exception):
    """Something the build needs is not on this machine."""


def build(work: Path, log: CommandLog, progress: Progress) -> Path:
    """Build the servers in `work` (4 GB, the caller's to remove); return the folder they are in.

    Changes nothing outside `work`: Go and the sources come from Debian's archive and are only unpacked. Raises
    CannotBuild, NoDebianArchive or CommandFailed.
    """
    if which("make") is None:
        raise CannotBuild("make not found; on Debian: sudo apt-get install --yes make")
    archive = DebianArchive(work / "debian", log)
    progress(f"reading the lists of Debian's archive (log: {log.path})")
    archive.open()
    progress(f"fetching the source of Kubernetes {VERSION} and Go {_GO} from Debian's archive")
    packages = work / "packages"
    archive.unpack(
        [f"golang-{_GO}-go", f"golang-{_GO}-src", "golang-github-modern-go-reflect2-dev"],
        packages,
    )
    [tarball] = archive.source("kubernetes").glob("kubernetes_*.orig.tar.*")
    progress("unpacking the source")
    gopath = work / "gopath"
    tree = gopath / "src" / "k8s.io" / "kubernetes"
    tree.mkdir(parents=True)
    log.run("tar", "--extract", "--file", tarball, "--strip-components=1", "--directory", tree)
    _replace_reflect2(tree, packages)
    _do_without_rsync(tree)
    progress(f"compiling {', '.join(SERVERS)} (about 4 minutes on 2 cores, once)")
    environment = {
        "HOME": str(work),
        "PATH": f"{packages / 'usr' / 'lib' / f'go-{_GO}' / 'bin'}:{search_path()}",
        "GOROOT": str(packages / "usr" / "lib" / f"go-{_GO}"),
        "GOPATH": str(gopath),
        "GOCACHE": str(work / "gocache"),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
        "KUBE_GIT_VERSION": VERSION,
        "KUBE_GIT_TREE_STATE": "clean",
        "TMPDIR": str(work),
        "LANG": "C.UTF-8",
    }
    targets = " ".join(f"cmd/{name}" for name in SERVERS)
    # Plain `go build` would miss the generated OpenAPI package.
    log.run("make", f"WHAT={targets}", cwd=tree, env=environment, timeout_seconds=_COMPILE_SECONDS)
    return tree / "_output" / "bin"


def _replace_reflect2(tree: Path, packages: Path) -> None:
    vendored = tree / "vendor" / "github.com" / "modern-go" / "reflect2"
    packaged = packages / "usr" / "share" / "gocode" / "src" / "github.com" / "modern-go" / "reflect2"
    for old in [*vendored.glob("*.go"), *vendored.glob("*.s")]:
        old.unlink()
    for new in [*packaged.glob("*.go"), *packaged.glob("*.s")]:
        if not new.name.endswith("_test.go") and new.name not in _REFLECT2_FILES_OF_OLD:
            shutil.copyfile(new, vendored / new.name)


def _do_without_rsync(tree: Path) -> None:
    """The build only copies changed files with it, which `cp` can do as well."""
    script = tree / "hack" / "lib" / "golang.sh"
    text = script.read_text()
    if "rsync -pc {}" not in text:
        raise CannotBuild(f"{script.relative_to(tree)} does not look as expected")
    script.write_text(text.replace("rsync -pc {}", "cp -pu {}"))
